"""What a pause costs here and in another revision, measured in turns in one run. Prints a table; asserts nothing.

    scripts/bench-against 45ed666          W1 and C, about five minutes, of which one sets the other revision up

Both sides run in processes of their own, alternating, so that a noisy machine is as unkind to each of them. Hops are
timed by the wall clock and by the CPU time of their thread.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]

ROUNDS = 20
PROCESSES = 30

REFERENCE = (
    'const user = await fetch("https://api.example.com/user/1"); '
    'const posts = await fetch("https://api.example.com/posts"); [user, posts]'
)

# Runs on either side, so it uses only what both have.
HOPS = f"""
import json, time
try:
    from sequential_core.pending import ValueAnswer
    from sequential_core.vm import program as driver
except ImportError:  # before they had these names
    from sequential_core.model import ValueAnswer
    from sequential_core.vm import driver
first = driver.start({REFERENCE!r})
alice = {{1: ValueAnswer({{"id": 1, "name": "Alice"}})}}
def timed(step):
    for _ in range(10):
        step()
    wall, cpu = [], []
    for _ in range(50):
        began, began_cpu = time.perf_counter(), time.thread_time()
        step()
        wall.append(time.perf_counter() - began), cpu.append(time.thread_time() - began_cpu)
    return wall, cpu
second = driver.resume(first.state, alice)
hop, start = timed(lambda: driver.resume(first.state, alice)), timed(lambda: driver.start({REFERENCE!r}))
print(json.dumps({{"hop": hop[0], "hop, CPU": hop[1], "start": start[0], "start, CPU": start[1],
                   "bytes": [len(first.state), len(second.state)]}}))
"""

START = (
    "from sequential_core import MemoryStorage, SequentialFlow;"
    f"print(SequentialFlow(MemoryStorage()).execute({REFERENCE!r}).status)"
)


def run(tree: Path, code: str) -> str:
    python = tree / os.environ.get("VENV", ".venv") / "bin" / "python"
    done = subprocess.run([str(python), "-c", code], cwd=tree, check=True, capture_output=True, text=True)
    return done.stdout


def started(tree: Path) -> float:
    began = time.perf_counter()
    assert run(tree, START) == "paused\n"
    return time.perf_counter() - began


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: scripts/bench-against REVISION")
    with tempfile.TemporaryDirectory() as folder:
        other = Path(folder) / "other"
        git = ["git", "-C", str(ROOT)]
        subprocess.run([*git, "worktree", "add", "--quiet", "--detach", str(other), sys.argv[1]], check=True)
        try:
            subprocess.run([str(other / "scripts/setup")], check=True, stdin=subprocess.DEVNULL)
            compare({sys.argv[1]: other, "here": ROOT})
        finally:
            subprocess.run([*git, "worktree", "remove", "--force", str(other)], check=True)


def compare(sides: dict[str, Path]) -> None:
    times: dict[str, dict[str, list[float]]] = {name: {} for name in sides}
    sizes: dict[str, list[int]] = {}
    for _ in range(ROUNDS):
        for name, tree in sides.items():
            measured = json.loads(run(tree, HOPS))
            sizes[name] = measured.pop("bytes")
            for what, values in measured.items():
                times[name].setdefault(what, []).extend(values)
    for _ in range(PROCESSES):
        for name, tree in sides.items():
            times[name].setdefault("process start to first pause", []).append(started(tree))
    before, after = sides
    print(f"{'':34} {before:>12} {after:>12}")
    for what in times[after]:
        medians = [1e3 * statistics.median(times[name][what]) for name in sides]
        print(f"{what:34} {medians[0]:9.2f} ms {medians[1]:9.2f} ms {100 * (medians[1] / medians[0] - 1):+6.1f}%")
    for index, what in enumerate(("state at first pause", "state at second pause")):
        old, new = (sizes[name][index] for name in sides)
        print(f"{what:34} {old:10} B {new:10} B {100 * (new / old - 1):+6.1f}%")


if __name__ == "__main__":
    main()
