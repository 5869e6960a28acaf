"""What a machine's memory has that its guest's image has not, without the garbage.

`plain` says what that is: all of the memory is copied, walked and compared. `take` gives the same bytes, and copies
only what the hop changed: `pages` tells which pages that may be, they are put over a copy of the image, and
snapshot.wat does the rest there. The copy is then made the image again, for the next snapshot.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import wasmtime

from sequential_core import state as codec
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
_MOST_PAGE_BYTES = 1 + 8
_HEAD = struct.Struct("<2I")
_HEAD_BYTES = 8
_SLACK_BYTES = 64

# With more pages than these (8 MiB) a copy is not kept: it would hold on to their memory.
_KEPT_PAGES = 2048

# More than any process lives, in steps of 10 ms: what runs here needs no limit.
_NO_DEADLINE = 1 << 60


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
    """The changes of a machine's memory.

    Args:
        machine: no call is under way in it, and `prepare` was called since it was made or restored.
        guest: the machine's.
    """
    flags = pages.candidates(machine, guest, written=guest.manifest.random_state)
    idle = _idle_copies(guest)
    try:
        copy = _pop(idle) or _Copy(guest)
        copy.make_room(len(flags) * codec.PAGE_BYTES, flags.count(1))
        snapshot = copy.take(machine, flags)
    except (wasmtime.WasmtimeError, wasmtime.Trap):
        # Such as a second memory that the process may not have. A task must not end for that.
        return plain(machine, guest)
    if flags.count(1) <= _KEPT_PAGES:
        idle.append(copy)
    return snapshot


def _pop(copies: list[_Copy]) -> _Copy | None:
    try:
        return copies.pop()
    except IndexError:  # another thread may have been quicker than any look before
        return None


@functools.lru_cache(maxsize=8)
def _idle_copies(_guest: Guest) -> list[_Copy]:
    """The copies that no thread uses now. After a fork the child has these too, and never a half-used one."""
    return []


@runtime.once
def _module() -> wasmtime.Module:
    program = guests.SNAPSHOT_PROGRAM.read_bytes()
    return cache.compiled(program, hashlib.sha256(program).hexdigest(), guests.DIRECTORY)


class _Copy:
    """An instance of snapshot.wat with the image of a guest."""

    def __init__(self, guest: Guest) -> None:
        self._manifest = guest.manifest
        self._base_bytes = len(guest.base)
        self._store = wasmtime.Store(runtime.engine())
        self._store.set_epoch_deadline(_NO_DEADLINE)
        exports = native.Exports(self._store, wasmtime.Instance(self._store, _module(), []))
        self._call = exports.call
        self._memory = exports.memory()
        self._copy = codec.PAGE_BYTES + self._base_bytes
        self._grow(self._copy + self._base_bytes)
        for at in (codec.PAGE_BYTES, self._copy):
            ctypes.memmove(self._address() + at, guest.base, self._base_bytes)

    def _address(self) -> int:
        return ctypes.addressof(self._memory.data_ptr(self._store).contents)

    def _grow(self, size: int) -> None:
        more = size - self._memory.data_len(self._store)
        if more > 0:
            self._memory.grow(self._store, -(-more // codec.WASM_PAGE_BYTES))

    def make_room(self, size: int, changed: int) -> None:
        """Grows for a memory of that size with so many changed pages.

        Raises:
            wasmtime.WasmtimeError: that is more than there is, or than WebAssembly can address.
        """
        needed = self._copy + size + _HEAD_BYTES + size // codec.PAGE_BYTES * _MOST_PAGE_BYTES
        needed += changed * _MOST_CHANGED_BYTES
        self._grow(needed + _SLACK_BYTES)

    def take(self, machine: Machine, flags: bytes) -> Snapshot:
        """The changes of a machine's memory, of which only the flagged pages may differ from the image."""
        manifest, address = self._manifest, self._address()
        origin = manifest.stack_end
        size = len(flags) * codec.PAGE_BYTES
        ours, theirs = address + self._copy, machine.address + origin
        for match in re.finditer(b"\1+", flags):
            start, stop = match.start() * codec.PAGE_BYTES, match.end() * codec.PAGE_BYTES
            ctypes.memmove(ours + start, theirs + start, stop - start)
        ctypes.memmove(ours + size + _HEAD_BYTES, flags, len(flags))
        runs = self._call(
            "snapshot",
            self._base_bytes,
            size,
            manifest.random_state - origin,
            manifest.heap_start - origin,
            manifest.arena_lists,
            origin,
        )
        start, stop = _HEAD.unpack(ctypes.string_at(ours + size, _HEAD.size))
        body = ctypes.string_at(address + start, stop - start)
        self._call("reset")
        return Snapshot(runs, body)
