"""What each operation of the API does with a request, without a word about how it came or how it is answered.

They are plain functions, and block: `app` runs them in threads.
"""

from __future__ import annotations

import functools
from urllib.parse import urlencode

from msgspec import UNSET

from sequential_core.answers import UNSET as NOT_GIVEN
from sequential_core.errors import InvalidRequestError, TaskConflictError
from sequential_core.http import driving
from sequential_core.http.bodies import ExecuteBody, ResumeBody, decode, policy_of
from sequential_core.http.calls import (
    Call,
    Operation,
    Reply,
    Takes,
    failed_precondition,
    includes_state,
    is_stored,
    task_reply,
    to_json,
    wanted_revision,
)
from sequential_core.http.headers import entity_tag, entity_tags, idempotency_key, query
from sequential_core.http.paths import encode_id
from sequential_core.http.problems import PreconditionFailedError
from sequential_core.storage.base import MAX_PAGE_SIZE

#: A page ends before it is larger, unless a single task is. Lambda lets a response have 6 MB.
MAX_PAGE_BYTES = 4 * 1024 * 1024

DEFAULT_PAGE_SIZE = 100


def execute(call: Call) -> Reply:
    with_state = includes_state(call)
    body = decode(call.body, ExecuteBody)
    task = call.flow.execute(
        body.code,
        id=body.id,
        name=body.name,
        ttl=body.ttl,
        retain=body.retain,
        idempotency_key=idempotency_key(call.headers),
        language=body.language,
        drive=policy_of(body.drive),
        callback_url=body.callback_url,
    )
    if not is_stored(task):
        return task_reply(call, task, with_state)
    # Relative to /tasks, so that it holds behind a prefix too, such as the stage of an API Gateway.
    return task_reply(call, task, with_state, status=201, Location=f"tasks/{encode_id(task.id)}")


def resume(call: Call) -> Reply:
    with_state = includes_state(call)
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
            revision=wanted_revision(call, wanted, body.revision),
            idempotency_key=key,
        )
    except TaskConflictError as error:
        raise failed_precondition(call, wanted) or error from None
    return task_reply(call, task, with_state)


def get(call: Call) -> Reply:
    with_state = includes_state(call)
    wanted = entity_tags(call.headers, "If-Match")
    known = entity_tags(call.headers, "If-None-Match")
    task = call.flow.get_task(call.task_id)
    if wanted is not None and not wanted.match(task.revision):
        raise PreconditionFailedError(task.id)
    if known is not None and known.match_weakly(task.revision):
        return Reply(304, headers={"ETag": entity_tag(task.revision)})
    return task_reply(call, task, with_state)


def delete(call: Call) -> Reply:
    query(call.query, ())
    wanted = entity_tags(call.headers, "If-Match")
    try:
        call.flow.delete_task(call.task_id, revision=wanted_revision(call, wanted, None))
    except TaskConflictError as error:
        raise failed_precondition(call, wanted) or error from None
    return Reply(204)


def list_tasks(call: Call) -> Reply:
    given = query(call.query, ("status", "limit", "cursor"))
    status, cursor = given.get("status"), given.get("cursor")
    limit = _page_size(given.get("limit", str(DEFAULT_PAGE_SIZE)))
    while True:
        page = call.flow.list_tasks(status=status, limit=limit, cursor=cursor)
        tasks = [to_json(task.to_dict(include_vm_state=False)) for task in page.tasks]
        fitting = _fitting(tasks)
        if fitting == len(tasks):
            break
        limit = fitting  # asked for anew, since only the storage knows the cursor behind these
    reply = Reply(200, b'{"tasks":[%b],"cursor":%b}' % (b",".join(tasks), to_json(page.cursor)))
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

    return to_json(document())


OPERATIONS = (
    Operation("POST", "/tasks", "executeTask", execute, takes=Takes.BODY),
    Operation("GET", "/tasks", "listTasks", list_tasks),
    Operation("GET", "/tasks/{id}", "getTask", get),
    Operation("DELETE", "/tasks/{id}", "deleteTask", delete),
    Operation("POST", "/tasks/{id}/resume", "resumeTask", resume, takes=Takes.BODY),
    *driving.OPERATIONS,
    Operation("GET", "/health", "getHealth", health),
    Operation("GET", "/openapi.json", "getDescription", describe),
)


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
