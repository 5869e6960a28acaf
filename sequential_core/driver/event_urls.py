"""URLs that let their holder send one event to one task, once, and learn nothing of it.

Code makes one with the tool `sequential.eventUrl` and hands it to whoever is to answer; a caller makes one over HTTP.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sequential_core.checks import check_duration, to_rfc3339
from sequential_core.driver.signing import event_token, open_event_token
from sequential_core.errors import (
    ConfigurationError,
    InvalidRequestError,
    NoSigningKeyError,
    TaskEndedError,
)
from sequential_core.model import Status, check_event_name

if TYPE_CHECKING:
    from sequential_core.flow import SequentialFlow

#: How long such a URL may be used, if it is not said, and at most.
EVENT_URL_TTL = timedelta(days=1)
MOST_EVENT_URL_TTL = timedelta(days=30)

#: The variable that says by which URL callers reach the HTTP API.
PUBLIC_URL_VARIABLE = "SEQUENTIAL_PUBLIC_URL"

_PUBLIC_URL = re.compile(r"https?://[!-\"$->@-~]+")  # visible ASCII, no query and no fragment


@dataclass(frozen=True, slots=True)
class EventUrl:
    """A URL that takes an event, until it expires."""

    url: str
    token: str
    expires_at: datetime

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"url": self.url, "token": self.token, "expiresAt": to_rfc3339(self.expires_at)}


def check_public_url(url: str) -> str:
    """The URL of the HTTP API, without a slash at its end.

    Raises:
        ConfigurationError: it is no absolute http(s) URL without query.
    """
    if _PUBLIC_URL.fullmatch(url) is None:
        raise ConfigurationError(PUBLIC_URL_VARIABLE, "it must be an absolute http or https URL without a query")
    return url.rstrip("/")


def make_event_url(
    flow: SequentialFlow,
    task_id: str,
    name: str,
    *,
    key: bytes | None,
    public_url: str,
    ttl: timedelta | float | None = None,
) -> EventUrl:
    """A URL for an event of a paused task.

    Args:
        flow: has the task.
        task_id: which one. A later task with its id is another.
        name: of the event.
        key: the installation's signing key.
        public_url: of the HTTP API.
        ttl: how long it may be used; a duration or seconds, at most 30 days. None: a day.

    Raises:
        InvalidRequestError: the name is none, or `ttl` is too long.
        NoSigningKeyError: there is no key.
        TaskNotFoundError, TaskEndedError: there is no such task, or nothing that an event could be for.
    """
    check_event_name(name)
    lasts = EVENT_URL_TTL if ttl is None else check_duration("ttl", ttl)
    if lasts > MOST_EVENT_URL_TTL:
        raise InvalidRequestError("ttl", f"it is at most {MOST_EVENT_URL_TTL.days} days")
    if key is None:
        raise NoSigningKeyError
    task = flow.get_task(task_id)
    if task.status is not Status.PAUSED:
        raise TaskEndedError(task_id, task.status)
    expires_at = flow.now() + lasts
    token = event_token(key, task, name, expires_at)
    return EventUrl(f"{public_url}/events/{token}", token, expires_at)


def send_by_token(flow: SequentialFlow, token: str, value: Any, *, key: bytes | None) -> None:
    """Sends the event that a token is for. Repeated with the same value, it does nothing.

    Raises:
        NoSigningKeyError: there is no key.
        InvalidEventTokenError: the token is none, or has expired.
        IdempotencyKeyReusedError: it was used before, with another value.
        TaskNotFoundError, TaskEndedError, TooManyEventsError, InvalidAnswerError: see `SequentialFlow.send_event`.
    """
    if key is None:
        raise NoSigningKeyError
    opened = open_event_token(key, token, flow.now())
    digest = hashlib.sha256(token.encode()).hexdigest()
    flow.send_event(opened.task_id, opened.name, value, idempotency_key=digest, created_at=opened.created_at)
