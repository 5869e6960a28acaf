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

`free_chunks` and `free_cells` walk all of it. A `Layout` takes fewer steps to the same result where a memory differs
from an image in few pages: when the walk is at a chunk or an arena of the image whose page is as it was, it goes on as
in the image up to the next page that is not.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet

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
_CELL_KEPT_BYTES = 4
CELL_HEADER_BYTES = 8
_NO_CELL = 0xFFFF

_PAGE_BYTES = 4096


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
    ranges: list[Range] = []
    _chunks(memory, heap_start, ranges)
    return ranges


def _chunks(memory: bytes | bytearray, heap_start: int, ranges: list[Range]) -> list[int]:
    """The offsets of all chunks; adds their garbage."""
    words = memoryview(memory).cast("I")
    at, end = heap_start, len(memory) - _FOOT_BYTES
    found = []
    while at < end:
        found.append(at)
        at += _chunk(words[at + 4 >> 2], at, ranges)
    if at != end:
        raise Unexpected
    return found


def _chunk(head: int, at: int, ranges: list[Range]) -> int:
    """Adds the garbage of the chunk with that second word; returns its size."""
    size = head & ~_FLAGS
    if size < _ALIGNMENT or size % _ALIGNMENT:
        raise Unexpected
    if not head & _IN_USE:
        links = _SMALL_LINKS_BYTES if size < _SMALL_BYTES else _TREE_LINKS_BYTES
        start, stop = at + _CHUNK_HEADER_BYTES + links, at + size
        if start < stop:
            ranges.append((start, stop))
    return size


def free_cells(
    memory: bytes | bytearray, origin: int, lists: int, pages: AbstractSet[int] | None = None
) -> list[Range]:
    """The garbage in free cells, as offsets into `memory`.

    Args:
        memory: the guest's memory from the address `origin` on.
        lists: the address of the heads of the lists of arenas, one for each size.
        pages: only arenas that touch one of these are looked at, pages of 4 KiB by their offset into
            `memory`; all if None.

    Raises:
        Unexpected: a list or an arena does not look as it must.
    """
    halves = memoryview(memory).cast("H")
    ranges: list[Range] = []
    try:
        for arenas, size in zip(_arenas(memory, origin, lists), CELL_BYTES, strict=True):
            for at in arenas:
                if pages is None or not pages.isdisjoint(_pages_around(at)):
                    ranges += _free_cells(halves, at, size)
    except IndexError:
        raise Unexpected from None
    return ranges


def _arenas(memory: bytes | bytearray, origin: int, lists: int) -> list[list[int]]:
    """The arenas of each list, in its order."""
    words = memoryview(memory).cast("I")
    found: list[list[int]] = [[] for _ in CELL_BYTES]
    seen, most = 0, len(memory) // _ARENA_HEADER_BYTES
    for index, arenas in enumerate(found):
        head = lists + index * LIST_HEAD_BYTES
        arena = words[head - origin >> 2]
        while arena != head:
            at, seen = arena - origin, seen + 1
            if at < 0 or at & 7 or seen > most or memory[at + 16] != index:
                raise Unexpected
            arenas.append(at)
            arena = words[at >> 2]
    return found


def _pages_around(at: int) -> tuple[int, int]:
    """The pages in which an arena may lie."""
    return at & -_PAGE_BYTES, at + _ARENA_MAX_BYTES & -_PAGE_BYTES


def _free_cells(halves: memoryview, at: int, size: int, shift: int = 0) -> list[Range]:
    """The garbage of the arena at `at`, moved by `shift`."""
    used, count, cell = halves[at + 18 >> 1], halves[at + 20 >> 1], halves[at + 22 >> 1]
    if used > count or count * size + _ARENA_HEADER_BYTES > _ARENA_MAX_BYTES:
        raise Unexpected
    cells = at + _ARENA_HEADER_BYTES
    ranges = []
    for _ in range(count - used):
        if cell >= count:
            raise Unexpected
        start = cells + cell * size
        ranges.append((shift + start + _CELL_KEPT_BYTES, shift + start + size))
        cell = halves[start >> 1]
    if cell != _NO_CELL:
        raise Unexpected
    return ranges


class Layout:
    """Where the chunks and arenas of an image are, for walks of the memories that began as it.

    Args:
        base: the guest's image from the address `origin` on.
        heap_start: the offset of the first chunk.
        origin, lists: as for `free_cells`.

    Raises:
        Unexpected: the image itself does not look as it must.
    """

    def __init__(self, base: bytes, heap_start: int, origin: int, lists: int) -> None:
        self._heap_start, self._origin, self._lists = heap_start, origin, lists
        self._chunks = _chunks(base, heap_start, [])
        self._chunk_numbers = {at: number for number, at in enumerate(self._chunks)}
        self._arenas = _arenas(base, origin, lists)
        self._arena_numbers = [{at: number for number, at in enumerate(arenas)} for arenas in self._arenas]
        # By page: the arenas that may lie in it, as list and number.
        self._arenas_around: dict[int, list[tuple[int, int]]] = {}
        for index, arenas in enumerate(self._arenas):
            for number, at in enumerate(arenas):
                for page in _pages_around(at):
                    self._arenas_around.setdefault(page, []).append((index, number))

    def free_chunks(self, words: Sequence[int], pages: Sequence[int]) -> list[Range]:
        """What `free_chunks` gives, but for garbage that lies in other pages altogether.

        Args:
            words: the memory, as words of four bytes.
            pages: ascending. The other ones are those of the image, and zeros behind it.

        Raises:
            Unexpected: where `free_chunks` does.
        """
        chunks, numbers, changed = self._chunks, self._chunk_numbers, frozenset(pages)
        at, end = self._heap_start, (len(words) << 2) - _FOOT_BYTES
        ranges: list[Range] = []
        while at < end:
            if at & -_PAGE_BYTES not in changed and at in numbers:
                # The chain is the image's up to the next changed page; the last chunk before may reach into it.
                following = bisect_left(pages, at)
                stop = pages[following] if following < len(pages) else end
                at = chunks[bisect_left(chunks, stop) - 1]
            at += _chunk(words[at + 4 >> 2], at, ranges)
        if at != end:
            raise Unexpected
        return ranges

    def free_cells(self, read: Callable[[int, int], bytes], size: int, pages: Sequence[int]) -> list[Range]:
        """What `free_cells` gives for these pages.

        Args:
            read: gives the memory between two offsets, fewer bytes where it ends.
            size: of the memory.
            pages: as for `free_chunks`.

        Raises:
            Unexpected: where `free_cells` does.
        """
        changed = frozenset(pages)
        numbers_around: list[set[int]] = [set() for _ in CELL_BYTES]
        for page in pages:
            for index, position in self._arenas_around.get(page, ()):
                numbers_around[index].add(position)
        ranges: list[Range] = []
        seen, most = 0, size // _ARENA_HEADER_BYTES
        heads = read(self._lists - self._origin, self._lists - self._origin + len(CELL_BYTES) * LIST_HEAD_BYTES)
        for index, cell_bytes in enumerate(CELL_BYTES):
            arenas, numbers = self._arenas[index], self._arena_numbers[index]
            head = self._lists + index * LIST_HEAD_BYTES
            # Where the walk must look again at an arena of the image.
            stops = [*sorted(numbers_around[index]), len(arenas)]
            arena = _word(heads, index * LIST_HEAD_BYTES)
            while arena != head:
                at = arena - self._origin
                if (number := numbers.get(at)) is not None and number not in numbers_around[index]:
                    # The list is the image's up to the next arena that may have changed, or to its end.
                    following = stops[bisect_left(stops, number)]
                    seen += following - number
                    arena = arenas[following] + self._origin if following < len(arenas) else head
                else:
                    seen += 1
                    content = read(at, at + _ARENA_MAX_BYTES) if at >= 0 else b""
                    if at & 7 or len(content) < _ARENA_HEADER_BYTES or content[16] != index:
                        raise Unexpected
                    if not changed.isdisjoint(_pages_around(at)):
                        ranges += _cells_of(content, at, cell_bytes)
                    arena = _word(content, 0)
                if seen > most:
                    raise Unexpected
        return ranges


def _cells_of(content: bytes, at: int, size: int) -> list[Range]:
    try:
        return _free_cells(memoryview(content).cast("H"), 0, size, at)
    except IndexError:
        raise Unexpected from None


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def blank(memory: bytearray, base: bytes, ranges: list[Range]) -> None:
    """Makes each range equal to `base`, which counts as zeros behind its end."""
    for start, stop in ranges:
        memory[start:stop] = image(base, start, stop)


def image(base: bytes, start: int, stop: int) -> bytes:
    """A part of `base`, which counts as zeros behind its end."""
    part = base[start:stop]
    return part if stop <= len(base) else part.ljust(stop - start, b"\0")


def cells_in_arena(size: int) -> int:
    """How many cells of a size an arena has."""
    return (_ARENA_MAX_BYTES - _ARENA_HEADER_BYTES) // size


def count_free_cells(memory: bytes, lists: int) -> list[int]:
    """The number of free cells of each size, in a whole memory."""
    halves = memoryview(memory).cast("H")
    return [
        sum(halves[at + 20 >> 1] - halves[at + 18 >> 1] for at in arenas) for arenas in _arenas(memory, 0, lists)
    ]


# --- For the bake --------------------------------------------------------------------------------


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
