"""What a snapshot is, in the plainest way: all of the memory is copied, walked and compared."""

from __future__ import annotations

import contextlib

from sequential_core import state as codec
from sequential_core.vm import heap
from sequential_core.vm.guest import Guest
from sequential_core.vm.machine import RANDOM_STATE_BYTES, Machine


def changes(machine: Machine, guest: Guest) -> tuple[list[int], tuple[codec.Run, ...]]:
    """The pages and the runs of `snapshot.Changes`."""
    manifest, base = guest.manifest, guest.base
    origin = manifest.stack_end
    memory = bytearray(machine.read(origin, machine.memory_bytes))
    random_state = manifest.random_state - origin
    heap.blank(memory, base, [(random_state, random_state + RANDOM_STATE_BYTES)])
    with contextlib.suppress(heap.Unexpected):
        heap.blank(memory, base, heap.free_chunks(memory, manifest.heap_start - origin))
    pages = codec.changed_pages(memory, base)
    with contextlib.suppress(heap.Unexpected):
        heap.blank(memory, base, heap.free_cells(memory, origin, manifest.arena_lists, set(pages)))
    return pages, codec.difference(memory, base, pages)
