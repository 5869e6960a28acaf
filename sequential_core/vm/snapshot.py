"""What a machine's memory has that its guest's image has not, without the garbage.

The result is that of comparing and walking the whole memory, as tests/vm/reference.py does. But only that is read
which may have changed: `pages` tells where, and the image's `heap.Layout` which parts of the heap cannot have.

Garbage is made equal to the image in the machine itself, which may go on: nobody reads it.
"""

from __future__ import annotations

import contextlib
from bisect import bisect_left
from typing import TYPE_CHECKING

from sequential_core import state as codec
from sequential_core.vm import heap, pages
from sequential_core.vm.machine import RANDOM_STATE_BYTES

if TYPE_CHECKING:
    from sequential_core.vm.guest import Guest
    from sequential_core.vm.machine import Machine

_PAGE_BYTES = codec.PAGE_BYTES


class Changes:
    """The memory of a machine beside its guest's image, both without the C stack, until the next call into it.

    Args:
        machine: no call is under way in it, and `prepare` was called since it was made or restored.
        guest: the machine's.

    Attributes:
        pages: offsets of the pages that differ, ascending, once freed chunks are as in the image.
    """

    pages: list[int]

    def __init__(self, machine: Machine, guest: Guest) -> None:
        manifest = guest.manifest
        origin = manifest.stack_end
        self._base = guest.base
        self._memory = machine.view(origin)

        random_state = manifest.random_state - origin
        self._blank(random_state, random_state + RANDOM_STATE_BYTES)
        self.pages = pages.candidates(machine, guest, written=manifest.random_state)
        with contextlib.suppress(heap.Unexpected):
            self._take_out(guest.layout.free_chunks(self._memory.cast("I"), self.pages))
        self.pages = [page for page in self.pages if self._differs(page)]
        self._changed = changed = frozenset(self.pages)
        with contextlib.suppress(heap.Unexpected):
            for start, stop in guest.layout.free_cells(self._read, len(self._memory), self.pages):
                if start & -_PAGE_BYTES in changed or stop - 1 & -_PAGE_BYTES in changed:
                    self._blank(start, stop)

    def runs(self) -> tuple[codec.Run, ...]:
        """The runs in which the memory differs from the image."""
        return codec.difference(self, self._base, self.pages)

    def __getitem__(self, part: slice) -> bytes:
        return bytes(self._memory[part])

    def _differs(self, page: int) -> bool:
        return self[page : page + _PAGE_BYTES] != heap.image(self._base, page, page + _PAGE_BYTES)

    def _blank(self, start: int, stop: int) -> None:
        """Makes a range equal to the image."""
        self._memory[start:stop] = heap.image(self._base, start, stop)

    def _take_out(self, garbage: list[heap.Range]) -> None:
        """Makes garbage equal to the image, and forgets the pages that are nothing else."""
        candidates, kept, position = frozenset(self.pages), [], 0
        for start, stop in garbage:
            whole, end = start + _PAGE_BYTES - 1 & -_PAGE_BYTES, stop & -_PAGE_BYTES
            if start < whole and start & -_PAGE_BYTES in candidates:
                self._blank(start, min(stop, whole))
            if whole <= end < stop and end in candidates:
                self._blank(end, stop)
            if whole < end:
                first = bisect_left(self.pages, whole, position)
                kept += self.pages[position:first]
                position = bisect_left(self.pages, end, first)
        self.pages = kept + self.pages[position:]

    def _read(self, start: int, stop: int) -> bytes:
        """The memory between two offsets; fewer bytes where it ends."""
        parts, stop, changed = [], min(stop, len(self._memory)), self._changed
        while start < stop:
            page = start & -_PAGE_BYTES
            end = min(stop, page + _PAGE_BYTES)
            parts.append(self[start:end] if page in changed else heap.image(self._base, start, end))
            start = end
        return b"".join(parts)
