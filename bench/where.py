"""Where the time of a hop of W1 goes: prints a table; asserts nothing.

    scripts/bench where

Each part is timed by a wrapper around the function that does it. A part that stands in another is not counted there.
The wrappers cost up to a microsecond each; the hop without them is measured in turn.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest import mock

from bench.workloads import REFERENCE, USER
from sequential_core import state as codec
from sequential_core.pending import ValueAnswer
from sequential_core.vm import machines, pages, runtime, snapshot, waits
from sequential_core.vm import program as programs
from sequential_core.vm.machine import Machine

ROUNDS = 1000
WARM_UP = 100

# In the order of a hop.
PARTS: list[tuple[str, Any, str]] = [
    ("read the header, check the digest", codec, "read"),
    ("decompress", codec, "unpack"),
    ("take a machine", machines, "take"),
    ("begin to count CPU time, carry signals", runtime._Carriers, "enter"),
    ("write the state into the memory", snapshot, "restore"),
    ("random numbers, the limit of memory", Machine, "prepare"),
    ("the answer as JSON", waits, "encode_answer"),
    ("the answer into the guest", Machine, "new_string"),
    ("settle the promise; ask what is pending", Machine, "apply"),
    ("run the jobs: the program itself", Machine, "run_jobs"),
    ("read what is pending", waits, "parse"),
    ("ask the kernel for the pages", pages, "told"),
    ("find the garbage, compare, write the runs", snapshot.Companion, "take"),
    ("compress, digest", codec, "pack"),
    ("make the memory the image again", snapshot, "reset"),
]


class Stopwatch:
    """Times functions, without what others of them take meanwhile."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self._inner: list[float] = []

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            self._inner.append(0.0)
            began = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                elapsed = time.perf_counter() - began
                self.spent[name] = self.spent.get(name, 0.0) + elapsed - self._inner.pop()
                if self._inner:
                    self._inner[-1] += elapsed

        return timed


def main() -> None:
    """Prints the table."""
    first = programs.start(REFERENCE)
    assert isinstance(first, programs.Suspended), first
    answers = {first.requests[0].id: ValueAnswer(USER)}

    def hop() -> float:
        began = time.perf_counter()
        programs.resume(first.state, answers)
        return time.perf_counter() - began

    for _ in range(WARM_UP):
        hop()
    plain, rounds = [], []
    stopwatch = Stopwatch()
    for _ in range(ROUNDS):
        plain.append(hop())
        stopwatch.spent = {}
        with ExitStack() as stack:
            for name, owner, attribute in PARTS:
                wrapped = stopwatch.around(name, getattr(owner, attribute))
                stack.enter_context(mock.patch.object(owner, attribute, wrapped))
            took = hop()
        rounds.append({**stopwatch.spent, "": took})
    whole = statistics.median(plain)
    print("| where a hop of W1 goes | us |\n|---|---|")
    told = 0.0
    for name, _, _ in PARTS:
        median = statistics.median(each.get(name, 0.0) for each in rounds)
        told += median
        print(f"| {name} | {1e6 * median:.0f} |")
    print(f"| the rest: Python between these | {1e6 * (whole - told):.0f} |")
    print(f"| **the hop**, median of {ROUNDS} | **{1e6 * whole:.0f}** |")


if __name__ == "__main__":
    main()
