"""What a start imports: the dearest modules of the library path, as `python -X importtime` tells. Asserts nothing.

    scripts/bench imports

Medians over some processes. A module's own time is without what it imports; the cumulative time is with that. Who
imports it is who came first: without that one it would be the next's to pay.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass

RUNS = 11
SHOWN = 10

START = (
    "from sequential_core import MemoryStorage, SequentialFlow;"
    "print(SequentialFlow(MemoryStorage()).execute('await fetch(\"https://api.example.com/user/1\")').status)"
)

# "import time:       117 |       240 |   abc": two spaces for each level.
_LINE = re.compile(r"import time:\s*(\d+) \|\s*(\d+) \|( +)(\S.*)")


@dataclass(frozen=True, slots=True)
class Import:
    """A module that was imported.

    Attributes:
        module: its name.
        own_ms: without what it imports.
        cumulative_ms: with that.
        importer: the module that imported it first; None if it was the program, or Python at its start.
    """

    module: str
    own_ms: float
    cumulative_ms: float
    importer: str | None


def parse(text: str) -> list[Import]:
    """The imports that `-X importtime` has written, in the order in which they ended. Other lines are passed over."""
    found: list[Import] = []
    # A module is told of when it is done, so its importer comes later: the next one that is less deep.
    open_levels: list[tuple[int, int]] = []
    for line in text.splitlines():
        matched = _LINE.fullmatch(line)
        if matched is None:
            continue
        own, cumulative, indent, module = matched.groups()
        level = len(indent) // 2
        while open_levels and open_levels[-1][0] > level:
            index = open_levels.pop()[1]
            each = found[index]
            found[index] = Import(each.module, each.own_ms, each.cumulative_ms, module)
        open_levels.append((level, len(found)))
        found.append(Import(module, int(own) / 1e3, int(cumulative) / 1e3, None))
    return found


def medians(runs: Iterable[list[Import]]) -> list[Import]:
    """Each module with the medians of its times over the runs that imported it, the dearest first."""
    by_name: dict[str, list[Import]] = {}
    for run in runs:
        for each in run:
            by_name.setdefault(each.module, []).append(each)
    found = [
        Import(
            name,
            statistics.median(each.own_ms for each in imports),
            statistics.median(each.cumulative_ms for each in imports),
            imports[0].importer,
        )
        for name, imports in by_name.items()
    ]
    return sorted(found, key=lambda each: each.own_ms, reverse=True)


def measured(code: str = START) -> list[Import]:
    """The imports of one process."""
    # Without bytecode of our own every module would be compiled anew.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, "-X", "importtime", "-c", code]
    return parse(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stderr)


def table(imports: list[Import], shown: int = SHOWN) -> str:
    """The dearest of them, and a line for all."""
    lines = [f"{'':36} {'own':>9} {'with its own':>15}  imported by"]
    for each in imports[:shown]:
        times = f"{each.own_ms:6.2f} ms {each.cumulative_ms:12.2f} ms"
        lines.append(f"{each.module:36} {times}  {each.importer or '-'}".rstrip())
    total = sum(each.own_ms for each in imports)
    lines.append(f"{f'all {len(imports)} modules':36} {total:6.2f} ms")
    return "\n".join(lines)


def main() -> None:
    """Prints the table."""
    measured()  # writes the bytecode, and fills the cache of compiled guests
    print(table(medians(measured() for _ in range(RUNS))))


if __name__ == "__main__":
    main()
