"""What a caller does who makes no mistake."""

from __future__ import annotations

import base64
import json
from urllib.parse import urljoin

import pytest
from http_clients import PAUSING, Client

from sequential_core.flow import SequentialFlow
from sequential_core.http import create_app
from sequential_core.limits import Limits


def test_a_program_that_pauses_is_created(client):
    response = client.post("/tasks", json={"code": PAUSING, "id": "task-1", "name": "Ada", "ttl": 60, "retain": 90})
    assert response.status_code == 201
    assert response.headers["content-type"] == "application/json"
    assert response.headers["location"] == "tasks/task-1"
    assert response.headers["etag"] == '"1"'
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"
    task = response.json()
    assert (task["id"], task["name"], task["status"], task["ttl"], task["retain"]) == (
        "task-1",
        "Ada",
        "paused",
        60,
        90,
    )
    assert task["fetchRequest"]["url"] == "https://api.example.com/user/1"
    assert client.get("/tasks/task-1").json() == task


def test_the_location_leads_to_the_task_behind_a_prefix_too(client):
    for task_id in ("plain", "a/b #é?"):
        response = client.post("/tasks", json={"code": PAUSING, "id": task_id})
        location = urljoin("http://localhost/stage/tasks", response.headers["location"])
        assert location.startswith("http://localhost/stage/tasks/")
        assert client.get(location.removeprefix("http://localhost/stage")).json()["id"] == task_id


def test_a_program_that_ends_at_once_is_not_stored(client):
    response = client.post("/tasks", json={"code": "1 + 1", "id": "ended"})
    assert response.status_code == 200
    assert response.json()["result"] == 2
    assert "location" not in response.headers
    assert "etag" not in response.headers
    assert client.get("/tasks/ended").status_code == 404


def test_a_program_that_fails_is_no_failure_of_the_request(client):
    response = client.post("/tasks", json={"code": "\nnull.x", "retain": 60})
    assert response.status_code == 201
    task = response.json()
    assert task["status"] == "error"
    assert task["error"].startswith("TypeError: ")
    assert (task["errorDetail"]["kind"], task["errorDetail"]["line"]) == ("exception", 2)


def test_a_program_in_typescript(client, check_problem):
    code = 'const user: { name: string } = await fetch("https://api.example.com/user/1"); user.name as string'
    response = client.post("/tasks", json={"code": code, "id": "typed", "language": "typescript"})
    assert (response.status_code, response.json()["language"]) == (201, "typescript")
    done = client.post("/tasks/typed/resume", json={"fetchResponse": {"name": "Ada"}})
    assert (done.json()["result"], done.json()["language"]) == ("Ada", "typescript")
    assert client.post("/tasks", json={"code": "1", "language": None}).json()["language"] == "javascript"
    check_problem(client.post("/tasks", json={"code": code}), 422, "code-syntax", line=1, column=11)


def test_typescript_that_is_refused(client, check_problem):
    refused = client.post("/tasks", json={"code": "\nenum Color {}", "language": "typescript"})
    problem = check_problem(refused, 422, "code-syntax", line=2, column=1)
    assert "TypeScript enum is not supported" in problem["detail"]
    deep = client.post("/tasks", json={"code": "(" * 200_000, "language": "typescript"})
    assert "nested too deeply" in check_problem(deep, 422, "code-too-complex")["detail"]


def test_the_same_code_in_another_language_is_other_code(client, check_problem):
    client.post("/tasks", json={"code": PAUSING, "id": "task-1"})
    other = client.post("/tasks", json={"code": PAUSING, "id": "task-1", "language": "typescript"})
    check_problem(other, 409, "task-exists")


def test_an_id_is_made_if_none_is_given_and_null_is_none(client):
    first, second = client.execute(), client.execute(id=None, name=None, ttl=None, retain=None)
    assert first["id"] != second["id"]
    assert first["ttl"] == second["ttl"] == 7200


def test_the_same_id_and_code_again_run_nothing(client):
    task = client.execute(id="same")
    assert client.execute(id="same") == task


ANSWERS = [
    ({"fetchResponse": {"id": 1, "name": "Alice"}}, "user.name", "Alice"),
    ({"fetchResponse": None}, "user === null", True),
    ({"fetchResponse": 0}, "user", 0),
    ({"fetchResponse": 2**70}, "user === 2**70", True),
    ({"fetchResponse": -(2**63) - 1}, "user === -(2**63)", True),
    ({"fetchResponse": 1.5e300}, "user", 1.5e300),
    ({"fetchResponse": "\ud83d"}, "user.charCodeAt(0)", 0xD83D),
    (
        {"response": {"status": 404, "statusText": "none", "body": "x"}},
        "[user.status, user.statusText, await user.text()]",
        [404, "none", "x"],
    ),
    (
        {"response": {"status": 201.0, "headers": {"x-a": "b"}, "body": {"c": 1}}},
        "[user.status, user.headers.get('X-A'), (await user.json()).c]",
        [201, "b", 1],
    ),
    ({"response": {}}, "[user.status, user.ok, await user.text()]", [200, True, ""]),
]


@pytest.mark.parametrize(("answer", "expression", "result"), ANSWERS)
def test_an_answer_reaches_the_program(client, answer, expression, result):
    task = client.execute(f"const user = await fetch('http://a/x'); {expression}")
    # Not httpx's JSON, which cannot write half a surrogate pair.
    response = client.post(
        f"/tasks/{task['id']}/resume", content=json.dumps(answer), headers={"content-type": "application/json"}
    )
    assert response.status_code == 200, response.text
    assert response.json()["result"] == result


def test_an_error_rejects_the_fetch(client):
    task = client.execute("try { await fetch('http://a/x') } catch (error) { `${error.name}: ${error.message}` }")
    response = client.post(f"/tasks/{task['id']}/resume", json={"error": "no network"})
    assert response.json()["result"] == "TypeError: no network"


def test_a_request_is_answered_by_its_id(client):
    task = client.execute("await Promise.all([fetch('http://a/a'), fetch('http://a/b')])")
    task = client.resume(task["id"], "B", requestId=2)
    assert [request["url"] for request in task["fetchRequests"]] == ["http://a/a"]
    assert client.resume(task["id"], "A", requestId=1.0)["result"] == ["A", "B"]


def test_a_pause_after_a_pause_has_the_next_tag(client):
    task = client.execute("await fetch('http://a/a'); await fetch('http://a/b')")
    response = client.post(f"/tasks/{task['id']}/resume", json={"fetchResponse": 1})
    assert response.json()["revision"] == 2
    assert response.headers["etag"] == '"2"'


def test_an_answer_that_was_taken_may_be_repeated(client):
    task = client.execute("await fetch('http://a/a'); await fetch('http://a/b')")
    first = client.resume(task["id"], 1, requestId=1)
    assert client.resume(task["id"], 1, requestId=1) == first
    assert client.get(f"/tasks/{task['id']}").json() == first


def test_an_outcome_is_kept_only_if_that_was_asked_for(client):
    for retain, status, tag in ((None, 404, None), (60, 200, '"2"')):
        task = client.execute(retain=retain)
        response = client.post(f"/tasks/{task['id']}/resume", json={"fetchResponse": 1})
        assert response.headers.get("etag") == tag
        assert client.get(f"/tasks/{task['id']}").status_code == status


def test_a_result_may_have_what_only_javascript_has(client):
    response = client.post("/tasks", json={"code": "['\\ud83d', 2**80, -0, 'é']"})
    assert response.content.isascii()
    assert response.json()["result"] == ["\ud83d", 2**80, 0, "é"]


def test_a_task_that_has_expired_does_not_exist(client, clock, check_problem):
    task = client.execute(ttl=60)
    clock.pass_by(seconds=60)
    check_problem(client.get(f"/tasks/{task['id']}"), 404, "task-not-found", taskId=task["id"])


def test_a_deleted_task_is_gone(client, check_problem):
    task = client.execute()
    response = client.delete(f"/tasks/{task['id']}")
    assert (response.status_code, response.content) == (204, b"")
    assert "content-type" not in response.headers
    for again in (client.get, client.delete):
        check_problem(again(f"/tasks/{task['id']}"), 404, "task-not-found", taskId=task["id"])


# --- The state ---------------------------------------------------------------------------------


def test_the_state_comes_only_when_it_is_asked_for(client, flow):
    plain = client.post("/tasks", json={"code": PAUSING, "id": "plain"})
    with_state = client.post("/tasks?include=vmState", json={"code": PAUSING, "id": "full"})
    assert "vmState" not in plain.json()
    assert base64.b64decode(with_state.json()["vmState"]) == flow.get_task("full").vm_state
    assert "vmState" not in client.get("/tasks/full").json()
    assert client.get("/tasks/full?include=vmState").json() == with_state.json()
    assert client.get("/tasks/full?include=vmState").headers["etag"] == with_state.headers["etag"]


def test_the_state_of_the_next_pause_comes_when_it_is_asked_for(client, flow):
    task = client.execute("await fetch('http://a/a'); await fetch('http://a/b')")
    url = f"/tasks/{task['id']}/resume"
    again = client.post(f"{url}?include=vmState", json={"fetchResponse": 1}).json()
    assert base64.b64decode(again["vmState"]) == flow.get_task(task["id"]).vm_state
    assert client.post(f"{url}?include=vmState", json={"fetchResponse": 2}).json()["vmState"] is None


# --- Around it ---------------------------------------------------------------------------------


def test_health(client):
    response = client.get("/health")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert response.headers["x-content-type-options"] == "nosniff"


def test_health_does_not_touch_the_storage(client, storage, monkeypatch):
    monkeypatch.setattr(type(storage), "load", None)
    monkeypatch.setattr(type(storage), "list", None)
    assert client.get("/health").status_code == 200


@pytest.mark.parametrize("url", ["/health", "/openapi.json", "/tasks", "/tasks/there", "/tasks/not-there", "/nothing"])
def test_head_is_get_without_its_body(client, url):
    client.execute(id="there")
    got, asked = client.get(url), client.head(url)
    assert asked.status_code == got.status_code
    assert asked.content == b""
    assert dict(asked.headers) == dict(got.headers)
    assert int(got.headers["content-length"]) == len(got.content)


def test_the_limits_are_those_of_the_flow(storage, client, check_problem):
    small = Client(create_app(SequentialFlow(storage, limits=Limits(code_bytes=10))))
    problem = check_problem(small.post("/tasks", json={"code": "1" * 11}), 413, "code-too-large")
    assert (problem["sizeBytes"], problem["limitBytes"]) == (11, 10)
    assert client.post("/tasks", json={"code": "1" * 11}).status_code == 200


def test_a_task_that_waits_for_a_timer_says_when_to_come_back(client, clock):
    response = client.post("/tasks", json={"code": "await sleep(90_500); 'awake'", "id": "sleeper"})
    assert response.status_code == 201
    assert response.headers["retry-after"] == "91"
    task = response.json()
    assert (task["fetchRequest"], task["fetchRequests"]) == (None, [])
    assert task["pausedState"]["wakeAt"] == task["timers"][0]["dueAt"] == "2026-01-02T03:05:35.500000Z"
    clock.pass_by(seconds=60)
    early = client.post("/tasks/sleeper/resume", json={})
    assert (early.status_code, early.headers["etag"], early.headers["retry-after"]) == (200, '"1"', "31")
    clock.pass_by(seconds=31)
    awake = client.post("/tasks/sleeper/resume", json={})
    assert awake.json()["result"] == "awake"
    assert "retry-after" not in awake.headers


def test_a_body_of_bytes_goes_both_ways_in_base64(client):
    code = """
        const response = await fetch('https://api.test/', { method: 'POST', body: new Uint8Array([0, 255]) });
        [...await response.bytes()]
    """
    task = client.post("/tasks", json={"code": code, "id": "bytes"}).json()
    assert (task["fetchRequest"]["body"], task["fetchRequest"]["bodyEncoding"]) == ("AP8=", "base64")
    answer = {"response": {"body": "/wA=", "bodyEncoding": "base64"}}
    assert client.post("/tasks/bytes/resume", json=answer).json()["result"] == [255, 0]
