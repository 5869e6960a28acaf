"""What a pause costs: time and bytes. Prints a table; asserts nothing.

    scripts/bench            all of it, about a minute
    scripts/bench W1 C       only these

Times are medians over at least 200 hops (C: processes), with the 95th percentile behind. A *hop* is what happens
between an answer and the next pause: restore the state, deliver, run, find the next request, snapshot.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from unittest import mock

from sequential_core import MemoryStorage, SequentialFlow, SqliteStorage
from sequential_core.pending import ValueAnswer
from sequential_core.vm import guest as guests
from sequential_core.vm import program as programs

HOPS = 200
WARM_UP = 5
PROCESSES = 30

REFERENCE = (
    'const user = await fetch("https://api.example.com/user/1"); '
    'const posts = await fetch("https://api.example.com/posts"); [user, posts]'
)
LOOP = "let sum = 0; for (let i = 0; i <= 1000; i++) { sum += await fetch(`https://api.example.com/${i}`); } sum"
LIVE = (
    "const items = []; for (let i = 0; i < 10000; i++) items.push({ id: i, name: `item ${i}` });"
    'await fetch("https://api.example.com/a"); await fetch("https://api.example.com/b"); items.length'
)
DROPPED = (
    "let items = []; for (let i = 0; i < 200000; i++) items.push({ id: i, name: `item ${i}` }); items = null;"
    'await fetch("https://api.example.com/a"); await fetch("https://api.example.com/b"); 1'
)
ANSWERS = "let n = 0; for (let i = 0; i < 31; i++) n += (await fetch(`https://api.example.com/${i}`)).text.length; n"
START = (
    "from sequential_core import MemoryStorage, SequentialFlow;"
    f"print(SequentialFlow(MemoryStorage()).execute({REFERENCE!r}).status)"
)


def measure(function: Callable[[], object], rounds: int = HOPS) -> tuple[float, float]:
    """Median and 95th percentile, in milliseconds."""
    for _ in range(WARM_UP):
        function()
    return summary([timed(function) for _ in range(rounds)])


def timed(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return 1e3 * (time.perf_counter() - began)


def summary(times: list[float]) -> tuple[float, float]:
    return statistics.median(times), statistics.quantiles(times, n=20)[18]


def row(name: str, what: str, times: tuple[float, float] | None, size: int | None) -> None:
    shown = "" if times is None else f"{times[0]:8.2f} ms {times[1]:8.2f} ms"
    print(f"{name:3} {what:46} {shown:23} {'' if size is None else f'{size:>8} bytes'}".rstrip(), flush=True)


def pause(code: str) -> programs.Suspended:
    outcome = programs.start(code)
    assert isinstance(outcome, programs.Suspended), outcome
    return outcome


def answer(paused: programs.Suspended, value: object) -> programs.Suspended:
    outcome = programs.resume(paused.state, {paused.requests[0].id: ValueAnswer(value)})
    assert isinstance(outcome, programs.Suspended), outcome
    return outcome


def w1() -> None:
    first = pause(REFERENCE)
    alice = {"id": 1, "name": "Alice"}
    row("W1", "reference program: hop", measure(lambda: answer(first, alice)), None)
    row("W1", "reference program: start to first pause", measure(lambda: pause(REFERENCE)), None)
    row("W1", "reference program: state at first pause", None, len(first.state))
    row("W1", "reference program: state at second pause", None, len(answer(first, alice).state))
    with tempfile.TemporaryDirectory() as folder:
        for name, storage in (("memory", MemoryStorage()), ("SQLite", SqliteStorage(f"{folder}/tasks.db"))):
            row("W1", f"hop with load and save, {name}", stored_hops(SequentialFlow(storage)), None)
            storage.close()


def stored_hops(flow: SequentialFlow) -> tuple[float, float]:
    times = []
    for _ in range(HOPS):
        task = flow.execute(REFERENCE)
        times.append(timed(lambda task_id=task.id: flow.resume(task_id, fetch_response={"id": 1, "name": "Alice"})))
        flow.delete_task(task.id)
    return summary(times)


def w2() -> None:
    paused = pause(LOOP)
    marks = {}
    for number in range(2, 1001):
        paused = answer(paused, number)
        if number in (10, 100, 1000):
            marks[number] = paused
    # Interleaved, so that a noisy machine is as unkind to each of them.
    times: dict[int, list[float]] = {number: [] for number in marks}
    for _ in range(HOPS):
        for number, at in marks.items():
            times[number].append(timed(lambda at=at: answer(at, 1)))
    for number, at in marks.items():
        row("W2", f"loop of 1,000 fetches: hop {number}", summary(times[number]), len(at.state))


def w3() -> None:
    paused = pause(LIVE)
    row("W3", "10,000 live objects: hop", measure(lambda: answer(paused, 1)), len(paused.state))


def d() -> None:
    paused = pause(DROPPED)
    row("D", "200,000 objects made and dropped: hop", measure(lambda: answer(paused, 1)), len(paused.state))


def large() -> None:
    """A hop must not depend on the size of the image."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from ballast import loaded

    guest = loaded(2200)
    with (
        mock.patch.object(guests, "current", return_value=guest),
        mock.patch.object(guests, "load", return_value=guest),
    ):
        first = pause(REFERENCE)
        row("L", "reference program, image of 6 MiB: hop", measure(lambda: answer(first, 1)), len(first.state))


def r() -> None:
    paused = pause(ANSWERS)
    for _ in range(30):
        paused = answer(paused, {"text": "".join(map(str, range(20000)))[:100_000]})
    row("R", "30 answers of 100 KB each, none kept", None, len(paused.state))


def c() -> None:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, "-c", START]

    def start() -> None:
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        assert done.stdout == "paused\n", done

    row("C", "process start to first pause, guest cached", measure(start, PROCESSES), None)
    row(
        "C",
        "of which Python itself",
        measure(lambda: subprocess.run([sys.executable, "-c", ""], check=True), PROCESSES),
        None,
    )


def main() -> None:
    known = {"W1": w1, "W2": w2, "W3": w3, "D": d, "L": large, "R": r, "C": c}
    chosen = sys.argv[1:] or list(known)
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {platform.python_version()},"
        f" wasmtime {version('wasmtime')}, zstandard {version('zstandard')}; median and p95 of {HOPS}"
    )
    for name in chosen:
        known[name]()


if __name__ == "__main__":
    main()
