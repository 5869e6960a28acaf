"""The filter of large bodies: what it does, and that it is the same in WebAssembly."""

from __future__ import annotations

import random
import struct
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import pytest
import wasmtime
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from sequential_core import state as codec
from sequential_core.deltas import PLAIN
from sequential_core.vm import deltas
from sequential_core.vm import program as programs
from sequential_core.vm.deltas import QUICK

BOTH = pytest.mark.parametrize("filter_", [PLAIN, QUICK], ids=["plain", "quick"])


@st.composite
def bodies(draw) -> bytes:
    """Cells in which some words grow and others are at random, behind each other, of several kinds."""
    parts = [draw(st.binary(max_size=40))]
    for _ in range(draw(st.integers(0, 4))):
        cell = draw(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=34))
        step = draw(st.lists(st.sampled_from([0, 0, 1, 64, 2**31, 2**32 - 1]), min_size=len(cell), max_size=len(cell)))
        count = draw(st.integers(1, 200))
        words = [
            (word + grown * number) % 2**32 for number in range(count) for word, grown in zip(cell, step, strict=True)
        ]
        parts.append(struct.pack(f"<{len(words)}I", *words))
    return b"".join(parts)


@given(raw=bodies())
def test_both_filters_do_the_same_and_undo_it(raw):
    filtered = PLAIN.apply(raw)
    assert QUICK.apply(raw) == filtered
    assert len(filtered) == len(raw) + (len(raw) - len(raw) % 8) // 1024
    assert PLAIN.undo(filtered, len(raw)) == QUICK.undo(filtered, len(raw)) == raw


@BOTH
@pytest.mark.parametrize("size", [0, 1, 7, 8, 1023, 1024, 1025, 1031, 1032, 2047, 2048, 2056, 70_001])
def test_sizes_around_those_of_blocks(filter_, size):
    raw = random.Random(size).randbytes(size)
    assert filter_.undo(filter_.apply(raw), size) == raw


@BOTH
def test_words_that_grow_become_zeros(filter_):
    """Cells of five words of which only the last grows: with the stride of two cells, the least that is even."""
    raw = b"".join(struct.pack("<5I", 0xAAAA, 7, 0xBBBB, 9, number) for number in range(512))
    filtered = filter_.apply(raw)
    assert filtered[:10] == bytes([5] * 10)  # half of ten words
    second = filtered[10 + 1024 : 10 + 2048]
    assert second.count(b"\0\0\0\0") > 0
    words = struct.unpack("<256I", second)
    assert set(words) == {0, 2}
    assert words.count(2) == len([at for at in range(256, 512) if at % 5 == 4])


@BOTH
def test_a_block_without_likeness_is_left_as_it_is(filter_):
    raw = random.Random(1).randbytes(1024)
    assert filter_.apply(raw) == b"\0" + raw


@BOTH
def test_bytes_before_the_first_word_come_last(filter_):
    raw = b"abc" + random.Random(1).randbytes(1024) + b"8 behind"
    assert filter_.apply(raw) == b"\0" + raw[3:] + b"abc"


@BOTH
@pytest.mark.parametrize(
    ("filtered", "size"),
    [(b"", 1), (b"a", 0), (bytes(1024), 1024), (bytes(1026), 1024), (b"\x11" + bytes(1024), 1024)],
    ids=["none", "too much", "no stride", "a byte more", "a stride that there is not"],
)
def test_what_no_body_is_filtered_to_is_refused(filter_, filtered, size):
    with pytest.raises(ValueError, match="no deltas"):
        filter_.undo(filtered, size)


def test_threads_share_the_filter():
    raws = [random.Random(number).randbytes(30_000 + number) for number in range(60)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda raw: QUICK.undo(QUICK.apply(raw), len(raw)), raws)) == raws


def test_without_memory_for_an_instance_the_plain_filter_is_used():
    raw = bytes(5000)
    with mock.patch.object(deltas, "_Instance", side_effect=wasmtime.WasmtimeError("no memory")):
        quick = deltas.QuickDeltas()
        assert quick.undo(quick.apply(raw), len(raw)) == raw


def test_an_instance_of_a_large_body_is_not_kept():
    quick = deltas.QuickDeltas()
    quick.apply(bytes(100))
    assert len(quick._idle) == 1
    quick.apply(bytes((8 << 20) + 1))
    assert quick._idle == []


OBJECTS = (
    "const items = []; for (let i = 0; i < 4000; i++) items.push({ at: i, text: `text ${i}` });"
    "await fetch('http://a/'); items[3999].text"
)


def test_a_large_state_is_filtered_and_a_fifth_of_what_zstd_alone_makes_of_it():
    outcome = programs.start(OBJECTS)
    assert isinstance(outcome, programs.Suspended)
    packed = codec.read(outcome.state)
    assert packed.packing is codec.Packing.DELTAS
    raw = codec.unpack(packed, None)
    assert len(outcome.state) < len(zstandard.compress(raw)) / 5
    assert codec.body(codec.decode(outcome.state).runs) == raw


@pytest.mark.parametrize(("count", "packing"), [(1, codec.Packing.DICTIONARY), (300, codec.Packing.DELTAS)])
def test_the_shorter_of_both_ways_is_taken(count, packing):
    outcome = programs.start(OBJECTS.replace("4000", str(count)).replace("3999", "0"))
    assert isinstance(outcome, programs.Suspended)
    assert codec.read(outcome.state).packing is packing
