"""The part of wasmtime that all hops of a process share: engine, linker and clock of CPU time.

wasmtime-py keeps host functions in a process-wide table, so they are defined once here, and find
the machine that called them through a thread-local.

CPU time is bounded with epochs: a daemon thread advances the engine's epoch every 10 ms while hops
run, and at each advance every running guest is asked whether its thread has used up
its time. So a hop is charged for what it computed, not for what its neighbours did.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import wasmtime

from sequential_core.vm import native

if TYPE_CHECKING:
    from sequential_core.vm.machine import Machine

# wasmtime-py cannot raise the size of an async stack, 2 MiB, which bounds this one.
_MAX_WASM_STACK_BYTES = (2 << 20) - (64 << 10)

_TICK_SECONDS = 0.010

# The thread goes on ticking for a while after the last hop: waking it for every hop costs more.
_LINGER_SECONDS = 1.0


class _Running(threading.local):
    machine: Machine | None = None
    cpu_deadline: float = 0.0
    out_of_time: bool = False
    stop: bool = False
    interruption: BaseException | None = None


_running = _Running()


def config(target: str | None = None) -> wasmtime.Config:
    """The configuration of the engine; `target` is a triple such as "aarch64-unknown-linux-gnu"."""
    settings = wasmtime.Config()
    settings.epoch_interruption = True
    settings.max_wasm_stack = _MAX_WASM_STACK_BYTES
    if target is not None:
        settings.target = target
    return settings


@functools.cache
def engine() -> wasmtime.Engine:
    """The engine of this process."""
    return wasmtime.Engine(config())


@functools.cache
def linker() -> wasmtime.Linker:
    """The host functions of this process.

    The clock and the random bytes are the host's, through WASI; no files, arguments or environment.
    """
    link = wasmtime.Linker(engine())
    link.define_wasi()
    i32 = wasmtime.ValType.i32()

    def define(name: str, parameters: int, function: Any, *, result: bool = True) -> None:
        kind = wasmtime.FuncType([i32] * parameters, [i32] if result else [])
        link.define_func("env", name, kind, function)

    define("host_call", 5, _host_call)
    define("host_get_timezone_offset", 2, lambda _high, _low: 0)  # the time zone is UTC
    define("host_interrupt", 0, lambda: 0)
    define("host_promise_rejection", 3, lambda *_: None, result=False)
    define("host_module_normalize", 2, lambda *_: 0)  # there are no modules to import
    define("host_module_load", 2, lambda *_: 0)
    return link


def _host_call(name: int, name_length: int, _this: int, count: int, arguments: int) -> int:
    machine = _running.machine
    assert machine is not None, "a guest runs only inside cpu_time()"
    # wasmtime-py would give an exception to whichever thread looks first, so none leaves this function.
    try:
        machine.host_call(name, name_length, count, arguments)
        return machine.undefined()
    except (wasmtime.WasmtimeError, wasmtime.Trap):
        pass  # a call back into the guest was ended; so will be the one that led here
    except BaseException as error:  # noqa: BLE001
        _running.interruption = error
    return 0


@contextmanager
def cpu_time(machine: Machine, seconds: float) -> Iterator[None]:
    """Runs the block with `machine` as the guest of this thread, and a budget of CPU time.

    A guest that is still running when the budget is used up ends in a `wasmtime.WasmtimeError`;
    `out_of_time()` then says so. A KeyboardInterrupt that comes while the guest is running ends it too.
    """
    _running.machine = machine
    _running.out_of_time = False
    _running.interruption = None
    _running.cpu_deadline = time.thread_time() + seconds
    _ticker.enter()
    try:
        with _interrupt_deferred():
            yield
    finally:
        _ticker.leave()
        _running.machine = None
        if _running.interruption is not None:
            raise _running.interruption


@contextmanager
def _interrupt_deferred() -> Iterator[None]:
    """Keeps ctrl-C until the guest has been stopped for it.

    Python runs the handlers of signals wherever it next runs code of the main thread, which may be the
    first instruction of a callback: ctypes would print and forget the KeyboardInterrupt.
    """
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[Any] = []

    def note(number: int, frame: Any) -> None:
        came.append((number, frame))
        _running.stop = True

    _running.stop = False
    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if came:
            handler(*came[0])


def out_of_time() -> bool:
    """Whether the last `cpu_time` block of this thread ended because its budget was used up."""
    return _running.out_of_time


def watch(store: wasmtime.Store) -> None:
    """Lets the guest of `store` be interrupted when its thread's budget is used up."""
    native.interrupt_with(store, _callback)


def _used_up() -> bool:
    _running.out_of_time = time.thread_time() >= _running.cpu_deadline
    return _running.out_of_time or _running.stop or _running.interruption is not None


_callback = native.epoch_callback(_used_up)


class _Ticker:
    """Advances the epoch of the engine while any hop of this process runs."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._active = 0
        self._idle_since = 0.0
        self._ticking = False

    def enter(self) -> None:
        with self._lock:
            self._active += 1
            if not self._ticking:
                self._ticking = True
                threading.Thread(target=self._tick, name="sequential-epoch", daemon=True).start()

    def leave(self) -> None:
        with self._lock:
            self._active -= 1
            self._idle_since = time.monotonic()

    def _tick(self) -> None:
        while True:
            time.sleep(_TICK_SECONDS)
            engine().increment_epoch()
            with self._lock:
                if not self._active and time.monotonic() - self._idle_since > _LINGER_SECONDS:
                    self._ticking = False
                    return


_ticker = _Ticker()


def _after_fork() -> None:
    # Threads do not survive a fork, and a lock may have been held at that moment.
    global _ticker  # noqa: PLW0603
    _ticker = _Ticker()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
