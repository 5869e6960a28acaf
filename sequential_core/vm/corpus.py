"""The dictionary of a guest: what is often in the states of small programs.

The programs of corpus.js run in the guest, each answer being the next of `_ANSWERS`, and the bodies of their states
at each pause are the samples. What the first objects of a program are, where they lie and what points to them is the
same in many of them: a dictionary takes two thirds off the state of a program of a few lines.

The result must be the same bytes on every machine. So the clock stands still but for timers, nothing is random, and the
content is chosen here, in plain Python, rather than by zstd, whose releases may differ. It is not worse: what
`zstandard.train_dictionary` makes of the same samples leaves 480 bytes of the reference program, and this 410.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import wasmtime

from sequential_core import state as codec
from sequential_core.limits import Limits
from sequential_core.pending import Answer, ErrorAnswer, Pending, RequestKind, ResponseAnswer, ValueAnswer
from sequential_core.vm import runtime
from sequential_core.vm.guest import Guest
from sequential_core.vm.program import Program, Suspended

PROGRAMS = Path(__file__).with_name("corpus.js")

# 32 KiB leave 30 bytes more of the reference program, 128 KiB leave 20 less.
DICTIONARY_BYTES = 64 << 10

# Zstandard finds nothing shorter at this level; what is in one program only is of no use.
_SHINGLE_BYTES = 8
_LEAST_PROGRAMS = 3

# What lies between is taken too, up to so many bytes, and a piece is at least so long.
_GAP_BYTES = 64
_PIECE_BYTES = 16

_MOST_PAUSES = 12
_SEPARATOR = re.compile(r"^// ---(.*)\n", re.MULTILINE)
_NOW = datetime(2026, 1, 1, tzinfo=UTC)

_ANSWERS: Sequence[Any] = (
    {"id": 1, "name": "Alice"},
    [{"id": 1, "title": "One"}, {"id": 2, "title": "Two"}],
    {"id": 7, "name": "Bob", "email": "bob@example.org", "roles": ["admin"]},
    {"status": "ok", "items": [{"id": 1, "price": 9.5}, {"id": 2, "price": 3}], "next": None},
    42,
    "some text",
    {"value": 21.5, "done": False},
    {"data": {"nodes": [{"id": "a1", "title": "First"}], "count": 1}},
    {},
    True,
)

# Every so many programs see their second request fail.
_FAILING = 9


def dictionary(module: bytes) -> bytes:
    """The content of the dictionary of a guest that has none yet; `module` is the content of its file."""
    guest = Guest(module, wasmtime.Module(runtime.engine(), module))
    return common_content([list(bodies(guest, sample)) for sample in samples()])


@dataclass(frozen=True, slots=True)
class Sample:
    """A program of the corpus.

    Attributes:
        number: its place.
        code: what it is.
        responds: whether its answers are responses, rather than values.
    """

    number: int
    code: str
    responds: bool


def samples() -> list[Sample]:
    """The programs of the corpus."""
    _, *parts = _SEPARATOR.split(PROGRAMS.read_text(encoding="utf-8"))
    notes_and_code = zip(parts[::2], parts[1::2], strict=True)
    return [Sample(number, code.strip(), "response" in note) for number, (note, code) in enumerate(notes_and_code)]


def bodies(guest: Guest, sample: Sample) -> Iterator[bytes]:
    """The bodies of the states of a program at its first pauses."""
    now = _NOW
    answers: dict[int, Answer] = {}
    program = Program(guest, Limits(), lambda: now)
    outcome = program.hop(lambda: program.begin(sample.code.encode()))
    for pause in range(_MOST_PAUSES):
        if not isinstance(outcome, Suspended):
            return
        yield codec.unpack(codec.read(outcome.state), guest.dictionary)
        answers.clear()
        if outcome.requests:
            request = outcome.requests[0]
            answers[request.id] = _answer(sample, pause, request)
        elif outcome.timers is not None:
            now = outcome.timers.wake_at
        outcome = program.hop(lambda: program.settle(answers))


def _answer(sample: Sample, pause: int, request: Pending) -> Answer:
    value = _ANSWERS[(sample.number + pause) % len(_ANSWERS)]
    if sample.number % _FAILING == 0 and pause == 1 and request.kind is not RequestKind.EVENT:
        return ErrorAnswer("it failed")
    if sample.responds and request.kind is RequestKind.FETCH:
        return ResponseAnswer(status_text="OK", headers={"content-type": "application/json"}, body=json.dumps(value))
    return ValueAnswer(value)


def common_content(groups: Sequence[Sequence[bytes]], size: int = DICTIONARY_BYTES) -> bytes:
    """What several groups of samples have in common, once, the most frequent last; at most `size` bytes of it.

    Each stretch of `_SHINGLE_BYTES` counts by the number of groups that have it. The samples are walked in order, and
    what is frequent and was not there before is taken in pieces.
    """
    counts = Counter(each for group in groups for each in {each for sample in group for each in _shingles(sample)})
    wanted = {each: count for each, count in counts.items() if count >= _LEAST_PROGRAMS}
    pieces = [piece for group in groups for sample in group for piece in _pieces(sample, wanted)]
    pieces.sort(key=lambda piece: piece[0])
    return b"".join(piece for _, piece in pieces)[-size:]


def _shingles(sample: bytes) -> Iterator[bytes]:
    return (sample[at : at + _SHINGLE_BYTES] for at in range(len(sample) - _SHINGLE_BYTES + 1))


def _pieces(sample: bytes, wanted: dict[bytes, int]) -> Iterator[tuple[float, bytes]]:
    """Takes out of `wanted` what a sample has: pieces with no gap above `_GAP_BYTES`, and how frequent each is."""
    start = stop = score = 0
    for at, shingle in enumerate(_shingles(sample)):
        count = wanted.pop(shingle, 0)
        if not count:
            continue
        if at > stop + _GAP_BYTES:
            yield from _piece(sample[start:stop], score)
            start, score = at, 0
        stop, score = at + _SHINGLE_BYTES, score + count
    yield from _piece(sample[start:stop], score)


def _piece(content: bytes, score: int) -> Iterator[tuple[float, bytes]]:
    if len(content) >= _PIECE_BYTES:
        yield score / len(content), content
