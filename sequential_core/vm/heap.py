"""The guest's two allocators, as far as a snapshot needs them: which bytes nobody will read.

Below is dlmalloc as wasi-libc builds it. Its heap is one run of *chunks*. Each begins with two
words: the size of the chunk before it, which counts only if that one is free, and its own size with
three flags. A free chunk keeps the links of its free list in the next words and its size in the word
behind its end; the rest of it is garbage. The last chunk is free and followed by a foot of fixed size,
which ends the memory.

Above it QuickJS-ng has its own allocator for blocks of up to 512 bytes, in `js_malloc_block_sizes`: an *arena* is a
chunk of 4 KiB with *cells* of one size. It begins with the links of two lists (all arenas of its
size, those with free cells) and four numbers: the index of its size, the number of used cells, the
number of cells, the first free one. A cell begins with eight bytes of header, of which a free one
needs the first three, the number of the next free cell and the index of its size.

Both are only read here. What does not look exactly as it must ends the search, and the garbage stays:
a larger state, never a wrong one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container

Range = tuple[int, int]

_IN_USE = 0b010
_PREVIOUS_IN_USE = 0b001
_FLAGS = 0b111

_ALIGNMENT = 16
_CHUNK_HEADER_BYTES = 8

# Up to this size a free chunk has two links; above it, it is a node of a tree and has six words.
_SMALL_BYTES = 256
_SMALL_LINKS_BYTES = 8
_TREE_LINKS_BYTES = 24

_FOOT_BYTES = 56

CELL_BYTES = (*range(16, 128, 8), *range(128, 256, 16), *range(256, 513, 32))
LIST_HEAD_BYTES = 8
_ARENA_HEADER_BYTES = 24
_ARENA_MAX_BYTES = 4096
# Cells of whatever size fill more than half of that, and arenas lie apart: more of them than that is an endless list.
_ARENA_MIN_BYTES = 2048
_CELL_KEPT_BYTES = 4
CELL_HEADER_BYTES = 8
_NO_CELL = 0xFFFF


class Unexpected(Exception):
    """The heap does not look as it must."""


def free_chunks(memory: bytes | bytearray, heap_start: int) -> list[Range]:
    """The garbage in free chunks, as offsets into `memory`.

    Args:
        memory: the end of the guest's memory.
        heap_start: the offset of the first chunk.

    Raises:
        Unexpected: the chain of chunks does not end exactly where it must.
    """
    words = memoryview(memory).cast("I")
    at, end = heap_start >> 2, (len(memory) - _FOOT_BYTES) >> 2
    ranges = []
    while at < end:
        head = words[at + 1]
        size = head & ~_FLAGS
        if size < _ALIGNMENT or size % _ALIGNMENT:
            raise Unexpected
        if not head & _IN_USE:
            links = _SMALL_LINKS_BYTES if size < _SMALL_BYTES else _TREE_LINKS_BYTES
            start, stop = (at << 2) + _CHUNK_HEADER_BYTES + links, (at << 2) + size
            if start < stop:
                ranges.append((start, stop))
        at += size >> 2
    if at != end:
        raise Unexpected
    return ranges


def free_cells(memory: bytes | bytearray, origin: int, lists: int, pages: Container[int] | None = None) -> list[Range]:
    """The garbage in free cells, as offsets into `memory`.

    Args:
        memory: the guest's memory from the address `origin` on.
        lists: the address of the heads of the lists of arenas, one for each size.
        pages: only arenas that touch one of these are looked at, pages of 4 KiB by their offset into
            `memory`; all if None.

    Raises:
        Unexpected: a list or an arena does not look as it must.
    """
    words, halves = memoryview(memory).cast("I"), memoryview(memory).cast("H")
    ranges: list[Range] = []
    seen: set[int] = set()
    most = len(memory) // _ARENA_MIN_BYTES
    try:
        for index, size in enumerate(CELL_BYTES):
            head = lists + index * LIST_HEAD_BYTES
            arena = words[head - origin >> 2]
            while arena != head:
                at = arena - origin
                # One that comes again makes the list endless.
                if at < 0 or at & 7 or at in seen or len(seen) >= most or memory[at + 16] != index:
                    raise Unexpected
                seen.add(at)
                if pages is None or at & ~4095 in pages or (at + _ARENA_MAX_BYTES) & ~4095 in pages:
                    ranges += _free_cells(halves, at, size)
                arena = words[at >> 2]
    except IndexError:
        raise Unexpected from None
    return ranges


def _free_cells(halves: memoryview, at: int, size: int) -> list[Range]:
    used, count, cell = halves[at + 18 >> 1], halves[at + 20 >> 1], halves[at + 22 >> 1]
    if used > count or count * size + _ARENA_HEADER_BYTES > _ARENA_MAX_BYTES:
        raise Unexpected
    cells = at + _ARENA_HEADER_BYTES
    ranges = []
    for _ in range(count - used):
        if cell >= count:
            raise Unexpected
        start = cells + cell * size
        ranges.append((start + _CELL_KEPT_BYTES, start + size))
        cell = halves[start >> 1]
    if cell != _NO_CELL:
        raise Unexpected
    return ranges


def blank(memory: bytearray, base: bytes, ranges: list[Range]) -> None:
    """Makes each range equal to `base`, which counts as zeros behind its end."""
    size = len(base)
    for start, stop in ranges:
        memory[start:stop] = base[start:stop] if stop <= size else base[start:stop].ljust(stop - start, b"\0")


def cells_in_arena(size: int) -> int:
    """How many cells of a size an arena has."""
    return (_ARENA_MAX_BYTES - _ARENA_HEADER_BYTES) // size


# --- For the bake --------------------------------------------------------------------------------


def count_free_cells(memory: bytes, lists: int) -> list[int]:
    """The number of free cells of each size in a whole memory."""
    counts = Counter(stop - start + _CELL_KEPT_BYTES for start, stop in free_cells(memory, 0, lists))
    return [counts[size] for size in CELL_BYTES]


def find_first_chunk(memory: bytearray, lowest: int, allocated: int) -> int:
    """Finds the first chunk of the heap: the lowest from which the chain is whole.

    Args:
        memory: the whole memory.
        lowest: no chunk begins below this address.
        allocated: an address that dlmalloc gave out; the chain passes it.

    Raises:
        Unexpected: there is no such chain.
    """
    words = memoryview(memory).cast("I")
    # Addresses given out are multiples of 16; the header is before them.
    for start in range((lowest + 15 & ~15) + 8, allocated, _ALIGNMENT):
        first = words[start >> 2] == 0 and words[(start >> 2) + 1] & _FLAGS == _IN_USE | _PREVIOUS_IN_USE
        if first and _passes(words, start, allocated - _CHUNK_HEADER_BYTES):
            free_chunks(memory, start)
            return start
    raise Unexpected


def _passes(words: memoryview, start: int, target: int) -> bool:
    at = start
    while at < target:
        size = words[(at >> 2) + 1] & ~_FLAGS
        if size < _ALIGNMENT:
            return False
        at += size
    return at == target


def find_arena_lists(memory: bytearray, runtime: int) -> int:
    """Finds the heads of the lists of arenas, near the beginning of the engine's JSRuntime.

    Args:
        memory: the whole memory.
        runtime: the address of the JSRuntime.

    Raises:
        Unexpected: no place, or more than one, looks like them.
    """
    found = []
    for lists in range(runtime, runtime + 1024, 8):
        try:
            if free_cells(memory, 0, lists):
                found.append(lists)
        except Unexpected:
            continue
    if len(found) != 1:
        raise Unexpected
    return found[0]
