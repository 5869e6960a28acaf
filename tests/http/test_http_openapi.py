"""The description: that it says what the code does where schemathesis does not look."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from dataclasses import replace

import msgspec
import pytest
from http_clients import PAUSING

from sequential_core import errors
from sequential_core.http import bodies, openapi, schemas
from sequential_core.http.operations import OPERATIONS
from sequential_core.http.problems import PROBLEMS, RETRY_AFTER_SECONDS, TYPE_PREFIX


@pytest.fixture
def described(client):
    response = client.get("/openapi.json")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "public, max-age=300"
    return response.json()


def operations(described):
    return {each["operationId"]: each for path in described["paths"].values() for each in path.values()}


def test_it_is_the_same_each_time(client):
    assert client.get("/openapi.json").content == client.get("/openapi.json").content


def test_every_operation_is_described(described):
    assert described["openapi"] == "3.1.0"
    routes = {(path, method.upper()) for path, methods in described["paths"].items() for method in methods}
    assert routes == {(operation.path, operation.method) for operation in OPERATIONS}
    assert set(operations(described)) == {operation.id for operation in OPERATIONS}
    assert len({operation.path for operation in OPERATIONS}) == len(described["paths"])


def test_a_task_has_the_fields_that_are_described(client):
    task = client.execute("console.log('x'); await fetch('http://a/a'); null.x", retain=60)
    failed = client.resume(task["id"], 1)
    with_state = client.get(f"/tasks/{task['id']}?include=vmState").json()
    assert set(with_state) == encoded_fields(schemas.Task)
    assert set(task["pausedState"]) == encoded_fields(schemas.PausedState)
    assert set(task["fetchRequest"]) == encoded_fields(schemas.PendingRequest)
    assert set(task["logs"][0]) == encoded_fields(schemas.LogEntry)
    assert set(failed["errorDetail"]) == encoded_fields(schemas.ErrorDetail)
    for each in (task, failed, with_state):
        msgspec.convert(each, schemas.Task)


def test_what_a_task_waits_for_has_the_fields_that_are_described(client):
    task = client.execute("waitForEvent('e', { timeout: 1e6 }); callTool('t', { a: '\\ud800' }); 1")
    assert set(task["eventWaits"][0]) == encoded_fields(schemas.PendingEvent)
    assert set(task["toolCalls"][0]) == encoded_fields(schemas.PendingTool)
    assert set(task["timers"][0]) == encoded_fields(schemas.PendingTimer)
    msgspec.convert(task, schemas.Task)


def test_a_driven_task_has_the_fields_that_are_described(storage, clock, client):
    """As a driver leaves it: with something of each kind."""
    from sequential_core.drive import Callback, Exchange, Retry

    task = client.execute("fetch('http://a/a'); await waitForEvent('e')", drive={"attempts": 2}, id="t")
    assert client.post("/tasks/t/events/other", json=[1]).status_code == 200
    stored = storage.load("t")
    drive = replace(
        stored.drive,
        claim="0123456789abcdef",
        retries=(Retry(1, 1, clock.now, "status 503"),),
        history=(Exchange(1, "http://a/b", 200, 12, 345, 2),),
        log=(("info", "x"),),
        callback=Callback("http://a/c", 1, clock.now, clock.now, "status 500"),
    )
    storage.save(replace(stored, drive=drive, revision=stored.revision + 1), expected_revision=stored.revision)
    driven = client.get("/tasks/t").json()
    told = driven["drive"]
    assert (driven["keptEvents"], told["policy"]) == ([{"name": "other", "value": [1]}], {"attempts": 2})
    assert set(driven["keptEvents"][0]) == encoded_fields(schemas.KeptEvent)
    assert set(told) == encoded_fields(schemas.Drive)
    assert set(told["retries"][0]) == encoded_fields(schemas.Retry)
    assert set(told["history"][0]) == encoded_fields(schemas.Exchange)
    assert set(told["log"][0]) == encoded_fields(schemas.LogEntry)
    assert set(told["callback"]) == encoded_fields(schemas.Callback)
    for each in (task, driven):
        msgspec.convert(each, schemas.Task)


def test_a_policy_has_the_fields_and_limits_that_the_flow_takes():
    from sequential_core import drive

    assert encoded_fields(bodies.Policy) == set(drive._JSON_NAMES.values())
    highest = {"attempts": 20, "responseBytes": 5 * 1024 * 1024, "hops": 1_000_000, "timeout": 600}
    assert drive.Policy.from_dict(msgspec.to_builtins(msgspec.convert(highest, bodies.Policy)))
    for name, value in highest.items():
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({name: value + 1}, bodies.Policy)
        with pytest.raises(errors.InvalidRequestError):
            drive.Policy.from_dict({name: value + 1})


def encoded_fields(kind):
    return set(kind.__struct_encode_fields__)


def test_a_task_comes_without_its_state_unless_it_was_asked_for(described):
    task = described["components"]["schemas"]["Task"]
    assert set(task["properties"]) - set(task["required"]) == {"vmState"}


def test_every_member_of_a_problem_is_described():
    told = {"type", "title", "status", "detail", "instance"}
    members = {name for problem in PROBLEMS.values() for name in problem.members.values()}
    assert encoded_fields(schemas.Problem) == told | members


def test_a_body_has_the_fields_that_the_flow_takes():
    from sequential_core import flow

    key = {"idempotencyKey"}  # a header
    assert encoded_fields(bodies.ExecuteBody) == flow._EXECUTE_FIELDS - key
    assert encoded_fields(bodies.ResumeBody) == flow._RESUME_FIELDS - key - {"id"}


def test_a_response_has_the_fields_that_an_answer_takes():
    from sequential_core import answers

    assert encoded_fields(schemas.Response) == set(answers._RESPONSE_FIELDS)


def test_one_answer_at_most_is_asked_for(described):
    pairs = (("fetchResponse", "response"), ("fetchResponse", "error"), ("response", "error"))
    refused = described["components"]["schemas"]["ResumeBody"]["not"]["anyOf"]
    assert refused == [{"required": list(pair)} for pair in pairs]


def test_every_problem_that_can_be_met_is_described(described):
    """Each error that the flow's methods say they raise, and each that HTTP adds."""
    described_types = {
        name: {
            each
            for response in operation["responses"].values()
            for content in response.get("content", {}).values()
            for each in content["schema"].get("properties", {}).get("type", {}).get("enum", ())
        }
        for name, operation in operations(described).items()
    }

    def types(*classes):
        return {PROBLEMS[cls].type for cls in classes}

    everywhere = types(errors.InvalidRequestError, errors.OperatorError) | {TYPE_PREFIX + "untrusted-host"}
    reading = everywhere | types(errors.StorageError, errors.StorageBusyError)
    writing = reading | types(errors.StorageFullError, errors.OutcomeUnknownError)
    body = {TYPE_PREFIX + slug for slug in ("malformed-body", "unsupported-media-type", "body-too-large")}
    matched = {TYPE_PREFIX + "precondition-failed"}
    gone = types(errors.TaskNotFoundError)
    reused = types(errors.IdempotencyKeyReusedError)
    code = types(errors.CodeSyntaxError, errors.CodeTooLargeError, errors.CodeTooComplexError, errors.InvalidCodeError)
    pause = types(errors.TaskEndedError, errors.UnknownRequestError, errors.InvalidAnswerError, errors.StateError)
    conflict = types(errors.TaskConflictError)
    steering = gone | conflict | types(errors.TaskEndedError)
    event = types(errors.InvalidAnswerError, errors.TooManyEventsError, errors.StateError)
    keyless = types(errors.NoSigningKeyError)
    by_url = {TYPE_PREFIX + slug for slug in ("unknown-event-url", "event-sent", "event-gone")}
    assert described_types == {
        "executeTask": writing | body | code | reused | types(errors.TaskExistsError),
        "resumeTask": writing | body | gone | reused | matched | pause | conflict,
        "getTask": reading | gone | matched,
        "deleteTask": writing | gone | matched | conflict,
        "sendEvent": writing | body | steering | event | reused,
        "createEventUrl": reading | body | gone | keyless | types(errors.TaskEndedError),
        "takeEvent": writing | body | event | keyless | by_url,
        "cancelTask": writing | body | steering | matched,
        "driveTask": writing | body | steering | matched,
        "undriveTask": writing | steering | matched,
        "listTasks": reading,
        "getHealth": everywhere,
        "getDescription": everywhere,
    }
    assert set().union(*described_types.values()) == {problem.type for problem in PROBLEMS.values()} - {
        TYPE_PREFIX + slug for slug in ("unknown-route", "method-not-allowed")
    }


def test_what_may_be_repeated_says_when(described):
    for operation in operations(described).values():
        again = operation["responses"].get("503")
        if again is not None:
            assert again["headers"]["Retry-After"]["required"]
    assert RETRY_AFTER_SECONDS == 1


def test_the_examples_are_true(client, described):
    code = operations(described)["executeTask"]["requestBody"]["content"]["application/json"]["examples"]
    for example in code.values():
        assert client.post("/tasks", json=example["value"]).status_code == 201
    answers = operations(described)["resumeTask"]["requestBody"]["content"]["application/json"]["examples"]
    for example in answers.values():
        task = client.execute(PAUSING)
        response = client.post(f"/tasks/{task['id']}/resume", json=example["value"])
        assert response.status_code == 200, response.text
    for name, path in (("sendEvent", "events/paid"), ("createEventUrl", "events/paid/url"), ("driveTask", "drive")):
        examples = operations(described)[name]["requestBody"]["content"]["application/json"]["examples"]
        for example in examples.values():
            response = client.post(f"/tasks/{client.execute(PAUSING)['id']}/{path}", json=example["value"])
            assert response.status_code == (201 if name == "createEventUrl" else 200), response.text


def test_every_reference_leads_somewhere(described):
    def walk(part):
        if isinstance(part, dict):
            if isinstance(reference := part.get("$ref"), str):
                target = described
                for name in reference.removeprefix("#/").split("/"):
                    target = target[name]
            for each in part.values():
                walk(each)
        elif isinstance(part, list):
            for each in part:
                walk(each)

    walk(described)


def test_no_type_of_the_description_is_unused(described):
    text = json.dumps(described)
    for name, _ in inspect.getmembers(schemas, lambda each: inspect.isclass(each) and issubclass(each, msgspec.Struct)):
        if name != "Struct":
            assert f'"#/components/schemas/{name}"' in text, name


# --- What is imported, which a cold start pays for ---------------------------------------------------------

# The description, the other half of anyio, and what only a server on this machine needs.
NOT_FOR_RUNNING_TASKS = {
    "anyio._backends._asyncio",
    "click",
    "httpx",
    "rich",
    "sequential_core.http.openapi",
    "sequential_core.http.schemas",
    "sequential_core.http.serve",
    "uvicorn",
}

COLD_START = """
import json, sys
from mangum import Mangum
from sequential_core import create_flow
from sequential_core.http import create_app
handler = Mangum(create_app(create_flow("memory:")), lifespan="off")
for body in ({"code": "await fetch('http://a/x')"}, {}):
    answer = handler({
        "version": "2.0", "rawQueryString": "", "headers": {"content-type": "application/json"},
        "requestContext": {"http": {"method": "POST", "path": "/tasks", "sourceIp": "1.2.3.4"}},
        "body": json.dumps(body), "isBase64Encoded": False,
    }, None)
    print(answer["statusCode"])
print(json.dumps(sorted(sys.modules)))
"""


def test_running_a_task_imports_nothing_that_it_does_not_need():
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", COLD_START]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    created, refused, modules = done.stdout.splitlines()
    assert (created, refused) == ("201", "400")
    assert NOT_FOR_RUNNING_TASKS & set(json.loads(modules)) == set()


def test_the_names_that_must_not_be_imported_are_names_of_modules():
    import importlib.util

    for name in NOT_FOR_RUNNING_TASKS:
        assert importlib.util.find_spec(name) is not None, name
    assert openapi.document
