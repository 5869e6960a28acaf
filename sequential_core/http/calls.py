"""What an operation of the API is given and gives back, and what operations share."""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers

from sequential_core.errors import InvalidRequestError, TaskNotFoundError
from sequential_core.flow import SequentialFlow
from sequential_core.http.headers import EntityTags, entity_tag, query
from sequential_core.http.problems import PreconditionFailedError
from sequential_core.model import Task

# No task gets there. It is asked for when no revision will do, so that the flow still finds what else is wrong with the
# request, which comes first: RFC 9110, section 13.2.1.
_NO_REVISION = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Call:
    """A request for an operation.

    Attributes:
        flow: has the tasks.
        task_id, name, token: of the path; empty if it has none.
        query, headers, body: as they came.
        signing_key: gives the key that signs URLs of events; None if there is none.
        public_url: by which callers reach the API.
    """

    flow: SequentialFlow
    task_id: str
    query: bytes
    headers: Headers
    body: bytes
    name: str
    token: str
    signing_key: Callable[[], bytes | None]
    public_url: str


@dataclass(frozen=True, slots=True)
class Reply:
    """How it is answered. `content` is JSON, or None if there is none. No cache keeps it, unless `headers` say so."""

    status: int
    content: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)


class Takes(enum.Enum):
    """Whether an operation has a body. It is JSON then."""

    NO_BODY = enum.auto()
    BODY_OR_NONE = enum.auto()
    BODY = enum.auto()


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path.

    Attributes:
        id: its name in the OpenAPI document and in the log.
    """

    method: str
    path: str
    id: str
    run: Callable[[Call], Reply]
    takes: Takes = Takes.NO_BODY


def is_stored(task: Task) -> bool:
    """Whether the task can be asked for later."""
    return task.expires_at is not None


def task_reply(call: Call, task: Task, with_state: bool = False, status: int = 200, **headers: str) -> Reply:
    """The task, with its ETag and when its first timer is due."""
    if is_stored(task):
        # One tag, with the state and without: these are two resources, and both change only with the revision.
        headers["ETag"] = entity_tag(task.revision)
    if (seconds := call.flow.seconds_to_wake(task)) is not None:
        headers["Retry-After"] = str(math.ceil(seconds))
    return Reply(status, to_json(task.to_dict(include_vm_state=with_state)), headers)


def to_json(value: Any) -> bytes:
    """The value as JSON."""
    # Not msgspec: a result may have integers beyond 64 bits and halves of surrogate pairs, which ASCII has room for.
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def includes_state(call: Call) -> bool:
    """Whether the task was asked for with its state.

    Raises:
        InvalidRequestError: the query asks for something else.
    """
    included = query(call.query, ("include",)).get("include")
    if included not in (None, "vmState"):
        raise InvalidRequestError("include", "it must be vmState")
    return included is not None


def wanted_revision(call: Call, wanted: EntityTags | None, asked: int | None) -> int | None:
    """The revision that If-Match and the body ask for, together.

    Raises:
        InvalidRequestError: they contradict each other.
    """
    if wanted is None or wanted.anything:
        return asked
    if asked is not None:
        if asked not in wanted.strong:
            raise InvalidRequestError("revision", "it contradicts If-Match")
        return asked
    if not wanted.strong:
        return _NO_REVISION
    if len(wanted.strong) == 1:
        return next(iter(wanted.strong))
    current = call.flow.get_task(call.task_id).revision
    return current if current in wanted.strong else max(wanted.strong)


def failed_precondition(call: Call, wanted: EntityTags | None) -> PreconditionFailedError | None:
    """What a conflict is if the request had an If-Match that does not hold; None if it did not, or it does."""
    if wanted is None:
        return None
    try:
        current = call.flow.get_task(call.task_id)
    except TaskNotFoundError:
        return PreconditionFailedError(call.task_id)
    return None if wanted.match(current.revision) else PreconditionFailedError(call.task_id)
