"""The web platform as its standards have it: each file of tests/web, plain and paused everywhere."""

from __future__ import annotations

import functools
import json
import zlib
from pathlib import Path
from urllib.parse import unquote

import pytest

from sequential_core.limits import Limits
from sequential_core.pending import ErrorAnswer, PendingRequest, ResponseAnswer, ValueAnswer
from sequential_core.testing import NEVER, After, response, run_program

pytestmark = pytest.mark.once  # the guest is the same bytes on every Python

FOLDER = Path(__file__).parent / "web"
HARNESS = "harness.js"
FILES = sorted(path.name for path in FOLDER.glob("*.js") if path.name != HARNESS)

# The window of a compressor is in every state, and there are a thousand cuts.
SLOW = {"compression.js"}

# So that no file is lost without a word.
LEAST_ASSERTIONS = 400

# The code of a file and its harness is longer than what most people post.
LIMITS = Limits(cpu_seconds=20, code_bytes=1 << 20)

_WINDOW_BITS = {"deflate": 15, "deflate-raw": -15, "gzip": 31}

_FIELDS = {"statusText": "status_text", "bodyEncoding": "body_encoding"}


def respond(request: PendingRequest):
    """Plays the servers of the harness."""
    host, _, rest = request.url.removeprefix("https://").partition("/")
    if host == "echo.test":
        return ValueAnswer(request.to_dict())
    if host == "python.test":
        return _python(*rest.split("/"), request.content or b"")
    assert host == "answer.test", request.url
    given = json.loads(unquote(rest.removeprefix("?")))
    if "never" in given:
        return NEVER
    if "error" in given:
        answer = ErrorAnswer(given["error"])
    elif "response" in given:
        answer = ResponseAnswer(**{_FIELDS.get(name, name): value for name, value in given["response"].items()})
    else:
        answer = ValueAnswer(given["value"])
    return After(given["after"], answer) if "after" in given else answer


def _python(operation: str, how: str, content: bytes):
    if operation == "compress":
        codec = zlib.compressobj(wbits=_WINDOW_BITS[how])
        return response(codec.compress(content) + codec.flush())
    if operation == "decompress":
        codec = zlib.decompressobj(wbits=_WINDOW_BITS[how])
        whole = codec.decompress(content)
        return response(whole if codec.eof and not codec.unused_data else b"not whole")
    assert operation == "encode"
    return response(content.decode().encode(how))


@functools.cache
def outcome(file: str, *, pause_everywhere: bool):
    code = "\n".join([(FOLDER / HARNESS).read_text(), (FOLDER / file).read_text(), "await outcome()"])
    run = run_program(code, respond, pause_everywhere=pause_everywhere, limits=LIMITS)
    return run.result, [entry.message for entry in run.logs]


def _runs():
    for file in FILES:
        yield pytest.param(file, False, id=f"{file}-plain")
        marks = [pytest.mark.slow] if file in SLOW else []
        yield pytest.param(file, True, id=f"{file}-everywhere", marks=marks)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("file", "pause_everywhere"), list(_runs()))
def test_conformance(file, pause_everywhere, record_property):
    result, _ = outcome(file, pause_everywhere=pause_everywhere)
    before = (FOLDER / HARNESS).read_text().count("\n") + 1
    failures = [
        f"{file}:{each['line'] - before if each['line'] else '?'} {each['name']}: {each['message']}"
        for each in result["failures"]
    ]
    record_property("assertions", result["assertions"])
    assert not failures, "\n" + "\n".join(failures)
    assert result["assertions"] > 0


# Of the test "what the console shows".
CONSOLE = [
    'line 1 1 {a: [1, null, undefined]} Map(1) {"k" => "v"} Set(1) {1} URL https://a.test/ [1, 2]',
    "x is 42 of 42 and 1.5, {a: 1} [1] % !",
    "one more %s",
    'Headers {"a" => "b"} Symbol(s) 5n 0 [Function: anonymous] null',
    "group",
    "  in\n  side",
    "    deeper",
    "default: 1",
    "c: 1",
    "default: 2",
    "default: 1",
    "there is no count none",
    "t: 20 ms so far",
    "t: 1020 ms",
    "there is no timer t",
    "Assertion failed",
    "Assertion failed: because x",
    "end",
    "bound after",
]


@pytest.mark.parametrize("pause_everywhere", [False, True], ids=["plain", "everywhere"])
def test_the_console(pause_everywhere):
    _, lines = outcome("globals.js", pause_everywhere=pause_everywhere)
    assert [line for line in lines if line] == CONSOLE


def test_there_are_enough_assertions():
    """Printed by `pytest -s`, and counted as they run: a test that is left out is not among them."""
    counts = {file: outcome(file, pause_everywhere=False)[0]["assertions"] for file in FILES}
    print(
        "\n".join(f"{count:>5}  {file}" for file, count in counts.items()),
        f"{sum(counts.values()):>5}  in all",
        sep="\n",
    )
    assert sum(counts.values()) >= LEAST_ASSERTIONS
