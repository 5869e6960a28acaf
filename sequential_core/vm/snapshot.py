"""A machine's memory as the difference to its guest's image, without the garbage; and back.

`plain` says what a snapshot is: all of the memory is copied, walked and compared. `take` gives the same bytes, and
looks only at what the hop changed: `pages` tells which pages that may be, and snapshot.wat does the rest beside the
machine, in the same store. There the image is the memory of a second instance of the guest, which never runs: it is
mapped, not copied.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import wasmtime

from sequential_core import state as codec
from sequential_core.errors import StateCorruptedError
from sequential_core.vm import cache, heap, native, pages, runtime
from sequential_core.vm import guest as guests
from sequential_core.vm.machine import RANDOM_STATE_BYTES

if TYPE_CHECKING:
    from sequential_core.vm.guest import Guest
    from sequential_core.vm.machine import Machine

# What snapshot.wat writes at most for a changed page: its content; 171 runs, since two words lie between two of them;
# for each run two words in a table and two numbers of up to five bytes. The table of garbage before is smaller, 256
# ranges a page, but for ranges of many pages.
_MOST_CHANGED_BYTES = codec.PAGE_BYTES + 171 * (8 + 10)
_MOST_PAGE_BYTES = 8
_HEAD = struct.Struct("<2I")
_INDEX_BYTES = 4
_SLACK_BYTES = 64

# What it notes of the image, for each page.
_SURVEY_BYTES = 5 * 4

# Where a machine has written more pages than these, 8 MiB, it is not made the image again: it would hold on to them. A
# collection of cyclic garbage writes all of the image, 3 MiB.
_MOST_RESET_PAGES = 2048


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The changes of a memory.

    Attributes:
        runs: the number of runs in which it differs from the image, without garbage.
        body: these runs, see `state.body`.
    """

    runs: int
    body: bytes


def plain(machine: Machine, guest: Guest) -> Snapshot:
    """The changes of a machine's memory: the specification of `take`."""
    manifest, base = guest.manifest, guest.base
    origin = manifest.stack_end
    memory = bytearray(machine.read(origin, machine.memory_bytes))
    random_state = manifest.random_state - origin
    heap.blank(memory, base, [(random_state, random_state + RANDOM_STATE_BYTES)])
    with contextlib.suppress(heap.Unexpected):
        heap.blank(memory, base, heap.free_chunks(memory, manifest.heap_start - origin))
    changed = codec.changed_pages(memory, base)
    with contextlib.suppress(heap.Unexpected):
        heap.blank(memory, base, heap.free_cells(memory, origin, manifest.arena_lists, set(changed)))
    runs = codec.difference(memory, base, changed)
    return Snapshot(len(runs), codec.body(runs))


def take(machine: Machine, guest: Guest) -> Snapshot:
    """The changes of a machine's memory. The garbage in it is blanked; the guest cannot tell.

    Args:
        machine: no call is under way in it, and `prepare` was called since it was made or restored.
        guest: the machine's.

    Raises:
        wasmtime.WasmtimeError: the hop is being ended, see `runtime.is_ending`.
    """
    try:
        return _companion(machine, guest).take()
    except (wasmtime.WasmtimeError, wasmtime.Trap):
        if runtime.is_ending():
            raise
        # Such as a memory that the process may not have. A task must not end for that.
        return plain(machine, guest)


def restore(machine: Machine, guest: Guest, count: int, body: bytes) -> None:
    """Writes the runs of a body into a machine at its image.

    Raises:
        StateCorruptedError: it is no body of so many runs, or does not fit the memory. The machine must not be used.
    """
    try:
        whole = _companion(machine, guest).restore(count, body)
    except (wasmtime.WasmtimeError, wasmtime.Trap):
        if runtime.is_ending():
            raise
        restore_plainly(machine, guest, count, body)
        return
    if not whole:
        raise StateCorruptedError("its runs are none, or do not fit its guest")


def restore_plainly(machine: Machine, guest: Guest, count: int, body: bytes) -> None:
    """The specification of `restore`."""
    origin = guest.manifest.stack_end
    size = machine.memory_bytes - origin
    for start, data in codec.runs(body, count, size):
        machine.write(origin + start, data)


def reset(machine: Machine, guest: Guest, *, taken: bool = False) -> bool:
    """Makes a machine's memory the image again.

    Args:
        machine: no call is under way in it, and `prepare` was called since it was made or restored.
        guest: the machine's.
        taken: a snapshot of it was just taken; nothing was called or written since.

    Returns:
        Whether that was done. Not where the kernel does not tell the pages, too many were written, or the snapshot was
        taken plainly.
    """
    # The callback at an epoch's end must not run here, outside of `cpu_time`: when the handler of a signal raises in
    # it, wasmtime gets what ctypes leaves as its result, and the process crashes.
    runtime.leave_alone(machine.store)
    try:
        return _companion(machine, guest).reset(taken=taken)
    except (wasmtime.WasmtimeError, wasmtime.Trap):
        return False


def _companion(machine: Machine, guest: Guest) -> Companion:
    if machine.companion is None:
        machine.companion = Companion(machine, guest)
    return machine.companion


@runtime.once
def _module() -> wasmtime.Module:
    program = guests.snapshot_program()
    return cache.compiled(program, hashlib.sha256(program).hexdigest(), guests.DIRECTORY)


class Companion:
    """An instance of snapshot.wat beside a machine, and an instance of its guest that never runs: the image."""

    def __init__(self, machine: Machine, guest: Guest) -> None:
        store = machine.store
        self._store = store
        self._guest = guest
        self._limit = machine.memory_limit
        self._machine = machine.exports
        self._told: bytes | None = None
        self._image = native.Exports(store, guest.template.instantiate(store))
        self._image_bytes = self._image.memory_bytes
        memories = (self._machine.memory(), self._image.memory())
        self._notes = native.Exports(store, wasmtime.Instance(store, _module(), [*memories]))
        self._flags = self._image_bytes // codec.PAGE_BYTES * _SURVEY_BYTES
        self._make_room(self._flags)
        self._survey()

    def _survey(self) -> None:
        """What heap.wat knows of the image: found in the first companion of a guest."""
        manifest, address, noted = self._guest.manifest, self._notes.address, self._guest.survey
        if noted is not None:
            ctypes.memmove(address, noted, len(noted))
        self._notes.call("survey", manifest.heap_start, manifest.arena_lists, int(noted is not None))
        if noted is None:
            self._guest.survey = ctypes.string_at(address, self._flags)

    def take(self) -> Snapshot:
        manifest = self._guest.manifest
        size = self._machine.memory_bytes
        self._told = None  # until it is noted, and what is flagged is what differs
        _grow(self._image, self._store, size)
        told = pages.told(self._machine, self._guest)
        flags = pages.differing(self._machine, manifest.stack_end, self._image.address) if told is None else told
        head = self._note(flags, size // codec.PAGE_BYTES * _MOST_PAGE_BYTES + flags.count(1) * _MOST_CHANGED_BYTES)
        runs = self._notes.call(
            "snapshot",
            self._flags,
            head,
            manifest.stack_end,
            manifest.random_state,
            manifest.heap_start,
            manifest.arena_lists,
        )
        self._told = told
        address = self._notes.address
        start, stop = _HEAD.unpack(ctypes.string_at(address + head, _HEAD.size))
        return Snapshot(runs, ctypes.string_at(address + start, stop - start))

    def restore(self, count: int, body: bytes) -> bool:
        if count > len(body) // codec.LEAST_RUN_BYTES:  # before there is room for so many
            return False
        at = self._flags + 2 * count * _INDEX_BYTES
        stop = at + len(body)
        self._make_room(stop + _SLACK_BYTES)
        ctypes.memmove(self._notes.address + at, body, len(body))
        return bool(self._notes.call("restore", self._flags, count, at, stop, self._guest.manifest.stack_end))

    def reset(self, *, taken: bool) -> bool:
        if not taken:
            _grow(self._image, self._store, self._machine.memory_bytes)
            self._told = pages.told(self._machine, self._guest)
        if self._told is None or self._told.count(1) > _MOST_RESET_PAGES:
            return False
        if not taken:
            self._note(self._told, 0)
        self._notes.call("reset", self._flags)
        return True

    def _note(self, flags: bytes, room: int) -> int:
        """Writes flags, where so many bytes are to have room behind them; returns where these begin."""
        size = -(-len(flags) // 8) * 8 + 8
        behind = self._flags + size
        self._make_room(behind + room + _SLACK_BYTES)
        ctypes.memmove(self._notes.address + self._flags, flags.ljust(size, b"\0"), size)
        return behind

    def _make_room(self, size: int) -> None:
        if size > self._notes.memory_bytes:
            # The machine's limit is not for this.
            self._store.set_limits()
            try:
                _grow(self._notes, self._store, size)
            finally:
                self._store.set_limits(memory_size=self._limit)


def _grow(exports: native.Exports, store: wasmtime.Store, size: int) -> None:
    """Grows a memory to that size, if it is smaller.

    Raises:
        wasmtime.WasmtimeError: that is more than there is, or than WebAssembly can address.
    """
    more = size - exports.memory_bytes
    if more > 0:
        exports.memory().grow(store, -(-more // codec.WASM_PAGE_BYTES))
