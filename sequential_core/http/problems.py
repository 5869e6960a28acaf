"""Problem documents (RFC 9457): what a caller is told when a request is not carried out.

`PROBLEMS` is the only place that knows which error has which HTTP status. A class that is not in it is told by the
nearest of its bases that is. The message of an error is shown only if the caller can act on it: what concerns the
installation (it may name paths, tables, guests) goes to the log, and the caller gets `Problem.detail` in its place.
"""

from __future__ import annotations

import logging
import traceback
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sequential_core import errors

MEDIA_TYPE = "application/problem+json"

#: A type is this and the slug. It is a name, to be compared; a URL would promise a page at some host of ours.
TYPE_PREFIX = "urn:sequential:problem:"

#: Seconds after which a call that met a `RetryableError` is worth repeating.
RETRY_AFTER_SECONDS = 1

_log = logging.getLogger("sequential.http")


# --- What only HTTP can refuse -----------------------------------------------------------------


class RequestError(Exception):
    """A request that no task ever saw. `headers` go with the response."""

    def __init__(self, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.headers = headers or {}


class MalformedBodyError(RequestError):
    """The body is missing, or is not JSON, or not an object."""


class MediaTypeError(RequestError):
    """The body is not said to be JSON, or is compressed."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, {"Accept": "application/json", "Accept-Encoding": "identity"})


class BodyTooLargeError(RequestError):
    """The body is larger than the limit."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"the body may have {limit_bytes} bytes")
        self.limit_bytes = limit_bytes


class UnknownRouteError(RequestError):
    """There is nothing at this path."""

    def __init__(self) -> None:
        super().__init__("there is nothing at this path; /openapi.json lists what there is")


class MethodNotAllowedError(RequestError):
    """The path is known, the method is not one of its methods."""

    def __init__(self, allowed: Iterable[str]) -> None:
        methods = ", ".join(allowed)
        super().__init__(f"this path takes {methods}", {"Allow": methods})


class PreconditionFailedError(RequestError):
    """The task is not at a revision that If-Match names."""

    def __init__(self, task_id: str) -> None:
        super().__init__(f"task {task_id!r} is not at a revision that If-Match names")
        self.task_id = task_id


class UntrustedHostError(RequestError):
    """The Host header names no host that this server is known by."""

    def __init__(self) -> None:
        super().__init__("this server is not known by the name in the Host header")


class EventSentError(RequestError):
    """The token of an event's URL was used before, with another value."""

    def __init__(self) -> None:
        super().__init__("the event was sent before, with another value")


class EventGoneError(RequestError):
    """The token of an event's URL is good, and its task does not want the event any more."""

    def __init__(self) -> None:
        super().__init__("the event is not wanted any more")


class EventNotTakenError(RequestError):
    """The token of an event's URL is good, and its task keeps as many events as it may."""

    def __init__(self) -> None:
        super().__init__("the event cannot be taken yet; try again later")


# --- The table -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Problem:
    """What is told of an error.

    Attributes:
        status, slug, title: of the problem's type; a slug has one status and one title.
        members: attributes of the error that are told too, by their JSON names.
        detail: told in place of the error's message, which is then logged; None: the message is for the caller.
    """

    status: int
    slug: str
    title: str
    members: Mapping[str, str] = field(default_factory=dict)
    detail: str | None = None

    @property
    def type(self) -> str:
        return TYPE_PREFIX + self.slug


_LEFT_AS_IT_WAS = "the request was not carried out; the stored task is as it was"

INTERNAL = Problem(500, "internal-error", "The server failed", detail="the server failed; its log knows more")
_INVALID = Problem(400, "invalid-request", "A field is missing, unknown, or not of its kind", {"field": "field"})
_CONFLICT = Problem(409, "task-conflict", "The task is not at that pause", {"task_id": "taskId"})
_TOO_MANY_EVENTS = Problem(429, "too-many-events", "The task keeps as many events as it may", {"task_id": "taskId"})
_STATE = Problem(500, "state-unusable", "The stored state cannot be resumed", detail=_LEFT_AS_IT_WAS)
_STORAGE = Problem(500, "storage-failed", "The storage failed", detail=_LEFT_AS_IT_WAS)
_BUSY = Problem(503, "try-again", "The same request may work later", detail="nothing was changed; try again")
_UNKNOWN_OUTCOME = Problem(
    503,
    "outcome-unknown",
    "Whether the request was carried out is not known",
    {"task_id": "taskId"},
    detail="repeat the request; with an id, requestId, If-Match or Idempotency-Key it counts once",
)

#: Which problem an error is.
PROBLEMS: dict[type[Exception], Problem] = {
    errors.SequentialError: INTERNAL,
    # The request was wrong.
    errors.CallerError: _INVALID,
    errors.InvalidRequestError: _INVALID,
    errors.InvalidTaskIdError: _INVALID,
    errors.InvalidAnswerError: Problem(400, "invalid-answer", "The answer is missing, ambiguous or not JSON"),
    errors.InvalidStorageURLError: INTERNAL,  # no caller of ours names a storage
    errors.TaskNotFoundError: Problem(404, "task-not-found", "There is no such task", {"task_id": "taskId"}),
    errors.TaskExistsError: Problem(409, "task-exists", "The id is in use, for other code", {"task_id": "taskId"}),
    errors.TaskConflictError: _CONFLICT,
    errors.TaskEndedError: Problem(
        409, "task-ended", "The task has ended", {"task_id": "taskId", "status": "taskStatus"}
    ),
    errors.UnknownRequestError: Problem(
        422,
        "unknown-request",
        "The task never made that request",
        {"task_id": "taskId", "request_id": "requestId", "pending": "pending"},
    ),
    errors.IdempotencyKeyReusedError: Problem(
        422, "idempotency-key-reused", "The Idempotency-Key came before, with another request", {"task_id": "taskId"}
    ),
    errors.TooManyEventsError: _TOO_MANY_EVENTS,
    errors.InvalidEventTokenError: Problem(404, "unknown-event-url", "The URL takes no event, or no longer does"),
    # The posted code was wrong.
    errors.CodeError: Problem(422, "invalid-code", "The code was refused"),
    errors.InvalidCodeError: Problem(422, "invalid-code", "The code was refused"),
    errors.CodeTooLargeError: Problem(
        413, "code-too-large", "The code is too large", {"size_bytes": "sizeBytes", "limit_bytes": "limitBytes"}
    ),
    errors.CodeSyntaxError: Problem(
        422, "code-syntax", "The code does not parse", {"line": "line", "column": "column"}
    ),
    errors.CodeTooComplexError: Problem(422, "code-too-complex", "The types cannot be stripped from the code"),
    # The bytes of a paused program.
    errors.StateError: _STATE,
    errors.StateCorruptedError: _STATE,
    errors.StateFormatError: _STATE,
    errors.GuestMismatchError: _STATE,
    # The installation.
    errors.OperatorError: INTERNAL,
    errors.GuestNotFoundError: INTERNAL,
    errors.StripperNotFoundError: INTERNAL,
    errors.CacheDirectoryError: INTERNAL,
    errors.ConfigurationError: INTERNAL,
    errors.NoSigningKeyError: Problem(
        501,
        "no-signing-key",
        "The server has no signing key",
        detail="the server has no signing key for URLs of events",
    ),
    errors.StorageError: _STORAGE,
    errors.StorageFormatError: _STORAGE,
    errors.StorageFullError: Problem(507, "storage-full", "The storage has no room", detail=_LEFT_AS_IT_WAS),
    # Try again.
    errors.RetryableError: _BUSY,
    errors.StorageBusyError: _BUSY,
    errors.OutcomeUnknownError: _UNKNOWN_OUTCOME,
    # What only HTTP can refuse.
    MalformedBodyError: Problem(400, "malformed-body", "The body is not a JSON object"),
    MediaTypeError: Problem(415, "unsupported-media-type", "The body must be JSON, in UTF-8, not compressed"),
    BodyTooLargeError: Problem(413, "body-too-large", "The body is too large", {"limit_bytes": "limitBytes"}),
    UnknownRouteError: Problem(404, "unknown-route", "There is nothing at this path"),
    MethodNotAllowedError: Problem(405, "method-not-allowed", "The path does not take this method"),
    PreconditionFailedError: Problem(
        412, "precondition-failed", "The task is at another revision", {"task_id": "taskId"}
    ),
    EventSentError: Problem(409, "event-sent", "The event was sent before, with another value"),
    EventGoneError: Problem(410, "event-gone", "The event is not wanted any more"),
    EventNotTakenError: _TOO_MANY_EVENTS,
    UntrustedHostError: Problem(421, "untrusted-host", "The request is for another host"),
}


def problem_of(error: Exception) -> Problem:
    """The problem that an error is: of its class, or else of the nearest base that has one."""
    return next((PROBLEMS[cls] for cls in type(error).__mro__ if cls in PROBLEMS), INTERNAL)


def document(error: Exception) -> dict[str, Any]:
    """The problem document of an error."""
    problem = problem_of(error)
    members = {name: getattr(error, attribute, None) for attribute, name in problem.members.items()}
    return {
        "type": problem.type,
        "title": problem.title,
        "status": problem.status,
        "detail": str(error) if problem.detail is None else problem.detail,
        **{name: value for name, value in members.items() if value is not None},
    }


def headers(error: Exception) -> dict[str, str]:
    """The headers that go with the problem document of an error."""
    extra = {"Retry-After": str(RETRY_AFTER_SECONDS)} if problem_of(error).status == 503 else {}
    return {**extra, **(error.headers if isinstance(error, RequestError) else {})}


def report(error: Exception, operation: str) -> dict[str, Any]:
    """The problem document of an error; one that the operator should know of is logged.

    The log gets neither code nor bodies nor state. Of an error that is not ours it gets the class and the frames, but
    not the message, which may quote any of these. `instance` ties what the caller saw to the line in the log.
    """
    told = document(error)
    if problem_of(error).detail is None:
        return told
    told["instance"] = uuid.uuid4().urn
    if isinstance(error, errors.SequentialError):
        level = logging.WARNING if isinstance(error, errors.RetryableError) else logging.ERROR
        _log.log(level, "%s: %s: %s [%s]", operation, type(error).__name__, error, told["instance"])
    else:
        frames = "".join(traceback.format_tb(error.__traceback__))
        _log.error("%s: %s [%s]\n%s", operation, type(error).__qualname__, told["instance"], frames)
    return told
