"""The state of a paused program as bytes: the difference between a memory and its guest's image.

Both are compared in words of eight bytes. What differs is kept as *runs*: where, how long, and the new
content. New content compresses better than its XOR with the image, since pointers and
atoms repeat (2,250 bytes against 3,400 for the reference program). Layout, little-endian:

    offset  bytes
    0       4      magic, b"SEQ\\x1a"
    4       2      format version
    6       2      size of the memory, in WebAssembly pages of 64 KiB
    8       4      handle of the program's main promise
    12      4      number of runs
    16      4      size of the body, decompressed
    20      32     SHA-256 of the guest
    52      16     BLAKE2b-128 over everything else: bytes 0 to 51 and 68 to the end
    68             the body, zstd: for each run the words between it and the one before, then for
                   each run its words, both as LEB128; then the content of all runs

Everything is checked before a byte of it reaches a VM.
"""

from __future__ import annotations

import hashlib
import itertools
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import zstandard

from sequential_core.errors import StateCorruptedError, StateFormatError

FORMAT_VERSION = 1
WORD_BYTES = 8
WASM_PAGE_BYTES = 65536

_MAGIC = b"SEQ\x1a"
_HEADER = struct.Struct("<4sHHIII32s")
_DIGEST_BYTES = 16
_BODY = _HEADER.size + _DIGEST_BYTES

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

# A higher level takes longer than a few bytes are worth at every pause.
_ZSTD_LEVEL = 3

Run = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class State:
    """A memory as a difference to the image of a guest.

    Attributes:
        guest: SHA-256 of the guest, in hexadecimal.
        memory_pages: size of the memory, in WebAssembly pages of 64 KiB.
        main: handle of the program's main promise.
        runs: where the memory differs: offsets from where the image begins, ascending, and the
            bytes there; both multiples of eight, no run empty, none touching the next.
    """

    guest: str
    memory_pages: int
    main: int
    runs: tuple[Run, ...]


def encode(state: State) -> bytes:
    """The bytes of a state."""
    return pack(state.guest, state.memory_pages, state.main, len(state.runs), body(state.runs))


def body(found: Iterable[Run]) -> bytes:
    """Runs as the body of a state has them, not compressed."""
    gaps, lengths, contents, end = [], [], [], 0
    for offset, data in found:
        gaps.append((offset - end) // WORD_BYTES)
        lengths.append(len(data) // WORD_BYTES)
        contents.append(data)
        end = offset + len(data)
    return b"".join([_varints(gaps + lengths), *contents])


def pack(guest: str, memory_pages: int, main: int, count: int, raw: bytes) -> bytes:
    """The bytes of a state of so many runs; `raw` is what `body` gave for them."""
    header = _HEADER.pack(_MAGIC, FORMAT_VERSION, memory_pages, main, count, len(raw), bytes.fromhex(guest))
    compressed = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_content_size=False).compress(raw)
    return header + _digest(header, compressed) + compressed


@dataclass(frozen=True, slots=True)
class Packed:
    """A state whose header and digest were checked, and whose runs were not yet read.

    Attributes:
        guest, memory_pages, main: as in `State`.
        count: the number of runs.
        body: the runs, see `body`.
    """

    guest: str
    memory_pages: int
    main: int
    count: int
    body: bytes


def decode(data: bytes) -> State:
    """The state that `encode` made these bytes of.

    Raises:
        StateFormatError: the bytes are of a later format.
        StateCorruptedError: they are not a state, not a whole one, or were altered.
    """
    packed = unpack(data)
    found = runs(packed.body, packed.count, packed.memory_pages * WASM_PAGE_BYTES)
    return State(packed.guest, packed.memory_pages, packed.main, found)


def unpack(data: bytes) -> Packed:
    """What `pack` was given. Raises what `decode` does, but for what is wrong with the runs."""
    if len(data) < _BODY:
        raise StateCorruptedError("it is too short")
    magic, version, memory_pages, main, count, size, guest = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise StateCorruptedError("it does not begin like a state")
    if version > FORMAT_VERSION:
        raise StateFormatError(version, FORMAT_VERSION)
    header, digest, body = data[: _HEADER.size], data[_HEADER.size : _BODY], data[_BODY:]
    if version < 1 or _digest(header, body) != digest:
        raise StateCorruptedError("its digest does not match")
    if size > 2 * memory_pages * WASM_PAGE_BYTES:  # the index of a run is shorter than the run
        raise StateCorruptedError("its size does not match")
    return Packed(guest.hex(), memory_pages, main, count, _decompress(body, size))


def _digest(header: bytes, body: bytes) -> bytes:
    return hashlib.blake2b(header + body, digest_size=_DIGEST_BYTES).digest()


def _decompress(body: bytes, size: int) -> bytes:
    try:
        # One byte more than there should be: a longer content is then seen, and never unpacked.
        raw = zstandard.ZstdDecompressor().decompress(body, max_output_size=size + 1)
    except (zstandard.ZstdError, MemoryError) as error:
        raise StateCorruptedError("it does not decompress") from error
    if len(raw) != size:
        raise StateCorruptedError("its size does not match")
    return raw


def runs(raw: bytes, count: int, memory_bytes: int) -> tuple[Run, ...]:
    """The runs of a body, checked.

    Raises:
        StateCorruptedError: it is not one of so many runs, or they do not lie in so many bytes.
    """
    numbers, at = _read_varints(raw, 2 * count)
    found, end = [], 0
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
