"""Writes the golden states beside it. Run it when a format is released, or the guest is pinned anew:

    python tests/golden/make.py

A format's golden file is written once and then kept: old states stay readable.
"""

from __future__ import annotations

from pathlib import Path

from sequential_core.state import FORMAT_VERSION, State, encode
from sequential_core.vm import guest as guests
from sequential_core.vm import program as programs

HERE = Path(__file__).parent

# Written by hand. The second run lies behind the first by more than one byte of LEB128 can say.
SYNTHETIC = State(
    guest=bytes(range(32)).hex(),
    memory_pages=23,
    main=0x0012_3456,
    runs=(
        (0, b"at the very start of it!"),
        (4096, bytes(range(256)) * 5),
        (22 * 65536, b"the end."),
    ),
)

# With something of everything: a closure, a generator under way, a private field, a large number, a regular expression.
PROGRAM = r"""
class Counter { #n = 0; next() { return ++this.#n } }
const counter = new Counter(), text = /\w+/g, words = 'one two three', big = 2n ** 70n;
function* walk() { yield 'a'; yield 'b' }
const walking = walk(), seen = new Map([['first', walking.next().value]]);
counter.next(); text.exec(words);
const answer = await fetch('https://example.com/first', { method: 'POST', body: 'text' });
seen.set('second', walking.next().value);
[answer, counter.next(), text.exec(words)[0], String(big), [...seen]];
"""
ANSWER = {"x": [1, "é"]}
RESULT = [ANSWER, 2, "two", str(2**70), [["first", "a"], ["second", "b"]]]


def synthetic_path(version: int = FORMAT_VERSION) -> Path:
    return HERE / f"state-v{version}.bin"


def paused_path(guest: str) -> Path:
    return HERE / f"paused-{guest[:16]}.state"


def main() -> None:
    if not synthetic_path().exists():  # without a dictionary, which is the guest's
        synthetic_path().write_bytes(encode(SYNTHETIC))
    outcome = programs.start(PROGRAM)
    assert isinstance(outcome, programs.Suspended), outcome
    paused_path(guests.current().sha256).write_bytes(outcome.state)


if __name__ == "__main__":
    main()
