"""The codec of states: golden files, damage, and properties."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from support import suspended

from sequential_core import state as codec
from sequential_core.errors import GuestMismatchError, StateCorruptedError, StateError, StateFormatError
from sequential_core.pending import ValueAnswer
from sequential_core.state import State, decode, encode
from sequential_core.vm import guest as guests
from sequential_core.vm import program as programs

sys.path.insert(0, str(Path(__file__).parent / "golden"))
import make as golden  # golden/ holds data, and the script that made it

HEADER = struct.Struct("<4sHHIII32s16s")
GUEST = bytes(range(32))

# --- Golden files --------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1])
def test_every_released_format_is_read(version):
    assert decode(golden.synthetic_path(version).read_bytes()) == golden.SYNTHETIC


def test_the_header_is_laid_out_as_documented():
    data = golden.synthetic_path(1).read_bytes()
    magic, version, pages, main, count, size, guest, digest = HEADER.unpack_from(data)
    assert (magic, version, pages, main, count) == (b"SEQ\x1a", 1, 23, 0x0012_3456, 3)
    assert guest == GUEST
    # Two numbers for each run; only 160 words (2 bytes) and the gap to the last run (3 bytes) pass 127.
    gap = (22 * 65536 - 4096 - 1280) // 8
    assert 2**14 <= gap < 2**21
    assert size == (1 + 2 + 3) + (1 + 2 + 1) + 24 + 1280 + 8
    assert digest == blake2b(data[:52] + data[68:], digest_size=16).digest()
    assert data[68:72] == zstandard.MAGIC_NUMBER.to_bytes(4, "little")


def test_a_state_of_the_pinned_guest_is_resumed():
    guest = guests.current().sha256
    path = golden.paused_path(guest)
    assert path.exists(), f"no golden state of guest {guest}: it was pinned anew, so run tests/golden/make.py"
    outcome = programs.resume(path.read_bytes(), {1: ValueAnswer(golden.ANSWER)})
    assert outcome == programs.Completed(golden.RESULT, ())


# --- Damage --------------------------------------------------------------------------------------


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def build(
    index: Iterable[int] | bytes = (1, 1),
    content: bytes = bytes(8),
    *,
    magic: bytes = b"SEQ\x1a",
    version: int = 1,
    pages: int = 1,
    count: int = 1,
    size: int | None = None,
    body: bytes | None = None,
) -> bytes:
    """A state with a right digest and whatever else is asked for; by default one run of one word."""
    raw = (index if isinstance(index, bytes) else b"".join(map(varint, index))) + content
    if body is None:
        body = zstandard.ZstdCompressor(write_content_size=False).compress(raw)
    head = HEADER.pack(magic, version, pages, 0, count, len(raw) if size is None else size, GUEST, b"")[:52]
    return head + blake2b(head + body, digest_size=16).digest() + body


def test_the_builder_builds_states():
    assert decode(build()) == State(GUEST.hex(), 1, 0, ((8, bytes(8)),))
    assert decode(build((), b"", count=0)) == State(GUEST.hex(), 1, 0, ())


LONG_BODY = zstandard.ZstdCompressor().compress(bytes(10_000_000))

DAMAGE = {
    "empty": (b"", StateCorruptedError),
    "a header cut short": (build()[:67], StateCorruptedError),
    "a header alone": (build()[:68], StateCorruptedError),
    "another magic": (build(magic=b"SEQ\x1b"), StateCorruptedError),
    "another kind of file": (b"\x7fELF" + bytes(200), StateCorruptedError),
    "a later format": (build(version=2), StateFormatError),
    "the last format there can be": (build(version=0xFFFF), StateFormatError),
    "format 0": (build(version=0), StateCorruptedError),
    "bytes appended": (build() + b"\0", StateCorruptedError),
    "another state appended": (build() + build(), StateCorruptedError),
    "a body that is not zstd": (build(body=b"not zstd"), StateCorruptedError),
    "no body": (build(body=b""), StateCorruptedError),
    "half of a zstd frame": (build(body=zstandard.compress(b"\1\1" + bytes(8))[:-3]), StateCorruptedError),
    "a size that is too large": (build(size=11), StateCorruptedError),
    "a size that is too small": (build(size=9), StateCorruptedError),
    "a size that no memory has": (build(size=0xFFFFFFFF), StateCorruptedError),
    "a body that unpacks to more than it says": (build(body=LONG_BODY, size=10), StateCorruptedError),
    "an empty run": (build((1, 0), b""), StateCorruptedError),
    "runs that touch": (build((1, 0, 1, 1), bytes(16), count=2), StateCorruptedError),
    "a run behind the memory": (build((8192, 1)), StateCorruptedError),
    "a run across the end of the memory": (build((8191, 2), bytes(16)), StateCorruptedError),
    "a memory of no pages": (build(pages=0), StateCorruptedError),
    "more runs than the index has": (build(count=2), StateCorruptedError),
    "as many runs as can be said": (build(count=0xFFFFFFFF), StateCorruptedError),
    "fewer runs than the index has": (build(count=0), StateCorruptedError),
    "content cut short": (build((1, 2), bytes(8)), StateCorruptedError),
    "content left over": (build((1, 1), bytes(16)), StateCorruptedError),
    "a number that does not end": (build(b"\x80\x80"), StateCorruptedError),
    "a number of six bytes": (build(b"\x81\x80\x80\x80\x80\x00\x01"), StateCorruptedError),
    "a number above every address": (build((2**34, 1)), StateCorruptedError),
}


@pytest.mark.parametrize(("data", "error"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_told_by_its_kind(data, error):
    with pytest.raises(StateError) as caught:
        decode(data)
    assert type(caught.value) is error


def test_the_last_word_of_the_memory_may_differ():
    assert decode(build((8191, 1))).runs == ((65528, bytes(8)),)


def test_a_later_format_says_which():
    with pytest.raises(StateFormatError) as caught:
        decode(build(version=7))
    assert (caught.value.version, caught.value.supported) == (7, 1)


@pytest.mark.parametrize("offset", range(68))
def test_every_byte_of_the_header_counts(offset):
    data = bytearray(build())
    data[offset] ^= 0xFF
    with pytest.raises(StateError):
        decode(bytes(data))


def test_a_state_of_another_guest_says_which_it_needs():
    with pytest.raises(GuestMismatchError) as caught:
        programs.resume(build(), {1: ValueAnswer(None)})
    assert caught.value.needed == GUEST.hex()
    assert caught.value.installed == guests.installed()


@pytest.fixture(scope="module")
def real() -> bytes:
    return suspended("const o = { a: [1, 2, 3] }; await fetch('http://a/x'); o").state


@pytest.fixture
def no_vm(monkeypatch):
    """Fails the test if anything reaches a VM."""

    def refuse(*_):
        pytest.fail("damaged bytes reached a VM")

    monkeypatch.setattr(programs, "Program", refuse)


def assert_refused(data: bytes) -> None:
    with pytest.raises(StateError):
        programs.resume(data, {1: ValueAnswer(None)})


def assert_refused_with_flipped_bits(data: bytes, bits: Iterable[int]) -> None:
    for bit in bits:
        damaged = bytearray(data)
        damaged[bit >> 3] ^= 1 << (bit & 7)
        assert_refused(bytes(damaged))


@pytest.mark.usefixtures("no_vm")
def test_a_flipped_bit_is_seen_before_a_vm_is_made(real):
    assert_refused_with_flipped_bits(real, range(0, len(real) * 8, 13))  # 13 visits every bit of a byte


@pytest.mark.slow
@pytest.mark.usefixtures("no_vm")
def test_every_flipped_bit_is_seen_before_a_vm_is_made(real):
    assert_refused_with_flipped_bits(real, range(len(real) * 8))


@pytest.mark.usefixtures("no_vm")
def test_a_state_cut_at_any_length_is_refused(real):
    for length in range(len(real)):
        assert_refused(real[:length])


@pytest.mark.parametrize(
    "change",
    [
        {"memory_pages": 1},
        {"memory_pages": 0xFFFF, "runs": ()},
        {"main": 0},
        {"main": 2**32 - 1},
        {"runs": ((40 * 65536, bytes(8)),), "memory_pages": 41},
    ],
    ids=[
        "less memory than the guest",
        "4 GiB",
        "main in the stack",
        "main behind the memory",
        "a run in the stack's room",
    ],
)
def test_a_valid_state_that_does_not_fit_its_guest_never_runs(change):
    base = {"guest": guests.current().sha256, "memory_pages": 40, "main": 1 << 20, "runs": ()}
    data = encode(State(**{**base, **change}))
    try:
        outcome = programs.resume(data, {})
    except StateError:
        return
    assert isinstance(outcome, programs.Failed)
    assert outcome.error.kind == "memory_limit"


# --- Properties ----------------------------------------------------------------------------------


@st.composite
def states(draw) -> State:
    pages = draw(st.integers(1, 64))
    end = pages * 8192
    runs, at = [], 0
    for position in range(draw(st.integers(0, 8))):
        start = at + draw(st.integers(min(position, 1), 3000))
        length = draw(st.integers(1, 300))
        if start + length > end:
            break
        at = start + length
        runs.append((start * 8, draw(st.binary(min_size=length * 8, max_size=length * 8))))
    guest = draw(st.binary(min_size=32, max_size=32)).hex()
    return State(guest, pages, draw(st.integers(0, 2**32 - 1)), tuple(runs))


@given(states())
def test_what_is_encoded_is_decoded(state):
    assert decode(encode(state)) == state


@given(states(), st.data())
def test_a_changed_state_is_refused(state, data):
    original = encode(state)
    start = data.draw(st.integers(0, len(original)))
    stop = data.draw(st.integers(start, min(len(original), start + 16)))
    changed = original[:start] + data.draw(st.binary(max_size=16)) + original[stop:]
    if changed == original:
        return
    with pytest.raises(StateError):
        decode(changed)


@given(st.binary(max_size=200), st.integers(0, 10), st.integers(0, 300), st.integers(0, 3))
def test_any_body_under_a_right_digest_is_a_state_or_refused(raw, count, size, pages):
    """As `build` computes the digest, this reaches every check behind it."""
    data = build(raw, b"", count=count, size=size, pages=pages)
    try:
        state = decode(data)
    except StateCorruptedError:
        return
    assert decode(encode(state)) == state


PAGE = codec.PAGE_BYTES


@st.composite
def memories(draw) -> tuple[bytes, bytes]:
    """A base, and a memory of the same length or longer that differs from it in some places."""
    base_pages, more = draw(st.integers(1, 3)), draw(st.integers(0, 2))
    base = draw(st.binary(min_size=64, max_size=64)) * (base_pages * PAGE // 64)
    memory = bytearray(base.ljust((base_pages + more) * PAGE, b"\0"))
    for _ in range(draw(st.integers(0, 12))):
        at = draw(st.integers(0, len(memory) - 1))
        patch = draw(st.binary(min_size=1, max_size=40))[: len(memory) - at]
        memory[at : at + len(patch)] = patch
    return bytes(memory), base


@given(memories())
def test_the_difference_to_a_base_gives_the_memory_back(pair):
    memory, base = pair
    pages = codec.changed_pages(memory, base)
    runs = codec.difference(memory, base, pages)
    restored = bytearray(base.ljust(len(memory), b"\0"))
    for offset, data in runs:
        restored[offset : offset + len(data)] = data
    assert bytes(restored) == memory
    # What `decode` demands of runs.
    end = -1
    for offset, data in runs:
        assert offset % 8 == len(data) % 8 == 0
        assert data
        assert offset > end
        end = offset + len(data)


@given(memories())
def test_changed_pages_are_exactly_those_that_differ(pair):
    memory, base = pair
    padded = base.ljust(len(memory), b"\0")
    differing = {at & -PAGE for at in range(len(memory)) if memory[at] != padded[at]}
    assert codec.changed_pages(memory, base) == sorted(differing)


def test_equal_memories_have_no_difference():
    base = bytes(range(256)) * 32
    assert codec.changed_pages(base + bytes(PAGE), base) == []
    assert codec.difference(base, base, [0, PAGE]) == ()
