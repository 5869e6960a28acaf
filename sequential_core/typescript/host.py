"""The host that swc's WebAssembly was made for, as far as stripping types needs one.

wasm-bindgen compiled it to be called by JavaScript. Values of JavaScript are numbers to the module: indices into a
table that its host keeps, of which the first are fixed. It asks the host to make strings, numbers and objects, to read
them and to forget them. Of its 61 imports stripping calls those in `_IMPORTS`; whatever else it called would trap.

An instance strips one source and is dropped: nothing of a source is left for the next, a trap leaves nothing behind,
and it costs 0.4 ms.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import wasmtime

from sequential_core.errors import StripperNotFoundError
from sequential_core.vm import cache, runtime
from sequential_core.vm.machine import Instance

DIRECTORY = Path(__file__).parent
MODULE = DIRECTORY / "stripper.wasm"
PINNED = DIRECTORY / "stripper.sha256"

# The name under which wasm-bindgen's tools know the module's imports.
_NAMESPACE = "__wbindgen_placeholder__"

UNDEFINED = object()

# The table begins with these; every other value comes behind them.
_UNDEFINED_AT = 128
_FIXED = {_UNDEFINED_AT: UNDEFINED, 129: None, 130: True, 131: False}
_FIRST_FREE = 132

_POINTER = 0xFFFF_FFFF
_PLACE = struct.Struct("<II")
_RESULT = struct.Struct("<III")

_serving = threading.local()


class Host:
    """An instance of the module, and the table of its values.

    Args:
        memory_bytes: how much memory it may have.

    Raises:
        StripperNotFoundError: the installation has no such module.
    """

    def __init__(self, memory_bytes: int) -> None:
        store = wasmtime.Store(runtime.engine())
        store.set_limits(memory_size=memory_bytes)
        runtime.watch(store)
        self._instance = Instance(store, _template().instantiate(store))
        self._values: dict[int, Any] = dict(_FIXED)
        self._next = _FIRST_FREE

    @property
    def memory_bytes(self) -> int:
        return self._instance.memory_bytes

    def transform(self, source: str) -> tuple[bool, Any]:
        """Strips a source. To be called once, in `runtime.cpu_time`.

        Returns:
            Whether it worked, and what came of it: an object with the code, or whatever was thrown.

        Raises:
            wasmtime.Trap, wasmtime.WasmtimeError: the module trapped or was interrupted, and is of no more use.
        """
        call = self._instance.call
        _serving.host = self
        try:
            at = call("__wbindgen_add_to_stack_pointer", -16) & _POINTER
            # Without options it strips and refuses what is more than types, which is all that we want of it.
            call("transformSync", at, self.keep(source), _UNDEFINED_AT)
        finally:
            _serving.host = None
        value, thrown, failed = _RESULT.unpack(self._instance.read(at, at + _RESULT.size))
        return not failed, self.value(thrown if failed else value)

    def keep(self, value: Any) -> int:
        """The index of a new value in the table."""
        index = self._next
        self._values[index] = value
        self._next += 1
        return index

    def value(self, index: int) -> Any:
        return self._values[index & _POINTER]

    def take(self, index: int) -> Any:
        """A value, which is forgotten unless it is one of the fixed ones."""
        index &= _POINTER
        return self._values[index] if index < _FIRST_FREE else self._values.pop(index)

    def text(self, at: int, length: int) -> str:
        at &= _POINTER
        return self._instance.read(at, at + (length & _POINTER)).decode()

    def hand_over(self, at: int, text: str) -> None:
        """Copies a string into the module's memory, which owns it then, and writes place and length to `at`."""
        data = text.encode()
        place = self._instance.call("__wbindgen_export_2", len(data), 1) & _POINTER
        self._instance.write(place, data)
        self._instance.write(at & _POINTER, _PLACE.pack(place, len(data)))


# --- The imports. Each is what the JavaScript of its name does. ------------------------------------


def _is_falsy(host: Host, index: int) -> int:
    value = host.value(index)
    return int(value is UNDEFINED or not value)


def _string_get(host: Host, at: int, index: int) -> None:
    # It is only ever asked for the source.
    host.hand_over(at, host.value(index))


def _set(host: Host, index: int, key: int, value: int) -> None:
    host.value(index)[host.take(key)] = host.take(value)


# wasm-bindgen names an import of JavaScript after it and after a hash of how it is used.
_IMPORTS: dict[str, Callable[..., Any]] = {
    "__wbindgen_error_new": lambda host, at, length: host.keep(host.text(at, length)),
    "__wbindgen_is_falsy": _is_falsy,
    "__wbindgen_number_new": Host.keep,
    "__wbindgen_object_clone_ref": lambda host, index: host.keep(host.value(index)),
    "__wbindgen_object_drop_ref": lambda host, index: host.take(index) and None,
    "__wbindgen_string_get": _string_get,
    "__wbindgen_string_new": lambda host, at, length: host.keep(host.text(at, length)),
    "__wbg_new_405e22f390576ce2": lambda host: host.keep({}),
    "__wbg_set_3f1d0b984ed272ed": _set,
}


@runtime.once
def _template() -> wasmtime.InstancePre:
    """Gives fresh instances."""
    try:
        sha256 = PINNED.read_text().strip()
        module = cache.compiled(MODULE, sha256, DIRECTORY)
    except FileNotFoundError as error:
        raise StripperNotFoundError from error
    # wasmtime-py's table of host functions has no lock: those of the guests come first, then these.
    runtime.linker()
    linker = wasmtime.Linker(runtime.engine())
    for each in module.imports:
        if each.name in _IMPORTS and isinstance(each.type, wasmtime.FuncType):
            linker.define_func(_NAMESPACE, each.name, each.type, _import(_IMPORTS[each.name], each.type))
    linker.define_unknown_imports_as_traps(module)
    return linker.instantiate_pre(module)


def _import(function: Callable[..., Any], kind: wasmtime.FuncType) -> Callable[..., Any]:
    return runtime.guarded(
        lambda *arguments: function(_serving.host, *arguments), otherwise=0 if kind.results else None
    )
