"""The table of problems, and that nothing else ever reaches a caller."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import re

import pytest
from http_clients import PAUSING, Client

from sequential_core import errors
from sequential_core.errors import SequentialError
from sequential_core.http import create_app, problems
from sequential_core.http.problems import INTERNAL, PROBLEMS, RequestError, problem_of

SECRET = "/var/lib/secret/tasks.db"

#: One of each class that can be raised, with what it is told as.
TOLD = [
    (errors.InvalidRequestError("ttl", "too long"), (400, "invalid-request", {"field": "ttl"})),
    (errors.InvalidTaskIdError("it is empty"), (400, "invalid-request", {"field": "id"})),
    (errors.InvalidAnswerError("none"), (400, "invalid-answer", {})),
    (errors.InvalidStorageURLError(SECRET), (500, "internal-error", {})),
    (errors.TaskNotFoundError("a"), (404, "task-not-found", {"taskId": "a"})),
    (errors.TaskExistsError("a"), (409, "task-exists", {"taskId": "a"})),
    (errors.TaskConflictError("a", "too late"), (409, "task-conflict", {"taskId": "a"})),
    (errors.TaskEndedError("a", "completed"), (409, "task-ended", {"taskId": "a", "taskStatus": "completed"})),
    (
        errors.UnknownRequestError("a", 3, (1, 2)),
        (422, "unknown-request", {"taskId": "a", "requestId": 3, "pending": [1, 2]}),
    ),
    (errors.IdempotencyKeyReusedError("a"), (422, "idempotency-key-reused", {"taskId": "a"})),
    (errors.TooManyEventsError("a", 100, 262144), (429, "too-many-events", {"taskId": "a"})),
    (errors.InvalidEventTokenError(), (404, "unknown-event-url", {})),
    (errors.InvalidCodeError("not text"), (422, "invalid-code", {})),
    (errors.CodeTooLargeError(2, 1), (413, "code-too-large", {"sizeBytes": 2, "limitBytes": 1})),
    (errors.CodeSyntaxError("unexpected token", 1, 2), (422, "code-syntax", {"line": 1, "column": 2})),
    (errors.CodeSyntaxError("unexpected token", None, None), (422, "code-syntax", {})),
    (errors.CodeTooComplexError("it is nested too deeply"), (422, "code-too-complex", {})),
    (errors.StateCorruptedError(SECRET), (500, "state-unusable", {})),
    (errors.StateFormatError(2, 1), (500, "state-unusable", {})),
    (errors.GuestMismatchError("ab" * 32, ("cd" * 32,)), (500, "state-unusable", {})),
    (errors.StripperNotFoundError(), (500, "internal-error", {})),
    (errors.GuestNotFoundError(), (500, "internal-error", {})),
    (errors.CacheDirectoryError(SECRET, "others can write"), (500, "internal-error", {})),
    (errors.ConfigurationError("SEQUENTIAL_STORAGE", SECRET), (500, "internal-error", {})),
    (errors.NoSigningKeyError(), (501, "no-signing-key", {})),
    (errors.StorageError(SECRET), (500, "storage-failed", {})),
    (errors.StorageFullError(SECRET), (507, "storage-full", {})),
    (errors.StorageFormatError(SECRET), (500, "storage-failed", {})),
    (errors.StorageBusyError(SECRET), (503, "try-again", {})),
    (errors.OutcomeUnknownError("a"), (503, "outcome-unknown", {"taskId": "a"})),
    (problems.MalformedBodyError("x"), (400, "malformed-body", {})),
    (problems.MediaTypeError("x"), (415, "unsupported-media-type", {})),
    (problems.BodyTooLargeError(5), (413, "body-too-large", {"limitBytes": 5})),
    (problems.UnknownRouteError(), (404, "unknown-route", {})),
    (problems.MethodNotAllowedError(["GET"]), (405, "method-not-allowed", {})),
    (problems.PreconditionFailedError("a"), (412, "precondition-failed", {"taskId": "a"})),
    (problems.EventSentError(), (409, "event-sent", {})),
    (problems.EventGoneError(), (410, "event-gone", {})),
    (problems.EventNotTakenError(), (429, "too-many-events", {})),
    (problems.UntrustedHostError(), (421, "untrusted-host", {})),
]
BRANCHES = {errors.CallerError, errors.StateError, errors.OperatorError, errors.RetryableError, errors.CodeError}

each_error = pytest.mark.parametrize(
    ("error", "told"),
    TOLD,
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)


def classes(module, root):
    found = [each for _, each in inspect.getmembers(module, inspect.isclass) if issubclass(each, root)]
    return {each for each in found if each.__module__ == module.__name__}


@pytest.fixture
def failing(flow, monkeypatch):
    """Calls an operation of a flow that raises an error."""
    client = Client(create_app(flow))

    def call(error, method="GET", url="/tasks/a", **arguments):
        def fail(*_args, **_options):
            raise error

        for name in ("execute", "resume", "get_task", "delete_task", "list_tasks"):
            monkeypatch.setattr(flow, name, fail, raising=True)
        return client.request(method, url, **arguments)

    return call


def test_every_error_of_ours_has_an_entry_of_its_own():
    ours = classes(errors, SequentialError) | classes(problems, RequestError)
    assert ours - {RequestError} == set(PROBLEMS)


def test_every_error_that_is_raised_is_told_here():
    raised = set(PROBLEMS) - BRANCHES - {SequentialError}
    assert {type(error) for error, _ in TOLD} == raised


def test_a_slug_has_one_status_and_one_title():
    by_slug = {}
    for problem in [*PROBLEMS.values(), INTERNAL]:
        by_slug.setdefault(problem.slug, set()).add((problem.status, problem.title, problem.detail))
    assert {slug: told for slug, told in by_slug.items() if len(told) > 1} == {}


@pytest.mark.parametrize("problem", [*PROBLEMS.values(), INTERNAL], ids=lambda problem: problem.slug)
def test_a_problem_is_well_formed(problem):
    assert 400 <= problem.status <= 599
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", problem.slug)
    assert problem.type == f"urn:sequential:problem:{problem.slug}"
    assert not {"type", "title", "status", "detail", "instance"} & set(problem.members.values())
    assert (problem.detail is not None) == (problem.status >= 500)


def test_an_error_without_an_entry_is_told_by_its_base():
    class NewError(errors.TaskEndedError):
        pass

    class OtherError(OSError):
        pass

    assert problem_of(NewError("a", "completed")) is PROBLEMS[errors.TaskEndedError]
    assert problem_of(OtherError()) is INTERNAL
    assert problem_of(KeyError()) is INTERNAL


@each_error
def test_an_error_is_told_as_the_table_says(failing, check_problem, error, told):
    status, slug, members = told
    response = failing(error)
    problem = check_problem(response, status, slug, **members)
    known = {"type", "title", "status", "detail", *members} | ({"instance"} if status >= 500 else set())
    assert set(problem) == known
    assert response.headers.get("retry-after") == ("1" if status == 503 else None)


@each_error
def test_what_concerns_the_operator_is_logged_and_not_told(failing, caplog, error, told):
    status = told[0]
    response = failing(error)
    assert SECRET not in response.text
    assert SECRET not in str(response.headers)
    if status < 500:
        assert response.json()["detail"] == str(error)
        assert caplog.records == []
        return
    (record,) = caplog.records
    assert record.name == "sequential.http"
    assert record.levelno == (logging.WARNING if status == 503 else logging.ERROR)
    assert response.json()["instance"] in record.getMessage()
    assert str(error) in record.getMessage()
    assert "getTask" in record.getMessage()


OPERATIONS = [
    ("POST /tasks", {"json": {"code": "SECRET CODE"}}, "executeTask"),
    ("GET /tasks", {}, "listTasks"),
    ("GET /tasks/a", {}, "getTask"),
    ("DELETE /tasks/a", {}, "deleteTask"),
    ("DELETE /tasks/a", {"headers": {"If-Match": '"1"'}}, "deleteTask"),
    ("POST /tasks/a/resume", {"json": {"fetchResponse": "SECRET ANSWER"}}, "resumeTask"),
    ("POST /tasks/a/resume", {"json": {"error": ""}, "headers": {"If-Match": '"1", "2"'}}, "resumeTask"),
]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation[2])
def test_what_nobody_thought_of_is_told_without_a_word_about_it(failing, check_problem, caplog, operation):
    request_line, arguments, name = operation
    error = ZeroDivisionError("SECRET CODE and SECRET ANSWER in " + SECRET)
    response = failing(error, *request_line.split(), **arguments)
    problem = check_problem(response, 500, "internal-error")
    assert set(problem) == {"type", "title", "status", "detail", "instance"}
    for text in ("SECRET", "ZeroDivision", "Traceback", ".py", "/"):
        assert text not in response.text
    (record,) = caplog.records
    logged = record.getMessage()
    assert logged.startswith(f"{name}: ZeroDivisionError [{problem['instance']}]\n")
    assert "operations.py" in logged
    assert "SECRET" not in logged
    assert record.exc_info is None


def test_a_failure_outside_of_any_operation_is_told_too(app, client, check_problem, monkeypatch):
    def fail(_scope):
        raise RuntimeError(SECRET)

    monkeypatch.setattr("sequential_core.http.app.encoded_path", fail)
    assert SECRET not in json.dumps(check_problem(client.get("/tasks"), 500, "internal-error"))


def test_a_state_that_is_damaged_leaves_the_task_as_it_is(client, storage, check_problem, caplog):
    from dataclasses import replace

    client.execute(PAUSING, id="a")
    task = storage.load("a")
    storage.save(replace(task, vm_state=b"damaged"))
    check_problem(client.post("/tasks/a/resume", json={"fetchResponse": 1}), 500, "state-unusable")
    assert storage.load("a").vm_state == b"damaged"
    assert "StateCorruptedError" in caplog.text


def test_a_storage_that_is_no_storage_is_told_to_the_operator_only(check_problem, caplog):
    from sequential_core.flow import SequentialFlow

    client = Client(create_app(SequentialFlow("foo://user:password@host/db")))
    response = client.get("/tasks")
    check_problem(response, 500, "internal-error")
    assert "foo" not in response.text
    assert "InvalidStorageURLError" in caplog.text


def test_an_interruption_is_not_swallowed(app, flow, monkeypatch):
    def interrupt(*_):
        raise asyncio.CancelledError

    monkeypatch.setattr("sequential_core.http.app.encoded_path", interrupt)
    with pytest.raises(asyncio.CancelledError):
        Client(app).get("/tasks")


# --- Hosts ---------------------------------------------------------------------------------------------


@pytest.fixture
def known_hosts(flow):
    return Client(create_app(flow, hosts={"localhost", "127.0.0.1", "::1"}))


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8787", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:8787"])
def test_a_known_host(known_hosts, host):
    assert known_hosts.get("/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:8787",
        "localhost.evil.example",
        "evil.example#localhost",
        "localhost:8787:1",
        "localhost@evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.2",
        "::1",
        "[::1",
        "[::1].evil.example",
        ":8787",
        "localhost:x",
    ],
)
@pytest.mark.parametrize("url", ["/health", "/tasks", "/nothing", "/openapi.json"])
def test_another_host(known_hosts, check_problem, host, url):
    check_problem(known_hosts.get(url, headers={"host": host}), 421, "untrusted-host")


def test_two_hosts(known_hosts, check_problem):
    twice = [("host", "localhost"), ("host", "localhost")]
    check_problem(known_hosts.get("/health", headers=twice), 421, "untrusted-host")


def test_any_host_if_none_is_named(client):
    assert client.get("/health", headers={"host": "anything.example"}).status_code == 200


# --- Other protocols -------------------------------------------------------------------------------------


def test_a_websocket_is_closed(app):
    sent = []

    async def connect():
        async def receive():
            return {"type": "websocket.connect"}

        async def send(message):
            sent.append(message)

        scope = {"type": "websocket", "path": "/tasks", "headers": [], "query_string": b"", "root_path": ""}
        await app(scope, receive, send)

    asyncio.run(connect())
    assert [message["type"] for message in sent] == ["websocket.close"]


def test_the_lifespan_is_answered(app):
    sent = []

    async def live():
        events = iter(["lifespan.startup", "lifespan.shutdown"])

        async def receive():
            return {"type": next(events)}

        async def send(message):
            sent.append(message["type"])

        await app({"type": "lifespan"}, receive, send)

    asyncio.run(live())
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
