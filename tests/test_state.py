"""The codec of states: golden files, damage, and properties."""

from __future__ import annotations

import struct
import sys
import tracemalloc
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from support import suspended

from sequential_core import state as codec
from sequential_core.dictionary import Dictionary
from sequential_core.errors import GuestMismatchError, StateCorruptedError, StateError, StateFormatError
from sequential_core.pending import ValueAnswer
from sequential_core.state import State, decode, encode
from sequential_core.vm import guest as guests
from sequential_core.vm import program as programs

sys.path.insert(0, str(Path(__file__).parent / "golden"))
import make as golden  # golden/ holds data, and the script that made it

HEADER_1 = struct.Struct("<4sHHIII32s16s")
GUEST = bytes(range(32))

# --- Golden files --------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "digits"), [(1, 64), (2, 16)])
def test_every_released_format_is_read(version, digits):
    expected = replace(golden.SYNTHETIC, guest=golden.SYNTHETIC.guest[:digits])
    assert decode(golden.synthetic_path(version).read_bytes()) == expected


# Two numbers for each run; only 160 words (2 bytes) and the gap to the last run (3 bytes) pass 127.
LAST_GAP = (22 * 65536 - 4096 - 1280) // 8
SYNTHETIC_SIZE = (1 + 2 + 3) + (1 + 2 + 1) + 24 + 1280 + 8


def test_the_header_is_laid_out_as_documented():
    assert 2**14 <= LAST_GAP < 2**21
    data = golden.synthetic_path(2).read_bytes()
    assert data[:6] == b"SEQ\x1a\x02\x00"
    assert data[6:14] == GUEST[:8]
    assert data[14:22] == blake2b(data[:14] + data[22:], digest_size=8).digest()
    numbers = b"".join(map(varint, (0, 23, 0x0012_3456, 3, SYNTHETIC_SIZE)))
    assert data[22:].startswith(numbers)
    frame = zstandard.FRAME_HEADER + data[22 + len(numbers) :]
    assert len(zstandard.decompress(frame, max_output_size=2 * SYNTHETIC_SIZE)) == SYNTHETIC_SIZE


def test_the_header_of_format_1_is_laid_out_as_documented():
    data = golden.synthetic_path(1).read_bytes()
    magic, version, pages, main, count, size, guest, digest = HEADER_1.unpack_from(data)
    assert (magic, version, pages, main, count) == (b"SEQ\x1a", 1, 23, 0x0012_3456, 3)
    assert guest == GUEST
    assert size == SYNTHETIC_SIZE
    assert digest == blake2b(data[:52] + data[68:], digest_size=16).digest()
    assert data[68:72] == zstandard.MAGIC_NUMBER.to_bytes(4, "little")


def test_a_state_of_the_pinned_guest_is_resumed():
    guest = guests.current().sha256
    path = golden.paused_path(guest)
    assert path.exists(), f"no golden state of guest {guest}: it was pinned anew, so run tests/golden/make.py"
    outcome = programs.resume(path.read_bytes(), {1: ValueAnswer(golden.ANSWER)})
    assert outcome == programs.Completed(golden.RESULT, ())


def test_a_state_of_format_1_of_an_installed_guest_is_resumed():
    state = suspended("const one = await fetch('http://a/1'); const two = await fetch('http://a/2'); [one, two]").state
    packed = codec.read(state)
    raw = codec.unpack(packed, guests.current().dictionary)
    name = bytes.fromhex(guests.current().sha256)
    older = build_1(raw, b"", pages=packed.memory_pages, main=packed.main, count=packed.count, guest=name)
    between = programs.resume(older, {1: ValueAnswer("a")})
    assert isinstance(between, programs.Suspended)
    assert codec.read(between.state).packing is codec.Packing.DICTIONARY
    assert programs.resume(between.state, {2: ValueAnswer("b")}) == programs.Completed(["a", "b"], ())


# --- Damage --------------------------------------------------------------------------------------


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def index_and(content: bytes, index: Iterable[int] | bytes) -> bytes:
    return (index if isinstance(index, bytes) else b"".join(map(varint, index))) + content


def build_1(
    index: Iterable[int] | bytes = (1, 1),
    content: bytes = bytes(8),
    *,
    magic: bytes = b"SEQ\x1a",
    version: int = 1,
    pages: int = 1,
    main: int = 0,
    count: int = 1,
    size: int | None = None,
    body: bytes | None = None,
    guest: bytes = GUEST,
) -> bytes:
    """A state of format 1 with a right digest and whatever else is asked for; by default one run of one word."""
    raw = index_and(content, index)
    if body is None:
        body = zstandard.ZstdCompressor(write_content_size=False).compress(raw)
    head = HEADER_1.pack(magic, version, pages, main, count, len(raw) if size is None else size, guest, b"")[:52]
    return head + blake2b(head + body, digest_size=16).digest() + body


def magicless(raw: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=False).compress(raw).removeprefix(zstandard.FRAME_HEADER)


def build_2(
    index: Iterable[int] | bytes = (1, 1),
    content: bytes = bytes(8),
    *,
    magic: bytes = b"SEQ\x1a",
    version: int = 2,
    packing: int = 0,
    pages: int = 1,
    main: int = 0,
    count: int = 1,
    size: int | None = None,
    body: bytes | None = None,
) -> bytes:
    """The same of format 2."""
    raw = index_and(content, index)
    if body is None:
        body = magicless(raw)
    elif body.startswith(zstandard.FRAME_HEADER):
        body = body[len(zstandard.FRAME_HEADER) :]
    head = magic + struct.pack("<H", version) + GUEST[:8]
    rest = b"".join(map(varint, (packing, pages, main, count, len(raw) if size is None else size))) + body
    return head + blake2b(head + rest, digest_size=8).digest() + rest


BUILDERS = pytest.mark.parametrize("build", [build_1, build_2], ids=["format 1", "format 2"])


@BUILDERS
def test_the_builders_build_states(build):
    guest = GUEST.hex()[: 64 if build is build_1 else 16]
    assert decode(build()) == State(guest, 1, 0, ((8, bytes(8)),))
    assert decode(build((), b"", count=0)) == State(guest, 1, 0, ())


LONG_BODY = zstandard.ZstdCompressor().compress(bytes(10_000_000))


def damage(build: Callable[..., bytes]) -> dict[str, tuple[bytes, type[StateError]]]:
    header_bytes = 68 if build is build_1 else 22
    return {
        "empty": (b"", StateCorruptedError),
        "a header cut short": (build()[: header_bytes - 1], StateCorruptedError),
        "a header alone": (build()[:header_bytes], StateCorruptedError),
        "another magic": (build(magic=b"SEQ\x1b"), StateCorruptedError),
        "another kind of file": (b"\x7fELF" + bytes(200), StateCorruptedError),
        "a later format": (build(version=3), StateFormatError),
        "the last format there can be": (build(version=0xFFFF), StateFormatError),
        "format 0": (build(version=0), StateCorruptedError),
        "the other format": (build(version=2 if build is build_1 else 1), StateCorruptedError),
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


DAMAGE = {
    **{f"format 1, {what}": case for what, case in damage(build_1).items()},
    **{f"format 2, {what}": case for what, case in damage(build_2).items()},
    "a dictionary that its guest has not": (build_2(packing=1), StateCorruptedError),
    "a filtered body of another size": (build_2(packing=2, size=11), StateCorruptedError),
    "a stride that there is not": (
        build_2(packing=2, size=1027, body=magicless(b"\x11" + bytes(1027))),
        StateCorruptedError,
    ),
    "a way to compress that there is not": (build_2(packing=77), StateCorruptedError),
    "a memory that WebAssembly has not": (build_2(pages=65537), StateCorruptedError),
    "a number of the header of six bytes": (build_2(pages=2**36), StateCorruptedError),
}


@pytest.mark.parametrize(("data", "error"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_told_by_its_kind(data, error):
    with pytest.raises(StateError) as caught:
        decode(data)
    assert type(caught.value) is error


BOMBS = {
    "format 1": build_1(body=zstandard.compress(bytes(50_000_000))),
    "format 2": build_2(body=zstandard.compress(bytes(50_000_000))),
    "runs of two bytes each": build_2(bytes(10_000_000), b"", count=5_000_000, pages=80),
}


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS)
def test_a_small_state_does_not_unpack_to_much(data):
    assert len(data) < 5000
    tracemalloc.start()
    try:
        with pytest.raises(StateCorruptedError):
            decode(data)
        assert tracemalloc.get_traced_memory()[1] < 25_000_000
    finally:
        tracemalloc.stop()


@BUILDERS
def test_the_last_word_of_the_memory_may_differ(build):
    assert decode(build((8191, 1))).runs == ((65528, bytes(8)),)


def test_a_later_format_says_which():
    with pytest.raises(StateFormatError) as caught:
        decode(build_2(version=7))
    assert (caught.value.version, caught.value.supported) == (7, 2)


@pytest.mark.parametrize(("build", "offset"), [(build_1, at) for at in range(68)] + [(build_2, at) for at in range(27)])
def test_every_byte_of_the_header_counts(build, offset):
    data = bytearray(build())
    data[offset] ^= 0xFF
    with pytest.raises(StateError):
        decode(bytes(data))


@pytest.mark.parametrize(("data", "needed"), [(build_1(), GUEST.hex()), (build_2(), GUEST[:8].hex())])
def test_a_state_of_another_guest_says_which_it_needs(data, needed):
    with pytest.raises(GuestMismatchError) as caught:
        programs.resume(data, {1: ValueAnswer(None)})
    assert caught.value.needed == needed
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
    guest = draw(st.binary(min_size=8, max_size=8)).hex()
    return State(guest, pages, draw(st.integers(0, 2**32 - 1)), tuple(runs))


DICTIONARIES = {"none": None, "of numbers": Dictionary(b"".join(map(varint, range(9000))))}
WITH_EACH_DICTIONARY = pytest.mark.parametrize("dictionary", DICTIONARIES.values(), ids=DICTIONARIES)


@WITH_EACH_DICTIONARY
@given(state=states())
def test_what_is_encoded_is_decoded(dictionary, state):
    assert decode(encode(state, dictionary), lambda _: dictionary) == state


@WITH_EACH_DICTIONARY
@given(state=states(), data=st.data())
def test_a_changed_state_is_refused(dictionary, state, data):
    original = encode(state, dictionary)
    start = data.draw(st.integers(0, len(original)))
    stop = data.draw(st.integers(start, min(len(original), start + 16)))
    changed = original[:start] + data.draw(st.binary(max_size=16)) + original[stop:]
    if changed == original:
        return
    with pytest.raises(StateError):
        decode(changed, lambda _: dictionary)


@pytest.mark.parametrize("build", [build_1, build_2, partial(build_2, packing=2)], ids=["1", "2", "2, filtered"])
@given(raw=st.binary(max_size=200), count=st.integers(0, 10), size=st.integers(0, 300), pages=st.integers(0, 3))
def test_any_body_under_a_right_digest_is_a_state_or_refused(build, raw, count, size, pages):
    """As `build` computes the digest, this reaches every check behind it."""
    data = build(raw, b"", count=count, size=size, pages=pages)
    try:
        state = decode(data)
    except StateCorruptedError:
        return
    assert decode(encode(state)) == replace(state, guest=state.guest[:16])


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
