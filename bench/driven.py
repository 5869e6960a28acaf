"""What a task costs that drives itself: CPU time, and so how many a second one core drives. Prints Markdown.

    scripts/bench drive              in memory and with SQLite
    scripts/bench-aws drive          also with DynamoDB and SQS, by ministack

Every request goes to a server in a process of its own (bench/server.py), which answers at once. CPU time is of the
process that drives, all its threads and the first hop included, without the server's and the emulator's: so a busy
machine shows in it least. Each case runs in rounds, the cases in turn, and medians are shown.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from sequential_core import MemoryStorage, SequentialFlow, SqliteStorage
from sequential_core.driver import Driver, Ended, Fetcher, Rules, Worker
from sequential_core.model import Status

ROUNDS = 5
AT_A_TIME = 8

FANNED_OUT = 100


@dataclass(frozen=True)
class Program:
    """A program that is driven.

    Attributes:
        code: with the server in the place of URL.
        fetches: how many requests it makes.
        tasks: of a round.
    """

    name: str
    code: str
    fetches: int
    tasks: int


PROGRAMS = (
    Program("two fetches", 'const a = await fetch("URL/a"); const b = await fetch("URL/b"); [a, b]', 2, 100),
    Program(
        f"{FANNED_OUT} fetches at once",
        f"(await Promise.all(Array.from({{ length: {FANNED_OUT} }}, (_, i) => fetch(`URL/${{i}}`)))).length",
        FANNED_OUT,
        5,
    ),
)


class Server:
    """The server's process."""

    def __init__(self) -> None:
        command = [sys.executable, str(Path(__file__).with_name("server.py"))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"

    def microseconds(self) -> float:
        """CPU time of an answer, so far."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("how much?\n")
        self._process.stdin.flush()
        seconds, answered = self._process.stdout.readline().split()
        return 1e6 * float(seconds) / int(answered)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()


@dataclass
class Measured:
    """The rounds of one case; seconds a task."""

    name: str
    program: Program
    cpu: list[float] = field(default_factory=list)
    elapsed: list[float] = field(default_factory=list)
    hops: list[float] = field(default_factory=list)

    def row(self) -> str:
        cpu, elapsed, hops = map(statistics.median, (self.cpu, self.elapsed, self.hops))
        return (
            f"| {self.name} | {self.program.name} | {hops:.3g} | {1e3 * cpu:.1f} ms | {1 / cpu:.3g} "
            f"| {hops / cpu:.0f} | {1 / elapsed:.3g} |"
        )

    def forget(self) -> None:
        for values in (self.cpu, self.elapsed, self.hops):
            values.clear()


#: Drives tasks that were made, to their ends, given their flow and ids; the CPU seconds that were not theirs.
Drive = Callable[[SequentialFlow, list[str]], float]


def directly(flow: SequentialFlow, ids: list[str]) -> float:
    """By a driver that is called for each, some at a time."""
    driver = Driver(flow, fetcher=Fetcher(Rules(loopback=True)))
    with ThreadPoolExecutor(AT_A_TIME) as threads:
        for standing in threads.map(driver.drive, ids):
            assert isinstance(standing, Ended), standing
    return 0


def by_worker(flow: SequentialFlow, ids: list[str]) -> float:
    """By a worker, which asks the storage what is due."""
    worker = Worker(Driver(flow, fetcher=Fetcher(Rules(loopback=True))))
    worker.start()
    for task_id in ids:
        while flow.get_task(task_id).status is Status.PAUSED:
            time.sleep(0.02)
    worker.stop()
    return 0


def measure(case: Measured, flow: SequentialFlow, drive: Drive, url: str) -> None:
    """One round."""
    code, tasks = case.program.code.replace("URL", url), case.program.tasks
    began, cpu = time.perf_counter(), time.process_time()
    ids = [flow.execute(code, drive=True).id for _ in range(tasks)]
    others = drive(flow, ids)
    case.cpu.append((time.process_time() - cpu - others) / tasks)
    case.elapsed.append((time.perf_counter() - began) / tasks)
    ended = [flow.get_task(task_id) for task_id in ids]
    assert all(task.status is Status.COMPLETED for task in ended), ended
    case.hops.append(statistics.mean(task.drive.history[-1].hop for task in ended if task.drive is not None))
    for task_id in ids:
        flow.delete_task(task_id)


#: By name: has the tasks, and drives them.
Drives = dict[str, tuple[SequentialFlow, Drive]]


@contextlib.contextmanager
def local() -> Iterator[Drives]:
    with tempfile.TemporaryDirectory() as folder:
        sqlite = SqliteStorage(f"{folder}/tasks.db")
        yield {
            "memory": (SequentialFlow(MemoryStorage()), directly),
            "SQLite, by a worker": (SequentialFlow(sqlite), by_worker),
        }
        sqlite.close()


def run(drives: Drives, programs: tuple[Program, ...] = PROGRAMS, rounds: int = ROUNDS) -> str:
    """Measures each program with each storage; the table."""
    cases = {(name, program.name): Measured(name, program) for name in drives for program in programs}
    with Server() as server:
        for number in range(rounds + 1):
            for case in cases.values():
                measure(case, *drives[case.name], server.url)
                if number == 0:  # what is loaded and compiled once
                    case.forget()
        microseconds = server.microseconds()
    return "\n".join(
        [
            "| tasks are in | a task makes | hops | CPU of a task | tasks/s a core | hops/s a core | tasks/s here |",
            "|---|---|---|---|---|---|---|",
            *(case.row() for case in cases.values()),
            f"\nThe server took {microseconds:.0f} us of CPU for an answer; medians of {rounds} rounds.",
        ]
    )


def main() -> None:
    with local() as drives:
        print(run(drives))


if __name__ == "__main__":
    main()
