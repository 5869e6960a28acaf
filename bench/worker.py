"""The loop of a side's process: lines of JSON in, lines of JSON out.

    {"do": "prepare", "workload": "W1"}
    {}
    {"do": "measure", "workload": "W1", "rounds": 10, "seconds": 1.0}
    {"times": {"hop": [0.5, ...]}, "sizes": {"state": 1234}}

The first line out is {"versions": {"name": "1.0", ...}}. Times are milliseconds, sizes bytes; `rates` are numbers a
second. Lines in also have the program, for sides that cannot import it. What a side cannot do it answers with
{"cannot": "why"}, and an exception with {"failed": "what"}.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import traceback
from abc import ABC, abstractmethod
from typing import Any


class CannotError(Exception):
    """A side cannot run a workload; the message says why."""


class Worker(ABC):
    """One side."""

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Of everything that is measured."""

    @abstractmethod
    def prepare(self, workload: str) -> None:
        """Gets a workload to where its measured part begins, and runs that part a few times to warm up.

        Raises:
            CannotError: this side has no way to run it.
        """

    @abstractmethod
    def measure(self, workload: str, rounds: int, seconds: float) -> dict[str, Any]:
        """Measures a prepared workload that often, or until `seconds` are over."""


def serve(worker: Worker) -> None:
    # Whatever a library prints must not come between the lines.
    lines = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(value: dict[str, Any]) -> None:
        lines.write(f"{json.dumps(value)}\n")
        lines.flush()

    say({"versions": {"Python": platform.python_version(), **worker.versions()}})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "prepare":
                worker.prepare(request["workload"])
                say({})
            else:
                say(worker.measure(request["workload"], request["rounds"], request["seconds"]))
        except CannotError as error:
            say({"cannot": str(error)})
        except Exception as error:  # noqa: BLE001  # the other sides go on
            traceback.print_exc()
            say({"failed": f"{type(error).__name__}: {error}"})
