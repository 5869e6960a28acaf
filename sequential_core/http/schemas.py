"""What the API gives back, as types: the JSON forms of `model`, for the OpenAPI document.

Nothing is made by them: `Task.to_dict` is the JSON form of a task. The tests hold the two together.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from sequential_core.checks import MAX_ID_LENGTH
from sequential_core.http.bodies import Policy
from sequential_core.model import ErrorKind, Language, Status

_Encoding = Annotated[Literal["base64"] | None, Meta(description="base64 if the body is bytes, null if it is text.")]


class PendingRequest(Struct, rename="camel"):
    """A call of fetch() that waits for its answer."""

    id: Annotated[int, Meta(ge=1, description="Counts the calls of the task.")]
    kind: Literal["fetch"]
    url: str
    method: str
    headers: Annotated[dict[str, str], Meta(description="The names are in lower case.")]
    body: str | None
    body_encoding: _Encoding
    redirect: Annotated[
        Literal["follow", "error", "manual"],
        Meta(description="What to do with a redirect; manual: it is the response."),
    ]


_Name = Annotated[str, Meta(pattern="^[A-Za-z0-9_.:-]{1,128}$")]


class PendingTool(Struct, rename="camel"):
    """A call of callTool() that waits for what the tool gives."""

    id: Annotated[int, Meta(ge=1, description="Counts the calls of the task.")]
    kind: Literal["tool"]
    name: _Name
    args: Annotated[Any, Meta(description="Any JSON value.")]


class PendingEvent(Struct, rename="camel"):
    """A call of waitForEvent() that waits for the event."""

    id: Annotated[int, Meta(ge=1, description="Counts the calls of the task.")]
    kind: Literal["event"]
    name: _Name


class PendingTimer(Struct, rename="camel"):
    """A timer that waits."""

    id: int
    kind: Literal["timer"]
    due_at: datetime


class PausedState(Struct, rename="camel"):
    """Where a paused task stands."""

    line: Annotated[int | None, Meta(description="Of the call of the oldest pending request.")]
    column: int | None
    hops: Annotated[int, Meta(ge=1, description="How often the program has run so far.")]
    requests: Annotated[int, Meta(ge=0, description="How many requests it has made so far.")]
    pending: Annotated[list[int], Meta(description="Ids of the pending requests of every kind, oldest first.")]
    state_bytes: Annotated[int, Meta(ge=1)]
    timers: Annotated[int, Meta(ge=0, description="How many timers wait.")]
    wake_at: Annotated[
        datetime | None, Meta(description="When the first of them is due: resume the task then, without an answer.")
    ]


class ErrorDetail(Struct):
    """The parts of a task's error."""

    kind: ErrorKind
    name: str
    message: str
    line: Annotated[int | None, Meta(description="In the posted code, counted from 1.")]
    column: int | None
    stack: str


class LogEntry(Struct):
    """One call of console."""

    level: str
    message: str


class KeptEvent(Struct):
    """An event that came before the code waits for it."""

    name: _Name
    value: Annotated[Any, Meta(description="Any JSON value.")]


class Retry(Struct, rename="camel"):
    """A request that failed and is tried again."""

    request_id: Annotated[int, Meta(ge=1)]
    attempts: Annotated[int, Meta(ge=1, description="How many have failed.")]
    next_at: datetime
    problem: Annotated[str, Meta(description="Of the last one.")]


class Exchange(Struct, rename="camel"):
    """A request of a driven task, as it was answered."""

    hop: Annotated[int, Meta(ge=1, description="The hop that took the answer.")]
    url: Annotated[str, Meta(description="Without its query; tool: and a name if it was a tool.")]
    status: int | None
    milliseconds: Annotated[int, Meta(ge=0, description="Of the last attempt.")]
    bytes: Annotated[int, Meta(ge=0, description="Of the body.")]
    attempts: Annotated[int, Meta(ge=1)]


class Callback(Struct, rename="camel"):
    """Who is told the outcome."""

    url: str
    attempts: Annotated[int, Meta(ge=0)]
    next_at: Annotated[datetime | None, Meta(description="null: not before the task ends, or not any more.")]
    delivered_at: datetime | None
    problem: str | None


class Drive(Struct, rename="camel"):
    """How a driver performs the requests of a task, and where that stands."""

    policy: Annotated[Policy, Meta(description="What differs from the defaults.")]
    claim: Annotated[str | None, Meta(description="Names the driver that is at the task; null if none is.")]
    due_at: Annotated[datetime | None, Meta(description="From then on a driver looks at it.")]
    next_attempt_at: Annotated[datetime | None, Meta(description="The first of the retries.")]
    retries: list[Retry]
    history: Annotated[list[Exchange], Meta(max_length=50, description="The latest requests, oldest first.")]
    log: Annotated[list[LogEntry], Meta(max_length=20, description="The end of the console, over all hops.")]
    callback: Callback | None


class EventUrl(Struct, rename="camel"):
    """A URL that takes one event, once."""

    url: str
    token: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]+$", description="The last part of the URL.")]
    expires_at: datetime


class Accepted(Struct):
    """That an event was taken. Of its task it says nothing."""

    accepted: bool


class Task(Struct, rename="camel"):
    """A program and where it stands."""

    id: Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH)]
    name: str | None
    status: Status
    result: Annotated[Any, Meta(description="The value of the last expression, once completed.")]
    error: Annotated[str | None, Meta(description="Such as TypeError: bad; null if the task did not fail.")]
    error_detail: ErrorDetail | None
    fetch_request: Annotated[PendingRequest | None, Meta(description="The oldest; null if there is none.")]
    fetch_requests: Annotated[list[PendingRequest], Meta(description="The pending calls of fetch(), oldest first.")]
    tool_calls: Annotated[list[PendingTool], Meta(description="Those of callTool().")]
    event_waits: Annotated[list[PendingEvent], Meta(description="Those of waitForEvent().")]
    timers: Annotated[list[PendingTimer], Meta(max_length=16, description="Those that are due first.")]
    paused_state: PausedState | None
    logs: Annotated[list[LogEntry], Meta(description="What the code wrote to console in the last hop.")]
    revision: Annotated[int, Meta(ge=1, description="Counts the saves. The ETag is this number, in quotes.")]
    created_at: datetime
    updated_at: datetime
    expires_at: Annotated[
        datetime | None, Meta(description="From then on the task does not exist; null: it is not stored.")
    ]
    ttl: Annotated[float, Meta(description="Seconds for which a pause is kept.")]
    retain: Annotated[float | None, Meta(description="Seconds for which the outcome is kept; null: it is not.")]
    language: Annotated[Language, Meta(description="What the code is written in.")]
    code_sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    taken: Annotated[
        list[list[int | str]],
        Meta(description='The latest answers: request, revision, digest, digest of the key, "event" if it was one.'),
    ]
    kept_events: Annotated[list[KeptEvent], Meta(max_length=100, description="Oldest first.")]
    drive: Annotated[Drive | None, Meta(description="null: the caller performs the requests.")]
    vm_state: Annotated[
        str | UnsetType | None,
        Meta(description="The paused program, in base64; only with ?include=vmState, and null unless paused."),
    ] = UNSET


class TaskPage(Struct):
    """A part of the list of tasks."""

    tasks: list[Task]
    cursor: Annotated[str | None, Meta(description="Give it to get what comes after; null at the end.")]


class Health(Struct):
    """That the server answers. It says nothing of the storage."""

    status: Annotated[str, Meta(pattern="^ok$")]


class Problem(Struct, rename="camel"):
    """A problem document (RFC 9457)."""

    type: Annotated[str, Meta(description="A name, to be compared; there is no page behind it.")]
    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: str
    instance: Annotated[str | UnsetType, Meta(description="Also in the server's log.")] = UNSET
    field: Annotated[str | UnsetType, Meta(description="The field, parameter or header that is wrong.")] = UNSET
    task_id: str | UnsetType = UNSET
    task_status: str | UnsetType = UNSET
    request_id: int | UnsetType = UNSET
    pending: list[int] | UnsetType = UNSET
    line: int | UnsetType = UNSET
    column: int | UnsetType = UNSET
    size_bytes: int | UnsetType = UNSET
    limit_bytes: int | UnsetType = UNSET


_HeaderValue = Annotated[str, Meta(pattern="^[\\u0001-\\u0009\\u000b\\u000c\\u000e-\\u00ff]*$")]


class Response(Struct, rename="camel", forbid_unknown_fields=True):
    """What fetch() gives as a Response."""

    status: Annotated[int, Meta(ge=200, le=599)] = 200
    status_text: str = ""
    headers: Annotated[
        dict[
            Annotated[str, Meta(pattern="^[!#$%&'*+\\-.^_`|~0-9A-Za-z]+$")],
            _HeaderValue | Annotated[list[_HeaderValue], Meta(min_length=1)],
        ],
        Meta(description="Header names and their values; a list for one that comes several times, as Set-Cookie does."),
    ] = {}
    body: Annotated[Any, Meta(description="Text or null; another JSON value becomes its JSON.")] = None
    body_encoding: _Encoding = None
    url: str = ""
    redirected: bool = False
