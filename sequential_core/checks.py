"""Checks of what comes from outside, and instants as text, for the values of every layer."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from sequential_core.errors import InvalidRequestError, InvalidTaskIdError

MAX_ID_LENGTH = 256

MAX_IDEMPOTENCY_KEY_LENGTH = 255

_IDEMPOTENCY_KEY = re.compile(rf"[\x21-\x7e]{{1,{MAX_IDEMPOTENCY_KEY_LENGTH}}}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def to_rfc3339(instant: datetime) -> str:
    """An instant in UTC, to the microsecond."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def from_rfc3339(text: str) -> datetime:
    """The instant of such a text; a ValueError if it is none."""
    return datetime.fromisoformat(text).astimezone(UTC)


def check_task_id(task_id: object) -> str:
    """The id, if a task may have it: 1 to 256 characters, none of them a control character.

    Raises:
        InvalidTaskIdError: it may not.
    """
    if not isinstance(task_id, str):
        raise InvalidTaskIdError(f"it must be a string, not {type(task_id).__name__}")
    if not 1 <= len(task_id) <= MAX_ID_LENGTH:
        raise InvalidTaskIdError(f"it has {len(task_id)} characters; 1 to {MAX_ID_LENGTH} are allowed")
    if _CONTROL.search(task_id):
        raise InvalidTaskIdError("it has a control character")
    return task_id


def check_idempotency_key(key: object) -> str:
    """The key, if it is one: 1 to 255 characters of visible ASCII.

    Raises:
        InvalidRequestError: it is not.
    """
    if not isinstance(key, str) or _IDEMPOTENCY_KEY.fullmatch(key) is None:
        problem = f"it must be a string of 1 to {MAX_IDEMPOTENCY_KEY_LENGTH} visible ASCII characters"
        raise InvalidRequestError("idempotencyKey", problem)
    return key


def check_duration(name: str, value: object) -> timedelta:
    """A duration: a `timedelta`, or seconds; longer than nothing, at most 100 years.

    Raises:
        InvalidRequestError: it is not one.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            value = timedelta(seconds=value)
        except (OverflowError, ValueError):
            raise InvalidRequestError(name, "it is not a duration") from None
    if not isinstance(value, timedelta):
        raise InvalidRequestError(name, f"it must be a timedelta or seconds, not {type(value).__name__}")
    if not timedelta(0) < value <= timedelta(days=36525):
        raise InvalidRequestError(name, "it must be longer than nothing and at most 100 years")
    return value


def check_retain(value: object) -> timedelta | None:
    """How long an outcome is kept; None if it is nothing, and so not at all.

    Raises:
        InvalidRequestError: it is no duration.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e-6:  # a timedelta has no less
        return None
    return None if value == timedelta(0) else check_duration("retain", value)
