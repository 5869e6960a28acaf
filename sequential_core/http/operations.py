"""What each operation of the API does with a request, without a word about how it came or how it is answered.

They are plain functions, and block: `app` runs them in threads.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from msgspec import UNSET
from starlette.datastructures import Headers

from sequential_core.answers import UNSET as NOT_GIVEN
from sequential_core.errors import InvalidRequestError, TaskConflictError, TaskNotFoundError
from sequential_core.flow import SequentialFlow
from sequential_core.http.bodies import ExecuteBody, ResumeBody, decode
from sequential_core.http.headers import EntityTags, entity_tag, entity_tags, idempotency_key, query
from sequential_core.http.paths import encode_id
from sequential_core.http.problems import PreconditionFailedError
from sequential_core.model import Task
from sequential_core.storage.base import MAX_PAGE_SIZE

#: A page ends before it is larger, unless a single task is. Lambda lets a response have 6 MB.
MAX_PAGE_BYTES = 4 * 1024 * 1024

DEFAULT_PAGE_SIZE = 100

# No task gets there. It is asked for when no revision will do, so that the flow still finds what else is wrong with the
# request, which comes first: RFC 9110, section 13.2.1.
_NO_REVISION = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Call:
    """A request for an operation."""

    flow: SequentialFlow
    task_id: str
    query: bytes
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """How it is answered. `content` is JSON, or None if there is none. No cache keeps it, unless `headers` say so."""

    status: int
    content: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path.

    Attributes:
        id: its name in the OpenAPI document and in the log.
        takes_body: whether it needs a body, which then must be JSON.
    """

    method: str
    path: str
    id: str
    run: Callable[[Call], Reply]
    takes_body: bool = False


def execute(call: Call) -> Reply:
    with_state = _includes_state(call)
    body = decode(call.body, ExecuteBody)
    task = call.flow.execute(
        body.code,
        id=body.id,
        name=body.name,
        ttl=body.ttl,
        retain=body.retain,
        idempotency_key=idempotency_key(call.headers),
        language=body.language,
    )
    if not _is_stored(task):
        return _task(call, task, with_state)
    # Relative to /tasks, so that it holds behind a prefix too, such as the stage of an API Gateway.
    return _task(call, task, with_state, status=201, Location=f"tasks/{encode_id(task.id)}")


def resume(call: Call) -> Reply:
    with_state = _includes_state(call)
    body = decode(call.body, ResumeBody)
    key = idempotency_key(call.headers)
    wanted = entity_tags(call.headers, "If-Match")
    try:
        task = call.flow.resume(
            call.task_id,
            fetch_response=NOT_GIVEN if body.fetch_response is UNSET else body.fetch_response,
            response=None if body.response is UNSET else body.response,
            error=None if body.error is UNSET else body.error,
            request_id=body.request_id,
            revision=_revision(call, wanted, body.revision),
            idempotency_key=key,
        )
    except TaskConflictError as error:
        raise _precondition(call, wanted) or error from None
    return _task(call, task, with_state)


def get(call: Call) -> Reply:
    with_state = _includes_state(call)
    wanted = entity_tags(call.headers, "If-Match")
    known = entity_tags(call.headers, "If-None-Match")
    task = call.flow.get_task(call.task_id)
    if wanted is not None and not wanted.match(task.revision):
        raise PreconditionFailedError(task.id)
    if known is not None and known.match_weakly(task.revision):
        return Reply(304, headers={"ETag": entity_tag(task.revision)})
    return _task(call, task, with_state)


def delete(call: Call) -> Reply:
    query(call.query, ())
    wanted = entity_tags(call.headers, "If-Match")
    try:
        call.flow.delete_task(call.task_id, revision=_revision(call, wanted, None))
    except TaskConflictError as error:
        raise _precondition(call, wanted) or error from None
    return Reply(204)


def list_tasks(call: Call) -> Reply:
    given = query(call.query, ("status", "limit", "cursor"))
    status, cursor = given.get("status"), given.get("cursor")
    limit = _page_size(given.get("limit", str(DEFAULT_PAGE_SIZE)))
    while True:
        page = call.flow.list_tasks(status=status, limit=limit, cursor=cursor)
        tasks = [_json(task.to_dict(include_vm_state=False)) for task in page.tasks]
        fitting = _fitting(tasks)
        if fitting == len(tasks):
            break
        limit = fitting  # asked for anew, since only the storage knows the cursor behind these
    reply = Reply(200, b'{"tasks":[%b],"cursor":%b}' % (b",".join(tasks), _json(page.cursor)))
    if page.cursor is not None:
        following = urlencode({**given, "cursor": page.cursor})
        reply.headers["Link"] = f'<?{following}>; rel="next"'
    return reply


def health(call: Call) -> Reply:
    query(call.query, ())
    return Reply(200, b'{"status":"ok"}', headers={"Cache-Control": "no-cache"})


def describe(call: Call) -> Reply:
    query(call.query, ())
    return Reply(200, _description(), headers={"Cache-Control": "public, max-age=300"})


@functools.cache
def _description() -> bytes:
    from sequential_core.http.openapi import document  # needed by nobody who only runs tasks

    return _json(document())


OPERATIONS = (
    Operation("POST", "/tasks", "executeTask", execute, takes_body=True),
    Operation("GET", "/tasks", "listTasks", list_tasks),
    Operation("GET", "/tasks/{id}", "getTask", get),
    Operation("DELETE", "/tasks/{id}", "deleteTask", delete),
    Operation("POST", "/tasks/{id}/resume", "resumeTask", resume, takes_body=True),
    Operation("GET", "/health", "getHealth", health),
    Operation("GET", "/openapi.json", "getDescription", describe),
)


def _is_stored(task: Task) -> bool:
    return task.expires_at is not None


def _task(call: Call, task: Task, with_state: bool, status: int = 200, **headers: str) -> Reply:
    if _is_stored(task):
        # One tag, with the state and without: these are two resources, and both change only with the revision.
        headers["ETag"] = entity_tag(task.revision)
    if (seconds := call.flow.seconds_to_wake(task)) is not None:
        headers["Retry-After"] = str(math.ceil(seconds))
    return Reply(status, _json(task.to_dict(include_vm_state=with_state)), headers)


def _json(value: Any) -> bytes:
    # Not msgspec: a result may have integers beyond 64 bits and halves of surrogate pairs, which ASCII has room for.
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def _includes_state(call: Call) -> bool:
    included = query(call.query, ("include",)).get("include")
    if included not in (None, "vmState"):
        raise InvalidRequestError("include", "it must be vmState")
    return included is not None


def _page_size(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= len(text) <= 4 and 1 <= int(text) <= MAX_PAGE_SIZE):
        raise InvalidRequestError("limit", f"it must be a number from 1 to {MAX_PAGE_SIZE}")
    return int(text)


def _fitting(tasks: list[bytes]) -> int:
    """How many of the tasks fit on a page; one always does."""
    size = 0
    for count, task in enumerate(tasks):
        size += len(task)
        if size > MAX_PAGE_BYTES:
            return max(count, 1)
    return len(tasks)


def _revision(call: Call, wanted: EntityTags | None, asked: int | None) -> int | None:
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


def _precondition(call: Call, wanted: EntityTags | None) -> PreconditionFailedError | None:
    """What a conflict is if the request had an If-Match that does not hold; None if it did not, or it does."""
    if wanted is None:
        return None
    try:
        current = call.flow.get_task(call.task_id)
    except TaskNotFoundError:
        return PreconditionFailedError(call.task_id)
    return None if wanted.match(current.revision) else PreconditionFailedError(call.task_id)
