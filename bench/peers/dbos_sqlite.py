"""DBOS with its default database, SQLite: replays the workflow from its beginning, and reads the outcomes of its steps.

A fetch is a step. A hop: the workflow is called again and comes through the steps that are done; the next one is
called, its outcome is written, and the one after it is called. From the workflow's first line to there: what it takes
to get the workflow out of its queue, up to a second by default, is left out. `rewind_workflow` is how it comes to
stand before the hop again.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from dbos import DBOS, DBOSConfig, SetWorkflowID

from bench.worker import CannotError, Worker, serve
from bench.workloads import BY_KEY, PAUSING, Pausing, pausing

_QUEUE = "hops"
_MOST_ANSWERED = 1_000
_HOP_SECONDS = 60

_began = 0.0
_hops: list[float] = []
_ended = threading.Event()


@DBOS.step()
def fetch(workload: str, number: int) -> Any:
    """The step that follows the hop's says when the hop has ended."""
    program = pausing(workload)
    if number == program.answered + 1:
        _hops.append(1e3 * (time.perf_counter() - _began))
        _ended.set()
    return program.answer


class Ended(Exception):
    """The workflow is where its hop ends."""


def _run(workload: str) -> None:
    global _began  # noqa: PLW0603  # one workflow runs at a time
    _began = time.perf_counter()
    number, last = -1, pausing(workload).answered + 1

    def fetch_next(_url: str) -> Any:
        nonlocal number
        number += 1
        answer = fetch(workload, number)
        if number == last:
            raise Ended
        return answer

    try:
        _RUNS[workload](fetch_next)
    except Ended:
        return


def _function(program: Pausing) -> Callable[[Callable[[str], Any]], None]:
    names: dict[str, Any] = {}
    # The same text as the other sides run.
    exec(f"def run(fetch):\n{textwrap.indent(program.python, '    ')}", names)  # noqa: S102
    function: Callable[[Callable[[str], Any]], None] = names["run"]
    return function


_RUNS = {program.key: _function(program) for program in PAUSING}

run = DBOS.workflow(name="run")(_run)


def launch(folder: str) -> Path:
    path = Path(folder) / "dbos.sqlite"
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": f"sqlite:///{path}",
        "application_version": "1",
        "log_level": "WARNING",
    }
    DBOS(config=config)
    DBOS.launch()
    return path


class Dbos(Worker):
    def __init__(self, path: Path) -> None:
        self._engine = sa.create_engine(f"sqlite:///{path}")
        # The queue's pauses are not measured, so they need not be long.
        DBOS.register_queue(_QUEUE, polling_interval_sec=0.02)

    def versions(self) -> dict[str, str]:
        return {"dbos": version("dbos")}

    def prepare(self, workload: str) -> None:
        program = BY_KEY.get(workload)
        if not isinstance(program, Pausing):
            raise CannotError("computes in CPython itself, without a sandbox")
        if program.answered > _MOST_ANSWERED:
            raise CannotError(
                f"is left out above {_MOST_ANSWERED:,} hops, where one takes seconds: they grow with their number"
            )
        with SetWorkflowID(workload):
            DBOS.start_workflow(run, workload).get_result(polling_interval_sec=0.01)
        for _ in range(2):
            self._hop(workload)

    def measure(self, workload: str, rounds: int, seconds: float) -> dict[str, Any]:
        began = time.perf_counter()
        times = [self._hop(workload)]
        while len(times) < rounds and time.perf_counter() - began < seconds:
            times.append(self._hop(workload))
        return {"times": {"hop": times}, "sizes": {"state": self._bytes(workload, pausing(workload).answered)}}

    def _hop(self, workload: str) -> float:
        del _hops[:]
        _ended.clear()
        # Steps are counted from 1: all that are answered stay.
        step = pausing(workload).answered + 1
        handle = DBOS.rewind_workflow(workload, start_step=step, queue_name=_QUEUE)
        # Nobody asks the database meanwhile whether it has ended.
        assert _ended.wait(_HOP_SECONDS)
        handle.get_result(polling_interval_sec=0.01)
        assert len(_hops) == 1, _hops
        return _hops[0]

    def _bytes(self, workload: str, steps: int) -> int:
        """Of the rows of the workflow and of its first steps: the values, without indexes and what SQLite adds."""
        with self._engine.connect() as connection:
            rows = [
                *connection.execute(
                    sa.text("SELECT * FROM workflow_status WHERE workflow_uuid = :id"), {"id": workload}
                ),
                *connection.execute(
                    sa.text("SELECT * FROM operation_outputs WHERE workflow_uuid = :id AND function_id <= :steps"),
                    {"id": workload, "steps": steps},
                ),
            ]
        assert len(rows) == 1 + steps, len(rows)
        return sum(len(str(value)) for row in rows for value in row if value is not None)


if __name__ == "__main__":
    logging.getLogger("dbos").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        database = launch(folder)
        if sys.argv[1:] == ["first-pause"]:
            run("W1")
            print("paused")
        else:
            serve(Dbos(database))
        DBOS.destroy()
