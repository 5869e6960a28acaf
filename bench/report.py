"""The tables and plots of the benchmark, and their place in docs/benchmarks.md."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.measure import Measured, Summary
from bench.sides import (
    DBOS,
    DURABLE_FUNCTIONS,
    MONTY,
    NATIVE_QUICKJS,
    NODE_JITLESS,
    OURS,
    PEERS,
    PLAIN_WASMTIME,
    QUICKJS_WASI,
)
from bench.workloads import LOOP_HOPS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
IMAGES = ROOT / "docs" / "images"
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"

PAUSING_SIDES = (OURS, MONTY, QUICKJS_WASI, DURABLE_FUNCTIONS, DBOS)
COMPUTING_SIDES = (OURS, PLAIN_WASMTIME, QUICKJS_WASI, MONTY, NATIVE_QUICKJS, NODE_JITLESS)

#: By side and workload.
Results = dict[tuple[str, str], Measured]

TIME, SIZE, RATE = "time", "size", "rate"


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        kind: whether it shows times, sizes or rates.
        what: which of those of the workload.
        goal: what ours is to come to.
        otherwise: why a side has nothing there that says nothing of it itself; "": the cell stays empty.
    """

    name: str
    kind: str
    workload: str
    what: str
    goal: str = ""
    otherwise: str = ""


PAUSES = (
    Row("W1 hop, ms", TIME, "W1", "hop", "0.5"),
    Row(
        "W1 hop, its state compressed, ms",
        TIME,
        "W1",
        "hop, compressed",
        "0.5",
        "Engines that replay keep each step on its own, and do not compress.",
    ),
    Row("W1 state at the first pause, bytes", SIZE, "W1", "state", "900"),
    Row("W1 its whole item in DynamoDB, bytes", SIZE, "W1", "item", "1,024", "Only ours is an item in DynamoDB."),
    *(
        Row(f"W2 hop {hop:,}, ms", TIME, f"W2-{hop}", "hop", "as hop 10" if hop > LOOP_HOPS[0] else "")
        for hop in LOOP_HOPS
    ),
    *(
        Row(f"W2 state at hop {hop:,}, bytes", SIZE, f"W2-{hop}", "state", "as at 10" if hop > LOOP_HOPS[0] else "")
        for hop in LOOP_HOPS
    ),
    Row("W3 10,000 live objects: hop, ms", TIME, "W3", "hop", "5"),
    Row("W3 its state, bytes", SIZE, "W3", "state", "100,000"),
    Row("D 200,000 objects made and dropped: hop, ms", TIME, "D", "hop"),
    Row("D its state, bytes", SIZE, "D", "state", "2,048"),
    Row("R 30 answers of 100 KB, none kept: hop, ms", TIME, "R", "hop"),
    Row("R its state, bytes", SIZE, "R", "state"),
    Row("C process start to first pause, ms", TIME, "C", "start", "100"),
)

COMPUTING = (
    Row("W4 fib(25), ms", TIME, "W4-fib", "compute"),
    Row("W4 a loop of 3 million, ms", TIME, "W4-loop", "compute"),
    Row("W4 JSON of 1 MB, parsed and written, ms", TIME, "W4-json", "compute"),
    Row("W4 200,000 numbers made and sorted, ms", TIME, "W4-sort", "compute"),
)

BESIDE = (
    Row("W1 hop, the bytes as they are, ms", TIME, "W1", "hop"),
    Row("W1 hop, gzip level 1, ms", TIME, "W1", "hop, gzip"),
    Row("W1 hop, zstd level 3, ms", TIME, "W1", "hop, compressed"),
    Row("W1 hop and the checkout of its session, ms", TIME, "W1", "hop with its session"),
    Row("W1 hop to the end of its invocation, ms", TIME, "W1", "invocation"),
    Row("W1 state, as it is, bytes", SIZE, "W1", "state, raw"),
    Row("W1 state, gzip level 1, bytes", SIZE, "W1", "state, gzip"),
    Row("W1 state, zstd level 3, bytes", SIZE, "W1", "state"),
)

MORE = (
    Row("W1 start to first pause, ms", TIME, "W1", "start"),
    Row("W1 state at the second pause, bytes", SIZE, "W1", "state after"),
    Row("W1 hop with load and save, memory, ms", TIME, "W1-stored", "memory"),
    Row("W1 hop with load and save, SQLite, ms", TIME, "W1-stored", "SQLite"),
    Row("L W1 with an image of 6 MiB: hop, ms", TIME, "L", "hop"),
    Row("L its state, bytes", SIZE, "L", "state"),
    Row("C of it Python itself, ms", TIME, "C-python", "start"),
    Row("H hops a second over HTTP, SQLite, four clients", RATE, "H", "hops"),
    Row("H of these a hop, ms", TIME, "H", "hop"),
)


class Notes:
    """Footnotes: each text once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def mark(self, text: str) -> str:
        number = self._numbers.setdefault(text, len(self._numbers) + 1)
        return f"<sup>{number}</sup>"

    def lines(self) -> list[str]:
        return [f"<sup>{number}</sup> {text}<br>" for text, number in self._numbers.items()]


def table(rows: tuple[Row, ...], sides: tuple[str, ...], results: Results, notes: Notes) -> str:
    """A table in Markdown of the rows and sides that were measured; nothing if there is none."""
    measured = {side for side, _ in results}
    sides = tuple(side for side in sides if side in measured)
    rows = tuple(row for row in rows if any((side, row.workload) in results for side in sides))
    if not rows:
        return ""
    goals = any(row.goal for row in rows)
    header = ["", *(["goal"] if goals else []), *sides]
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for row in rows:
        cells = [cell(row, side, results, notes) for side in sides]
        lines.append(f"| {' | '.join([row.name, *([row.goal] if goals else []), *cells])} |")
    return "\n".join(lines)


def cell(row: Row, side: str, results: Results, notes: Notes) -> str:
    """What a side came to. A dash and a footnote if it did not, or none if there is nothing to say."""
    measured = results.get((side, row.workload), Measured())
    known = {TIME: measured.times, SIZE: measured.sizes, RATE: measured.rates}[row.kind]
    why_not = f"{side} {measured.why_not}." if measured.why_not else row.otherwise
    if row.what not in known:
        return f"\N{EN DASH}{notes.mark(why_not)}" if why_not else ""
    value = known[row.what]
    # Where a side failed in the middle, its numbers stand, and the footnote says so.
    mark = notes.mark(why_not) if measured.why_not else ""
    if isinstance(value, int):
        return f"{value:,}{mark}"
    summary = Summary.of(value)
    if row.kind == RATE:
        return f"{summary.median:,.0f}{mark}"
    return f"{number(summary.median)} ({number(summary.p95)}){mark}"


def number(value: float) -> str:
    """With three digits, or all that it has before the point."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def markdown(results: Results, versions: dict[str, dict[str, str]]) -> str:
    """All of it, without the plots."""
    notes = Notes()
    tables = [
        table(PAUSES, PAUSING_SIDES, results, notes),
        table(COMPUTING, COMPUTING_SIDES, results, notes),
        table(BESIDE, (MONTY, QUICKJS_WASI, DURABLE_FUNCTIONS), results, notes),
        table(MORE, (OURS,), results, notes),
    ]
    parts = [f"{datetime.now(UTC):%Y-%m-%d}, {machine()}. {_versions(versions)}.", *filter(None, tables)]
    if lines := notes.lines():
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _versions(versions: dict[str, dict[str, str]]) -> str:
    named = {f"{name} {number}" for known in versions.values() for name, number in known.items()}
    return ", ".join(sorted(named, key=str.lower))


def machine() -> str:
    """What this machine is, without its name."""
    cpu = platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists() and (found := re.search(r"^model name\s*: (.+)$", info.read_text(), re.MULTILINE)):
        cpu = found[1]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}"


def points(results: Results, kind: str) -> dict[str, list[tuple[int, float]]]:
    """What the plots show: for each side and hop of the loop, the median time of the hop or the size of its state."""
    lines: dict[str, list[tuple[int, float]]] = {}
    for side in PAUSING_SIDES:
        for hop in LOOP_HOPS:
            measured = results.get((side, f"W2-{hop}"), Measured())
            if kind == TIME and "hop" in measured.times:
                lines.setdefault(side, []).append((hop, Summary.of(measured.times["hop"]).median))
            elif kind == SIZE and "state" in measured.sizes:
                lines.setdefault(side, []).append((hop, measured.sizes["state"]))
    return lines


def write(text: str, results: Results) -> None:
    """Puts the tables into the page, and draws the plots beside it."""
    IMAGES.mkdir(exist_ok=True)
    for kind, file, title in (
        (TIME, "hop-time.png", "Time of a hop, ms"),
        (SIZE, "state-size.png", "State or history, bytes"),
    ):
        # matplotlib is in the peers' environment.
        command = [str(PEERS / "bin" / "python"), "-m", "bench.plot", title, str(IMAGES / file)]
        subprocess.run(command, input=json.dumps(points(results, kind)), text=True, check=True, cwd=ROOT)
    PAGE.write_text(placed(PAGE.read_text(), text))
    print(f"written: {PAGE.relative_to(ROOT)}", file=sys.stderr)


def placed(page: str, text: str) -> str:
    """The page with the text between its markers."""
    before, _, rest = page.partition(BEGIN)
    _, found, after = rest.partition(END)
    assert found, f"{PAGE.name} has no {BEGIN} and {END}"
    plots = (
        "![Time of a hop over the hops before](images/hop-time.png)\n\n![State over the hops](images/state-size.png)"
    )
    return f"{before}{BEGIN}\n\n{text}\n\n{plots}\n\n{END}{after}"
