"""Workers killed at random moments, a server that fails: every task ends once, with what the server said.

The code sends on what it was given: the body of each POST is the answer of the GET before it. A task that forgot an
answer that it had used, or used two, would send two bodies under one path. And SQLite itself notes each change of a
task, by a trigger.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import socket
import sqlite3
import struct
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sequential_core import create_flow
from sequential_core.drive import Policy
from sequential_core.driver import Driver, Fetcher, Rules, Worker
from sequential_core.model import Status
from sequential_core.storage import SqliteStorage
from sequential_core.vm import guest as guests

REQUESTS = 10
TIMER_BEFORE = 5

# The first one runs to the first request, each other one begins with an answer, or with the timer.
HOPS = REQUESTS + 2

TIMEOUT = timedelta(seconds=0.3)
LEASE = timedelta(seconds=0.5)

POLICY = Policy(attempts=20, backoff=timedelta(seconds=0.02), max_backoff=timedelta(seconds=0.2), timeout=TIMEOUT)

# What differs: it takes some hundred milliseconds until somebody finds a task that a killed worker had claimed.
_LONGEST_SECONDS = 100

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["pytest", "sequential_core.driver", "sequential_core.storage.sqlite"])

_AUDIT = """
CREATE TABLE audit (id TEXT, before INTEGER, after INTEGER, status_before TEXT, status_after TEXT);
CREATE TRIGGER note AFTER UPDATE ON task BEGIN
    INSERT INTO audit VALUES (new.id, old.revision, new.revision, old.status, new.status);
END;
"""


def _code(url, name):
    return f"""
const given = [];
for (let hop = 1; hop <= {REQUESTS}; hop++) {{
    if (hop === {TIMER_BEFORE}) await new Promise((resolve) => setTimeout(resolve, 100));
    const url = `{url}/{name}/${{hop}}`;
    given.push(hop % 2 ? await fetch(url) : await fetch(url, {{ method: "POST", body: given.at(-1) }}));
}}
given
"""


# --- The server ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Seen:
    method: str
    path: str
    key: str | None
    body: str | None


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        self._take()
        # Another one each time, so that it shows which of them the task went on with.
        self._answer(lambda: f"{self.path} {next(self.server.numbers)}")

    def do_POST(self):
        key = self.headers.get("Idempotency-Key")
        self._take()
        # As a server does that knows the key: done once, answered the same each time.
        self._answer(lambda: self.server.effect(self.path, key))

    def _take(self):
        size = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(size).decode()
        # The body of a client that was killed in between does not count, its key does.
        whole = body if len(body) == size else None
        self.server.seen.append(_Seen(self.command, self.path, self.headers.get("Idempotency-Key"), whole))

    def _answer(self, make):
        with self.server.lock:
            chance, wait = self.server.order.random(), self.server.order.uniform(0, 0.02)
            # An answer that is lost was made all the same.
            answer = make() if chance > 0.1 else None
        time.sleep(wait)
        if chance < 0.04:
            self._send(500, "failed")
        elif chance < 0.08:
            self._send(429, "not now", ("Retry-After", "0"))
        elif chance < 0.1 or 0.14 < chance < 0.16:
            # Without waiting for what is unsent, which is what sends a reset.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
        else:
            if chance > 0.99:
                time.sleep(1.5 * TIMEOUT.total_seconds())
            self._send(200, answer)

    def _send(self, status, body, *headers):
        self.send_response(status)
        for name, value in (("Content-Type", "text/plain"), ("Content-Length", str(len(body))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def handle(self):
        with contextlib.suppress(OSError, ValueError):  # the client was killed; the file of a socket is closed
            super().handle()

    def finish(self):
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    def log_message(self, *_):
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 100

    def __init__(self, order):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.order = order
        self.lock = threading.Lock()
        self.numbers = iter(range(10**9))
        self.seen: list[_Seen] = []
        self.effects: dict[str | None, str] = {}

    def effect(self, path, key):
        if key not in self.effects:
            self.effects[key] = f"{path} {next(self.numbers)}"
        return self.effects[key]

    def shutdown_request(self, request):
        with contextlib.suppress(OSError):
            super().shutdown_request(request)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


@contextlib.contextmanager
def _running(order):
    server = _Server(order)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# --- The workers --------------------------------------------------------------------------------------


def _work(path, pipe):
    """A worker process, until it is killed."""
    guests.current()  # loads the engine
    flow = create_flow(SqliteStorage(path))
    driver = Driver(flow, fetcher=Fetcher(Rules(loopback=True)), lease=LEASE)
    Worker(driver, at_a_time=16, ask_seconds=0.05).start()
    pipe.send("ready")
    signal.pause()


@dataclass
class _Victim:
    """A worker process, and when it is to be killed."""

    path: object
    lifetime: float
    dies_at: float = field(default=float("inf"))

    def __post_init__(self):
        self.pipe, its = _CONTEXT.Pipe()
        self.process = _CONTEXT.Process(target=_work, args=(self.path, its))
        self.process.start()
        its.close()

    def is_to_die(self):
        # Its life begins when it works, so that a slow machine only makes all of it longer.
        if self.dies_at == float("inf") and self.pipe.poll():
            assert self.pipe.recv() == "ready"
            self.dies_at = time.monotonic() + self.lifetime
        return time.monotonic() > self.dies_at

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()
        self.pipe.close()


@dataclass(frozen=True)
class _Chaos:
    """How much of it.

    Attributes:
        workers: at a time.
        lifetime: seconds that each works before it is killed, from and to.
        kills: not more than that, since on a busy machine they would die before they have done anything.
    """

    tasks: int
    workers: int
    lifetime: tuple[float, float]
    kills: int

    def kill_until(self, is_over, path, order):
        """Lets workers work, and kills them, until it is over; tells how many were killed."""
        kills, end = 0, time.monotonic() + _LONGEST_SECONDS
        victims = [_Victim(path, order.uniform(*self.lifetime)) for _ in range(self.workers)]
        try:
            while not is_over():
                assert time.monotonic() < end, "it takes too long"
                for index, victim in enumerate(victims):
                    if victim.is_to_die() and kills < self.kills:
                        victim.kill()
                        kills += 1
                        victims[index] = _Victim(path, order.uniform(*self.lifetime))
                time.sleep(0.01)
        finally:
            for victim in victims:
                victim.kill()
        return kills


# --- The tests ----------------------------------------------------------------------------------------


def _check_task(task, server, posted):
    """Asserts that a task has ended with what the server said, in the hops that it takes."""
    name = task.id
    paths = [f"/{name}/{hop}" for hop in range(1, REQUESTS + 1)]
    assert task.status is Status.COMPLETED, task.error_detail
    assert [answer.split()[0] for answer in task.result] == paths
    assert len(set(task.result)) == REQUESTS
    for hop in range(2, REQUESTS + 1, 2):
        key, body = posted[paths[hop - 1]]
        assert body == task.result[hop - 2], "what was sent is the answer that was taken"
        assert task.result[hop - 1] == server.effects[key]
    history = task.drive.history
    assert [exchange.url for exchange in history] == [server.url + path for path in paths]
    assert [exchange.hop for exchange in history] == [hop for hop in range(2, HOPS + 1) if hop != TIMER_BEFORE + 1], (
        "each answer was a hop of its own, and the timer was one"
    )
    assert all(exchange.status == 200 for exchange in history)
    assert (task.drive.claim, task.drive.due_at, task.drive.retries) == (None, None, ())


@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    "chaos",
    [
        pytest.param(_Chaos(tasks=20, workers=2, lifetime=(0.05, 0.2), kills=4), id="few"),
        pytest.param(_Chaos(tasks=200, workers=3, lifetime=(0.1, 1.5), kills=60), id="many", marks=pytest.mark.slow),
    ],
)
def test_tasks_end_once_and_send_each_request_with_one_key_though_workers_are_killed(tmp_path, capsys, chaos):
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10**6))
    order = random.Random(seed)
    path = tmp_path / "tasks.db"
    storage = SqliteStorage(path)
    flow = create_flow(storage)
    names = [f"task-{number}" for number in range(chaos.tasks)]
    flow.get_task(flow.execute("await fetch('http://a/')", id="first").id)  # makes the tables
    flow.delete_task("first")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as audit, _running(order) as server:
        audit.executescript(_AUDIT)
        for name in names:
            flow.execute(_code(server.url, name), id=name, drive=POLICY)
        began = time.monotonic()
        query = "SELECT count(*) FROM task WHERE due_at IS NOT NULL"
        kills = chaos.kill_until(lambda: audit.execute(query).fetchone() == (0,), path, order)
        seconds = time.monotonic() - began
        changes = audit.execute("SELECT * FROM audit ORDER BY rowid").fetchall()
    with capsys.disabled():
        print(f"\nseed {seed}: {chaos.tasks} tasks in {seconds:.1f} s, {kills} workers killed;", end=" ")
        print(f"{len(server.seen)} requests and {len(changes)} saves,", end=" ")
        print(f"{chaos.tasks * REQUESTS} and {chaos.tasks * (HOPS - 1)} without failures")

    keys, bodies, without_key = defaultdict(set), defaultdict(set), 0
    for seen in server.seen:
        if seen.method == "POST":
            keys[seen.path].add(seen.key)
            bodies[seen.path] |= set() if seen.body is None else {seen.body}
        else:
            without_key += seen.key is None
    assert keys.keys() == {f"/{name}/{hop}" for name in names for hop in range(2, REQUESTS + 1, 2)}
    assert {path: each for path, each in keys.items() if len(each) != 1} == {}, "one key over all attempts"
    assert {path: each for path, each in bodies.items() if len(each) != 1} == {}, "one body over all attempts"
    assert len({key for each in keys.values() for key in each}) == len(keys), "no two requests share a key"
    assert without_key == sum(seen.method == "GET" for seen in server.seen)

    posted = {path: (*keys[path], *bodies[path]) for path in keys}
    for name in names:
        _check_task(flow.get_task(name), server, posted)
    storage.close()

    ends = Counter(task_id for task_id, _, _, before, after in changes if before != after)
    assert ends == Counter(names), "each has ended once"
    revisions = defaultdict(list)
    for task_id, before, after, status_before, _ in changes:
        assert status_before == "paused", "nothing follows the end"
        revisions[task_id].append((before, after))
    for chain in revisions.values():
        assert chain == [(number, number + 1) for number in range(1, len(chain) + 1)]
    assert kills >= chaos.kills / 2
