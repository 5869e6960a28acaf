"""The OpenAPI document of the API, made of the tables and types that the API itself works by.

`operations.OPERATIONS` has the paths, `bodies` what is taken, `schemas` what is given back, `problems.PROBLEMS` what
goes wrong. Here is what these do not say: which problems each operation knows, and words. The document is made once,
when it is asked for.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import msgspec

from sequential_core import __version__, errors
from sequential_core.checks import MAX_ID_LENGTH
from sequential_core.http import problems
from sequential_core.http.bodies import ID_PATTERN, DriveBody, EmptyBody, EventUrlBody, ExecuteBody, ResumeBody
from sequential_core.http.calls import Operation, Takes
from sequential_core.http.headers import KEY_PATTERN
from sequential_core.http.operations import DEFAULT_PAGE_SIZE, OPERATIONS
from sequential_core.http.problems import (
    BodyTooLargeError,
    EventGoneError,
    EventNotTakenError,
    EventSentError,
    MalformedBodyError,
    MediaTypeError,
    PreconditionFailedError,
    UntrustedHostError,
)
from sequential_core.http.schemas import Accepted, EventUrl, Health, Problem, Response, Task, TaskPage
from sequential_core.model import Status
from sequential_core.storage.base import MAX_PAGE_SIZE

_ANSWERS = ("fetchResponse", "response", "error")


def _schemas() -> dict[str, Any]:
    taken = (ExecuteBody, ResumeBody, DriveBody, EventUrlBody, EmptyBody)
    kinds = (*taken, Response, Task, TaskPage, EventUrl, Accepted, Health, Problem)
    _, schemas = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    # One of them, or none, for a task that has timers.
    several = [{"required": list(pair)} for pair in itertools.combinations(_ANSWERS, 2)]
    schemas["ResumeBody"]["not"] = {"anyOf": several}
    schemas["ResumeBody"]["properties"]["response"] = {"$ref": "#/components/schemas/Response"}
    return schemas


# --- Parameters --------------------------------------------------------------------------------------

_ENTITY_TAG = '(?:W/)?"[!#-~]*"'
_ENTITY_TAGS = {
    "anyOf": [
        {"type": "string", "const": "*"},
        {"type": "string", "pattern": f"^{_ENTITY_TAG}(?:, ?{_ENTITY_TAG})*$"},
    ]
}

_PARAMETERS: dict[str, dict[str, Any]] = {
    "id": {
        "name": "id",
        "in": "path",
        "required": True,
        "description": "The task's id, percent-encoded: a/b is a%2Fb.",
        "schema": {"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH, "pattern": ID_PATTERN},
        "example": "task-1",
    },
    "name": {
        "name": "name",
        "in": "path",
        "required": True,
        "description": "Of the event.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,128}$"},
        "example": "order.paid",
    },
    "token": {
        "name": "token",
        "in": "path",
        "required": True,
        "description": "The last part of an event's URL.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,3000}$"},
    },
    "include": {
        "name": "include",
        "in": "query",
        "description": "vmState: the task comes with its state.",
        "schema": {"type": "string", "enum": ["vmState"]},
    },
    "status": {
        "name": "status",
        "in": "query",
        "description": "Only tasks of this status.",
        "schema": {"type": "string", "enum": [status.value for status in Status]},
    },
    "limit": {
        "name": "limit",
        "in": "query",
        "description": "At most so many. There may be fewer, and still a cursor.",
        "schema": {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE, "default": DEFAULT_PAGE_SIZE},
    },
    "cursor": {
        "name": "cursor",
        "in": "query",
        "description": "From the page before.",
        "schema": {"type": "string", "format": "sequential-cursor"},
    },
    "idempotency-key": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": (
            "1 to 255 visible ASCII characters, in quotes or not. The same request with the same key is carried out"
            " once; repeated, it gives the task as it now stands. The outcome is then kept for a day at least."
        ),
        "schema": {"type": "string", "pattern": KEY_PATTERN},
        "example": "8e03978e-40d5-43dd-bc93-6894a57f9324",
    },
    "if-match": {
        "name": "If-Match",
        "in": "header",
        "description": "Only if the task is at one of these revisions.",
        "schema": _ENTITY_TAGS,
        "example": '"3"',
    },
    "if-none-match": {
        "name": "If-None-Match",
        "in": "header",
        "description": "304 if the task is at one of these revisions.",
        "schema": _ENTITY_TAGS,
        "example": '"3"',
    },
}

# --- Operations ----------------------------------------------------------------------------------------

_ANYWHERE = (errors.InvalidRequestError, UntrustedHostError, errors.OperatorError)
_READS = (*_ANYWHERE, errors.StorageError, errors.StorageFormatError, errors.StorageBusyError)
_WRITES = (*_READS, errors.StorageFullError, errors.OutcomeUnknownError)
_TAKES_BODY = (MalformedBodyError, MediaTypeError, BodyTooLargeError)

_ETAG = {
    "description": "The revision, in quotes. It is there if the task is stored.",
    "schema": {"type": "string", "pattern": '^"[1-9][0-9]*"$'},
}
_ALWAYS_ETAG = {**_ETAG, "description": "The revision, in quotes.", "required": True}
_RETRY_AFTER = {
    "description": "Seconds until the first timer of the task is due; not there if it has none.",
    "schema": {"type": "integer", "minimum": 0},
}
_LINKS = {
    operation: {"operationId": operation, "parameters": {"id": "$response.body#/id"}}
    for operation in ("resumeTask", "getTask", "deleteTask", "cancelTask", "driveTask", "undriveTask")
}


def _json_of(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _task(description: str, etag: dict[str, Any] = _ETAG, **more: Any) -> dict[str, Any]:
    headers = {"ETag": etag, "Retry-After": _RETRY_AFTER}
    return {"description": description, "content": _json_of("Task"), "headers": headers, **more}


_FIRST_EXAMPLES = {
    "a program": {
        "value": {
            "code": 'const user = await fetch("https://api.example.com/user/1"); user.name',
            "id": "task-1",
            "retain": 3600,
        }
    },
    "a program in TypeScript": {
        "value": {
            "code": 'const user: { name: string } = await fetch("https://api.example.com/user/1"); user.name',
            "language": "typescript",
        }
    },
}
_ANSWER_EXAMPLES = {
    "a value": {"value": {"fetchResponse": {"id": 1, "name": "Alice"}, "requestId": 1}},
    "a response": {"value": {"response": {"status": 404, "headers": {"content-type": "text/plain"}, "body": "none"}}},
    "a failure": {"value": {"error": "the network is down"}},
}

_VALUE_EXAMPLES = {"an approval": {"value": {"approved": True}}, "nothing": {"value": None}}
_DRIVE_EXAMPLES = {
    "in the usual way": {"value": {"drive": True}},
    "with a policy": {
        "value": {"drive": {"attempts": 3, "timeout": 10}, "callbackUrl": "https://example.com/outcomes"}
    },
}
_STEERS = (
    *_WRITES,
    *_TAKES_BODY,
    errors.InvalidTaskIdError,
    errors.TaskNotFoundError,
    errors.TaskConflictError,
    errors.TaskEndedError,
)

_DETAILS: dict[str, dict[str, Any]] = {
    "executeTask": {
        "summary": "Run code until it needs an answer or ends",
        "description": (
            "A task that pauses is stored; one that ends at once is stored only with retain or an Idempotency-Key."
            " The id and the code of a stored task run nothing, and give that task."
        ),
        "parameters": ("include", "idempotency-key"),
        "takes": (ExecuteBody, _FIRST_EXAMPLES),
        "gives": {
            "200": {"description": "The task has ended, and is not stored.", "content": _json_of("Task")},
            "201": _task(
                "The task is stored.",
                headers={
                    "ETag": _ALWAYS_ETAG,
                    "Retry-After": _RETRY_AFTER,
                    "Location": {
                        "description": "The task, relative to this URL.",
                        "required": True,
                        "schema": {"type": "string", "format": "uri-reference"},
                    },
                },
                links=_LINKS,
            ),
        },
        "problems": (
            *_WRITES,
            *_TAKES_BODY,
            errors.InvalidTaskIdError,
            errors.TaskExistsError,
            errors.IdempotencyKeyReusedError,
            errors.InvalidCodeError,
            errors.CodeTooLargeError,
            errors.CodeSyntaxError,
            errors.CodeTooComplexError,
        ),
    },
    "resumeTask": {
        "summary": "Answer a pending request, and run the task on",
        "description": (
            "Of several answers to one request one is taken, and the others are conflicts. The same answer again gives"
            " the task as it now stands, if requestId, revision, If-Match or an Idempotency-Key says which one it is."
        ),
        "parameters": ("id", "include", "if-match", "idempotency-key"),
        "takes": (ResumeBody, _ANSWER_EXAMPLES),
        "gives": {"200": _task("The task, paused again or ended.", links=_LINKS)},
        "problems": (
            *_WRITES,
            *_TAKES_BODY,
            errors.InvalidTaskIdError,
            errors.InvalidAnswerError,
            errors.TaskNotFoundError,
            errors.TaskConflictError,
            errors.TaskEndedError,
            errors.UnknownRequestError,
            errors.IdempotencyKeyReusedError,
            PreconditionFailedError,
            errors.StateError,
        ),
    },
    "sendEvent": {
        "summary": "Send an event to a task",
        "description": (
            "If the program waits for it, it runs on until it needs an answer or ends. If not, the event is kept until"
            " it does."
        ),
        "parameters": ("id", "name", "include", "idempotency-key"),
        "takes": (None, _VALUE_EXAMPLES),
        "gives": {"200": _task("The task.", links=_LINKS)},
        "problems": (
            *_STEERS,
            errors.InvalidAnswerError,
            errors.TooManyEventsError,
            errors.IdempotencyKeyReusedError,
            errors.StateError,
        ),
    },
    "createEventUrl": {
        "summary": "Make a URL that takes an event",
        "description": "Its holder may send this event to this task, once, and learns nothing of it.",
        "parameters": ("id", "name"),
        "takes": (EventUrlBody, {"for an hour": {"value": {"ttl": 3600}}}),
        "gives": {
            "201": {
                "description": "The URL.",
                "content": _json_of("EventUrl"),
                "links": {"takeEvent": {"operationId": "takeEvent", "parameters": {"token": "$response.body#/token"}}},
            }
        },
        "problems": (
            *_READS,
            *_TAKES_BODY,
            errors.InvalidTaskIdError,
            errors.TaskNotFoundError,
            errors.TaskEndedError,
            errors.NoSigningKeyError,
        ),
    },
    "takeEvent": {
        "summary": "Send the event that a URL is for",
        "description": (
            "Nothing but the token says who may. The same value again is accepted again, and changes nothing."
        ),
        "parameters": ("token",),
        "takes": (None, _VALUE_EXAMPLES),
        "gives": {"202": {"description": "The event was taken.", "content": _json_of("Accepted")}},
        "problems": (
            *_WRITES,
            *_TAKES_BODY,
            errors.InvalidEventTokenError,
            errors.InvalidAnswerError,
            errors.NoSigningKeyError,
            errors.StateError,
            EventSentError,
            EventGoneError,
            EventNotTakenError,
        ),
    },
    "cancelTask": {
        "summary": "End a task",
        "description": "With an error of the kind cancelled. A task that was cancelled before stays as it is.",
        "parameters": ("id", "include", "if-match"),
        "takes": (EmptyBody, {}),
        "gives": {"200": _task("The task, which has ended.")},
        "problems": (*_STEERS, PreconditionFailedError),
    },
    "driveTask": {
        "summary": "Hand a task to a driver",
        "description": "It performs the requests from now on; of a task that is driven already the policy changes.",
        "parameters": ("id", "include", "if-match"),
        "takes": (DriveBody, _DRIVE_EXAMPLES),
        "gives": {"200": _task("The task.", _ALWAYS_ETAG, links=_LINKS)},
        "problems": (*_STEERS, PreconditionFailedError),
    },
    "undriveTask": {
        "summary": "Take a task back from its driver",
        "parameters": ("id", "include", "if-match"),
        "gives": {"200": _task("The task, whose caller performs the requests.", _ALWAYS_ETAG, links=_LINKS)},
        "problems": (*(each for each in _STEERS if each not in _TAKES_BODY), PreconditionFailedError),
    },
    "getTask": {
        "summary": "A task",
        "parameters": ("id", "include", "if-match", "if-none-match"),
        "gives": {
            "200": _task("The task.", _ALWAYS_ETAG, links=_LINKS),
            "304": {"description": "It is at a revision of If-None-Match.", "headers": {"ETag": _ALWAYS_ETAG}},
        },
        "problems": (*_READS, errors.InvalidTaskIdError, errors.TaskNotFoundError, PreconditionFailedError),
    },
    "deleteTask": {
        "summary": "Forget a task, whatever its status",
        "parameters": ("id", "if-match"),
        "gives": {"204": {"description": "It is gone."}},
        "problems": (
            *_WRITES,
            errors.InvalidTaskIdError,
            errors.TaskNotFoundError,
            errors.TaskConflictError,
            PreconditionFailedError,
        ),
    },
    "listTasks": {
        "summary": "The stored tasks, newest first",
        "parameters": ("status", "limit", "cursor"),
        "gives": {
            "200": {
                "description": "A page of them.",
                "content": _json_of("TaskPage"),
                "headers": {"Link": {"description": "The next page, if there is one.", "schema": {"type": "string"}}},
            }
        },
        "problems": _READS,
    },
    "getHealth": {
        "summary": "Whether the server answers",
        "gives": {"200": {"description": "It does.", "content": _json_of("Health")}},
        "problems": _ANYWHERE,
    },
    "getDescription": {
        "summary": "This document",
        "gives": {
            "200": {
                "description": "An OpenAPI document.",
                "content": {"application/json": {"schema": {"type": "object", "required": ["openapi", "paths"]}}},
            }
        },
        "problems": _ANYWHERE,
    },
}


def document() -> dict[str, Any]:
    """The OpenAPI document."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sequential",
            "version": __version__,
            "description": (
                "Runs posted JavaScript that pauses at fetch() and goes on when the answer is posted. Errors are"
                " problem documents (RFC 9457). Unknown fields and parameters are refused. Who may call is decided by"
                " what stands before this API."
            ),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": paths,
        "components": {"schemas": _schemas(), "parameters": _PARAMETERS},
    }


def _operation(operation: Operation) -> dict[str, Any]:
    details = _DETAILS[operation.id]
    described: dict[str, Any] = {"operationId": operation.id, "summary": details["summary"]}
    if "description" in details:
        described["description"] = details["description"]
    described["parameters"] = [{"$ref": f"#/components/parameters/{name}"} for name in details.get("parameters", ())]
    if operation.takes is not Takes.NO_BODY:
        kind, examples = details["takes"]
        content: dict[str, Any] = {"application/json": {"schema": {}}} if kind is None else _json_of(kind.__name__)
        if examples:
            content["application/json"]["examples"] = examples
        described["requestBody"] = {"required": operation.takes is Takes.BODY, "content": content}
    described["responses"] = {**details["gives"], **_problem_responses(details["problems"])}
    return described


def _problem_responses(classes: Iterable[type[Exception]]) -> dict[str, Any]:
    """The responses that tell of these errors, one for each status."""
    by_status: dict[int, dict[str, problems.Problem]] = {}
    for cls in classes:
        problem = problems.PROBLEMS[cls]
        by_status.setdefault(problem.status, {})[problem.type] = problem
    return {str(status): _problem_response(status, by_status[status]) for status in sorted(by_status)}


def _problem_response(status: int, by_type: dict[str, problems.Problem]) -> dict[str, Any]:
    schema = {
        "allOf": [{"$ref": "#/components/schemas/Problem"}],
        "properties": {"type": {"enum": sorted(by_type)}, "status": {"const": status}},
    }
    response: dict[str, Any] = {
        "description": "; ".join(sorted({problem.title for problem in by_type.values()})) + ".",
        "content": {problems.MEDIA_TYPE: {"schema": schema}},
    }
    if status == 503:
        after = {"description": "Seconds.", "required": True, "schema": {"type": "integer"}}
        response["headers"] = {"Retry-After": after}
    return response
