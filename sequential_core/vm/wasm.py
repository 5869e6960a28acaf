"""Just enough of the WebAssembly binary format to bake a memory image into a module.

The format is that of the WebAssembly core specification, section 5. A module is eight bytes of
preamble and a list of sections, each an id, a size and a body; only four kinds of them are looked into.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

PAGE_BYTES = 65536

_PREAMBLE_BYTES = 8
_CUSTOM, _GLOBAL, _MEMORY, _EXPORT, _START, _CODE, _DATA, _DATA_COUNT = 0, 6, 5, 7, 8, 10, 11, 12

# The id of a section, and its size, of 32 bits in LEB128.
_SECTION_HEAD_BYTES = 6

# Zeros no longer than this are cheaper inside a data segment than between two of them.
_GAP_BYTES = 64

# What is not zero, with such zeros before and between. Nothing here is tried again with less: it would fail again.
_SEGMENT = re.compile(rb"\0{0,%d}+[^\0]++(?:\0{1,%d}+[^\0]++)*+" % (_GAP_BYTES, _GAP_BYTES))


def unsigned(data: bytes, at: int) -> tuple[int, int]:
    """Reads an unsigned LEB128 integer; returns it and the offset behind it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, at


def encode_unsigned(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_signed(value: int) -> bytes:
    out = bytearray()
    while not -0x40 <= value < 0x40:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value & 0x7F)
    return bytes(out)


def sections(module: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields the id and the body of every section, in order."""
    at = _PREAMBLE_BYTES
    while at < len(module):
        kind = module[at]
        size, at = unsigned(module, at + 1)
        yield kind, module[at : at + size]
        at += size


def custom_section(module: bytes | Path, name: str) -> bytes | None:
    """The content of the first custom section of that name, or None.

    Args:
        module: a module, or the file of one, of which no more than the custom sections is read.
    """
    for kind, body in _custom_sections(module) if isinstance(module, Path) else sections(module):
        if kind == _CUSTOM:
            length, at = unsigned(body, 0)
            if body[at : at + length] == name.encode():
                return body[at + length :]
    return None


def _custom_sections(file: Path) -> Iterator[tuple[int, bytes]]:
    with file.open("rb", buffering=0) as module:
        at, size = _PREAMBLE_BYTES, file.stat().st_size
        while at < size:
            module.seek(at)
            head = module.read(_SECTION_HEAD_BYTES)
            length, behind = unsigned(head, 1)
            at += behind
            if head[0] == _CUSTOM:
                module.seek(at)
                yield _CUSTOM, module.read(length)
            at += length


def bake_memory(module: bytes, image: bytes, exports: Iterable[str], name: str, content: bytes) -> bytes:
    """Returns the module with `image` as its initial memory.

    Args:
        module: the original module. Its start function and custom sections are dropped: the image
            is what they left behind.
        image: the memory, a whole number of 64 KiB pages.
        exports: the names that stay exported. Every export costs time at each instantiation.
        name, content: a custom section to add.
    """
    keep = set(exports)
    segments = [(found.start(), found.group()) for found in _SEGMENT.finditer(image)]
    data = b"".join(
        b"\x00\x41" + encode_signed(offset) + b"\x0b" + encode_unsigned(len(chunk)) + chunk
        for offset, chunk in segments
    )
    replaced = {
        _MEMORY: b"\x01\x00" + encode_unsigned(len(image) // PAGE_BYTES),
        _DATA_COUNT: encode_unsigned(len(segments)),
        _DATA: encode_unsigned(len(segments)) + data,
    }
    out = bytearray(module[:_PREAMBLE_BYTES])

    for kind, body in sections(module):
        if kind == _EXPORT:
            body = _kept_exports(body, keep)
        if kind not in (_CUSTOM, _START):
            out += _section(kind, replaced.get(kind, body))
    return with_custom_section(bytes(out), name, content)


def with_custom_section(module: bytes, name: str, content: bytes) -> bytes:
    """Returns the module with one custom section more, at its end."""
    return module + _section(_CUSTOM, encode_unsigned(len(name.encode())) + name.encode() + content)


def _section(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + encode_unsigned(len(body)) + body


def _kept_exports(body: bytes, keep: set[str]) -> bytes:
    count, at = unsigned(body, 0)
    kept = []
    for _ in range(count):
        start = at
        size, at = unsigned(body, at)
        name = body[at : at + size].decode()
        _, at = unsigned(body, at + size + 1)
        if name in keep:
            kept.append(body[start:at])
    return encode_unsigned(len(kept)) + b"".join(kept)


def mutable_globals(module: bytes) -> int:
    """How many globals of the module can change: state that a copy of its memory would miss."""
    for kind, body in sections(module):
        if kind == _GLOBAL:
            count, at = unsigned(body, 0)
            mutable = 0
            for _ in range(count):
                mutable += body[at + 1]
                at = body.index(b"\x0b", _after_constant(body, at + 2)) + 1
            return mutable
    return 0


def _after_constant(body: bytes, at: int) -> int:
    # The byte that ends the expression may also stand inside its operand.
    opcode = body[at]
    if opcode in (0x41, 0x42, 0x23):  # i32.const, i64.const, global.get: LEB128
        return unsigned(body, at + 1)[1]
    return at + {0x43: 5, 0x44: 9}.get(opcode, 1)  # f32.const, f64.const
