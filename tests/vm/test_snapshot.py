"""That the quick way to a snapshot gives what the plain way does, byte for byte, whatever the image and the program."""

from __future__ import annotations

import ctypes
import functools
import os
import random
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
import wasmtime
from ballast import loaded
from hypothesis import given, settings
from hypothesis import strategies as st
from support import DEFAULT, run_cut, run_uncut

from sequential_core import state as codec
from sequential_core.errors import StateCorruptedError
from sequential_core.limits import Limits
from sequential_core.vm import guest as guests
from sequential_core.vm import heap, pages, runtime, snapshot
from sequential_core.vm import program as programs
from sequential_core.vm.guest import Guest
from sequential_core.vm.machine import Machine


@functools.cache
def guest_of(kind: str) -> Guest:
    """ "pinned" is mapped from its compiled file; "large" has 1,000 chunks and arenas, and is mapped from memory."""
    return guests.current() if kind == "pinned" else loaded(1000)


@pytest.fixture(params=["pinned", "large"])
def guest(request, monkeypatch) -> Guest:
    chosen = guest_of(request.param)
    monkeypatch.setattr(guests, "current", lambda: chosen)
    monkeypatch.setattr(guests, "load", lambda _sha256: chosen)
    return chosen


@dataclass
class Checked:
    """`take`, compared to `plain`.

    Attributes:
        compares_too: both are called once more, with the pages found by comparing all of them, as where the kernel
            does not tell. Not on many threads, since it patches a module.
        made: how often that was.
    """

    compares_too: bool = False
    made: int = 0

    def take(self, machine: Machine, guest: Guest) -> snapshot.Snapshot:
        expected = plain(machine, guest)
        taken = take(machine, guest)
        assert taken == expected, "as the kernel tells"
        if self.compares_too:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(pages, "can_be_told", lambda _guest: False)
                # Without the garbage that the first has blanked: pages that have nothing else no longer count.
                again = plain(machine, guest)
                assert take(machine, guest) == again, "all compared"
        self.made += 1
        return taken


linux_tells = pytest.mark.skipif(not Path("/proc/self/pagemap").exists(), reason="the kernel has no pagemap")

take, plain = snapshot.take, snapshot.plain


def assert_same(machine: Machine, guest: Guest) -> None:
    expected = plain(machine, guest)  # first: `take` blanks the garbage
    assert take(machine, guest) == expected


@pytest.fixture(scope="module", autouse=True)
def no_way_out():
    """`take` does not fall back to the plain way here."""

    def refuse(*_):
        pytest.fail("the plain way was taken")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot, "plain", refuse)
        yield


@pytest.fixture
def checked(monkeypatch) -> Checked:
    comparison = Checked(compares_too=True)
    monkeypatch.setattr(snapshot, "take", comparison.take)
    return comparison


PROGRAMS = {
    "little": "const a = [1]; a.push(await fetch('http://a/x')); a",
    "loop": "let n = 0; for (let i = 0; i < 25; i++) n += (await fetch('http://a/u' + i)).length; n",
    "growth": (
        "const kept = []; for (let i = 0; i < 4; i++) { kept.push('x'.repeat(4e5 + i)); await fetch('http://a/x') }"
        "kept.length = 2; await fetch('http://a/y'); kept.map(s => s.length)"
    ),
    "large holes": (
        "const a = []; for (let i = 0; i < 40; i++) a.push(new Uint8Array(100000 + i).fill(i));"
        "await fetch('http://a/x'); for (let i = 0; i < 40; i += 2) a[i] = null; await fetch('http://a/y');"
        "a.reduce((sum, b) => sum + (b ? b[5] : 0), 0)"
    ),
    "baked things freed": (
        "const b = globalThis.ballast ?? []; await fetch('http://a/x');"
        "for (let i = 0; i < b.length; i += 5) b[i] = null;"
        "await fetch('http://a/y'); b.length = b.length >> 1; const more = b.map((x, i) => ({ x, i }));"
        "await fetch('http://a/z');"
        "globalThis.ballast = null; const n = more.length; more.length = 3; await fetch('http://a/w'); typeof n"
    ),
    "200,000 objects dropped": (
        "let all = []; for (let i = 0; i < 200000; i++) all.push({ id: i, name: `item ${i}` }); all = null;"
        "const a = await fetch('http://a/x'); [a, await fetch('http://a/y')]"
    ),
    "cells": (
        "let all = []; for (let i = 0; i < 9000; i++) all.push({ ['k' + (i % 50)]: 'v' + i, f() { return i } });"
        "all = all.filter((_, i) => i % 100 === 7); const a = await fetch('http://a/x');"
        "all = all.filter((_, i) => i % 3); await fetch('http://a/y');"
        "[all.length, all.reduce((n, o) => n + o.f(), 0), a]"
    ),
    "cycles": (
        "for (let i = 0; i < 4000; i++) { const o = { i }; o.o = [o] } await fetch('http://a/x');"
        "for (let i = 0; i < 4000; i++) { const o = { i }; o.o = [o] } await fetch('http://a/y'); 'end'"
    ),
    # What looks like an arena of cells of 16 bytes, and like free chunks, over and over.
    "bytes of the code's own": (
        "const words = new Uint32Array(1 << 16);"
        "for (let i = 0; i + 6 <= words.length; i += 6) words.set([0x120000 + i * 4, 0x120000, 0, 0, 253, 5], i);"
        "const again = words.map(x => x >> 1 & ~7); await fetch('http://a/x'); words.fill(0x13); await fetch('http://a/y');"
        "[words[7], again.length]"
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_both_ways_give_the_same_runs_at_every_pause(name, guest, checked):
    limits = Limits(cpu_seconds=60, state_bytes=1 << 26)
    cut = run_cut(PROGRAMS[name], limits=limits)
    assert checked.made >= cut.pauses > 0
    assert cut.result is not None
    assert run_uncut(PROGRAMS[name], limits=limits).meaning == cut.meaning


@st.composite
def made_up_programs(draw) -> str:
    """Makes things and lets go of them between pauses, of the image's things too."""
    lines = ["const kept = []; const baked = globalThis.ballast ?? [];"]
    for _ in range(draw(st.integers(1, 5))):
        for _ in range(draw(st.integers(1, 4))):
            size = draw(st.sampled_from([3, 17, 60, 130, 400, 700, 5000]))
            # At most 210 KB: the plain way takes a second for a few megabytes.
            count = draw(st.integers(1, min(300, 210_000 // size)))
            lines.append(
                draw(
                    st.sampled_from(
                        [
                            f"for (let i = 0; i < {count}; i++) kept.push({{ i, text: 'x'.repeat({size}) + i }});",
                            f"for (let i = 0; i < {count}; i++) kept.push(new Uint8Array({size}).fill(i));",
                            f"for (let i = 0; i < {count}; i++) {{ const o = {{ i }}; o.o = [o, 'y'.repeat({size})] }}",
                            f"kept.splice({count} % (kept.length + 1), {size});",
                            f"for (let i = 0; i < kept.length; i += {size}) kept[i] = () => kept[i + {count}];",
                            f"for (let i = {count}; i < baked.length; i += {size}) baked[i] = null;",
                            f"for (let i = {count}; i < baked.length; i += {size}) if (baked[i]) baked[i].more = [i];",
                            f"baked.length = Math.min(baked.length, {count * size});",
                            f"kept.push('z'.repeat({count * size}).split('', {count}));",
                        ]
                    )
                )
            )
        lines.append("await fetch('http://a/x');")
    return "\n".join([*lines, "[kept.length, baked.length]"])


@pytest.mark.parametrize("kind", ["pinned", "large"])
@settings(max_examples=20)
@given(code=made_up_programs())
def test_any_program_gives_the_same_both_ways(kind, code):
    chosen = guest_of(kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guests, "current", lambda: chosen)
        patch.setattr(guests, "load", lambda _sha256: chosen)
        patch.setattr(snapshot, "take", Checked(compares_too=True).take)
        assert run_cut(code).meaning == run_uncut(code).meaning


# --- Damage --------------------------------------------------------------------------------------


def damage(machine: Machine, guest: Guest, chance: random.Random) -> None:
    """Changes some words of a machine, more or less telling ones."""
    origin = guest.manifest.stack_end
    machine.grow(chance.choice([0, 0, 1]))
    words = memoryview(machine.read(origin, machine.memory_bytes)).cast("I")
    for _ in range(chance.choice([0, 1, 1, 2, 5, 30])):
        at = chance.randrange(len(words))
        if chance.random() < 0.7:  # near the header of a chunk or an arena, most of them
            at = next((i for i in range(at, len(words)) if words[i] and words[i] & 7 == 3), at)
            at = min(at + chance.choice([0, 0, 0, 1, 2, 5, 6]), len(words) - 1)
        word = chance.choice(
            [
                words[at] ^ 1 << chance.randrange(8),
                words[at] + 16,
                words[chance.randrange(len(words))],
                chance.randrange(1 << 32),
                0,
            ]
        )
        machine.write(origin + at * 4, (word & 0xFFFFFFFF).to_bytes(4, "little"))


@pytest.mark.parametrize("kind", ["pinned", "large"])
@settings(max_examples=100)
@given(seed=st.integers(0, 2**32))
def test_a_damaged_heap_gives_the_same_both_ways(kind, seed):
    guest = guest_of(kind)
    machine = machine_of(guest)
    damage(machine, guest, random.Random(seed))
    assert_same(machine, guest)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32))
def test_free_cells_that_are_damaged_give_the_same_both_ways(seed):
    guest = guest_of("large")
    machine, origin = machine_of(guest), guest.manifest.stack_end
    cells = heap.free_cells(guest.base, origin, guest.manifest.arena_lists)
    chance = random.Random(seed)
    for start, stop in chance.sample(cells, 30):
        machine.write(origin + start, chance.randbytes(stop - start))
    if chance.random() < 0.5:  # the number of the next free cell
        start, _ = chance.choice(cells)
        machine.write(origin + start - 4, chance.choice([b"\xff\xff", b"\0\0", chance.randbytes(2)]))
    assert_same(machine, guest)


def test_an_endless_list_of_arenas_ends_and_gives_the_same_both_ways(guest, monkeypatch):
    """By the plain way if need be: its cells, noted again and again, may not fit into the memory."""
    monkeypatch.setattr(snapshot, "plain", plain)
    machine, lists = machine_of(guest), guest.manifest.arena_lists
    heads = range(lists, lists + len(heap.CELL_BYTES) * heap.LIST_HEAD_BYTES, heap.LIST_HEAD_BYTES)
    arena = next(first for head in heads if (first := machine.word(head)) != head)
    machine.write(arena, arena.to_bytes(4, "little"))
    assert_same(machine, guest)


@pytest.mark.parametrize("apart", [2, 3, 5, 60, 66, 300])
def test_many_runs_are_joined_alike(apart):
    """Above 50,000 runs the gaps within one are wider, from the next portion of 256 pages on."""
    guest = guests.current()
    machine, origin = Machine(guest, Limits()), guest.manifest.stack_end
    machine.grow(400)
    machine.prepare()
    start, stop = origin + len(guest.base), machine.memory_bytes
    line = (b"\x77" + bytes(8 * apart - 1)) * ((stop - start) // (8 * apart))
    machine.write(start, line)
    assert_same(machine, guest)


# --- Back to a machine, and back to the image ----------------------------------------------------


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_state_is_restored_as_the_plain_way_does_it(name, guest):
    limits = Limits(cpu_seconds=60, state_bytes=1 << 26)
    outcome = programs.start(PROGRAMS[name], limits)
    assert isinstance(outcome, programs.Suspended)
    paused = codec.read(outcome.state)
    body = codec.unpack(paused, guest.dictionary)
    machines = []
    for write in (snapshot.restore, snapshot.restore_plainly):
        machine = Machine(guest, limits)
        machine.grow(paused.memory_pages - machine.memory_bytes // codec.WASM_PAGE_BYTES)
        write(machine, guest, paused.count, body)
        machines.append(machine.read(0, machine.memory_bytes))
    assert machines[0] == machines[1]


def varint(number: int) -> bytes:
    return bytes([number & 0x7F | 0x80, *varint(number >> 7)]) if number > 0x7F else bytes([number])


@functools.cache
def small_machine() -> Machine:
    return Machine(guests.current(), DEFAULT)


@st.composite
def bodies(draw) -> tuple[int, bytes]:
    """A count and a body that is one of so many runs, or nearly."""
    words = (small_machine().memory_bytes - guests.current().manifest.stack_end) // 8
    least = [0, 1, 1, 2, 127, 128, 300, words - 40, words - 1, words, 1 << 28, (1 << 32) - 1, 1 << 32, (1 << 35) - 1]
    gaps = draw(st.lists(st.sampled_from(least), max_size=6))
    lengths = draw(st.lists(st.sampled_from([0, 1, 1, 2, 3, 17, 40, 1 << 29]), min_size=len(gaps), max_size=len(gaps)))
    content = sum(length for length in lengths if length < 100) * 8 + draw(st.sampled_from([0, 0, 0, 0, 1, -1, 8, -8]))
    index = b"".join(map(varint, gaps + lengths))
    if draw(st.booleans()) and index:
        at = draw(st.integers(0, len(index) - 1))
        index = index[:at] + bytes([draw(st.integers(0, 255))]) + index[at + 1 :]
    count = len(gaps) + draw(st.sampled_from([0, 0, 0, 1, -1, 1 << 31]))
    return max(count, 0), index + random.Random(len(index)).randbytes(max(content, 0))


@settings(max_examples=300)
@given(bodies())
def test_any_body_is_restored_or_refused_both_ways(made):
    count, body = made
    guest, machine = guests.current(), small_machine()
    outcomes = []
    for write in (snapshot.restore, snapshot.restore_plainly):
        machine.write(0, bytes(guest.manifest.stack_end) + guest.base)
        try:
            write(machine, guest, count, body)
        except StateCorruptedError:
            outcomes.append(None)
        else:
            outcomes.append(machine.read(0, machine.memory_bytes))
    assert outcomes[0] == outcomes[1]


def test_more_runs_than_a_body_can_have_take_no_room():
    machine = Machine(guests.current(), DEFAULT)
    body = bytes(4 << 20)
    with pytest.raises(StateCorruptedError):
        snapshot.restore(machine, guests.current(), len(body) // 2, body)
    assert machine.companion is not None
    assert machine.companion._notes.memory_bytes < len(body)


@pytest.mark.parametrize("what", ["failure", "interruption"])
def test_a_hop_that_is_being_ended_takes_no_plain_way(what, guest, monkeypatch):
    """It takes seconds for a large memory, which nobody counts."""
    machine = machine_of(guest)
    snapshot.take(machine, guest)
    monkeypatch.setattr(snapshot, "restore_plainly", lambda *_: pytest.fail("the plain way was taken"))
    monkeypatch.setattr(snapshot, "_SLACK_BYTES", 5 << 30)
    monkeypatch.setattr(runtime._running, what, RuntimeError("it was left in the middle"))
    with pytest.raises(wasmtime.WasmtimeError):
        snapshot.take(machine, guest)
    with pytest.raises(wasmtime.WasmtimeError):
        snapshot.restore(machine, guest, 0, b"")


@linux_tells
def test_a_machine_is_the_image_again_after_a_reset(guest):
    machine, origin = machine_of(guest), guest.manifest.stack_end
    damage_in_place(machine, guest)
    assert snapshot.reset(machine, guest)
    assert machine.read(0, machine.memory_bytes) == bytes(origin) + guest.base


@linux_tells
def test_a_machine_is_the_image_again_after_a_snapshot_and_a_reset(guest):
    machine, origin = machine_of(guest), guest.manifest.stack_end
    damage_in_place(machine, guest)
    assert take(machine, guest).runs > 0
    assert snapshot.reset(machine, guest, taken=True)
    assert machine.read(0, machine.memory_bytes) == bytes(origin) + guest.base


@linux_tells
def test_a_reset_asks_nobody_whether_to_go_on(guest, monkeypatch):
    """It runs outside of `cpu_time`, where the handler of a signal must not come upon a callback of wasmtime's."""
    machine = machine_of(guest)
    take(machine, guest)
    monkeypatch.setattr(runtime._running, "failure", RuntimeError("a callback would end the call"))
    runtime.engine().increment_epoch()
    runtime.engine().increment_epoch()
    assert snapshot.reset(machine, guest)


def damage_in_place(machine: Machine, guest: Guest) -> None:
    """Writes into the C stack, the heap, garbage, and up to the last byte."""
    origin, size = guest.manifest.stack_end, machine.memory_bytes
    machine.write(0, b"\x77")
    machine.write(origin - 3000, b"\x77" * 6000)
    machine.write(size - 5000, b"\x77" * 5000)
    machine.write(origin + len(guest.base) // 2, b"\x77" * 9000)
    start, stop = heap.free_chunks(bytearray(guest.base), guest.manifest.heap_start - origin)[0]
    machine.write(origin + start, b"\x77" * (stop - start))


@linux_tells
def test_a_machine_that_has_grown_is_the_image_and_zeros_after_a_reset(guest):
    machine, origin = machine_of(guest), guest.manifest.stack_end
    machine.grow(3)
    damage_in_place(machine, guest)
    assert snapshot.reset(machine, guest)
    expected = (bytes(origin) + guest.base).ljust(machine.memory_bytes, b"\0")
    assert machine.read(0, machine.memory_bytes) == expected
    damage_in_place(machine, guest)
    take(machine, guest)
    assert snapshot.reset(machine, guest, taken=True)
    assert machine.read(0, machine.memory_bytes) == expected


def test_a_machine_with_many_written_pages_is_not_reset(guest):
    machine, origin = machine_of(guest), guest.manifest.stack_end
    machine.grow(128)
    machine.write(origin, b"\x77" * (2049 * 4096))
    assert not snapshot.reset(machine, guest)


def test_a_machine_whose_pages_nobody_tells_is_not_reset(guest, monkeypatch):
    machine = machine_of(guest)
    monkeypatch.setattr(pages, "can_be_told", lambda _guest: False)
    assert not snapshot.reset(machine, guest)
    take(machine, guest)
    assert not snapshot.reset(machine, guest, taken=True)


def test_a_memory_for_which_there_is_no_room_is_compared_and_restored_plainly(guest, monkeypatch):
    machine = machine_of(guest)
    machine.write(guest.manifest.stack_end + 4096, b"\x77" * 100)
    expected = take(machine, guest)
    monkeypatch.setattr(snapshot, "plain", plain)
    monkeypatch.setattr(snapshot, "_SLACK_BYTES", 5 << 30)
    assert take(machine, guest) == expected
    assert take(machine, guest) == expected
    # What was noted of its pages, if anything, is of an earlier snapshot.
    machine.write(guest.manifest.stack_end + 8192, b"\x77" * 100)
    take(machine, guest)
    assert not snapshot.reset(machine, guest, taken=True)
    fresh = machine_of(guest)
    snapshot.restore(fresh, guest, expected.runs, expected.body)
    assert fresh.read(guest.manifest.stack_end + 4096, guest.manifest.stack_end + 4196) == b"\x77" * 100


# --- Pages ---------------------------------------------------------------------------------------


def shown(flags: bytes | None) -> set[int]:
    """Offsets of the flagged pages."""
    assert flags is not None
    return {number * codec.PAGE_BYTES for number, flag in enumerate(flags) if flag}


def differing_pages(machine: Machine, guest: Guest) -> bytes:
    """By comparing all, as where the kernel does not tell."""
    image = (bytes(guest.manifest.stack_end) + guest.base).ljust(machine.memory_bytes, b"\0")
    address = ctypes.cast(ctypes.c_char_p(image), ctypes.c_void_p).value
    assert address is not None
    return pages.differing(machine.exports, guest.manifest.stack_end, address)


def machine_of(guest: Guest) -> Machine:
    machine = Machine(guest, DEFAULT)
    machine.prepare()
    return machine


@linux_tells
def test_the_kernel_tells_where_there_is_a_pagemap(guest):
    assert pages.can_be_told(guest)


@linux_tells
def test_a_page_that_was_only_read_is_not_told(guest):
    machine = Machine(guest, DEFAULT)
    machine.read(guest.manifest.stack_end, machine.memory_bytes)
    assert not any(pages.own(machine.exports) or b"\1")


@linux_tells
def test_every_page_that_was_written_is_told(guest):
    machine, origin = Machine(guest, DEFAULT), guest.manifest.stack_end
    machine.grow(32)
    last = machine.memory_bytes
    chance, written = random.Random(7), set()
    for _ in range(100):
        at = chance.randrange(last)
        machine.write(at, b"\x55")
        written.add(at & -codec.PAGE_BYTES)
    found = shown(pages.own(machine.exports))
    assert written <= found
    differing = shown(differing_pages(machine, guest))
    assert differing == {origin + at for at in codec.changed_pages(machine.read(origin, last), guest.base)}
    assert differing <= found


@linux_tells
def test_a_page_written_as_it_was_is_told_but_is_no_change(guest):
    machine, origin = machine_of(guest), guest.manifest.stack_end
    at = origin + len(guest.base) // 2
    machine.write(at, machine.read(at, at + 8))
    assert at & -codec.PAGE_BYTES in shown(pages.told(machine.exports, guest))
    assert take(machine, guest) == snapshot.Snapshot(0, b"")


LIES = {
    "no page": bytes,
    "only pages of files": lambda count: (bytes(7) + b"\xa1") * (count // 8),
    "fewer pages": lambda count: (bytes(7) + b"\x81") * (count // 8 - 1),
    "nothing": lambda _count: b"",
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_pagemap_that_lies_is_not_believed(lie, guest, monkeypatch):
    machine = machine_of(guest)
    at = guest.manifest.heap_start + 4096
    machine.write(at, bytes(x ^ 1 for x in machine.read(at, at + 8)))
    pages.can_be_told(guest)
    monkeypatch.setattr(os, "pread", lambda _handle, count, _offset: lie(count))
    assert pages.told(machine.exports, guest) is None
    assert_same(machine, guest)
    pages.can_be_told.cache_clear()
    assert not pages.can_be_told(guest)
    pages.can_be_told.cache_clear()


def test_without_a_pagemap_all_is_compared(guest, monkeypatch):
    def refuse(*_):
        raise PermissionError

    machine = machine_of(guest)
    pages.can_be_told(guest)
    monkeypatch.setattr(os, "open", refuse)
    assert pages.told(machine.exports, guest) is None
    assert_same(machine, guest)


@pytest.mark.parametrize(
    ("size", "expected"), [(4096, {8192}), (16384, {0, 4096, 8192, 12288}), (1024, None), (6000, None)]
)
def test_pages_of_the_system_are_told_as_ours(size, expected, guest, monkeypatch):
    machine = Machine(guest, DEFAULT)
    asked = []

    def pread(_handle, count, offset):
        asked.append((count, offset))
        at = 2 if size == 4096 else 0
        return bytes(8 * at + 7) + b"\x81" + bytes(count - 8 * at - 8)

    monkeypatch.setattr(pages, "_system_page_bytes", lambda: 0 if size % 4096 else size)
    monkeypatch.setattr(os, "pread", pread)
    if machine.exports.address % size == 0 or expected is None:
        told = pages.own(machine.exports)
        assert (told if expected is None else shown(told)) == expected
    if asked:
        assert asked == [(machine.memory_bytes // size * 8, machine.exports.address // size * 8)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_machine_goes_on_in_a_forked_process_and_loses_nothing(guest):
    """What was written before the fork, and what is written after it in the child, with the parent writing too."""
    origin = guest.manifest.stack_end
    machine = machine_of(guest)
    before, after = origin + 5 * 4096 + 8, origin + len(guest.base) - 20000
    machine.write(before, b"\x55" * 8)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            machine.write(after, b"\x66" * 8)
            changed = codec.changed_pages(machine.read(origin, machine.memory_bytes), guest.base)
            found = shown(pages.told(machine.exports, guest))
            expected = plain(machine, guest)
            right = take(machine, guest) == expected
            whole = {origin + at for at in changed} <= found and before & -4096 in found
            reset = snapshot.reset(machine, guest, taken=True)
            same = machine.read(0, machine.memory_bytes) == bytes(origin) + guest.base
            code = 0 if right and whole and reset and same else 2
        finally:
            os._exit(code)
    machine.write(after - 8192, b"\x77" * 8)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    found = shown(pages.told(machine.exports, guest))
    assert {each & -4096 for each in (before, after - 8192)} <= found


def test_snapshots_on_many_threads_at_once_lose_nothing(guest, monkeypatch):
    monkeypatch.setattr(snapshot, "take", Checked().take)
    results: list[object] = []

    def work() -> None:
        results.append(run_cut(PROGRAMS["loop"]).result)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 6
    assert len(set(map(str, results))) == 1
