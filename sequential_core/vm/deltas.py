"""The filter for large bodies of states in WebAssembly; `sequential_core.deltas` says what it does."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib

import wasmtime

from sequential_core.deltas import BLOCK_BYTES, PLAIN, check, shape
from sequential_core.state import WASM_PAGE_BYTES
from sequential_core.vm import cache, native, runtime
from sequential_core.vm import guest as guests

PROGRAM = guests.DELTAS_PROGRAM

_START = 256

# With more an instance is not kept: it would hold on to twice its memory.
_KEPT_BYTES = 8 << 20


class QuickDeltas:
    """May be used by several threads at once."""

    def __init__(self) -> None:
        self._idle: list[_Instance] = []

    def apply(self, raw: bytes) -> bytes:
        try:
            return self._run(raw, len(raw), "apply")
        except (wasmtime.WasmtimeError, wasmtime.Trap):  # such as memory that the process may not have
            return PLAIN.apply(raw)

    def undo(self, filtered: bytes, size: int) -> bytes:
        check(filtered, size)
        try:
            return self._run(filtered, size, "undo")
        except (wasmtime.WasmtimeError, wasmtime.Trap):
            return PLAIN.undo(filtered, size)

    def _run(self, data: bytes, size: int, function: str) -> bytes:
        instance = None
        with contextlib.suppress(IndexError):  # another thread may have been quicker
            instance = self._idle.pop()
        instance = instance or _Instance()
        result = instance.apply(data) if function == "apply" else instance.undo(data, size)
        if size <= _KEPT_BYTES:
            self._idle.append(instance)
        return result


@runtime.once
def _module() -> wasmtime.Module:
    return cache.compiled(PROGRAM, hashlib.sha256(PROGRAM.read_bytes()).hexdigest(), guests.DIRECTORY)


class _Instance:
    def __init__(self) -> None:
        self._store = wasmtime.Store(runtime.engine())
        runtime.leave_alone(self._store)
        self._exports = native.Exports(self._store, wasmtime.Instance(self._store, _module(), []))

    def apply(self, raw: bytes) -> bytes:
        lead, blocks = shape(len(raw))
        end = lead + blocks * BLOCK_BYTES
        filtered = _START + blocks * BLOCK_BYTES
        address = self._room(filtered + blocks + len(raw))
        ctypes.memmove(address + _START - lead, raw, end)
        ctypes.memset(address, 0, _START)
        self._exports.call("apply", blocks, filtered)
        # Copied once, since the body may be large.
        at, rest = address + filtered, raw[end:] + raw[:lead]
        ctypes.memmove(at + blocks + end - lead, rest, len(rest))
        return ctypes.string_at(at, blocks + len(raw))

    def undo(self, filtered: bytes, size: int) -> bytes:
        lead, blocks = shape(size)
        end = blocks + blocks * BLOCK_BYTES
        start = _START + size
        address = self._room(start + end)
        ctypes.memmove(address + start, filtered, end)
        ctypes.memset(address, 0, _START)
        self._exports.call("undo", blocks, start)
        first, behind = address + _START - lead, filtered[end : len(filtered) - lead]
        ctypes.memmove(first, filtered[len(filtered) - lead :], lead)
        ctypes.memmove(first + size - len(behind), behind, len(behind))
        return ctypes.string_at(first, size)

    def _room(self, size: int) -> int:
        """Grows to that size; returns the address."""
        more = size - self._exports.memory_bytes
        if more > 0:
            self._exports.memory().grow(self._store, -(-more // WASM_PAGE_BYTES))
        return self._exports.address


QUICK = QuickDeltas()
