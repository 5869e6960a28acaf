"""docs/http.md: its examples are run, in their order, and its table is the one of the code."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from sequential_core.http.operations import OPERATIONS
from sequential_core.http.problems import INTERNAL, PROBLEMS

PAGE = (Path(__file__).parents[2] / "docs" / "http.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```sh\n# (\d+)\n(curl .*?)```", PAGE, re.DOTALL)
ROW = re.compile(r"^\| `([a-z-]+)` \| (\d+) \| ([^|]*) \| ([^|]*?) ?\|$", re.MULTILINE)


def test_the_examples_give_what_they_say(serve):
    server = serve()
    assert len(EXAMPLES) == PAGE.count("```sh") >= 10
    for status, command in EXAMPLES:
        command = command.replace("http://127.0.0.1:8787", server.url)
        done = subprocess.run(["bash", "-c", f"curl -s {command[5:]}"], check=True, capture_output=True, text=True)
        assert done.stdout.startswith(f"HTTP/1.1 {status} "), (command, done.stdout)


def test_the_table_of_problems_is_the_one_of_the_code():
    written = {}
    for slug, status, title, members in ROW.findall(PAGE):
        assert slug not in written
        written[slug] = (int(status), title, tuple(re.findall(r"`(\w+)`", members)))
    known = {
        problem.slug: (problem.status, problem.title, tuple(problem.members.values()))
        for problem in [*PROBLEMS.values(), INTERNAL]
    }
    assert written == known


def test_every_operation_is_on_the_page():
    for operation in OPERATIONS:
        assert f"| `{operation.method} {operation.path}` |" in PAGE
