"""Answers a pending request of a task, and runs it to its next pause.

`{id, fetchResponse | response | error, requestId?, revision?, idempotencyKey?}` gives a task.
Without an answer only the timers that are due run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from handlers.direct import direct
from handlers.environment import flow


@direct
def handler(event: Mapping[str, Any]) -> dict[str, Any]:
    return flow.resume(event).to_dict(include_vm_state=False)
