"""The state of a paused program as bytes: the difference between a memory and its guest's image.

Both are compared in words of eight bytes. What differs is kept as *runs*: where, how long, and the new
content. New content compresses better than its XOR with the image, since pointers and
atoms repeat (2,250 bytes against 3,400 for the reference program). The *body* is, for each run, the words between
it and the one before, then for each run its words, both as LEB128; then the content of all runs. Layout of a
state, little-endian, LEB128 where no number of bytes is said:

    offset  bytes
    0       4      magic, b"SEQ\x1a"
    4       2      format version, 2
    6       8      the first bytes of the SHA-256 of the guest
    14      8      BLAKE2b-64 over everything else: bytes 0 to 13 and 22 to the end
    22      1      how the body is compressed, see `Packing`
    23             size of the memory, in WebAssembly pages of 64 KiB
                   handle of the program's main promise
                   number of runs
                   size of the body, decompressed
                   the body, zstd

A pause of a small program is some 600 bytes, so each of these counts. Eight bytes of its SHA-256 find a guest among
the few that are installed. The digest is against accidents: of 2^64 damaged states one would pass. Against those who
can write states no digest helps, since they can compute it as well. Format 1 has a header of 68 bytes, with 32 of the
guest and 16 of the digest and all numbers as they are, and a whole zstd frame; it is read, and no longer written.

Everything is checked before a byte of it reaches a VM.
"""

from __future__ import annotations

import hashlib
import itertools
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import zstandard

from sequential_core.deltas import PLAIN, Deltas, shape
from sequential_core.dictionary import Dictionary
from sequential_core.errors import StateCorruptedError, StateFormatError

FORMAT_VERSION = 2
WORD_BYTES = 8
WASM_PAGE_BYTES = 65536

# What a run takes of a body: two numbers and a word.
LEAST_RUN_BYTES = 2 + WORD_BYTES

_MOST_MEMORY_PAGES = 1 << 16

_MAGIC = b"SEQ\x1a"
_BEGINNING = struct.Struct("<4sH")
_GUEST_BYTES = 8
_DIGEST_BYTES = 8
_DIGEST = _BEGINNING.size + _GUEST_BYTES
_NUMBERS = _DIGEST + _DIGEST_BYTES

_HEADER_1 = struct.Struct("<4sHHIII32s")
_DIGEST_BYTES_1 = 16
_BODY_1 = _HEADER_1.size + _DIGEST_BYTES_1

# Memories are compared in steps: most pages are equal, and in one that is not, most blocks.
PAGE_BYTES = 4096
_BLOCK_BYTES = 256

# An equal word between two that differ is cheaper to keep than another run.
_GAP_WORDS = 1

# Above so many runs the gap is so wide.
_MANY_RUNS = 50_000
_WIDE_GAP_WORDS = 64

# 1 MiB is compared at a time.
_PORTION_PAGES = 256

# Without a dictionary. A higher level takes longer than a few bytes are worth at every pause.
_NO_DICTIONARY = Dictionary(b"", level=3)

# A body up to the first size has more of what is in a dictionary than what repeats in its own cells; above the second
# it is the other way round, and the dictionary's level takes long. Between them both are tried: of 200 objects (26 KB)
# deltas leave 4.2 KB in 0.1 ms and the dictionary 6.5 in 0.3, of streams (36 KB) 15.8 in 0.3 and 12.4 in 0.6.
_SMALL_BYTES = 1 << 14
_LARGE_BYTES = 1 << 16

Run = tuple[int, bytes]


class Packing(IntEnum):
    """How a body is compressed: as a frame of zstd without its magic number and its size."""

    PLAIN = 0
    DICTIONARY = 1
    """With the guest's dictionary."""
    DELTAS = 2
    """Filtered, see `deltas`."""


@dataclass(frozen=True, slots=True)
class State:
    """A memory as a difference to the image of a guest.

    Attributes:
        guest: SHA-256 of the guest, in hexadecimal; its first 16 digits, if it comes from a state of format 2.
        memory_pages: size of the memory, in WebAssembly pages of 64 KiB.
        main: handle of the program's main promise.
        runs: where the memory differs: offsets from where the image begins, ascending, and the
            bytes there; both multiples of eight, no run empty, none touching the next.
    """

    guest: str
    memory_pages: int
    main: int
    runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Packed:
    """A state whose digest was checked, and whose body is still compressed.

    Attributes:
        guest, memory_pages, main: as of `State`.
        count: of the runs.
        size: of the body.
        packing: how it is compressed; None: as format 1 has it.
        content: the compressed body.
    """

    guest: str
    memory_pages: int
    main: int
    count: int
    size: int
    packing: Packing | None
    content: bytes


def encode(state: State, dictionary: Dictionary | None = None) -> bytes:
    """The bytes of a state; `dictionary` is its guest's."""
    raw = body(state.runs)
    return pack(state.guest, state.memory_pages, state.main, len(state.runs), raw, dictionary=dictionary)


def body(runs: Iterable[Run]) -> bytes:
    """Runs as the body of a state has them, not compressed."""
    gaps, lengths, contents, end = [], [], [], 0
    for offset, data in runs:
        gaps.append((offset - end) // WORD_BYTES)
        lengths.append(len(data) // WORD_BYTES)
        contents.append(data)
        end = offset + len(data)
    return b"".join([_varints(gaps + lengths), *contents])


def pack(
    guest: str,
    memory_pages: int,
    main: int,
    count: int,
    raw: bytes,
    *,
    dictionary: Dictionary | None = None,
    deltas: Deltas = PLAIN,
) -> bytes:
    """The bytes of a state of so many runs.

    Args:
        guest, memory_pages, main: as of `State`.
        count: of the runs.
        raw: what `body` gave for them.
        dictionary: the guest's.
        deltas: what filters a large body.
    """
    packing, content = _compress(raw, dictionary, deltas)
    beginning = _BEGINNING.pack(_MAGIC, FORMAT_VERSION) + bytes.fromhex(guest)[:_GUEST_BYTES]
    rest = _varints((packing, memory_pages, main, count, len(raw))) + content
    return beginning + _digest(beginning, rest, _DIGEST_BYTES) + rest


def _compress(raw: bytes, dictionary: Dictionary | None, deltas: Deltas) -> tuple[Packing, bytes]:
    ways: list[tuple[Packing, bytes]] = []
    if dictionary is not None and len(raw) <= _LARGE_BYTES:
        ways.append((Packing.DICTIONARY, dictionary.compress(raw)))
    if len(raw) > _SMALL_BYTES:
        ways.append((Packing.DELTAS, _NO_DICTIONARY.compress(deltas.apply(raw))))
    return min(ways or [(Packing.PLAIN, _NO_DICTIONARY.compress(raw))], key=lambda way: len(way[1]))


def decode(
    data: bytes, dictionary: Callable[[str], Dictionary | None] | None = None, *, deltas: Deltas = PLAIN
) -> State:
    """The state that `encode` made these bytes of.

    Args:
        data: the bytes.
        dictionary: gives the dictionary of a guest by `State.guest`, may raise; None: no guest has one.
        deltas: what restores a large body.

    Raises:
        StateFormatError: the bytes are of a later format.
        StateCorruptedError: they are not a state, not a whole one, or were altered.
    """
    packed = read(data)
    raw = unpack(packed, None if dictionary is None else dictionary(packed.guest), deltas=deltas)
    return State(
        packed.guest, packed.memory_pages, packed.main, runs(raw, packed.count, packed.memory_pages * WASM_PAGE_BYTES)
    )


def read(data: bytes) -> Packed:
    """The parts of a state, its digest checked.

    Raises:
        StateFormatError: the bytes are of a later format.
        StateCorruptedError: they are not a state, not a whole one, or were altered.
    """
    if len(data) < _NUMBERS:
        raise StateCorruptedError("it is too short")
    magic, version = _BEGINNING.unpack_from(data)
    if magic != _MAGIC:
        raise StateCorruptedError("it does not begin like a state")
    if version > FORMAT_VERSION:
        raise StateFormatError(version, FORMAT_VERSION)
    packed = _read_2(data) if version == FORMAT_VERSION else _read_1(data, version)
    if packed.size > 2 * packed.memory_pages * WASM_PAGE_BYTES:  # the index of a run is shorter than the run
        raise StateCorruptedError("its size does not match")
    return packed


def _read_2(data: bytes) -> Packed:
    beginning, digest, rest = data[:_DIGEST], data[_DIGEST:_NUMBERS], data[_NUMBERS:]
    if _digest(beginning, rest, _DIGEST_BYTES) != digest:
        raise StateCorruptedError("its digest does not match")
    (packing, memory_pages, main, count, size), at = _read_varints(rest, 5)
    if memory_pages > _MOST_MEMORY_PAGES or main >> 32:
        raise StateCorruptedError("it has a memory that no guest has")
    if packing not in _PACKINGS:
        raise StateCorruptedError("it is compressed in no way that there is")
    guest = beginning[_BEGINNING.size :].hex()
    return Packed(guest, memory_pages, main, count, size, Packing(packing), rest[at:])


_PACKINGS = frozenset(Packing)


def _read_1(data: bytes, version: int) -> Packed:
    if len(data) < _BODY_1:
        raise StateCorruptedError("it is too short")
    _, _, memory_pages, main, count, size, guest = _HEADER_1.unpack_from(data)
    header, digest, content = data[: _HEADER_1.size], data[_HEADER_1.size : _BODY_1], data[_BODY_1:]
    if version < 1 or _digest(header, content, _DIGEST_BYTES_1) != digest:
        raise StateCorruptedError("its digest does not match")
    return Packed(guest.hex(), memory_pages, main, count, size, None, content)


def _digest(before: bytes, behind: bytes, size: int) -> bytes:
    return hashlib.blake2b(before + behind, digest_size=size).digest()


def unpack(packed: Packed, dictionary: Dictionary | None, *, deltas: Deltas = PLAIN) -> bytes:
    """The body of a state, as `body` gave it.

    Args:
        packed: the state.
        dictionary: its guest's.
        deltas: what restores a large body.

    Raises:
        StateCorruptedError: it does not decompress to what it says.
    """
    is_filtered = packed.packing is Packing.DELTAS
    # One byte more than there should be: a longer content is then seen, and never unpacked.
    limit = packed.size + (shape(packed.size)[1] if is_filtered else 0) + 1
    try:
        if packed.packing is Packing.DICTIONARY:
            if dictionary is None:
                raise StateCorruptedError("its guest has no dictionary")
            raw = dictionary.decompress(packed.content, limit)
        elif packed.packing is None:
            # A frame that says its size is unpacked to that, whatever the limit.
            if zstandard.frame_content_size(packed.content) > packed.size:
                raise StateCorruptedError("its size does not match")
            raw = zstandard.ZstdDecompressor().decompress(packed.content, max_output_size=limit)
        else:
            raw = _NO_DICTIONARY.decompress(packed.content, limit)
        if is_filtered:
            raw = deltas.undo(raw, packed.size)
    except (zstandard.ZstdError, MemoryError, ValueError) as error:
        raise StateCorruptedError("it does not decompress") from error
    if len(raw) != packed.size:
        raise StateCorruptedError("its size does not match")
    return raw


def runs(raw: bytes, count: int, memory_bytes: int) -> tuple[Run, ...]:
    """The runs of a body.

    Raises:
        StateCorruptedError: they are not what `body` writes for so many, or do not lie in so many bytes.
    """
    if count > len(raw) // LEAST_RUN_BYTES:  # before so many numbers are read
        raise StateCorruptedError("it has fewer runs than it says")
    numbers, at = _read_varints(raw, 2 * count)
    found: list[Run] = []
    end = 0
    for position, (gap, length) in enumerate(zip(numbers[:count], numbers[count:], strict=True)):
        offset, size = end + gap * WORD_BYTES, length * WORD_BYTES
        if not length or (position and not gap):
            raise StateCorruptedError("a run is empty, or touches the one before")
        end = offset + size
        found.append((offset, raw[at : at + size]))
        at += size
    if at != len(raw):
        raise StateCorruptedError("its runs do not fill it")
    if end > memory_bytes:
        raise StateCorruptedError("a run lies outside the memory")
    return tuple(found)


def _varints(numbers: Iterable[int]) -> bytes:
    out = bytearray()
    for number in numbers:
        while number > 0x7F:
            out.append(number & 0x7F | 0x80)
            number >>= 7
        out.append(number)
    return bytes(out)


def _read_varints(data: bytes, count: int) -> tuple[list[int], int]:
    numbers: list[int] = []
    if not count:
        return numbers, 0
    number = shift = 0
    for at, byte in enumerate(data, 1):
        if byte < 0x80:
            numbers.append(number | byte << shift)
            if len(numbers) == count:
                return numbers, at
            number = shift = 0
        else:
            number |= (byte & 0x7F) << shift
            shift += 7
            if shift > 28:
                raise StateCorruptedError("a number is too long")
    raise StateCorruptedError("its index is cut short")


def changed_pages(memory: bytes | bytearray, base: bytes) -> list[int]:
    """Offsets of the pages of 4 KiB in which a memory differs from its base.

    Behind its end the base counts as zeros.
    """
    pages = []
    for offset in range(0, len(memory), PAGE_BYTES):
        page = memory[offset : offset + PAGE_BYTES]
        if page != (base[offset : offset + PAGE_BYTES] or _ZEROS):
            pages.append(offset)
    return pages


_ZEROS = bytes(PAGE_BYTES)


def difference(memory: bytes | bytearray, base: bytes, pages: Sequence[int]) -> tuple[Run, ...]:
    """The runs in which a memory differs from its base.

    Args:
        memory, base: a whole number of pages each; behind its end the base counts as zeros.
        pages: from `changed_pages`; other pages are taken to be equal.
    """
    runs: list[Run] = []
    # In portions: the numbers of Python take many times the memory that they count.
    for first in range(0, len(pages), _PORTION_PAGES):
        _add_runs(runs, memory, _differing_words(memory, base, pages[first : first + _PORTION_PAGES]))
    return tuple(runs)


def _differing_words(memory: bytes | bytearray, base: bytes, pages: Sequence[int]) -> list[int]:
    blocks, ours, theirs = [], [], []
    for offset in pages:
        page, other = memory[offset : offset + PAGE_BYTES], base[offset : offset + PAGE_BYTES] or _ZEROS
        for at in range(0, PAGE_BYTES, _BLOCK_BYTES):
            block, beside = page[at : at + _BLOCK_BYTES], other[at : at + _BLOCK_BYTES]
            if block != beside:
                blocks.append(offset + at)
                ours.append(block)
                theirs.append(beside)
    # Python has no faster way to find the words that differ than one XOR of large integers.
    xor = int.from_bytes(b"".join(ours), "little") ^ int.from_bytes(b"".join(theirs), "little")
    words = memoryview(xor.to_bytes(len(ours) * _BLOCK_BYTES, "little")).cast("Q")
    per_block = _BLOCK_BYTES // WORD_BYTES
    return [blocks[i // per_block] // WORD_BYTES + i % per_block for i in itertools.compress(itertools.count(), words)]


def _add_runs(runs: list[Run], memory: bytes | bytearray, words: list[int]) -> None:
    """Adds the runs of neighbouring words, and of words with not many between them.

    Many runs are joined over wider gaps: each takes Python a hundred times the memory of a word.
    """
    if not words:
        return
    gap = _GAP_WORDS if len(runs) < _MANY_RUNS else _WIDE_GAP_WORDS
    start = last = words[0]
    if runs and runs[-1][0] + len(runs[-1][1]) == start * WORD_BYTES:
        start = runs.pop()[0] // WORD_BYTES  # it goes on in this portion
    for word in [*words[1:], words[-1] + gap + 2]:
        if word - last > 1 + gap:
            runs.append((start * WORD_BYTES, bytes(memory[start * WORD_BYTES : (last + 1) * WORD_BYTES])))
            start = word
        last = word
