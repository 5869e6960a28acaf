"""What a pause costs, in time and bytes, here and with the peers, in one run. Prints Markdown; asserts nothing.

    scripts/bench                    ours, a minute
    scripts/bench W1 C               only these
    scripts/bench --peers            the peers too, about six minutes
    scripts/bench --peers --write    and writes it into docs/benchmarks.md, with the plots

Each side runs in a process of its own, and in rounds: every side has its turn in each, the others are stopped
meanwhile. So a noisy machine is as unkind to each of them.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass

from bench import report, sides, where
from bench.measure import Measured, in_turn, timed
from bench.report import COMPUTING_SIDES, PAUSING_SIDES, Results
from bench.sides import OURS
from bench.workloads import COMPUTING, LOOP_HOPS

_PREPARE_SECONDS = 180
_ANSWER_SECONDS = 120
_PROCESS_SECONDS = 60

# After so long a side has no more turns at a workload: what it has shown by then will do.
_SHARE_SECONDS = 12


#: A process of Python that does nothing.
PYTHON = "C-python"


@dataclass(frozen=True)
class Part:
    """Workloads that are measured together, in turn.

    Attributes:
        name: how the command is asked for it.
        times: how often a side does its work in one turn, at most; fewer if `seconds` are over.
    """

    name: str
    workloads: tuple[str, ...]
    sides: tuple[str, ...]
    rounds: int
    times: int
    seconds: float = 1.0


PARTS = (
    Part("W1", ("W1",), PAUSING_SIDES, 20, 10),
    Part("W1", ("W1-stored",), (OURS,), 10, 20),
    Part("W2", tuple(f"W2-{hop}" for hop in LOOP_HOPS), PAUSING_SIDES, 10, 10),
    Part("W3", ("W3",), PAUSING_SIDES, 10, 5),
    Part("W4", tuple(program.key for program in COMPUTING), COMPUTING_SIDES, 5, 1),
    Part("D", ("D",), PAUSING_SIDES, 10, 5),
    Part("R", ("R",), PAUSING_SIDES, 10, 5),
    Part("L", ("L",), (OURS,), 10, 10),
    Part("C", ("C",), PAUSING_SIDES, 20, 1),
    Part("C", (PYTHON,), (OURS,), 20, 1),
    Part("H", ("H",), (OURS,), 3, 1, seconds=3.0),
)

NAMES = (*dict.fromkeys(part.name for part in PARTS), "where", "imports")


def measure(part: Part, running: dict[str, sides.Running], results: Results) -> None:
    """Measures a part, on the sides that are there."""
    pairs = [(name, workload) for workload in part.workloads for name in part.sides if name in running]
    spent = dict.fromkeys(pairs, 0.0)
    prepared: dict[tuple[str, str], int] = {}
    for pair in pairs:
        results[pair] = Measured()
    for pair in in_turn(pairs, part.rounds):
        (name, workload), measured = pair, results[pair]
        side = running[name]
        if measured.why_not is not None or spent[pair] > _SHARE_SECONDS:
            continue
        try:
            if workload in ("C", PYTHON):
                began = time.perf_counter()
                measured.add({"times": {"start": [started(side.side, workload)]}})
            else:
                if prepared.get(pair) != side.starts or not side.starts:
                    side.ask("prepare", workload, _PREPARE_SECONDS)
                    prepared[pair] = side.starts
                began = time.perf_counter()
                measured.add(side.ask("measure", workload, _ANSWER_SECONDS, rounds=part.times, seconds=part.seconds))
            spent[pair] += time.perf_counter() - began
        except sides.CannotError as error:
            measured.why_not = str(error)
        except sides.SideError as error:
            measured.why_not = f"failed: {error}"
            print(f"{name} failed at {workload}: {error}", file=sys.stderr)


def started(side: sides.Side, workload: str) -> float:
    """How long a process took."""
    if workload == PYTHON:
        return timed(lambda: subprocess.run([sys.executable, "-c", ""], check=True))
    return timed(lambda: sides.to_first_pause(side, _PROCESS_SECONDS))


def run(names: list[str], chosen: tuple[sides.Side, ...], results: Results) -> dict[str, dict[str, str]]:
    """Measures the parts of these names on these sides; returns the versions of each."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        running = {}
        for side in chosen:
            worker = stack.enter_context(sides.Running(side, folder))
            try:
                worker.start()
            except sides.SideError as error:
                print(f"{side.name} does not start: {error}", file=sys.stderr)
            else:
                running[side.name] = worker
        for part in PARTS:
            if part.name in names:
                began = time.monotonic()
                measure(part, running, results)
                took = time.monotonic() - began
                print(f"{', '.join(part.workloads)}: {took:.0f} s", file=sys.stderr, flush=True)
        return {name: worker.versions for name, worker in running.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="What a pause costs.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"only these: {' '.join(NAMES)}")
    parser.add_argument("--peers", action="store_true", help="measure the peers too")
    parser.add_argument("--write", action="store_true", help="write the tables and plots into docs/; needs --peers")
    options = parser.parse_args()
    names = options.parts or list(NAMES)
    if unknown := set(names) - set(NAMES):
        parser.error(f"no such part: {' '.join(sorted(unknown))}")
    if options.write and (not options.peers or options.parts):
        parser.error("--write is for all parts, with --peers")
    results: Results = {}
    versions = run(names, (sides.ours(), *(sides.peers() if options.peers else ())), results)
    text = report.markdown(results, versions)
    print(text)
    if options.write:
        report.write(text, results)
    if "where" in names:
        where.main()
    if "imports" in names and importlib.util.find_spec("bench.imports") is not None:
        importlib.import_module("bench.imports").main()


if __name__ == "__main__":
    main()
