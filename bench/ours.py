"""Our side of the benchmark.

A hop: `resume` of the bytes with the answer. That restores the state, answers, runs, finds the next request and gives
the new state as bytes, compressed and with its digest. Only the storage is left out; `W1-stored` has that too, and
`H` the HTTP API.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

from bench.measure import repeated, timed
from bench.worker import CannotError, Worker, serve
from bench.workloads import BY_KEY, REFERENCE, USER, Computing, Pausing, computing, pausing
from sequential_core import MemoryStorage, SequentialFlow, SqliteStorage
from sequential_core.pending import ValueAnswer
from sequential_core.storage import items
from sequential_core.vm import guest as guests
from sequential_core.vm import program as programs

ROOT = Path(__file__).parents[1]

#: What a process does that comes to the first pause.
FIRST_PAUSE = (
    "from sequential_core import MemoryStorage, SequentialFlow;"
    f"print(SequentialFlow(MemoryStorage()).execute({REFERENCE!r}).status)"
)

_CLIENTS = 4
_WARM_UP = 5


class Ours(Worker):
    def __init__(self) -> None:
        self._paused: dict[str, programs.Suspended] = {}
        self._marks: dict[tuple[str, int], programs.Suspended] = {}

    def versions(self) -> dict[str, str]:
        return {name: version(name) for name in ("sequential-core", "wasmtime", "zstandard")}

    def prepare(self, workload: str) -> None:
        match BY_KEY.get(workload), workload:
            case Pausing() as program, _:
                self._paused[workload] = self._reach(program)
                for _ in range(_WARM_UP):
                    answer(self._paused[workload], program.answer)
            case Computing(), _:
                compute(workload)
            case None, "L":
                with large_image():
                    self._paused[workload] = pause(REFERENCE)
            case None, "W1-stored" | "H":
                pass
            case _:
                raise CannotError("is not one of its workloads")

    def measure(self, workload: str, rounds: int, seconds: float) -> dict[str, Any]:
        match BY_KEY.get(workload), workload:
            case Pausing() as program, _:
                paused = self._paused[workload]
                times = {"hop": repeated(lambda: answer(paused, program.answer), rounds, seconds)}
                sizes = {"state": len(paused.state), "state after": len(answer(paused, program.answer).state)}
                times["hop, compressed"] = times["hop"]
                if workload == "W1":
                    times["start"] = repeated(lambda: pause(REFERENCE), rounds, seconds)
                    sizes["item"] = item_bytes()
                return {"times": times, "sizes": sizes}
            case Computing(), _:
                return {"times": {"compute": repeated(lambda: compute(workload), rounds, seconds)}}
            case _, "L":
                with large_image():
                    paused = self._paused[workload]
                    answer(paused, USER)
                    return {
                        "times": {"hop": repeated(lambda: answer(paused, USER), rounds, seconds)},
                        "sizes": {"state": len(paused.state)},
                    }
            case _, "H":
                return over_http(seconds)
            case _:
                return {"times": stored_hops(rounds)}

    def _reach(self, program: Pausing) -> programs.Suspended:
        """Where its hop begins, by real hops from the furthest place that is known."""
        known = [count for code, count in self._marks if code == program.javascript and count <= program.answered]
        done = max(known, default=0)
        paused = self._marks[program.javascript, done] if known else pause(program.javascript)
        for _ in range(done, program.answered):
            paused = answer(paused, program.answer)
        self._marks[program.javascript, program.answered] = paused
        return paused


def pause(code: str) -> programs.Suspended:
    outcome = programs.start(code)
    assert isinstance(outcome, programs.Suspended), outcome
    return outcome


def answer(paused: programs.Suspended, value: object) -> programs.Suspended:
    outcome = programs.resume(paused.state, {paused.requests[0].id: ValueAnswer(value)})
    assert isinstance(outcome, programs.Suspended), outcome
    return outcome


def compute(workload: str) -> None:
    program = computing(workload)
    outcome = programs.start(program.javascript)
    assert isinstance(outcome, programs.Completed), outcome
    assert outcome.result == program.result, outcome


def item_bytes() -> int:
    """The item in DynamoDB of the reference program at its first pause."""
    task = SequentialFlow(MemoryStorage()).execute(REFERENCE)
    until = items.code_until(task)
    assert until is not None, "the task expires"
    where_the_code_is = {"code": {"S": f"code#{'0' * 16}"}, "code_until": items.number(until)}
    return items.item_size(task.id, items.task_item(task) | items.key(task.id, items.TASK) | where_the_code_is)


def stored_hops(rounds: int) -> dict[str, list[float]]:
    """Hops with the task loaded and saved, by where it is."""
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, storage in (("memory", MemoryStorage()), ("SQLite", SqliteStorage(f"{folder}/tasks.db"))):
            flow = SequentialFlow(storage)
            for _ in range(rounds):
                task_id = flow.execute(REFERENCE).id
                resumed = timed(lambda flow=flow, task_id=task_id: flow.resume(task_id, fetch_response=USER))
                times.setdefault(name, []).append(resumed)
                flow.delete_task(task_id)
            storage.close()
    return times


@contextlib.contextmanager
def large_image() -> Iterator[None]:
    """A hop must not depend on the size of the image."""
    sys.path.insert(0, str(ROOT / "tests"))
    from ballast import loaded

    if not _large:
        _large.append(loaded(2200))
    (guest,) = _large
    with (
        mock.patch.object(guests, "current", return_value=guest),
        mock.patch.object(guests, "load", return_value=guest),
    ):
        yield


_large: list[guests.Guest] = []


def over_http(seconds: float) -> dict[str, Any]:
    """Hops by a server with SQLite, each client with a task and a connection of its own, for so long."""
    program = pausing("W2-10")
    with tempfile.TemporaryDirectory() as folder, server(folder) as url:
        times: list[float] = []
        counts: list[int] = []
        together = threading.Barrier(_CLIENTS)

        def client() -> None:
            connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)

            def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
                connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
                answered: dict[str, Any] = json.loads(connection.getresponse().read())
                assert answered.get("status") == "paused", answered
                return answered

            path = f"/tasks/{post('/tasks', {'code': program.javascript})['id']}/resume"
            for _ in range(_WARM_UP):
                post(path, {"fetchResponse": program.answer})
            together.wait()
            began, own = time.perf_counter(), []
            while time.perf_counter() - began < seconds:
                own.append(timed(lambda: post(path, {"fetchResponse": program.answer})))
            times.extend(own)
            counts.append(len(own))
            connection.close()

        threads = [threading.Thread(target=client) for _ in range(_CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(counts) == _CLIENTS, "a client failed"
    return {"times": {"hop": times}, "rates": {"hops": [sum(counts) / seconds]}}


@contextlib.contextmanager
def server(folder: str) -> Iterator[str]:
    """The URL of `sequential serve` with SQLite, in a process of its own that keeps its files there."""
    command = [sys.executable, "-m", "sequential_core.cli", "serve", "--port", "0", "--no-drive"]
    process = subprocess.Popen(
        [*command, "--storage", f"sqlite:///{folder}/tasks.db"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "XDG_DATA_HOME": folder},
    )
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        found = re.match(r"serving (http://\S+)", line)
        assert found, line
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield found[1]
    finally:
        process.terminate()
        process.wait(timeout=30)


if __name__ == "__main__":
    os.chdir(ROOT)
    serve(Ours())
