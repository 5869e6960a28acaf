"""Which bytes of a guest's memory nobody will read."""

from __future__ import annotations

import functools
import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import suspended

from sequential_core import state as codec
from sequential_core.pending import ValueAnswer
from sequential_core.vm import guest as guests
from sequential_core.vm import heap, snapshot
from sequential_core.vm import program as programs
from sequential_core.vm.heap import Unexpected

# What they leave behind: nothing; large free chunks; many free cells of every size; both, under live objects.
PROGRAMS = {
    "little": ("const a = [1]; a.push(await fetch('http://a/x')); a", [1, "answer"]),
    "large": ("for (let i = 0; i < 20; i++) 'é'.repeat(1e5 + i); const s = await fetch('http://a/x'); s.length", 6),
    "cells": (
        (
            "let all = []; for (let i = 0; i < 20000; i++) all.push({ ['k' + (i % 50)]: 'v' + i, f() { return i } });"
            "all = all.filter((_, i) => i % 100 === 7); const a = await fetch('http://a/x');"
            "[all.length, all.reduce((sum, o) => sum + o.f(), 0), a]"
        ),
        # 7, 107, ..., 19907
        [200, 200 * 7 + 100 * sum(range(200)), "answer"],
    ),
    "strings": (
        (
            "const m = new Map(); for (let i = 0; i < 3000; i++) m.set('key' + i, 'x'.repeat(i % 600));"
            "for (let i = 0; i < 3000; i++) if (i % 7) m.delete('key' + i); await fetch('http://a/x');"
            "let n = 0; for (const [k, v] of m) n += v.length === +k.slice(3) % 600; n"
        ),
        429,  # multiples of 7 from 0 to 2996
    ),
}


@functools.cache
def paused(name: str) -> codec.State:
    return codec.decode(suspended(PROGRAMS[name][0]).state, guests.dictionary)


def memory_of(state: codec.State) -> bytearray:
    """The memory behind the C stack, as a resumption restores it."""
    guest = guests.current()
    size = state.memory_pages * codec.WASM_PAGE_BYTES - guest.manifest.stack_end
    memory = bytearray(guest.base.ljust(size, b"\0"))
    for offset, data in state.runs:
        memory[offset : offset + len(data)] = data
    return memory


def garbage_of(memory: bytearray) -> list[heap.Range]:
    manifest = guests.current().manifest
    chunks = heap.free_chunks(memory, manifest.heap_start - manifest.stack_end)
    return chunks + heap.free_cells(memory, manifest.stack_end, manifest.arena_lists)


def assert_apart_and_inside(ranges: list[heap.Range], size: int) -> None:
    end = 0
    for start, stop in sorted(ranges):
        assert end <= start < stop <= size
        end = stop


def test_the_image_has_garbage_and_it_is_blank():
    memory = bytearray(guests.current().base)
    ranges = garbage_of(memory)
    assert_apart_and_inside(ranges, len(memory))
    assert sum(stop - start for start, stop in ranges) > 1000
    assert not any(any(memory[start:stop]) for start, stop in ranges)


@pytest.mark.parametrize("name", PROGRAMS)
def test_garbage_ranges_lie_inside_the_memory_and_apart(name):
    memory = memory_of(paused(name))
    ranges = garbage_of(memory)
    assert ranges
    assert_apart_and_inside(ranges, len(memory))


@pytest.mark.parametrize("name", PROGRAMS)
@settings(max_examples=5)
@given(seed=st.integers(0, 2**32))
def test_a_program_goes_on_whatever_its_garbage_holds(name, seed):
    state = paused(name)
    memory = memory_of(state)
    chance = random.Random(seed)
    for start, stop in garbage_of(memory):
        memory[start:stop] = chance.randbytes(stop - start)
    base = guests.current().base
    runs = codec.difference(memory, base, codec.changed_pages(memory, base))
    spoiled = codec.encode(codec.State(state.guest, state.memory_pages, state.main, runs))
    assert programs.resume(spoiled, {1: ValueAnswer("answer")}) == programs.Completed(PROGRAMS[name][1], ())


def test_garbage_costs_no_bytes_of_state():
    little = len(suspended("await fetch('http://a/x')").state)
    after_much = "(() => { const all = []; for (let i = 0; i < 20000; i++) all.push({ i }) })();"
    assert len(suspended(after_much + "await fetch('http://a/x')").state) < little + 10_000


def test_only_cells_of_the_pages_asked_for_are_reported():
    manifest, memory = guests.current().manifest, memory_of(paused("cells"))
    everything = heap.free_cells(memory, manifest.stack_end, manifest.arena_lists)
    assert heap.free_cells(memory, manifest.stack_end, manifest.arena_lists, set()) == []
    page = everything[len(everything) // 2][0] & ~4095
    some = heap.free_cells(memory, manifest.stack_end, manifest.arena_lists, {page})
    assert set(some) < set(everything)
    assert {each for each in everything if page <= each[0] < each[1] <= page + 4096} <= set(some)


# --- Damage --------------------------------------------------------------------------------------

words = st.one_of(st.integers(0, 2**32 - 1), st.integers(0, 256), st.integers(2**32 - 64, 2**32 - 1))


@given(at=st.integers(0), word=words)
def test_a_damaged_chain_of_chunks_is_unexpected_or_still_inside(at, word):
    manifest = guests.current().manifest
    memory = bytearray(guests.current().base)
    start = manifest.heap_start - manifest.stack_end
    headers = chunk_headers(bytes(memory), start)
    header = headers[at % len(headers)]
    memory[header + 4 : header + 8] = word.to_bytes(4, "little")
    try:
        ranges = heap.free_chunks(memory, start)
    except Unexpected:
        return
    assert_apart_and_inside(ranges, len(memory))


@functools.cache
def chunk_headers(memory: bytes, at: int) -> list[int]:
    headers = []
    while at < len(memory) - 56:
        headers.append(at)
        at += int.from_bytes(memory[at + 4 : at + 8], "little") & ~7
    return headers


@pytest.mark.parametrize("size", [0, 8, 24, 1 << 31, 0xFFFFFFF8])
def test_a_chunk_of_impossible_size_is_unexpected(size):
    manifest = guests.current().manifest
    memory = bytearray(guests.current().base)
    header = manifest.heap_start - manifest.stack_end
    memory[header + 4 : header + 8] = (size | 3).to_bytes(4, "little")
    with pytest.raises(Unexpected):
        heap.free_chunks(memory, header)


def test_a_memory_that_ends_elsewhere_is_unexpected():
    manifest = guests.current().manifest
    with pytest.raises(Unexpected):
        heap.free_chunks(guests.current().base + bytes(65536), manifest.heap_start - manifest.stack_end)


@functools.cache
def arena_words() -> list[int]:
    """Offsets of the heads of the lists, and of the headers and cells of all arenas."""
    manifest, memory = guests.current().manifest, guests.current().base
    places = []
    for index in range(len(heap.CELL_BYTES)):
        head = manifest.arena_lists + index * heap.LIST_HEAD_BYTES
        places.append(head - manifest.stack_end)
        arena = int.from_bytes(memory[places[-1] : places[-1] + 4], "little")
        while arena != head:
            at = arena - manifest.stack_end
            places += [at, at + 16, at + 20]
            arena = int.from_bytes(memory[at : at + 4], "little")
    cells = heap.free_cells(memory, manifest.stack_end, manifest.arena_lists)
    return places + [start - 4 & ~3 for start, _ in cells]


@settings(max_examples=200)
@given(at=st.integers(0), word=words)
def test_damaged_arenas_are_unexpected_or_still_inside(at, word):
    manifest = guests.current().manifest
    memory = bytearray(guests.current().base)
    place = arena_words()[at % len(arena_words())]
    memory[place : place + 4] = word.to_bytes(4, "little")
    try:
        ranges = heap.free_cells(memory, manifest.stack_end, manifest.arena_lists)
    except Unexpected:
        return
    assert all(0 <= start < stop <= len(memory) for start, stop in ranges)


def test_an_endless_list_of_arenas_is_unexpected():
    manifest = guests.current().manifest
    memory = bytearray(guests.current().base)
    head = next(
        head
        for index in range(len(heap.CELL_BYTES))
        if (head := manifest.arena_lists + index * 8) != arena_at(memory, head - manifest.stack_end)
    )
    arena = arena_at(memory, head - manifest.stack_end)
    memory[arena - manifest.stack_end : arena - manifest.stack_end + 4] = arena.to_bytes(4, "little")
    with pytest.raises(Unexpected):
        heap.free_cells(memory, manifest.stack_end, manifest.arena_lists)


def test_an_endless_list_of_arenas_is_unexpected_at_the_first_that_comes_again():
    """A large memory may have many, and each may have 254 free cells: a gigabyte of ranges."""
    manifest = guests.current().manifest
    memory = bytearray(guests.current().base) + bytes(32 << 20)
    arena = arena_at(memory, manifest.arena_lists - manifest.stack_end)
    at = arena - manifest.stack_end
    memory[at : at + 4] = arena.to_bytes(4, "little")
    memory[at + 18 : at + 24] = b"\0\0" + (254).to_bytes(2, "little") + bytes(2)
    for cell in range(254):
        start = at + 24 + 16 * cell
        memory[start : start + 2] = (cell + 1 if cell < 253 else 0xFFFF).to_bytes(2, "little")
    tracemalloc.start()
    try:
        with pytest.raises(Unexpected):
            heap.free_cells(memory, manifest.stack_end, manifest.arena_lists)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", heap.CELL_BYTES)
def test_an_arena_is_never_smaller_than_the_walk_thinks(size):
    """So that a memory has fewer of them than the walk goes through."""
    cells = heap.cells_in_arena(size) * size
    assert heap._ARENA_MIN_BYTES < cells <= heap._ARENA_MAX_BYTES - heap._ARENA_HEADER_BYTES


def arena_at(memory: bytearray, offset: int) -> int:
    return int.from_bytes(memory[offset : offset + 4], "little")


# --- Blanking ------------------------------------------------------------------------------------


@given(st.binary(min_size=1, max_size=64), st.integers(0, 64), st.data())
def test_blanking_makes_ranges_equal_to_the_base_and_nothing_else(base, more, data):
    size = len(base) + more
    start = data.draw(st.integers(0, size))
    stop = data.draw(st.integers(start, size))
    memory = bytearray(b"\xff" * size)
    heap.blank(memory, base, [(start, stop)])
    padded = base.ljust(size, b"\0")
    assert memory == b"\xff" * start + padded[start:stop] + b"\xff" * (size - stop)


@pytest.mark.parametrize("broken", ["free_chunks", "free_cells"])
def test_a_heap_that_is_not_understood_costs_bytes_and_nothing_else(broken, monkeypatch):
    def unexpected(*_):
        raise Unexpected

    monkeypatch.setattr(snapshot, "take", snapshot.plain)
    code, result = PROGRAMS["strings"]
    usual = len(suspended(code).state)
    monkeypatch.setattr(heap, broken, unexpected)
    state = suspended(code).state
    assert len(state) > usual
    assert programs.resume(state, {1: ValueAnswer(0)}) == programs.Completed(result, ())
