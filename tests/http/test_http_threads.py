"""Where the work is done: in a few threads, to its end."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time

import httpx
import pytest

from sequential_core.errors import TaskNotFoundError
from sequential_core.http import create_app

caller = contextvars.ContextVar("caller")


class Flow:
    """Remembers who called it, and how many were inside at once; lets them out when it is told to."""

    def __init__(self):
        self.release = threading.Event()
        self.seen = []
        self.ended = 0
        self.most = 0
        self._inside = 0
        self._lock = threading.Lock()

    def get_task(self, task_id):
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)
            self.seen.append((threading.current_thread(), caller.get(None)))
        assert self.release.wait(30)
        with self._lock:
            self._inside -= 1
            self.ended += 1
        raise TaskNotFoundError(task_id)


@pytest.fixture
def flow():
    flow = Flow()
    yield flow
    flow.release.set()


@pytest.fixture
def app(flow, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    return create_app(flow)


def client(app):
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")


async def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


def test_two_calls_for_each_core_run_at_once_and_the_others_wait(app, flow):
    async def crowd():
        async with client(app) as http:
            calls = [asyncio.create_task(http.get(f"/tasks/{number}")) for number in range(20)]
            await until(lambda: len(flow.seen) == 6)
            await asyncio.sleep(0.1)
            flow.release.set()
            return await asyncio.gather(*calls)

    responses = asyncio.run(crowd())
    assert [response.status_code for response in responses] == [404] * 20
    assert flow.most == 6
    assert threading.main_thread() not in {thread for thread, _ in flow.seen}


def test_what_a_caller_is_known_by_reaches_the_flow(app, flow):
    flow.release.set()

    async def call():
        caller.set("Ada")
        async with client(app) as http:
            await http.get("/tasks/a")

    asyncio.run(call())
    assert [who for _, who in flow.seen] == ["Ada"]


def test_a_call_that_nobody_waits_for_runs_to_its_end(app, flow):
    async def leave():
        async with client(app) as http:
            call = asyncio.create_task(http.get("/tasks/a"))
            await until(lambda: flow.seen)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert flow.ended == 0
            flow.release.set()
            await until(lambda: flow.ended == 1)

    asyncio.run(leave())


def test_nobody_is_answered_who_left_while_sending(app):
    sent = []

    async def call():
        parts = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])

        async def receive():
            return next(parts)

        async def send(message):
            sent.append(message)

        headers = [(b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": "/tasks", "raw_path": b"/tasks", "root_path": ""}
        await app({**scope, "query_string": b"", "headers": headers}, receive, send)

    asyncio.run(call())
    assert sent == []


@pytest.mark.parametrize("path", ["/health", "/nothing", "/tasks/a"])
def test_a_caller_who_left_before_the_answer_is_no_failure(app, flow, caplog, path):
    flow.release.set()
    tried = []

    async def call():
        async def receive():
            return {"type": "http.disconnect"}

        async def send(message):
            tried.append(message)
            raise OSError("closed")

        scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "root_path": ""}
        await app({**scope, "query_string": b"", "headers": []}, receive, send)

    asyncio.run(call())
    assert [message["type"] for message in tried] == ["http.response.start"]
    assert caplog.records == []


def test_a_failure_in_the_middle_of_an_answer_is_the_server_s(app, flow):
    async def call():
        async def receive():
            return {"type": "http.disconnect"}

        async def send(message):
            if message["type"] == "http.response.body":
                raise ZeroDivisionError

        scope = {"type": "http", "method": "GET", "path": "/health", "raw_path": b"/health", "root_path": ""}
        with pytest.raises(ZeroDivisionError):
            await app({**scope, "query_string": b"", "headers": []}, receive, send)

    asyncio.run(call())
