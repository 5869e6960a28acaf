"""What a paused program waits for, from the JSON text that the prelude gives, and the answers as it takes them.

The prelude checks what it is given; but the posted code shares its realm, and whoever performs a request trusts it. So
everything is checked once more on this side, where the code cannot reach.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sequential_core.answers import MAX_JSON_DEPTH, nested_too_deeply
from sequential_core.pending import (
    BASE64,
    Answer,
    ErrorAnswer,
    Pending,
    PendingEvent,
    PendingRequest,
    PendingTimer,
    PendingTool,
    ResponseAnswer,
    ValueAnswer,
)

_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")

# A clock may stand near the end of what a datetime can say: the end of the year 9999.
_LAST_MILLISECONDS = 253_402_300_799_000

# A serialised URL is printable ASCII (URL standard, 4.5), a method and the name of a header are tokens, and the value
# of a header is bytes without those that end it (RFC 9110, 5.5 and 5.6.2, as the Fetch standard narrows them).
_URL = re.compile(r"https?://[!-~]+")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HEADER_VALUE = re.compile(r"[\x01-\x09\x0b\x0c\x0e-\xff]*")

# Of a tool or an event.
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,128}")

# `parse` is given an array of an array of objects.
_LEVELS_ABOVE = 3


class NestedTooDeeplyError(ValueError):
    """The arguments of a tool are nested deeper than `MAX_JSON_DEPTH`."""


@dataclass(frozen=True, slots=True)
class Timers:
    """The timers of a paused program.

    Attributes:
        count: how many there are.
        keeping: how many of them keep the program from ending: all but those of `AbortSignal.timeout`.
        wake_at: when the first is due.
        soonest: the first ones, at most 16, in the order in which they are due.
    """

    count: int
    keeping: int
    wake_at: datetime
    soonest: tuple[PendingTimer, ...]


def parse(text: bytes) -> tuple[tuple[Pending, ...], Timers | None]:
    """The pending requests of every kind, oldest first, and the timers, None if there are none.

    Raises:
        NestedTooDeeplyError: the arguments of a tool are nested too deeply.
        ValueError: it is not what the prelude writes.
    """
    decoded = text.decode()
    if nested_too_deeply(decoded, MAX_JSON_DEPTH + _LEVELS_ABOVE):
        raise NestedTooDeeplyError
    try:
        requests, timers = json.loads(decoded)
        pending = tuple(_pending(each) for each in requests)
        if timers is None:
            return pending, None
        soonest = tuple(PendingTimer(number, _instant(due)) for number, due in timers["soonest"])
        return pending, Timers(timers["count"], timers["keeping"], _instant(timers["wakeAt"]), soonest)
    except RecursionError:  # the caller's own stack is deep
        raise NestedTooDeeplyError from None
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError("it has other members") from error


def _pending(fields: dict[str, Any]) -> Pending:
    kind = fields.pop("kind", None)  # a fetch does not say
    if kind is None:
        return _checked(PendingRequest(**fields))
    if kind not in ("tool", "event"):
        raise ValueError("a request is of no kind")
    request = PendingTool(**fields) if kind == "tool" else PendingEvent(**fields)
    numbers = (request.id, request.line or 1, request.column or 0)
    if not (_NAME.fullmatch(request.name) and all(type(each) is int for each in numbers)):
        raise ValueError("a tool or an event has what none may have")
    return request


def _checked(request: PendingRequest) -> PendingRequest:
    names = all(_TOKEN.fullmatch(name) for name in request.headers)
    values = all(_HEADER_VALUE.fullmatch(value) for value in request.headers.values())
    if not (_URL.fullmatch(request.url) and _TOKEN.fullmatch(request.method) and names and values):
        raise ValueError("a request has what no request may have")
    if request.body is not None:
        request.body.encode()  # raises a ValueError if there is half of a surrogate pair
    if request.body_encoding not in (None, BASE64) or request.redirect not in ("follow", "error", "manual"):
        raise ValueError("a request is marked with what is no mark")
    return request


def _instant(milliseconds: Any) -> datetime:
    return _EPOCH + timedelta(milliseconds=min(milliseconds, _LAST_MILLISECONDS))


def encode_answer(request_id: int, answer: Answer) -> bytes:
    """An answer as the prelude takes it.

    Raises:
        ValueError, TypeError, RecursionError: a value is not JSON.
    """
    payload: Any
    match answer:
        case ValueAnswer(value):
            kind, payload = "value", value
        case ResponseAnswer():
            kind = "response"
            payload = {
                "status": answer.status,
                "statusText": answer.status_text,
                "headers": dict(answer.headers),
                "body": answer.body,
                "bodyEncoding": answer.body_encoding,
                "url": answer.url,
                "redirected": answer.redirected,
            }
        case ErrorAnswer(message):
            kind, payload = "error", message
    return json.dumps([request_id, kind, payload], allow_nan=False, separators=(",", ":")).encode()
