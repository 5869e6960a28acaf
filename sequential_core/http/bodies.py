"""The bodies of requests: decoded and checked whole, before a flow sees anything of them.

The JSON is read by the standard library and only then converted by msgspec, whose own decoder refuses what JavaScript
takes: numbers beyond 64 bits, halves of surrogate pairs.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal, NoReturn, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from sequential_core.checks import MAX_ID_LENGTH
from sequential_core.drive import CALLBACK_CHARACTERS
from sequential_core.errors import InvalidRequestError
from sequential_core.http.problems import MalformedBodyError
from sequential_core.model import Language

#: A larger body is refused. The code may have 256 KiB; an answer that is larger belongs behind a URL of its own.
MAX_BODY_BYTES = 1024 * 1024

# In JSON Schema, since msgspec would check them too, and tell less of what is wrong than the flow does.
ID_PATTERN = "^[^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*$"

_MAX_SECONDS = 36525 * 86400

_Seconds = Annotated[float, Meta(ge=1, le=_MAX_SECONDS)]
_Wait = Annotated[float, Meta(ge=0.001, le=_MAX_SECONDS)]
_Number = Annotated[int, Meta(ge=1, le=2**53 - 1)]


_Patterns = Annotated[
    list[Annotated[str, Meta(extra_json_schema={"format": "sequential-host-pattern"})]], Meta(max_length=100)
]


class Policy(Struct, rename="camel", forbid_unknown_fields=True, frozen=True, kw_only=True, omit_defaults=True):
    """How the requests of a driven task are performed. What is left out, or null, is as it is by default."""

    answers: (
        Annotated[
            Literal["value", "response"],
            Meta(description="What fetch() gives: the JSON or text of a body, or a Response. value if not given."),
        ]
        | None
    ) = None
    attempts: Annotated[int, Meta(ge=1, le=20, description="Of a request, the first included; 5.")] | None = None
    backoff: (
        Annotated[_Wait, Meta(description="Seconds before the second attempt, twice as many before each further; 1.")]
        | None
    ) = None
    max_backoff: Annotated[_Wait, Meta(description="No wait is longer; 300.")] | None = None
    retry_statuses: (
        Annotated[
            list[Annotated[int, Meta(ge=400, le=599)]],
            Meta(max_length=100, description="Asked for again; 408, 425, 429, 500, 502, 503 and 504."),
        ]
        | None
    ) = None
    retry_methods: (
        Annotated[
            list[Annotated[str, Meta(pattern="^[!#$%&'*+\\-.^_`|~0-9A-Za-z]{1,64}$")]],
            Meta(max_length=100, description="Requests with others are sent once; those of HTTP that are known."),
        ]
        | None
    ) = None
    timeout: Annotated[float, Meta(ge=0.001, le=600, description="Seconds, of an attempt; 30.")] | None = None
    response_bytes: (
        Annotated[int, Meta(ge=1, le=5 * 1024 * 1024, description="A longer body rejects; 5 MiB.")] | None
    ) = None
    hops: Annotated[int, Meta(ge=1, le=1_000_000, description="The task may run so often; 10,000.")] | None = None
    duration: Annotated[_Wait, Meta(description="Seconds the task may take; 400 days.")] | None = None
    allow: Annotated[_Patterns, Meta(description="Only these hosts may be called.")] | None = None
    deny: Annotated[_Patterns, Meta(description="These hosts may not be called.")] | None = None


_Drive = Annotated[
    bool | Policy | None,
    Meta(description="Whether a driver performs the requests, and how. true: in the usual way."),
]
_CallbackUrl = (
    Annotated[
        str,
        Meta(
            max_length=CALLBACK_CHARACTERS,
            description="Of a driven task: gets its outcome, as a signed POST.",
            extra_json_schema={"format": "sequential-callback-url"},
        ),
    ]
    | None
)


class ExecuteBody(Struct, rename="camel", forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What `POST /tasks` takes. A field that is null is as one that is not there."""

    code: Annotated[
        str,
        Meta(
            description="The program: a script with top-level await. Its result is the value of the last expression.",
            extra_json_schema={"contentMediaType": "text/javascript"},
        ),
    ]
    id: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=MAX_ID_LENGTH,
                description="The task's id; made if not given.",
                extra_json_schema={"pattern": ID_PATTERN},
            ),
        ]
        | None
    ) = None
    name: Annotated[str, Meta(max_length=MAX_ID_LENGTH, description="A label.")] | None = None
    ttl: Annotated[_Seconds, Meta(description="How long each pause is kept, in seconds.")] | None = None
    retain: (
        Annotated[float, Meta(ge=0, le=_MAX_SECONDS, description="How long the outcome is kept, in seconds; 0: not.")]
        | None
    ) = None
    language: Annotated[Language, Meta(description="What the code is written in; javascript if not given.")] | None = (
        None
    )
    drive: _Drive = None
    callback_url: _CallbackUrl = None


class ResumeBody(Struct, rename="camel", forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What `POST /tasks/{id}/resume` takes: one of `fetchResponse`, `response` and `error`, or none of them.

    A `requestId` or `revision` that is null is as one that is not there.
    """

    fetch_response: Annotated[Any, Meta(description="A JSON value, which fetch() gives as it is.")] = UNSET
    response: Annotated[dict[str, Any], Meta(description="What fetch() gives as a Response.")] | UnsetType = UNSET
    error: Annotated[str, Meta(description="The message with which fetch() rejects.")] | UnsetType = UNSET
    request_id: Annotated[_Number, Meta(description="Which pending request; the oldest if not given.")] | None = None
    revision: (
        Annotated[_Number, Meta(description="The revision that the caller saw; another one is a conflict.")] | None
    ) = None


class DriveBody(Struct, rename="camel", forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What `POST /tasks/{id}/drive` takes."""

    drive: _Drive = None
    callback_url: _CallbackUrl = None


class EventUrlBody(Struct, rename="camel", forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What `POST /tasks/{id}/events/{name}/url` takes."""

    ttl: (
        Annotated[float, Meta(ge=1, le=30 * 86400, description="How long the URL may be used, in seconds; a day.")]
        | None
    ) = None


class EmptyBody(Struct, rename="camel", forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What an operation takes that needs to know nothing: no body, or an empty object."""


Body = TypeVar("Body", ExecuteBody, ResumeBody, DriveBody, EventUrlBody, EmptyBody)


def decode(body: bytes, kind: type[Body]) -> Body:
    """The body of a request.

    Raises:
        MalformedBodyError: it is empty, or not JSON in UTF-8, or not an object.
        InvalidRequestError: a field is missing, unknown, or not of its kind.
    """
    if not body:
        raise MalformedBodyError("a body is needed, and there is none")
    data = decode_value(body)
    if not isinstance(data, dict):
        raise MalformedBodyError("the body must be a JSON object")
    unknown = sorted(data.keys() - set(kind.__struct_encode_fields__))
    if unknown:
        raise InvalidRequestError("request", f"unknown fields: {', '.join(unknown)[:200]}")
    _make_whole(data, "requestId", "revision")
    if isinstance(data.get("response"), dict):
        _make_whole(data["response"], "status")
    if isinstance(drive := data.get("drive"), dict):
        _make_whole(drive, "attempts", "responseBytes", "hops")
        if isinstance(statuses := drive.get("retryStatuses"), list):
            drive["retryStatuses"] = [_whole(status) for status in statuses]
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise _told(str(error)) from None
    except RecursionError:
        raise MalformedBodyError("the body is nested too deeply") from None


def decode_value(body: bytes) -> Any:
    """The JSON value that a body is, None if it is empty.

    Raises:
        MalformedBodyError: it is not JSON in UTF-8.
    """
    if not body:
        return None
    try:
        return json.loads(body.decode(), parse_constant=_refuse)
    except UnicodeDecodeError:
        raise MalformedBodyError("the body is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise MalformedBodyError(f"the body is not JSON: {error}") from None
    except RecursionError:
        raise MalformedBodyError("the body is nested too deeply") from None
    except ValueError:  # Python's own limit: 4,300 digits
        raise MalformedBodyError("a number in the body has too many digits") from None


def policy_of(drive: bool | Policy | None) -> bool | dict[str, Any] | None:
    """What a body asks of a driver, as the flow takes it."""
    return msgspec.to_builtins(drive) if isinstance(drive, Policy) else drive


def _make_whole(data: dict[str, Any], *names: str) -> None:
    """Makes integers of 2.0 and its like, which are integers in JSON Schema too."""
    for name in names:
        if name in data:
            data[name] = _whole(data[name])


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _refuse(constant: str) -> NoReturn:
    raise MalformedBodyError(f"the body is not JSON: it has {constant}")


_MISSING = re.compile(r"Object missing required field `(\w+)`")
_PLACE = re.compile(r"(.*) - at `\$\.([\w.]+).*`")


def _told(message: str) -> InvalidRequestError:
    """What msgspec says, as one of our errors."""
    if missing := _MISSING.fullmatch(message):
        return InvalidRequestError(missing[1], "it is needed")
    if place := _PLACE.fullmatch(message):
        return InvalidRequestError(place[2], place[1][:1].lower() + place[1][1:])
    return InvalidRequestError("request", message)
