"""What we take from wasmtime's C interface below wasmtime-py's public one, and why.

- Calls: `wasmtime.Func` asks for the function's type and converts every value at each call, 12 us; a
  hop makes 20 calls. Here the type is asked for once, and the arguments go into memory that is prepared: 1 us.
- Exports: `Instance.exports` wraps all of them at each instantiation; here each is looked up when
  it is first called.
- The memory: where it is and how large takes 0.3 us to ask, and 3 us by `wasmtime.Memory`.
- The callback at an epoch's end, which wasmtime-py does not offer.
- The size of asynchronous stacks, which bounds that of synchronous ones, and is 2 MiB if nothing else is said.

`wasmtime` is pinned to one major version for this module's sake; tests/vm/test_native.py notices a change.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import wasmtime
from wasmtime import _bindings as c

_EPOCH_CONTINUE = 0

_Trap = ctypes.POINTER(c.wasm_trap_t)

# Asked for by their names, these are ours alone: without the conversions that wasmtime-py has set for its own.
_library: ctypes.CDLL = c.dll  # type: ignore[attr-defined]  # not re-exported
_call = _library["wasmtime_func_call_unchecked"]
_call.restype = ctypes.c_void_p
_memory_data = _library["wasmtime_memory_data"]
_memory_data.restype = ctypes.c_void_p
_memory_data_size = _library["wasmtime_memory_data_size"]
_memory_data_size.restype = ctypes.c_size_t

# More than any function has. A wasmtime_val_raw_t has 16 bytes, of which an integer takes the first 4 or 8.
_MOST_ARGUMENTS = 8
_Values = ctypes.c_int64 * (2 * _MOST_ARGUMENTS)
_VALUES = ctypes.c_size_t(_MOST_ARGUMENTS)


class _Function(NamedTuple):
    """An export that can be called, and what its result is: nothing, or which type."""

    reference: Any
    parameters: int
    result: str | None


class Exports:
    """The memory of an instance and its functions, which take integers of 32 bits and give at most one integer.

    One thread at a time may use them. A call may be made while another is under way, by a host function.
    """

    def __init__(self, store: wasmtime.Store, instance: wasmtime.Instance) -> None:
        self._store = store
        self._context = store._context()
        self._instance = instance._instance
        self._functions: dict[str, _Function] = {}
        self._values = _Values()
        self._short_result = ctypes.c_int32.from_buffer(self._values)
        self._arguments = ctypes.byref(self._values)
        self._trap = ctypes.c_void_p()
        self._trap_at = ctypes.byref(self._trap)
        self._memory = ctypes.byref(self._get("memory").of.memory)

    def _get(self, name: str) -> Any:
        """The export of that name in its C form."""
        item = c.wasmtime_extern_t()
        key = name.encode()
        if not c.wasmtime_instance_export_get(
            self._context, ctypes.byref(self._instance), ctypes.create_string_buffer(key), len(key), ctypes.byref(item)
        ):
            raise LookupError(f"the guest has no export {name!r}")
        return item

    def _function(self, name: str) -> _Function:
        """Looks up a function; that of a name is remembered."""
        function = self._get(name).of.func
        kind = wasmtime.Func._from_raw(function).type(self._store)
        parameters, results = [str(each) for each in kind.params], [str(each) for each in kind.results]
        if (
            len(parameters) > _MOST_ARGUMENTS
            or {*parameters} - {"i32"}
            or len(results) > 1
            or {*results} - {"i32", "i64"}
        ):
            raise LookupError(f"the function {name!r} is of another kind")
        found = _Function(ctypes.byref(function), len(parameters), results[0] if results else None)
        self._functions[name] = found
        return found

    def call(self, name: str, *arguments: int) -> int:
        """Calls a function. Returns its result, signed; 0 if it has none.

        Raises:
            TypeError: it takes another number of arguments.
            wasmtime.Trap: the guest trapped.
            wasmtime.WasmtimeError: the call was ended, see `interrupt_with`.
        """
        reference, parameters, result = self._functions.get(name) or self._function(name)
        if len(arguments) != parameters:
            raise TypeError(f"{name} takes {parameters} arguments, not {len(arguments)}")
        # The guest has read them before it can call the host, which may then call it with others.
        values, at = self._values, 0
        for argument in arguments:
            values[at] = argument
            at += 2
        error = _call(self._context, reference, self._arguments, _VALUES, self._trap_at)
        if error or self._trap.value:
            self._raise(error)
        if result == "i32":
            return self._short_result.value
        return values[0] if result else 0

    def _raise(self, error: int | None) -> None:
        if error:
            raise wasmtime.WasmtimeError._from_ptr(ctypes.cast(error, ctypes.POINTER(c.wasmtime_error_t)))
        trap = ctypes.cast(self._trap, _Trap)
        self._trap.value = None
        raise wasmtime.Trap._from_ptr(trap)

    @property
    def address(self) -> int:
        """Where the memory begins in that of this process: until it grows."""
        return cast("int", _memory_data(self._context, self._memory))

    @property
    def memory_bytes(self) -> int:
        return cast("int", _memory_data_size(self._context, self._memory))

    def memory(self) -> wasmtime.Memory:
        return wasmtime.Memory._from_raw(self._get("memory").of.memory)


_set_async_stack_size = _library.wasmtime_config_async_stack_size_set
_set_async_stack_size.restype = None
_set_async_stack_size.argtypes = [ctypes.POINTER(c.wasm_config_t), ctypes.c_uint64]


def set_stack_size(config: wasmtime.Config, size: int) -> None:
    """Sets how many bytes of stack a call into a guest may use."""
    _set_async_stack_size(config.ptr(), size)
    config.max_wasm_stack = size


_, _EpochCallback, _, _Finalizer = c._wasmtime_store_epoch_deadline_callback.argtypes
_no_finalizer = _Finalizer()


def epoch_callback(expired: Callable[[], bool]) -> Any:
    """A callback for `interrupt_with`. It must outlive every store that it is given to."""

    def callback(_context: Any, _data: Any, delta: Any, kind: Any) -> int:
        if expired():
            error = c.wasmtime_error_new(b"interrupted")
            return cast("int", ctypes.cast(error, ctypes.c_void_p).value)
        delta[0] = 1
        kind[0] = _EPOCH_CONTINUE
        return 0

    return _EpochCallback(callback)


def interrupt_with(store: wasmtime.Store, callback: Any) -> None:
    """Ends a call into the store with a WasmtimeError when, at the end of an epoch, the callback says so."""
    c.wasmtime_store_epoch_deadline_callback(store.ptr(), callback, None, _no_finalizer)
    store.set_epoch_deadline(1)
