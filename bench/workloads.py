"""What the benchmark runs: the programs, in JavaScript and in Python, and the answers that they get.

A side that runs JavaScript gets `javascript`, one that runs Python gets `python`: the same program, in each
language's usual way. Uses nothing but the standard library, since each side runs in an environment of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

REFERENCE = (
    'const user = await fetch("https://api.example.com/user/1"); '
    'const posts = await fetch("https://api.example.com/posts"); [user, posts]'
)
_REFERENCE_PYTHON = """\
user = fetch("https://api.example.com/user/1")
posts = fetch("https://api.example.com/posts")
[user, posts]"""

#: What the first request of the reference program is answered with.
USER = {"id": 1, "name": "Alice"}

#: The hops of the loop that are looked at.
LOOP_HOPS = (10, 100, 1_000, 10_000)

# A few rounds more than the last of these, for sides whose measured hops go on from one another.
_LOOP = "let sum = 0; for (let i = 0; i < 11000; i++) { sum += await fetch(`https://api.example.com/${i}`); } sum"
_LOOP_PYTHON = """\
total = 0
for i in range(11000):
    total += fetch(f"https://api.example.com/{i}")
total"""

_TWO_FETCHES = 'await fetch("https://api.example.com/a"); await fetch("https://api.example.com/b");'
_TWO_FETCHES_PYTHON = """\
fetch("https://api.example.com/a")
fetch("https://api.example.com/b")"""

_ANSWERS = "let n = 0; for (let i = 0; i < 40; i++) n += (await fetch(`https://api.example.com/${i}`)).text.length; n"
_ANSWERS_PYTHON = """\
n = 0
for i in range(40):
    n += len(fetch(f"https://api.example.com/{i}")["text"])
n"""
_LARGE = {"text": "".join(map(str, range(20000)))[:100_000]}


@dataclass(frozen=True)
class Pausing:
    """A program that pauses, and which of its hops is looked at.

    Attributes:
        key: how the sides are asked for it.
        answered: requests that are answered before the hop.
        answer: what each of them gets, and the one of the hop.
    """

    key: str
    javascript: str
    python: str
    answered: int
    answer: Any


@dataclass(frozen=True)
class Computing:
    """A program that never pauses.

    Attributes:
        key: how the sides are asked for it.
        result: what it comes to, wherever it runs.
    """

    key: str
    javascript: str
    python: str
    result: Any


def _objects(count: int) -> str:
    return f"let items = []; for (let i = 0; i < {count}; i++) items.push({{ id: i, name: `item ${{i}}` }});"


def _objects_python(count: int) -> str:
    return f"""\
items = []
for i in range({count}):
    items.append({{"id": i, "name": f"item {{i}}"}})
"""


PAUSING = (
    Pausing("W1", REFERENCE, _REFERENCE_PYTHON, 0, USER),
    *(Pausing(f"W2-{hop}", _LOOP, _LOOP_PYTHON, hop - 1, 1) for hop in LOOP_HOPS),
    Pausing(
        "W3",
        f"{_objects(10_000)} {_TWO_FETCHES} items.length",
        f"{_objects_python(10_000)}{_TWO_FETCHES_PYTHON}\nlen(items)",
        0,
        1,
    ),
    Pausing(
        "D",
        f"{_objects(200_000)} items = null; {_TWO_FETCHES} 1",
        f"{_objects_python(200_000)}items = None\n{_TWO_FETCHES_PYTHON}",
        0,
        1,
    ),
    Pausing("R", _ANSWERS, _ANSWERS_PYTHON, 30, _LARGE),
)

_ITEM = '{"id":12,"name":"item 12","tags":["a","b"]}'

COMPUTING = (
    Computing(
        "W4-fib",
        "const fib = (n) => n < 2 ? n : fib(n - 1) + fib(n - 2); fib(25)",
        "def fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)\nfib(25)",
        75_025,
    ),
    Computing(
        "W4-loop",
        "(() => { let x = 0; for (let i = 0; i < 3000000; i++) x = (x + i * 7) % 1000003; return x; })()",
        "def go():\n    x = 0\n    for i in range(3000000):\n        x = (x + i * 7) % 1000003\n    return x\ngo()",
        315,
    ),
    Computing(
        "W4-json",
        f"const text = `[${{Array(23000).fill('{_ITEM}').join()}}]`; JSON.stringify(JSON.parse(text)).length",
        f"import json\ntext = '[' + ','.join(['{_ITEM}'] * 23000) + ']'\n"
        "len(json.dumps(json.loads(text), separators=(',', ':')))",
        23_000 * (len(_ITEM) + 1) + 1,
    ),
    Computing(
        "W4-sort",
        "(() => { let x = 1; const values = [];"
        " for (let i = 0; i < 200000; i++) { x = (x * 16807) % 2147483647; values.push(x); }"
        " values.sort((a, b) => a - b); return values[100000]; })()",
        "x = 1\nvalues = []\nfor i in range(200000):\n    x = (x * 16807) % 2147483647\n    values.append(x)\n"
        "values.sort()\nvalues[100000]",
        1_077_509_796,
    ),
)

BY_KEY: dict[str, Pausing | Computing] = {workload.key: workload for workload in (*PAUSING, *COMPUTING)}


def pausing(key: str) -> Pausing:
    workload = BY_KEY[key]
    assert isinstance(workload, Pausing), key
    return workload


def computing(key: str) -> Computing:
    workload = BY_KEY[key]
    assert isinstance(workload, Computing), key
    return workload
