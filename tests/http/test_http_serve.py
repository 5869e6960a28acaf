"""`sequential serve`: a real server in a process of its own."""

from __future__ import annotations

import contextlib
import json
import re
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from http_clients import PAUSING, running_serve

from sequential_core.http.problems import MEDIA_TYPE
from sequential_core.storage import SqliteStorage

REFERENCE = Path(__file__).parents[2] / "examples" / "reference.py"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running_serve(storage=f"sqlite:///{tmp_path_factory.mktemp('serve') / 'tasks.db'}") as server:
        yield server


@pytest.fixture(scope="module")
def http(server):
    with httpx.Client(base_url=server.url, timeout=60, limits=httpx.Limits(max_connections=100)) as client:
        yield client


def execute(http, code, **fields):
    response = http.post("/tasks", json={"code": code, **fields})
    assert response.status_code == 201, response.text
    return response.json()


# --- What must be shown ----------------------------------------------------------------------------------------


def test_of_64_resumptions_of_one_pause_one_wins(http):
    code = "const first = await fetch('http://a/a'); const second = await fetch('http://a/b'); [first, second]"
    task = execute(http, code, retain=600)
    together = threading.Barrier(64)

    def resume(number):
        together.wait()
        return http.post(f"/tasks/{task['id']}/resume", json={"fetchResponse": number, "requestId": 1})

    with ThreadPoolExecutor(64) as threads:
        responses = list(threads.map(resume, range(64)))
    statuses = sorted(response.status_code for response in responses)
    assert statuses == [200] + [409] * 63
    assert {r.headers["content-type"] for r in responses if r.status_code == 409} == {MEDIA_TYPE}
    (winner,) = [number for number, response in enumerate(responses) if response.status_code == 200]
    assert http.get(f"/tasks/{task['id']}").json() == responses[winner].json()
    ended = http.post(f"/tasks/{task['id']}/resume", json={"fetchResponse": "b", "requestId": 2}).json()
    assert ended["result"] == [winner, "b"]


def test_of_64_resumptions_with_if_match_one_wins(http):
    task = execute(http, "await fetch('http://a/a'); await fetch('http://a/b')")

    def resume(number):
        return http.post(
            f"/tasks/{task['id']}/resume", json={"fetchResponse": number}, headers={"If-Match": '"1"'}
        ).status_code

    with ThreadPoolExecutor(64) as threads:
        assert sorted(threads.map(resume, range(64))) == [200] + [412] * 63


def test_of_64_executions_with_one_key_one_is_carried_out(http):
    def execute(_):
        response = http.post("/tasks", json={"code": "Math.random()"}, headers={"Idempotency-Key": "once"})
        assert response.status_code == 201
        return response.text

    with ThreadPoolExecutor(64) as threads:
        assert len(set(threads.map(execute, range(64)))) == 1


def test_the_reference_program_with_each_hop_in_a_server_of_its_own(serve, tmp_path):
    answers = runpy.run_path(str(REFERENCE))["ANSWERS"]
    storage = f"sqlite:///{tmp_path / 'tasks.db'}"
    code = 'const user = await fetch("http://a/user/1"); const posts = await fetch("http://a/posts"); [user, posts]'
    processes, tags = [], []

    def call(method, path, body=None, **headers):
        server = serve(storage=storage)
        processes.append(server.process.pid)
        response = httpx.request(method, server.url + path, json=body, headers=headers, timeout=60)
        assert response.is_success, response.text
        assert server.stop() == (0, "")
        tags.append(response.headers.get("etag"))
        return response.json()

    task = call("POST", "/tasks", {"code": code, "id": "task/1"})
    while task["status"] == "paused":
        answer = {"fetchResponse": answers[task["fetchRequest"]["url"].removeprefix("http://a")]}
        task = call("POST", "/tasks/task%2F1/resume", answer, **{"If-Match": tags[-1]})
    assert task["result"] == list(answers.values())
    assert tags == ['"1"', '"2"', None]
    assert len(set(processes)) == 3
    assert call("GET", "/tasks")["tasks"] == []


# --- Connections that end badly --------------------------------------------------------------------------------

SLOW = "await fetch('http://a/a'); const end = Date.now() + 700; while (Date.now() < end); await fetch('http://a/b')"


def address(server):
    parts = urlsplit(server.url)
    return parts.hostname, parts.port


def request_text(task_id, body, length=None):
    return (
        f"POST /tasks/{task_id}/resume HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body) if length is None else length}\r\n\r\n{body}"
    ).encode()


def test_a_caller_who_hangs_up_loses_nothing(server, http):
    task = execute(http, SLOW)
    with socket.create_connection(address(server)) as connection:
        connection.sendall(request_text(task["id"], '{"fetchResponse": 1, "requestId": 1}'))
        time.sleep(0.2)  # the hop has begun, and is not at its end
    for _ in range(100):
        now = http.get(f"/tasks/{task['id']}").json()
        if now["revision"] == 2:
            break
        time.sleep(0.1)
    assert now["fetchRequest"]["url"] == "http://a/b"
    again = http.post(f"/tasks/{task['id']}/resume", json={"fetchResponse": 1, "requestId": 1})
    assert (again.status_code, again.json()) == (200, now)


def test_a_caller_who_hangs_up_in_the_middle_of_the_body_changes_nothing(server, http):
    task = execute(http, PAUSING)
    with socket.create_connection(address(server)) as connection:
        connection.sendall(request_text(task["id"], '{"fetchResponse": 1', length=1000))
        time.sleep(0.1)
    time.sleep(0.2)
    assert http.get(f"/tasks/{task['id']}").json() == task


def test_a_server_that_is_told_to_end_finishes_its_hop(serve, tmp_path):
    path = tmp_path / "tasks.db"
    server = serve(storage=f"sqlite:///{path}")
    task = httpx.post(f"{server.url}/tasks", json={"code": SLOW}).json()
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(
            httpx.post, f"{server.url}/tasks/{task['id']}/resume", json={"fetchResponse": 1}, timeout=30
        )
        time.sleep(0.3)
        assert server.stop() == (0, "")
        assert answer.result().json()["revision"] == 2
    with contextlib.closing(SqliteStorage(path)) as storage:
        assert storage.load(task["id"]).revision == 2


def test_a_task_does_not_keep_others_from_being_served(http):
    with ThreadPoolExecutor(1) as thread:
        slow = thread.submit(
            http.post, "/tasks", json={"code": "const end = Date.now() + 1500; while (Date.now() < end);"}
        )
        time.sleep(0.3)
        assert http.get("/health").status_code == 200
        assert http.get("/tasks/nothing").status_code == 404
        assert not slow.done()
        assert slow.result().status_code == 200


# --- Bodies ------------------------------------------------------------------------------------------------------


def test_ten_megabytes_are_refused(http):
    headers = {"content-type": "application/json"}

    def chunks():
        for _ in range(160):
            yield b" " * 65536

    for content in (b" " * 10_000_000, chunks()):
        response = http.post("/tasks", content=content, headers=headers)
        assert response.status_code == 413
        assert response.json()["type"] == "urn:sequential:problem:body-too-large"
    assert http.get("/health").status_code == 200


def test_a_refused_body_does_not_spoil_the_next_request_of_the_connection(server):
    body = b" " * 2_000_000
    with socket.create_connection(address(server)) as connection:
        connection.settimeout(30)
        connection.sendall(b"POST /tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        connection.sendall(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"413", b"200"]


def test_ids_reach_the_server_as_they_were_encoded(http):
    for task_id, path in (("a/b#c?d", "a%2Fb%23c%3Fd"), ("a%2Fb", "a%252Fb"), ("ü", "%C3%BC")):
        execute(http, PAUSING, id=task_id)
        assert http.get(f"/tasks/{path}").json()["id"] == task_id
        assert http.delete(f"/tasks/{path}").status_code == 204


def test_head_has_no_body(server):
    with socket.create_connection(address(server)) as connection:
        connection.settimeout(30)
        connection.sendall(b"HEAD /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.startswith(b"HTTP/1.1 200")
    assert b"content-length: 15\r\n" in received
    assert received.endswith(b"\r\n\r\n")


# --- Who may come --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "[::1]:8787"])
def test_a_name_of_this_machine_is_known(http, host):
    assert http.get("/health", headers={"host": host}).status_code == 200


def test_a_page_of_another_host_cannot_come_by_its_name(http):
    response = http.get("/tasks", headers={"host": "evil.example"})
    assert response.status_code == 421
    assert response.headers["content-type"] == MEDIA_TYPE


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_a_page_of_another_host_cannot_post_without_asking(http, kind):
    """These three kinds a browser posts anywhere; for others it asks, and is not allowed (Fetch standard)."""
    response = http.post("/tasks", content=b'{"code": "1"}', headers={"content-type": kind})
    assert response.status_code == 415
    asked = http.request(
        "OPTIONS", "/tasks", headers={"origin": "https://evil.example", "access-control-request-method": "POST"}
    )
    assert asked.status_code == 405
    assert not [name for name in asked.headers if name.startswith("access-control-")]


def test_it_listens_on_one_address_of_this_machine(server):
    assert address(server)[0] == "127.0.0.1"


def test_another_address_of_this_machine(serve):
    server = serve("--host", "127.0.0.2")
    assert httpx.get(f"{server.url}/health").status_code == 200
    assert httpx.get(f"{server.url}/health", headers={"host": "localhost"}).status_code == 200
    assert httpx.get(f"{server.url}/health", headers={"host": "evil.example"}).status_code == 421


def test_other_machines_are_let_in_only_when_that_is_meant(serve):
    server = serve("--host", "0.0.0.0", "--allow-remote")
    url = server.url.replace("0.0.0.0", "127.0.0.1")
    assert httpx.get(f"{url}/health", headers={"host": "build-7.example"}).status_code == 200


# --- Starting and ending -------------------------------------------------------------------------------------------


def failed_serve(*arguments, storage="memory:", **options):
    command = [sys.executable, "-m", "sequential_core.cli", "serve", "--storage", storage, *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, **options)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", ""])
def test_other_machines_are_not_let_in_by_mistake(host):
    error = failed_serve("--host", host)
    assert "there is no authentication" in error
    assert "--allow-remote" in error


def test_a_port_in_use_is_told(server):
    port = str(address(server)[1])
    assert re.search(rf"error: cannot listen on 127\.0\.0\.1, port {port}: .*in use", failed_serve("--port", port))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--port", "70000"], "70000"),
        (["--host", "192.0.2.1", "--allow-remote"], "cannot listen on 192.0.2.1"),
        (["--host", "nothing.invalid", "--allow-remote"], "cannot listen on nothing.invalid"),
    ],
)
def test_an_address_that_is_none_is_told(arguments, told):
    assert told in failed_serve(*arguments)


@pytest.mark.parametrize("storage", ["foo:", "sqlite:////nowhere/at/all/tasks.db"])
def test_a_storage_that_is_none_is_told_at_the_start(storage):
    assert "storage: " in failed_serve("--port", "0", storage=storage)


@pytest.mark.parametrize("missing", ["starlette", "msgspec", "uvicorn"])
def test_a_missing_extra_is_told(tmp_path, missing):
    hide = (
        "import sys\n"
        f"sys.modules[{missing!r}] = None\n"
        "sys.argv = ['sequential', 'serve']\n"
        "from sequential_core.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", hide], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr == f"Error: {missing} is missing: pip install 'sequential-core[http]'\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_it_in_order(serve, number, code):
    server = serve()
    with httpx.Client(base_url=server.url) as client:  # and keeps its connection
        assert client.get("/health").status_code == 200
        assert server.stop(number)[0] == code
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/health")


def test_nothing_but_the_url_is_written(serve):
    server = serve()
    for path in ("/health", "/tasks/nothing", "/nothing"):
        httpx.get(server.url + path)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.communicate(timeout=30) == ("", "")


def test_what_concerns_the_operator_is_written(serve, tmp_path):
    path = tmp_path / "tasks.db"
    server = serve(storage=f"sqlite:///{path}")
    httpx.post(f"{server.url}/tasks", json={"code": PAUSING, "id": "a"})
    with contextlib.closing(SqliteStorage(path)) as storage, storage._transaction("a") as (connection, _):
        connection.execute("UPDATE task SET document = ?", (json.dumps({"damaged": True}),))
    response = httpx.get(f"{server.url}/tasks/a")
    assert (response.status_code, response.json()["type"]) == (500, "urn:sequential:problem:storage-failed")
    code, errors = server.stop()
    assert code == 0
    assert "ERROR sequential.http: getTask: StorageFormatError: " in errors
    assert response.json()["instance"] in errors
