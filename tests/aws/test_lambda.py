"""The functions under Lambda's own runtime, each hop in a fresh process, with ministack's DynamoDB and S3."""

from __future__ import annotations

import json

import pytest

from aws.lambda_emulator import LambdaEmulator
from sequential_core.vm import cache

REFERENCE = (
    'const user = await fetch("https://api.example.com/user/1"); '
    'const posts = await fetch("https://api.example.com/posts"); [user, posts]'
)
USER, POSTS = {"id": 1, "name": "Alice"}, [{"id": 101}, {"id": 102}]


@pytest.fixture
def environment(ministack, table, bucket):
    return {
        "SEQUENTIAL_STORAGE": f"dynamodb://{table}?bucket={bucket}&endpoint={ministack.url}",
        # The package has the guest compiled; here each process would compile it, in a home of its own.
        cache.ENVIRONMENT_VARIABLE: str(cache.directory()),
    }


@pytest.fixture
def invoke(environment):
    """Invokes a handler once, in a process of its own."""

    def invoke(name, event, **more):
        with LambdaEmulator(f"handlers.{name}.handler", {**environment, **more}) as function:
            return function.invoke(event)

    return invoke


def http_event(method, path, body=None, **headers):
    """As an HTTP API of API Gateway sends it."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "application/json", "host": "api.example.com", **headers},
        "requestContext": {
            "apiId": "a1b2c3",
            "domainName": "a1b2c3.execute-api.eu-central-1.amazonaws.com",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "test",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "$default",
            "stage": "$default",
            "timeEpoch": 1795000000000,
        },
        "body": None if body is None else json.dumps(body),
        "isBase64Encoded": False,
    }


def test_reference_program_by_direct_invocation(invoke):
    task = invoke("execute", {"code": REFERENCE, "id": "a/b #1"}).payload
    assert (task["status"], task["fetchRequest"]["url"]) == ("paused", "https://api.example.com/user/1")
    task = invoke("resume", {"id": "a/b #1", "fetchResponse": USER}).payload
    assert invoke("task", {"action": "get", "id": "a/b #1"}).payload == task
    assert [each["id"] for each in invoke("task", {"action": "list"}).payload["tasks"]] == ["a/b #1"]
    task = invoke("resume", {"id": "a/b #1", "fetchResponse": POSTS}).payload
    assert (task["status"], task["result"]) == ("completed", [USER, POSTS])
    assert invoke("task", {"action": "get", "id": "a/b #1"}).error == "TaskNotFoundError"


def test_reference_program_by_http(invoke):
    answer = invoke("api", http_event("POST", "/tasks", {"code": REFERENCE})).payload
    assert answer["statusCode"] == 201
    task = json.loads(answer["body"])
    path = f"/tasks/{task['id']}"
    answer = invoke("api", http_event("POST", f"{path}/resume", {"fetchResponse": USER}, **{"if-match": '"1"'})).payload
    assert (answer["statusCode"], answer["headers"]["etag"]) == (200, '"2"')
    assert json.loads(invoke("api", http_event("GET", path)).payload["body"])["revision"] == 2
    answer = invoke("api", http_event("POST", f"{path}/resume", {"response": {"status": 200}})).payload
    assert json.loads(answer["body"])["status"] == "completed"
    assert invoke("api", http_event("GET", path)).payload["statusCode"] == 404


def test_program_that_one_function_paused_goes_on_in_another_behind_http(invoke):
    task = invoke("execute", {"code": REFERENCE}).payload
    answer = invoke("api", http_event("POST", f"/tasks/{task['id']}/resume", {"fetchResponse": 1})).payload
    assert json.loads(answer["body"])["fetchRequest"]["id"] == 2


def test_failure_is_named_and_has_no_stack_trace(invoke):
    failed = invoke("resume", {"id": "nobody", "fetchResponse": 1})
    assert failed.error == "TaskNotFoundError"
    assert "stackTrace" not in failed.payload or not failed.payload["stackTrace"]
    assert ".py" not in json.dumps(failed.payload)


def test_storage_that_cannot_be_reached_is_not_described_to_the_caller(invoke):
    failed = invoke(
        "resume",
        {"id": "a", "fetchResponse": 1},
        SEQUENTIAL_STORAGE="dynamodb://tasks-secret?endpoint=http://127.0.0.1:9",
    )
    assert failed.error == "StorageBusyError"
    assert "127.0.0.1" not in json.dumps(failed.payload)


def test_missing_setting_stops_the_function_and_is_named(invoke):
    failed = invoke("execute", {"code": "1"}, SEQUENTIAL_STORAGE="")
    assert failed.error is not None
    assert "SEQUENTIAL_STORAGE" in "\n".join(failed.logs) + json.dumps(failed.payload)


def test_metrics_of_a_cold_and_a_warm_call(environment):
    with LambdaEmulator("handlers.execute.handler", environment) as function:
        cold, warm = (function.invoke({"code": 'await fetch("http://a/u")'}) for _ in range(2))
    assert [("ColdStart" in each.metrics[0], each.metrics[0]["Paused"]) for each in (cold, warm)] == [
        (True, [1.0]),
        (False, [1.0]),
    ]


def test_any_string_of_the_codes_gets_out(environment):
    variables = {**environment, "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13"}
    texts = ("\ud800", "日本😀", "\x00")
    with LambdaEmulator("handlers.execute.handler", variables) as function:
        results = [function.invoke({"code": json.dumps(text)}).payload["result"] for text in texts]
    assert results == ["\N{REPLACEMENT CHARACTER}", *texts[1:]]


def test_state_of_5_mb_through_the_functions(invoke):
    noise = "let x = 1, a = []; for (let i = 0; i < 1000000; i++) { x = (x * 48271) % 2147483647; a.push(x / 7); }"
    task = invoke("execute", {"code": f'{noise} await fetch("http://a/u"); a.length'}).payload
    assert task["pausedState"]["stateBytes"] > 5_000_000
    assert invoke("resume", {"id": task["id"], "fetchResponse": 1}).payload["result"] == 1_000_000
