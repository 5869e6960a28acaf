"""Ids of any kind in paths: from a server that gives the raw path, and through Mangum, which does not."""

from __future__ import annotations

import asyncio
import base64
import json
from urllib.parse import quote, unquote

import pytest
from http_clients import PAUSING, Client
from hypothesis import given
from hypothesis import strategies as st
from mangum import Mangum
from starlette.applications import Starlette
from starlette.routing import Mount

from sequential_core.http.paths import decode_id, encode_id, encoded_path
from sequential_core.http.problems import MEDIA_TYPE

IDS = [
    "task-1",
    "a/b",
    "/",
    "a//b",
    "a/",
    "a#b",
    "#",
    "a?b=c",
    "a b",
    "a+b",
    "a%b",
    "a%2Fb",
    "%",
    "..",
    "a\\b",
    "a&b=c;d",
    "Zürich",
    "日本語/タスク",
    "🐍" * 256,
    "x" * 256,
    "resume",
    "a/resume",
    "resume/resume",
    "tasks/x",
    "'\"<>`{}|^",
]


def walk(call, task_id):
    """Executes, reads, resumes, repeats and deletes a task."""
    path = "/tasks/" + quote(task_id, safe="")
    created = call("POST", "/tasks", {"code": PAUSING, "id": task_id, "retain": 60})
    assert created["statusCode"] == 201
    assert created["headers"]["location"] == path[1:]
    assert created["body"]["id"] == task_id
    assert call("GET", path)["body"] == created["body"]
    assert call("HEAD", path)["statusCode"] == 200
    resumed = call("POST", f"{path}/resume", {"fetchResponse": 7})
    assert (resumed["statusCode"], resumed["body"]["result"]) == (200, 7)
    assert call("GET", path)["body"] == resumed["body"]
    assert call("DELETE", path)["statusCode"] == 204
    assert call("GET", path)["statusCode"] == 404


@pytest.mark.parametrize("task_id", IDS)
def test_an_id_of_any_kind(client, task_id):
    def call(method, path, body=None):
        response = client.request(method, path, json=body)
        return {
            "statusCode": response.status_code,
            "headers": response.headers,
            "body": response.json() if response.content else None,
        }

    if task_id == "..":  # httpx takes it for a step up, as a browser would; encoded it is not one
        quoted = client.request("GET", "/tasks/%2E%2E")
        assert quoted.json()["taskId"] == ".."
        return
    walk(call, task_id)


BAD_SEGMENTS = ["%", "%2", "%zz", "%ff", "%C3", "a%00", "a%0Ab", "%E2%80%A8", "%ED%A0%80", "x" * 257, "%C2%80"]


@pytest.mark.parametrize("segment", BAD_SEGMENTS, ids=lambda value: value[:20])
@pytest.mark.parametrize("end", ["", "/resume"])
def test_a_segment_that_is_no_id(app, check_problem, segment, end):
    method, body = ("POST", b'{"fetchResponse": 1}') if end else ("GET", b"")
    status, headers, content = asyncio.run(send(app, method, f"/tasks/{segment}{end}".encode(), body))
    assert status == 400
    assert headers["content-type"] == MEDIA_TYPE
    problem = json.loads(content)
    assert problem["field"] == "id"
    decodable = segment in {"a%00", "a%0Ab", "%E2%80%A8", "%C2%80", "x" * 257}
    assert ("percent-encoded" in problem["detail"]) != decodable


def test_a_path_that_is_not_ascii_is_refused(app):
    status, _, content = asyncio.run(send(app, "GET", b"/tasks/\xff", b""))
    assert (status, json.loads(content)["field"]) == (400, "id")


async def send(app, method, raw_path, body):
    """Calls an application with a path that no client would send."""
    messages = []

    async def receive():
        return {"type": "http.request", "body": body}

    async def keep(message):
        messages.append(message)

    path = raw_path.decode("latin-1")
    scope = {
        "type": "http",
        "method": method,
        "path": unquote(path),
        "raw_path": raw_path,
        "query_string": b"",
        "root_path": "",
        "headers": [(b"content-type", b"application/json")],
    }
    await app(scope, receive, keep)
    headers = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
    return messages[0]["status"], headers, b"".join(message.get("body", b"") for message in messages[1:])


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_an_id_that_is_encoded_is_decoded(task_id):
    segment = encode_id(task_id)
    assert "/" not in segment
    assert decode_id(segment) == task_id


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.sampled_from(["", "/api", "/tasks"]),
    st.sampled_from([("GET", ""), ("DELETE", ""), ("POST", "/resume")]),
)
def test_a_decoded_path_is_encoded_again(task_id, root, operation):
    method, end = operation
    scope = {"method": method, "path": f"{root}/tasks/{task_id}{end}", "root_path": root, "raw_path": None}
    assert encoded_path(scope) == f"{root}/tasks/{encode_id(task_id)}{end}"


@pytest.mark.parametrize(
    "path", ["/tasks", "/tasks/", "/health", "/openapi.json", "/", "", "/tasksx/y", "/other/tasks/a/b"]
)
def test_another_decoded_path_stays_as_it_is(path):
    assert encoded_path({"method": "GET", "path": path, "root_path": "", "raw_path": None}) == path


def test_a_prefix_that_the_path_does_not_have_is_not_taken_away():
    scope = {"method": "GET", "path": "/tasks/a/b", "root_path": "/tasks/a", "raw_path": None}
    assert encoded_path(scope) == "/tasks/a%2Fb"
    assert encoded_path({"method": "GET", "path": "/tasks/a/b"}) == "/tasks/a%2Fb"


def test_resuming_a_task_without_an_id_is_nothing_known():
    assert encoded_path({"method": "POST", "path": "/tasks//resume"}) == "/tasks//resume"
    assert encoded_path({"method": "POST", "path": "/tasks/a-longer-id"}) == "/tasks/a-longer-id"


def test_the_app_can_be_mounted(app):
    client = Client(Starlette(routes=[Mount("/api", app)]))
    task = client.post("/api/tasks", json={"code": PAUSING, "id": "a/b#c"})
    assert task.headers["location"] == "tasks/a%2Fb%23c"
    assert client.get("/api/tasks/a%2Fb%23c").json() == task.json()
    assert client.get("/api/nothing").json()["type"].endswith("unknown-route")


def test_the_app_can_stand_behind_a_prefix(app):
    client = Client(app, root_path="/prefix")
    client.post("/prefix/tasks", json={"code": PAUSING, "id": "a/b"})
    assert client.get("/prefix/tasks/a%2Fb").json()["id"] == "a/b"


# --- Through Mangum --------------------------------------------------------------------------------------

HEADERS = {
    "accept": "*/*",
    "content-type": "application/json",
    "host": "r3pmxmplak.execute-api.eu-central-1.amazonaws.com",
    "user-agent": "curl/8.5.0",
    "x-amzn-trace-id": "Root=1-5e6722a7-cc56xmpl46db7ae02d4da47e",
    "x-forwarded-for": "205.255.255.176",
    "x-forwarded-port": "443",
    "x-forwarded-proto": "https",
}


def http_api(method, path, query, body):
    """An event of an HTTP API, payload format 2.0: the path is decoded, all but %25."""
    decoded = "%25".join(unquote(part) for part in path.split("%25"))
    event = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": decoded,
        "rawQueryString": query,
        "headers": HEADERS,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "r3pmxmplak",
            "domainName": "r3pmxmplak.execute-api.eu-central-1.amazonaws.com",
            "domainPrefix": "r3pmxmplak",
            "http": {
                "method": method,
                "path": decoded,
                "protocol": "HTTP/1.1",
                "sourceIp": "205.255.255.176",
                "userAgent": "curl/8.5.0",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "$default",
            "stage": "$default",
            "time": "10/Mar/2020:05:16:23 +0000",
            "timeEpoch": 1583817383220,
        },
        "isBase64Encoded": False,
    }
    return event if body is None else {**event, "body": body}


def http_api_in_base64(method, path, query, body):
    event = http_api(method, path, query, body)
    if body is None:
        return event
    return {**event, "body": base64.b64encode(body.encode()).decode(), "isBase64Encoded": True}


def function_url(method, path, query, body):
    """An event of a function URL: as of an HTTP API, but the path is as it came."""
    event = http_api(method, "", query, body)
    domain = "ymxmpl3tmlkqzzgw2fhpsmzixm0cqidi.lambda-url.eu-central-1.on.aws"
    context = event["requestContext"]
    context = {**context, "domainName": domain, "http": {**context["http"], "path": path}}
    return {**event, "rawPath": path, "headers": {**HEADERS, "host": domain}, "requestContext": context}


def rest_api(method, path, query, body):
    """An event of a REST API: the path is as it came, the stage is not part of it."""
    pairs = [pair.split("=") for pair in query.split("&") if pair]
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": HEADERS,
        "multiValueHeaders": {name: [value] for name, value in HEADERS.items()},
        "queryStringParameters": dict(pairs) or None,
        "multiValueQueryStringParameters": {
            name: [value for other, value in pairs if other == name] for name, _ in pairs
        }
        or None,
        "pathParameters": {"proxy": path[1:]},
        "stageVariables": None,
        "requestContext": {
            "resourceId": "2gxmpl",
            "resourcePath": "/{proxy+}",
            "httpMethod": method,
            "extendedRequestId": "JJbxmplHYosFVYQ=",
            "requestTime": "10/Mar/2020:00:03:59 +0000",
            "path": f"/prod{path}",
            "accountId": "123456789012",
            "protocol": "HTTP/1.1",
            "stage": "prod",
            "domainPrefix": "70ixmpl4fl",
            "requestTimeEpoch": 1583798639428,
            "requestId": "77375676-xmpl-4b79-853a-f982474efe18",
            "identity": {"sourceIp": "205.255.255.176", "userAgent": "curl/8.5.0"},
            "domainName": "70ixmpl4fl.execute-api.eu-central-1.amazonaws.com",
            "apiId": "70ixmpl4fl",
        },
        "body": body,
        "isBase64Encoded": False,
    }


EVENTS = [http_api, http_api_in_base64, function_url, rest_api]


@pytest.fixture
def loop():
    """Mangum wants an event loop to be there."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield loop
    asyncio.set_event_loop(None)
    loop.close()


@pytest.fixture
def invoke(loop, app):
    handler = Mangum(app, lifespan="off", text_mime_types=["application/json", MEDIA_TYPE])

    def invoke(event, method, path, body=None, query=""):
        answer = handler(event(method, path, query, None if body is None else json.dumps(body)), None)
        assert answer["isBase64Encoded"] is False
        return {**answer, "body": json.loads(answer["body"]) if answer["body"] else None}

    return invoke


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("task_id", IDS)
def test_an_id_of_any_kind_through_mangum(invoke, event, task_id):
    walk(lambda *arguments: invoke(event, *arguments), task_id)


@pytest.mark.parametrize("event", EVENTS)
def test_the_same_problems_through_mangum(invoke, event):
    def slug(*arguments, **options):
        answer = invoke(event, *arguments, **options)
        assert answer["headers"]["content-type"] == MEDIA_TYPE
        return answer["statusCode"], answer["body"]["type"].rpartition(":")[2]

    assert slug("GET", "/") == (404, "unknown-route")
    assert slug("GET", "/tasks/") == (404, "unknown-route")
    assert slug("PUT", "/tasks") == (405, "method-not-allowed")
    assert slug("POST", "/tasks/x", {}) == (405, "method-not-allowed")
    assert slug("GET", "/tasks/x") == (404, "task-not-found")
    assert slug("POST", "/tasks/x/resume", {"error": ""}) == (404, "task-not-found")
    assert slug("POST", "/tasks") == (400, "malformed-body")
    assert slug("POST", "/tasks", []) == (400, "malformed-body")
    assert slug("POST", "/tasks", {"x": 1}) == (400, "invalid-request")
    assert slug("POST", "/tasks", {"code": "1" * 2_000_000}) == (413, "body-too-large")
    assert slug("GET", "/tasks", query="limit=1&limit=2") == (400, "invalid-request")
    assert slug("GET", "/tasks", query="x=1") == (400, "invalid-request")


@pytest.mark.parametrize("event", EVENTS)
def test_the_query_and_the_headers_through_mangum(invoke, event):
    task = invoke(event, "POST", "/tasks", {"code": PAUSING, "id": "x"}, query="include=vmState")
    assert task["body"]["vmState"]
    assert task["headers"]["etag"] == '"1"'
    page = invoke(event, "GET", "/tasks", query="limit=1&status=paused")
    assert [each["id"] for each in page["body"]["tasks"]] == ["x"]


def test_a_base_path_that_mangum_takes_away(loop, app):
    handler = Mangum(app, lifespan="off", api_gateway_base_path="/v1")
    created = handler(http_api("POST", "/v1/tasks", "", json.dumps({"code": PAUSING, "id": "a/b"})), None)
    assert (created["statusCode"], created["headers"]["location"]) == (201, "tasks/a%2Fb")
    assert handler(http_api("GET", "/v1/tasks/a%2Fb", "", None), None)["statusCode"] == 200
