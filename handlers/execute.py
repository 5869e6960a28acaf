"""Runs code up to its first pause: `{code, id?, name?, ttl?, retain?, idempotencyKey?, language?}` gives a task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from handlers.direct import direct
from handlers.environment import flow


@direct
def handler(event: Mapping[str, Any]) -> dict[str, Any]:
    return flow.execute(event).to_dict(include_vm_state=False)
