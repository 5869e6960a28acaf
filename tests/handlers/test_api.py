"""The HTTP API behind each kind of gateway, with the events that are in `events/`."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from sequential_core.storage import aws

EVENTS = Path(__file__).parents[2] / "events"

TWO = 'const a = await fetch("https://api.test/a"); const b = await fetch("https://api.test/b"); [a, b]'

GATEWAYS = ("api-http-v2-execute.json", "api-rest-v1.json", "api-function-url.json")


def load(name):
    return json.loads((EVENTS / name).read_text())


def request(gateway, method, path, body=None, *, encoded=False, **headers):
    """A request as a gateway gives it to the function; `body` is text."""
    event = load(gateway)
    given = {"content-type": "application/json", **headers}
    given = {name: value for name, value in given.items() if value is not None}
    if event.get("version") == "2.0":
        event["rawPath"] = path
        event["requestContext"]["http"].update(method=method, path=path)
        event["headers"] = given
    else:
        event.update(path=path, httpMethod=method, headers=given)
        event["multiValueHeaders"] = {name: [value] for name, value in given.items()}
    event["isBase64Encoded"] = encoded
    event["body"] = base64.b64encode(body.encode()).decode() if encoded and body is not None else body
    return event


def problem(answer):
    """Status and type of a problem document."""
    headers = {name.lower(): value for name, value in answer["headers"].items()}
    assert headers["content-type"] == "application/problem+json"
    assert answer["isBase64Encoded"] is False
    document = json.loads(answer["body"])
    assert document["status"] == answer["statusCode"]
    for secret in ("Traceback", ".py", "/work", "/var/task", "site-packages"):
        assert secret not in answer["body"]
    return answer["statusCode"], document["type"].rpartition(":")[2]


@pytest.fixture
def api(call):
    return lambda event: call("api", event)


@pytest.mark.parametrize("gateway", GATEWAYS)
@pytest.mark.parametrize("encoded", [False, True])
def test_task_from_its_beginning_to_its_end(api, gateway, encoded):
    answer = api(request(gateway, "POST", "/tasks", json.dumps({"code": TWO}), encoded=encoded))
    assert answer["statusCode"] == 201
    task = json.loads(answer["body"])
    path = f"/tasks/{task['id']}"
    for number, status in ((1, "paused"), (2, "completed")):
        body = json.dumps({"fetchResponse": number})
        answer = api(request(gateway, "POST", f"{path}/resume", body, encoded=encoded, **{"if-match": f'"{number}"'}))
        assert (answer["statusCode"], json.loads(answer["body"])["status"]) == (200, status)
    assert json.loads(answer["body"])["result"] == [1, 2]
    assert problem(api(request(gateway, "GET", path))) == (404, "task-not-found")


@pytest.mark.parametrize("name", sorted(path.name for path in EVENTS.glob("api-*.json")))
def test_event_of_the_folder_is_understood(api, name):
    api(load("api-http-v2-execute.json"))
    answer = api(load(name))
    assert answer["statusCode"] in {200, 201, 204}, answer


@pytest.mark.parametrize("name", ["execute", "resume", "task-get", "task-list", "task-delete"])
def test_direct_event_of_the_folder_is_understood(call, name):
    call("execute", load("execute.json"))
    assert call(name.partition("-")[0], load(f"{name}.json"))


@pytest.mark.parametrize("gateway", GATEWAYS)
@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "expected"),
    [
        ("POST", "/tasks", None, {}, (400, "malformed-body")),
        ("POST", "/tasks", "", {}, (400, "malformed-body")),
        ("POST", "/tasks", "{", {}, (400, "malformed-body")),
        ("POST", "/tasks", "[]", {}, (400, "malformed-body")),
        ("POST", "/tasks", '"code"', {}, (400, "malformed-body")),
        ("POST", "/tasks", '{"code": NaN}', {}, (400, "malformed-body")),
        ("POST", "/tasks", "[" * 100_000, {}, (400, "malformed-body")),
        ("POST", "/tasks", "{}", {}, (400, "invalid-request")),
        ("POST", "/tasks", '{"code": 1}', {}, (400, "invalid-request")),
        ("POST", "/tasks", '{"code": "1", "storage": "memory:"}', {}, (400, "invalid-request")),
        ("POST", "/tasks", '{"code": "1 +"}', {}, (422, "code-syntax")),
        ("POST", "/tasks", '{"code": "1", "id": ""}', {}, (400, "invalid-request")),
        ("POST", "/tasks", '{"code": "1", "ttl": -1}', {}, (400, "invalid-request")),
        ("POST", "/tasks", '{"code": "1"}', {"content-type": "text/plain"}, (415, "unsupported-media-type")),
        ("POST", "/tasks", '{"code": "1"}', {"content-type": None}, (415, "unsupported-media-type")),
        ("POST", "/tasks", '{"code": "1"}', {"idempotency-key": "é"}, (400, "invalid-request")),
        ("POST", "/tasks", " " * 10_000_000, {}, (413, "body-too-large")),
        ("POST", "/tasks/a/resume", '{"fetchResponse": 1}', {}, (404, "task-not-found")),
        ("POST", "/tasks/a/resume", "{}", {}, (404, "task-not-found")),
        ("POST", "/tasks/a/resume", '{"fetchResponse": 1, "error": "x"}', {}, (400, "invalid-answer")),
        ("POST", "/tasks/a/resume", '{"fetchResponse": 1}', {"if-match": "1"}, (400, "invalid-request")),
        ("GET", "/tasks/a", None, {}, (404, "task-not-found")),
        ("GET", "/tasks/" + "a" * 257, None, {}, (400, "invalid-request")),
        ("DELETE", "/tasks/a", None, {}, (404, "task-not-found")),
        ("PATCH", "/tasks/a", None, {}, (405, "method-not-allowed")),
        ("GET", "/", None, {}, (404, "unknown-route")),
        ("GET", "/nothing", None, {}, (404, "unknown-route")),
        ("GET", "/tasks/", None, {}, (404, "unknown-route")),
    ],
)
def test_bad_request_is_a_problem(api, gateway, method, path, body, headers, expected):  # noqa: PLR0917
    assert problem(api(request(gateway, method, path, body, **headers))) == expected


@pytest.mark.parametrize("gateway", GATEWAYS)
@pytest.mark.parametrize("task_id", ["a#b", "a/b", "a b/resume", "日本?", "100%"])
def test_task_with_any_id(api, gateway, task_id):
    answer = api(request(gateway, "POST", "/tasks", json.dumps({"code": TWO, "id": task_id})))
    assert json.loads(answer["body"])["id"] == task_id
    # A gateway decodes the path.
    assert api(request(gateway, "GET", f"/tasks/{task_id}"))["statusCode"] == 200
    answer = api(request(gateway, "POST", f"/tasks/{task_id}/resume", '{"fetchResponse": 1}'))
    assert json.loads(answer["body"])["revision"] == 2


@pytest.mark.parametrize(
    ("gateway", "url"),
    [
        ("api-http-v2-execute.json", "https://a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com/events/"),
        ("api-rest-v1.json", "https://a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com/live/events/"),
        ("api-function-url.json", "https://abcdefghijklmnopqrstuvwxyz012345.lambda-url.eu-central-1.on.aws/events/"),
    ],
)
def test_url_of_an_event_leads_back_by_the_way_that_its_caller_came(start, context, moto_aws, gateway, url):
    secret = aws.client("secretsmanager").create_secret(Name="key", SecretString="k" * 64)["ARN"]
    handler = start("api", SEQUENTIAL_SIGNING_KEY_SECRET=secret).handler
    host = {"host": load(gateway)["requestContext"]["domainName"], "x-forwarded-proto": "https"}
    code = json.dumps({"code": "await waitForEvent('paid')", "id": "a/b"})
    handler(request(gateway, "POST", "/tasks", code, **host), context)
    made = handler(request(gateway, "POST", "/tasks/a/b/events/paid/url", "{}", **host), context)
    assert made["statusCode"] == 201, made
    given = json.loads(made["body"])
    assert given["url"] == url + given["token"]
    taken = handler(request(gateway, "POST", f"/events/{given['token']}", "7", host=host["host"]), context)
    assert (taken["statusCode"], json.loads(taken["body"])) == (202, {"accepted": True})


def test_without_a_key_there_are_no_urls_of_events(api):
    api(request(GATEWAYS[0], "POST", "/tasks", json.dumps({"code": "await waitForEvent('paid')", "id": "a"})))
    status, _ = problem(api(request(GATEWAYS[0], "POST", "/tasks/a/events/paid/url", "{}")))
    assert status == 501


def test_body_that_is_not_base64_though_it_says_so(api):
    event = request(GATEWAYS[0], "POST", "/tasks", '{"code": "1"}')
    status, _ = problem(api({**event, "isBase64Encoded": True}))
    assert status == 400


@pytest.mark.parametrize("event", [None, [], "text", {}, {"Records": []}, {"version": "2.0"}], ids=str)
def test_event_that_is_none_of_a_gateway(api, event):
    assert problem(api(event)) == (400, "malformed-body")


@pytest.mark.parametrize("event", [{"requestContext": {}}, {"requestContext": {}, "version": "2.0"}], ids=str)
def test_event_that_lacks_what_a_gateway_gives(api, event):
    assert problem(api(event)) == (400, "malformed-body")
