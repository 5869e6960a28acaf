"""`sequential serve` drives tasks: in a process of its own, over a network of this machine."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime

import httpx
import pytest
from http_clients import KEY, running_serve
from http_server import running_server

from sequential_core.driver.signing import callback_key, webhook_headers
from sequential_core.storage import SqliteStorage


@pytest.fixture
def site():
    with running_server() as site:
        yield site


@pytest.fixture
def storage(tmp_path):
    return f"sqlite:///{tmp_path / 'tasks.db'}"


@pytest.fixture(scope="module")
def module_server():
    with running_serve() as server:
        yield server


def execute(server, code, drive=True, **fields):
    response = httpx.post(f"{server.url}/tasks", json={"code": code, "drive": drive, **fields}, timeout=30)
    assert response.status_code == 201, response.text
    return f"{server.url}/tasks/{response.json()['id']}"


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.02)
    return found


def ended(url):
    def look():
        task = httpx.get(url).json()
        return task if task["status"] != "paused" else None

    return until(look)


def test_a_driven_task_goes_on_by_itself(serve, site):
    server = serve("--allow-loopback")
    url = execute(server, f"console.log('x'); const a = await fetch('{site.url}/json/a'); await sleep(1); a.path")
    task = ended(url)
    assert task["result"] == "a"
    (exchange,) = task["drive"]["history"]
    assert (exchange["hop"], exchange["url"], exchange["status"]) == (2, f"{site.url}/json/a", 200)
    assert task["drive"]["log"] == [{"level": "log", "message": "x"}]
    assert server.stop() == (0, "")


def test_only_public_hosts_are_called_unless_it_is_told_otherwise(serve, site):
    code = f"await fetch('{site.url}/json/a').then((a) => a.path, (error) => error.message)"
    assert ended(execute(serve(), code))["result"].endswith("may not be called")
    assert site.seen == []
    assert ended(execute(serve("--allow", site.url.removeprefix("http://")), code))["result"] == "a"
    denied = serve("--allow-loopback", "--deny", "127.0.0.0/8")
    assert ended(execute(denied, code))["result"].endswith("may not be called")


def test_driven_tasks_may_be_left_to_others(serve, site, storage):
    server = serve("--no-drive", "--allow-loopback", storage=storage)
    url = execute(server, f"(await fetch('{site.url}/json/a')).path")
    time.sleep(0.5)
    assert httpx.get(url).json()["status"] == "paused"
    another = serve("--allow-loopback", storage=storage)
    assert ended(url.replace(server.url, another.url))["result"] == "a"


def test_code_hands_out_a_url_and_waits_for_who_uses_it(serve, site):
    server = serve("--allow-loopback")
    code = f"""
        const url = await callTool("sequential.eventUrl", {{ name: "approved", ttl: 60 }});
        await fetch("{site.url}/echo", {{ method: "POST", body: url }});
        const answer = await waitForEvent("approved");
        answer.by
    """
    task = execute(server, code)
    url = until(lambda: next((body for _, path, _, body in site.seen if path == "/echo"), None))
    assert url.startswith(f"{server.url}/events/")
    assert httpx.post(url, json={"by": "Alice"}).json() == {"accepted": True}
    assert ended(task)["result"] == "Alice"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("'approved'", "takes {name, ttl}"),
        ("{ ttl: 60 }", "takes {name, ttl}"),
        ("{ name: 'a', for: 60 }", "takes {name, ttl}"),
        ("{ name: 'a b' }", "name: it must be"),
        ("{ name: 'a', ttl: 1e9 }", "ttl: it is at most 30 days"),
    ],
)
def test_a_url_is_not_made_of_anything(module_server, args, said):
    code = f"await callTool('sequential.eventUrl', {args}).catch((error) => error.message)"
    assert said in ended(execute(module_server, code))["result"]


def test_the_public_url_is_in_the_urls_of_events_and_its_host_is_known(serve):
    server = serve("--public-url", "https://api.example.com/v1/")
    url = execute(server, "await callTool('sequential.eventUrl', { name: 'a' })")
    assert ended(url)["result"].startswith("https://api.example.com/v1/events/")
    assert httpx.get(f"{server.url}/health", headers={"host": "api.example.com"}).status_code == 200
    assert httpx.get(f"{server.url}/health", headers={"host": "example.com"}).status_code == 421


def test_the_outcome_is_told_and_signed(serve, site):
    server = serve("--allow-loopback")
    url = execute(server, "await sleep(1); 7", callbackUrl=f"{site.url}/echo")
    _, _, headers, body = until(lambda: next(iter(site.seen), None))
    assert json.loads(body)["result"] == 7
    sent = {name.lower(): value for name, value in headers.items()}
    at = datetime.fromtimestamp(int(sent["webhook-timestamp"]), UTC)
    signed = webhook_headers(callback_key(KEY), sent["webhook-id"], body.encode(), at)
    assert {name: sent[name] for name in signed} == signed
    assert until(lambda: httpx.get(url).json()["drive"]["callback"]["deliveredAt"])
    assert len(site.seen) == 1


@pytest.mark.slow
def test_a_server_that_is_told_to_end_lets_go_of_its_tasks(serve, site, storage, tmp_path):
    server = serve("--allow-loopback", storage=storage)
    execute(server, f"await fetch('{site.url}/hangs'); 1", id="t")
    until(lambda: site.seen)
    began = time.monotonic()
    assert server.stop() == (0, "")
    assert time.monotonic() - began < 15
    with contextlib.closing(SqliteStorage(tmp_path / "tasks.db")) as stored:
        task = stored.load("t")
    assert (task.status.value, task.drive.claim) == ("paused", None)


@pytest.mark.slow
def test_after_kill_9_what_was_driven_goes_on_timers_and_retries_included(serve, site, storage):
    code = f"""
        const failed = fetch("{site.url}/status/503").catch((error) => error.message);
        const awake = sleep(3000).then(() => Date.now());
        const began = Date.now();
        const [said, at] = await Promise.all([failed, awake]);
        [said, at - began >= 3000]
    """
    first = serve("--allow-loopback", storage=storage)
    url = execute(first, code, drive={"attempts": 2, "backoff": 4}, id="t")

    def waits():
        drive = httpx.get(url).json()["drive"]
        return drive["retries"] and drive["claim"] is None

    until(waits)
    first.process.send_signal(signal.SIGKILL)
    first.process.wait(timeout=30)
    assert len(site.seen) == 1
    second = serve("--allow-loopback", storage=storage)
    task = ended(url.replace(first.url, second.url))
    assert task["result"] == [f"GET {site.url}/status/503: status 503 Service Unavailable (attempt 2)", True]
    assert len(site.seen) == 2
    (exchange,) = task["drive"]["history"]
    assert exchange["attempts"] == 2


def test_a_key_that_is_none_is_told_at_the_start():
    environment = {**os.environ, "SEQUENTIAL_SIGNING_KEY": "short"}
    command = [sys.executable, "-m", "sequential_core.cli", "serve", "--port", "0", "--storage", "memory:"]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: SEQUENTIAL_SIGNING_KEY: a signing key has at least 32 bytes\n"


def test_without_a_place_for_a_key_it_serves_all_the_same(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path / "file")}
    command = [sys.executable, "-m", "sequential_core.cli", "serve", "--port", "0", "--storage", "memory:"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert "no URLs of events" in process.stderr.readline()
        url = re.match(r"serving (http://\S+)", process.stderr.readline())[1]
        httpx.post(f"{url}/tasks", json={"code": "await waitForEvent('a')", "id": "t"})
        assert httpx.post(f"{url}/tasks/t/events/a/url").status_code == 501
        assert httpx.post(f"{url}/tasks/t/events/a").json()["status"] == "completed"
        process.terminate()
        process.wait(timeout=30)
