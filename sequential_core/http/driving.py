"""What the operations do that steer tasks: events, the end of a task, and whether a driver runs it."""

from __future__ import annotations

from typing import Any

from sequential_core.driver.event_urls import make_event_url, send_by_token
from sequential_core.errors import (
    IdempotencyKeyReusedError,
    RetryableError,
    TaskConflictError,
    TaskEndedError,
    TaskNotFoundError,
    TooManyEventsError,
)
from sequential_core.http.bodies import DriveBody, EmptyBody, EventUrlBody, decode, decode_value, policy_of
from sequential_core.http.calls import (
    Call,
    Operation,
    Reply,
    Takes,
    failed_precondition,
    includes_state,
    task_reply,
    to_json,
    wanted_revision,
)
from sequential_core.http.headers import entity_tags, idempotency_key, query
from sequential_core.http.problems import EventGoneError, EventNotTakenError, EventSentError

_NOTHING = b"{}"


def send_event(call: Call) -> Reply:
    with_state = includes_state(call)
    value = decode_value(call.body)
    task = call.flow.send_event(call.task_id, call.name, value, idempotency_key=idempotency_key(call.headers))
    return task_reply(call, task, with_state)


def make_url(call: Call) -> Reply:
    query(call.query, ())
    body = decode(call.body or _NOTHING, EventUrlBody)
    made = make_event_url(
        call.flow, call.task_id, call.name, key=call.signing_key(), public_url=call.public_url, ttl=body.ttl
    )
    return Reply(201, to_json(made.to_dict()))


def take_event(call: Call) -> Reply:
    """Whoever has the token may send its event, and is told nothing of the task, also if something goes wrong."""
    query(call.query, ())
    value = decode_value(call.body)
    try:
        send_by_token(call.flow, call.token, value, key=call.signing_key())
    except IdempotencyKeyReusedError:
        raise EventSentError from None
    except (TaskNotFoundError, TaskEndedError):
        raise EventGoneError from None
    except TooManyEventsError:
        raise EventNotTakenError from None
    except TaskConflictError as error:
        raise RetryableError(str(error)) from None
    return Reply(202, b'{"accepted":true}')


def cancel(call: Call) -> Reply:
    with_state = includes_state(call)
    decode(call.body or _NOTHING, EmptyBody)
    wanted = entity_tags(call.headers, "If-Match")
    try:
        task = call.flow.cancel_task(call.task_id, revision=wanted_revision(call, wanted, None))
    except TaskConflictError as error:
        raise failed_precondition(call, wanted) or error from None
    return task_reply(call, task, with_state)


def drive(call: Call) -> Reply:
    with_state = includes_state(call)
    body = decode(call.body or _NOTHING, DriveBody)
    policy = policy_of(body.drive)
    return _handed_over(call, with_state, True if policy is None else policy, body.callback_url)


def undrive(call: Call) -> Reply:
    return _handed_over(call, includes_state(call), False, None)


def _handed_over(call: Call, with_state: bool, policy: bool | dict[str, Any], callback_url: str | None) -> Reply:
    wanted = entity_tags(call.headers, "If-Match")
    try:
        revision = wanted_revision(call, wanted, None)
        task = call.flow.drive_task(call.task_id, policy, callback_url=callback_url, revision=revision)
    except TaskConflictError as error:
        raise failed_precondition(call, wanted) or error from None
    return task_reply(call, task, with_state)


OPERATIONS = (
    Operation("POST", "/tasks/{id}/events/{name}", "sendEvent", send_event, Takes.BODY_OR_NONE),
    Operation("POST", "/tasks/{id}/events/{name}/url", "createEventUrl", make_url, Takes.BODY_OR_NONE),
    Operation("POST", "/events/{token}", "takeEvent", take_event, Takes.BODY_OR_NONE),
    Operation("POST", "/tasks/{id}/cancel", "cancelTask", cancel, Takes.BODY_OR_NONE),
    Operation("POST", "/tasks/{id}/drive", "driveTask", drive, Takes.BODY_OR_NONE),
    Operation("DELETE", "/tasks/{id}/drive", "undriveTask", undrive),
)
