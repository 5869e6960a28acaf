"""Requests that are refused: each with the right status, as a problem document, and with nothing changed."""

from __future__ import annotations

import json

import httpx
import pytest
from http_clients import PAUSING

from sequential_core.http.bodies import MAX_BODY_BYTES

JSON = {"content-type": "application/json"}


@pytest.fixture(autouse=True)
def nothing_changes(client, storage):
    """The task `paused` is there before, and is the only one and the same after."""
    before = client.execute("await Promise.all([fetch('http://a/a'), fetch('http://a/b')])", id="paused")
    yield
    assert client.get("/tasks").json()["tasks"] == [before]


BODIES = [
    (b"", 400, "malformed-body"),
    (b"  ", 400, "malformed-body"),
    (b"{", 400, "malformed-body"),
    (b"{}}", 400, "malformed-body"),
    (b"[]", 400, "malformed-body"),
    (b"null", 400, "malformed-body"),
    (b'"code"', 400, "malformed-body"),
    (b'{"code": "\xff"}', 400, "malformed-body"),
    (b'\xef\xbb\xbf{"code": "1"}', 400, "malformed-body"),
    ('{"code": "1"}'.encode("utf-16"), 400, "malformed-body"),
    (b'{"code": "1", "ttl": NaN}', 400, "malformed-body"),
    (b'{"code": "1", "ttl": Infinity}', 400, "malformed-body"),
    (b'{"code": "1", "ttl": -Infinity}', 400, "malformed-body"),
    (b'{"code": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "malformed-body"),
    (b'{"code": "1", "ttl": ' + b"1" * 5000 + b"}", 400, "malformed-body"),
    (b"x" * (MAX_BODY_BYTES + 1), 413, "body-too-large"),
    (b'{"code": "1"}' + b" " * 10_000_000, 413, "body-too-large"),
    (b"{}", 400, "invalid-request"),
    (b'{"code": null}', 400, "invalid-request"),
    (b'{"code": 1}', 400, "invalid-request"),
    (b'{"code": ["1"]}', 400, "invalid-request"),
    (b'{"code": "1", "ttl": "60"}', 400, "invalid-request"),
    (b'{"code": "1", "ttl": true}', 400, "invalid-request"),
    (b'{"code": "1", "ttl": 0}', 400, "invalid-request"),
    (b'{"code": "1", "ttl": 0.5}', 400, "invalid-request"),
    (b'{"code": "1", "ttl": -60}', 400, "invalid-request"),
    (b'{"code": "1", "ttl": 1e12}', 400, "invalid-request"),
    (b'{"code": "1", "ttl": 1e999}', 400, "invalid-request"),
    (b'{"code": "1", "retain": -1}', 400, "invalid-request"),
    (b'{"code": "1", "id": ""}', 400, "invalid-request"),
    (b'{"code": "1", "id": 7}', 400, "invalid-request"),
    (b'{"code": "1", "id": "a\\nb"}', 400, "invalid-request"),
    (b'{"code": "1", "id": "\\ud800"}', 400, "invalid-request"),
    (b'{"code": "1", "id": "' + b"x" * 257 + b'"}', 400, "invalid-request"),
    (b'{"code": "1", "name": "' + b"x" * 257 + b'"}', 400, "invalid-request"),
    (b'{"code": "1", "nmae": "x"}', 400, "invalid-request"),
    (b'{"code": "1", "idempotencyKey": "x"}', 400, "invalid-request"),
    (b'{"code": "1", "storage": "memory:"}', 400, "invalid-request"),
    (b'{"code": "\\ud800"}', 422, "invalid-code"),
    (b'{"code": "let a ="}', 422, "code-syntax"),
    (b'{"code": "' + b"1" * 300_000 + b'"}', 413, "code-too-large"),
    (b'{"code": "1", "id": "paused"}', 409, "task-exists"),
]


@pytest.mark.parametrize(("body", "status", "slug"), BODIES, ids=lambda value: repr(value)[:40])
def test_a_bad_body_of_execute(client, check_problem, body, status, slug):
    check_problem(client.post("/tasks", content=body, headers=JSON), status, slug)


ANSWERS = [
    (b"", 400, "malformed-body"),
    (b"[]", 400, "malformed-body"),
    (b'{"fetchResponse": NaN}', 400, "malformed-body"),
    (b'{"fetchResponse": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "malformed-body"),
    (b'{"fetchResponse": "' + b"x" * MAX_BODY_BYTES + b'"}', 413, "body-too-large"),
    (b"{}", 400, "invalid-answer"),
    (b'{"requestId": 1}', 400, "invalid-answer"),
    (b'{"fetchResponse": 1, "error": "x"}', 400, "invalid-answer"),
    (b'{"fetchResponse": null, "response": {}}', 400, "invalid-answer"),
    (b'{"fetchResponse": ' + b"[" * 600 + b"]" * 600 + b"}", 400, "invalid-answer"),
    (b'{"fetchResponse": 1e999}', 400, "invalid-answer"),
    (b'{"response": {"status": 199}}', 400, "invalid-answer"),
    (b'{"response": {"status": 200.5}}', 400, "invalid-answer"),
    (b'{"response": {"stauts": 200}}', 400, "invalid-answer"),
    (b'{"response": {"headers": {"a b": "c"}}}', 400, "invalid-answer"),
    (b'{"response": {"headers": {"a": "c\\r\\nd: e"}}}', 400, "invalid-answer"),
    (b'{"response": null}', 400, "invalid-request"),
    (b'{"response": []}', 400, "invalid-request"),
    (b'{"error": null}', 400, "invalid-request"),
    (b'{"error": 1}', 400, "invalid-request"),
    (b'{"fetchResponse": 1, "requestId": 0}', 400, "invalid-request"),
    (b'{"fetchResponse": 1, "requestId": "1"}', 400, "invalid-request"),
    (b'{"fetchResponse": 1, "requestId": true}', 400, "invalid-request"),
    (b'{"fetchResponse": 1, "requestId": 1.5}', 400, "invalid-request"),
    (b'{"fetchResponse": 1, "revision": 9007199254740992}', 400, "invalid-request"),
    (b'{"fetchResponse": 1, "revision": -1}', 400, "invalid-request"),
    (b'{"fetchResponse": 1, "id": "paused"}', 400, "invalid-request"),
    (b'{"fetchResponse": 1, "idempotencyKey": "k"}', 400, "invalid-request"),
    (b'{"fetchResponse": 1, "requestId": 3}', 422, "unknown-request"),
    (b'{"fetchResponse": 1, "revision": 2}', 409, "task-conflict"),
]


@pytest.mark.parametrize(("body", "status", "slug"), ANSWERS, ids=lambda value: repr(value)[:50])
def test_a_bad_body_of_resume(client, check_problem, body, status, slug):
    check_problem(client.post("/tasks/paused/resume", content=body, headers=JSON), status, slug)


MEDIA_TYPES = [
    ({}, 415),
    ({"content-type": ""}, 415),
    ({"content-type": "text/plain"}, 415),
    ({"content-type": "application/x-www-form-urlencoded"}, 415),
    ({"content-type": "application/jsonp"}, 415),
    ({"content-type": "application/+json"}, 415),
    ({"content-type": "text/json"}, 415),
    ({"content-type": "application/json, text/plain"}, 415),
    ({"content-type": "text/plain; a=application/json"}, 415),
    ({"content-type": "application/json; charset=latin-1"}, 415),
    ({"content-type": "application/json; charset=utf-16"}, 415),
    ({"content-type": "application/json", "content-encoding": "gzip"}, 415),
    ({"content-type": "application/json"}, 200),
    ({"content-type": "Application/JSON; Charset=UTF-8"}, 200),
    ({"content-type": 'application/json;charset="utf-8"'}, 200),
    ({"content-type": "application/json; profile=x; charset=utf-8"}, 200),
    ({"content-type": "application/json; profile=x; charset=ascii"}, 415),
    ({"content-type": "application/vnd.example+json"}, 200),
    ({"content-type": "application/json", "content-encoding": "identity"}, 200),
]


@pytest.mark.parametrize(("headers", "status"), MEDIA_TYPES)
def test_the_body_must_be_said_to_be_json(client, check_problem, headers, status):
    response = client.post("/tasks", content=b'{"code": "1"}', headers=headers)
    if status == 200:
        assert response.status_code == 200
    else:
        check_problem(response, status, "unsupported-media-type")
        assert response.headers["accept"] == "application/json"


def test_a_content_type_that_comes_twice_is_refused(client, check_problem):
    twice = [("content-type", "application/json"), ("content-type", "application/json")]
    check_problem(client.post("/tasks", content=b'{"code": "1"}', headers=twice), 415, "unsupported-media-type")


ROUTES = [
    ("GET /", 404, None),
    ("GET /tasks/", 404, None),
    ("POST /tasks/", 404, None),
    ("GET /tasks//", 404, None),
    ("GET /task", 404, None),
    ("GET //tasks", 404, None),
    ("GET /Tasks", 404, None),
    ("GET /%74asks", 404, None),
    ("GET /tasks/paused/", 404, None),
    ("POST /tasks/paused/resume/", 404, None),
    ("POST /tasks//resume", 404, None),
    ("GET /tasks/a/b", 404, None),
    ("GET /health/", 404, None),
    ("GET /openapi", 404, None),
    ("PUT /tasks", 405, "GET, HEAD, POST"),
    ("DELETE /tasks", 405, "GET, HEAD, POST"),
    ("OPTIONS /tasks", 405, "GET, HEAD, POST"),
    ("POST /tasks/paused", 405, "DELETE, GET, HEAD"),
    ("PATCH /tasks/paused", 405, "DELETE, GET, HEAD"),
    ("GET /tasks/paused/resume", 405, "POST"),
    ("DELETE /tasks/paused/resume", 405, "POST"),
    ("POST /health", 405, "GET, HEAD"),
    ("TRACE /openapi.json", 405, "GET, HEAD"),
]


@pytest.mark.parametrize(("request_line", "status", "allowed"), ROUTES)
def test_a_path_or_a_method_that_is_not_known(client, check_problem, request_line, status, allowed):
    method, path = request_line.split()
    # The whole URL, which httpx would otherwise join and so mend.
    response = client.request(method, httpx.URL("http://localhost").copy_with(raw_path=path.encode()))
    check_problem(response, status, {404: "unknown-route", 405: "method-not-allowed"}[status])
    assert response.headers.get("allow") == allowed


QUERIES = [
    ("GET", "/tasks/paused?includes=vmState"),
    ("GET", "/tasks/paused?include=vmstate"),
    ("GET", "/tasks/paused?include="),
    ("GET", "/tasks/paused?include"),
    ("GET", "/tasks/paused?include=vmState&include=vmState"),
    ("GET", "/tasks/paused?include=%ff"),
    ("GET", "/tasks/paused?" + "&".join(f"a{number}=1" for number in range(100))),
    ("POST", "/tasks?include=all"),
    ("POST", "/tasks?id=x"),
    ("POST", "/tasks/paused/resume?revision=1"),
    ("DELETE", "/tasks/paused?force=1"),
    ("GET", "/health?x=1"),
    ("GET", "/openapi.json?x=1"),
    ("GET", "/tasks?page=2"),
    ("GET", "/tasks?status=open"),
    ("GET", "/tasks?status="),
    ("GET", "/tasks?limit=0"),
    ("GET", "/tasks?limit=1001"),
    ("GET", "/tasks?limit=-1"),
    ("GET", "/tasks?limit=1e2"),
    ("GET", "/tasks?limit="),
    ("GET", "/tasks?limit=%D9%A1"),
    ("GET", "/tasks?limit=" + "9" * 5000),
    ("GET", "/tasks?limit=1&limit=1"),
    ("GET", "/tasks?cursor="),
    ("GET", "/tasks?cursor=x"),
    ("GET", "/tasks?cursor=bnVsbA%3D%3D"),
]


@pytest.mark.parametrize(("method", "url"), QUERIES, ids=lambda value: value[:50])
def test_a_bad_query(client, check_problem, method, url):
    body = (
        {"json": {"code": PAUSING} if url.startswith("/tasks?") else {"fetchResponse": 1}} if method == "POST" else {}
    )
    check_problem(client.request(method, url, **body), 400, "invalid-request")


def test_every_unknown_field_is_named(client, check_problem):
    response = client.post("/tasks", json={"code": "1", "nmae": 1, "tll": 2})
    assert "nmae, tll" in check_problem(response, 400, "invalid-request")["detail"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "code"),
        ({"code": 1}, "code"),
        ({"code": "1", "ttl": "x"}, "ttl"),
        ({"code": "1", "retain": {}}, "retain"),
        ({"code": "1", "id": "\x00"}, "id"),
        ({"code": "1", "name": []}, "name"),
        ({"code": "1", "x": []}, "request"),
    ],
)
def test_the_field_that_is_wrong_is_named(client, check_problem, body, field):
    problem = check_problem(client.post("/tasks", json=body), 400, "invalid-request", field=field)
    assert problem["detail"].startswith(f"{field}: ")


def test_the_place_in_the_code_is_named(client, check_problem):
    response = client.post("/tasks", json={"code": "1;\n  let let = 1"})
    check_problem(response, 422, "code-syntax", line=2, column=7)


def test_a_body_that_is_missing_is_told_from_one_that_is_broken(client, check_problem):
    for path in ("/tasks", "/tasks/paused/resume"):
        problem = check_problem(client.post(path, headers=JSON), 400, "malformed-body")
        assert problem["detail"] == "a body is needed, and there is none"


def test_durations_have_the_bounds_that_are_described(client, check_problem):
    described = client.get("/openapi.json").json()["components"]["schemas"]["ExecuteBody"]["properties"]
    for name in ("ttl", "retain"):
        (bounds,) = [each for each in described[name]["anyOf"] if each["type"] == "number"]
        for seconds in (bounds["minimum"], bounds["maximum"]):
            task = client.execute(id="other", **{name: seconds})
            assert task[name] == (seconds or None)
            client.delete("/tasks/other")
        for seconds in (bounds["minimum"] - 0.1, bounds["maximum"] + 1):
            response = client.post("/tasks", json={"code": PAUSING, name: seconds})
            check_problem(response, 400, "invalid-request", field=name)


def test_a_body_may_have_the_limit_but_not_more(client, check_problem):
    assert MAX_BODY_BYTES == 1024 * 1024
    body = json.dumps({"code": "1"}).encode()
    whole = body + b" " * (MAX_BODY_BYTES - len(body))
    assert client.post("/tasks", content=whole, headers=JSON).status_code == 200
    check_problem(client.post("/tasks", content=whole + b" ", headers=JSON), 413, "body-too-large")


def test_a_body_that_does_not_say_how_long_it_is_is_counted(client, check_problem):
    async def body():
        for _ in range(65):
            yield b" " * 16 * 1024

    response = client.post("/tasks", content=body(), headers=JSON)
    check_problem(response, 413, "body-too-large", limitBytes=MAX_BODY_BYTES)


@pytest.mark.parametrize("length", [str(MAX_BODY_BYTES + 1), "9" * 30, "9" * 10_000])
def test_a_body_that_says_it_is_too_long_is_not_read(client, check_problem, length):
    async def body():
        pytest.fail("it was read")
        yield b""

    headers = {**JSON, "content-length": length}
    check_problem(client.post("/tasks", content=body(), headers=headers), 413, "body-too-large")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_body_that_nobody_asked_for_is_not_read(client, method, check_problem):
    async def body():
        pytest.fail("it was read")
        yield b""

    check_problem(client.request(method, "/tasks/other", content=body()), 404, "task-not-found")


def test_what_comes_first_is_told(client, check_problem):
    check_problem(client.post("/nothing", content=b"{"), 404, "unknown-route")
    check_problem(client.request("PUT", "/tasks", content=b"{"), 405, "method-not-allowed")
    check_problem(client.post("/tasks?x=1", content=b"{"), 415, "unsupported-media-type")
    check_problem(client.post("/tasks/nothing/resume", content=b"{", headers=JSON), 400, "malformed-body")
    check_problem(client.post("/tasks/nothing/resume", json={"fetchResponse": 1}), 404, "task-not-found")


def test_a_conflict_and_an_end_are_told_apart(client, check_problem):
    client.execute("await fetch('http://a/a'); await fetch('http://a/b')", id="other", retain=60)
    client.resume("other", 1, requestId=1)
    response = client.post("/tasks/other/resume", json={"fetchResponse": 2, "requestId": 1})
    check_problem(response, 409, "task-conflict", taskId="other")
    client.resume("other", 2, requestId=2)
    response = client.post("/tasks/other/resume", json={"fetchResponse": 3, "requestId": 2})
    check_problem(response, 409, "task-ended", taskId="other", taskStatus="completed")
    client.delete("/tasks/other")


def test_an_unknown_request_is_told_with_the_pending_ones(client, check_problem):
    response = client.post("/tasks/paused/resume", json={"fetchResponse": 1, "requestId": 9})
    check_problem(response, 422, "unknown-request", taskId="paused", requestId=9, pending=[1, 2])
