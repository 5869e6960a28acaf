"""Tells the outcome of a task to the URL that its caller gave."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from datetime import datetime

from sequential_core.drive import Callback, Policy
from sequential_core.driver.fetcher import Fetcher
from sequential_core.driver.retries import CALLBACK_WAITS
from sequential_core.driver.signing import callback_key, webhook_headers
from sequential_core.model import Task
from sequential_core.pending import PendingRequest

# The name space of the ids of messages: the one of DNS names, and "callbacks.sequential".
_MESSAGES = uuid.uuid5(uuid.NAMESPACE_DNS, "callbacks.sequential")


def call_back(  # noqa: PLR0917  # what it takes to send something, each of its own kind
    task: Task, callback: Callback, fetcher: Fetcher, policy: Policy, signing_key: bytes | None, now: datetime
) -> Callback:
    """Makes one attempt, and gives what has come of it.

    The message has the same id in all attempts, so that a receiver knows a repetition.
    """
    if signing_key is None:
        return replace(callback, next_at=None, problem="the installation has no signing key")
    key = callback_key(signing_key)
    body = json.dumps(task.to_dict(include_vm_state=False), separators=(",", ":"))
    message_id = str(uuid.uuid5(_MESSAGES, f"{task.id}\n{task.created_at.isoformat()}"))
    request = PendingRequest(
        id=1,
        url=callback.url,
        method="POST",
        headers={"content-type": "application/json", **webhook_headers(key, message_id, body.encode(), now)},
        body=body,
        redirect="error",
    )
    attempt = fetcher.fetch(request, replace(policy, answers="response"))
    attempts = callback.attempts + 1
    if attempt.status is not None and 200 <= attempt.status <= 299:  # RFC 9110, section 15.3
        return replace(callback, attempts=attempts, next_at=None, delivered_at=now, problem=None)
    next_at = now + CALLBACK_WAITS[attempts - 1] if attempts <= len(CALLBACK_WAITS) else None
    if next_at is not None and task.expires_at is not None and next_at >= task.expires_at:
        next_at = None
    return replace(callback, attempts=attempts, next_at=next_at, problem=attempt.problem)
