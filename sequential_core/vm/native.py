"""What we take from wasmtime's C interface below wasmtime-py's public one, and why.

- Calls: `wasmtime.Func` asks for the function's type and converts every value at each call, 12 us; a
  hop makes 15 to 25 calls. All that our guests take, and but for one function give, are 32-bit integers: 3 us.
- Exports: `Instance.exports` wraps all of them at each instantiation; here each is looked up when
  it is first called.
- The callback at an epoch's end, which wasmtime-py does not offer.
- The size of asynchronous stacks, which bounds that of synchronous ones, and is 2 MiB if nothing else is said.

`wasmtime` is pinned to one major version for this module's sake; tests/vm/test_native.py notices a change.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, cast

import wasmtime
from wasmtime import _bindings as c

_EPOCH_CONTINUE = 0

_Trap = ctypes.POINTER(c.wasm_trap_t)

# Types of arrays by their length, for no more arguments than any function has.
_ARRAYS = [c.wasmtime_val_t * length for length in range(9)]


class Exports:
    """The exports of an instance. Every function takes i32, and gives that unless it is named below."""

    def __init__(self, store: wasmtime.Store, instance: wasmtime.Instance) -> None:
        self._context = store._context()
        self._instance = instance._instance
        self._functions: dict[str, Any] = {}

    def get(self, name: str) -> Any:
        """The export of that name in its C form."""
        item = c.wasmtime_extern_t()
        key = ctypes.create_string_buffer(name.encode())
        if not c.wasmtime_instance_export_get(
            self._context, ctypes.byref(self._instance), key, len(name), ctypes.byref(item)
        ):
            raise LookupError(f"the guest has no export {name!r}")
        return item

    def memory(self) -> wasmtime.Memory:
        return wasmtime.Memory._from_raw(self.get("memory").of.memory)

    def call(self, name: str, *arguments: int) -> int:
        """Calls a function. Returns its result, signed; 0 if it has none.

        Raises:
            wasmtime.Trap: the guest trapped.
            wasmtime.WasmtimeError: the call was ended, see `interrupt_with`.
        """
        function = self._functions.get(name)
        if function is None:
            function = self._functions[name] = self.get(name).of.func
        parameters = _ARRAYS[len(arguments)]()
        for parameter, argument in zip(parameters, arguments, strict=True):
            parameter.of.i32 = argument  # its kind is 0, WASMTIME_I32
        results = _ARRAYS[1]()
        trap = _Trap()
        count = 0 if name in _WITHOUT_RESULT else 1
        error = c.wasmtime_func_call(
            self._context, ctypes.byref(function), parameters, len(arguments), results, count, ctypes.byref(trap)
        )
        if error:
            raise wasmtime.WasmtimeError._from_ptr(error)
        if trap:
            raise wasmtime.Trap._from_ptr(trap)
        result: int = results[0].of.i64 if name in _WITH_LONG_RESULT else results[0].of.i32
        return result


# JSValue is 64 bits wide.
_WITH_LONG_RESULT = frozenset({"JS_Eval2"})

# wasmtime wants to be told how many results there are.
_WITHOUT_RESULT = frozenset(
    {
        "_initialize",
        "js_free",
        "qjs_free_cstring",
        "qjs_free_value",
        "qjs_run_gc",
        "qjs_set_max_stack_size",
        "qjs_set_memory_limit",
        "qjs_set_module_loader",
        "qjs_set_promise_rejection_handler",
        "reset",  # of snapshot.wat
        "transformSync",  # of the stripper of TypeScript's types
        "wasm_free",
    }
)


_set_async_stack_size = c.dll.wasmtime_config_async_stack_size_set  # type: ignore[attr-defined]  # not re-exported
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
