"""Whether a request is sent again, and when: plain functions of a policy and of what has happened."""

from __future__ import annotations

import random
import uuid
from datetime import datetime, timedelta

from sequential_core.drive import Policy
from sequential_core.driver.fetcher import Attempt
from sequential_core.model import Task
from sequential_core.pending import PendingRequest, PendingTool

# Who says to come back later than this is not waited for.
_MOST_RETRY_AFTER = timedelta(days=1)

# RFC 9110, section 9.2.2; TRACE cannot be asked for.
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})

# The statuses of which RFC 9110 and RFC 6585 say that Retry-After may come with them.
_TELL_WHEN = frozenset({429, 503})

_IDEMPOTENCY_KEY = "idempotency-key"

# The name space of the keys: the one of DNS names, and "requests.sequential".
_KEYS = uuid.uuid5(uuid.NAMESPACE_DNS, "requests.sequential")

#: When a callback that nobody took is tried again: after so long.
CALLBACK_WAITS = (
    timedelta(seconds=5),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=6),
)


def next_attempt(  # noqa: PLR0917  # all that matters, each of its own kind
    policy: Policy, request: PendingRequest, attempt: Attempt, attempts: int, now: datetime, chance: random.Random
) -> datetime | None:
    """When a request is to be sent again; None: never, and what the attempt brought is its answer.

    Args:
        policy: of its task.
        request: what was sent.
        attempt: what became of it the last time.
        attempts: how often it was sent.
        now: the present.
        chance: spreads what many tasks do at once.
    """
    failed = attempt.failed or attempt.status in policy.retry_statuses
    if not failed or attempts >= policy.attempts or request.method.upper() not in policy.retry_methods:
        return None
    # In seconds: a `timedelta` overflows when a long one is doubled often.
    seconds = min(policy.backoff.total_seconds() * 2 ** (attempts - 1), policy.max_backoff.total_seconds())
    wait = timedelta(seconds=seconds) * chance.uniform(0.5, 1)
    if attempt.status in _TELL_WHEN and attempt.retry_after is not None:
        if attempt.retry_after > _MOST_RETRY_AFTER:
            return None
        wait = max(wait, attempt.retry_after)
    return now + wait


def idempotency_key(task: Task, request: PendingRequest | PendingTool) -> str:
    """The key of a request: the same in every attempt and every process, another for every other request."""
    return str(uuid.uuid5(_KEYS, f"{task.id}\n{task.created_at.isoformat()}\n{request.id}"))


def further_headers(task: Task, request: PendingRequest) -> dict[str, str]:
    """What is sent beside the headers of the code: the key of a request that is not idempotent by its method."""
    if request.method.upper() in _IDEMPOTENT or any(name.lower() == _IDEMPOTENCY_KEY for name in request.headers):
        return {}
    return {_IDEMPOTENCY_KEY: idempotency_key(task, request)}
