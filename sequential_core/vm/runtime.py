"""The part of wasmtime that all hops of a process share: engine, linker and clock of CPU time.

wasmtime-py keeps host functions in a process-wide table, so they are defined once here, and find
the machine that called them through a thread-local.

CPU time is bounded with epochs: a daemon thread advances the engine's epoch every 10 ms while hops
run, and at each advance every running guest is asked whether its thread has used up
its time. So a hop is charged for what it computed, not for what its neighbours did.
"""

from __future__ import annotations

import functools
import math
import os
import signal
import threading
import time

# The public ones make an enum of each answer, and a hop asks 60 times.
from _signal import getsignal  # type: ignore[import-not-found]
from _signal import signal as set_handler
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import wasmtime

from sequential_core.vm import native

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_T = TypeVar("_T")

if TYPE_CHECKING:
    from sequential_core.vm.machine import Machine

# What a call into a guest may use of its thread's stack. With it, the engine's own count (bake.ENGINE_STACK_BYTES) ends
# recursion of functions first, as a RangeError.
_STACK_BYTES = 4 << 20

# What stays for Python below it, and how large the stacks of new threads are when the system sets no limit.
_STACK_MARGIN_BYTES = 1 << 20
_UNLIMITED_STACK_BYTES = 2 << 20

_SIGNALS = range(1, signal.NSIG)

_TICK_SECONDS = 0.010

# More than any process lives.
_NO_DEADLINE = 1 << 60

# The thread goes on ticking for a while after the last hop: waking it for every hop costs more.
_LINGER_SECONDS = 1.0


class _Running(threading.local):
    machine: Machine | None = None
    cpu_deadline: float = 0.0
    out_of_time: bool = False
    failure: Exception | None = None
    interruption: BaseException | None = None


_running = _Running()


def config(target: str | None = None) -> wasmtime.Config:
    """The configuration of the engine; `target` is a triple such as "aarch64-unknown-linux-gnu"."""
    settings = wasmtime.Config()
    settings.epoch_interruption = True
    native.set_stack_size(settings, min(_STACK_BYTES, _thread_stack_bytes() - _STACK_MARGIN_BYTES))
    if target is not None:
        settings.target = target
    return settings


def _thread_stack_bytes() -> int:
    """The smallest stack that a thread of this process is likely to have."""
    sizes = [threading.stack_size() or 8 << 20]
    if resource is not None:
        limit, _ = resource.getrlimit(resource.RLIMIT_STACK)
        sizes.append(_UNLIMITED_STACK_BYTES if limit == resource.RLIM_INFINITY else limit)
    return max(min(sizes), _UNLIMITED_STACK_BYTES)


def once(make: Callable[[], _T]) -> Callable[[], _T]:
    """Calls a function once in this process, however many threads come at the same moment."""
    lock = threading.RLock()
    made: list[_T] = []

    def renew() -> None:
        nonlocal lock
        lock = threading.RLock()  # it may have been held, by a thread that the fork left behind

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=renew)

    @functools.wraps(make)
    def get() -> _T:
        if not made:
            with lock:
                if not made:
                    made.append(make())
        return made[0]

    return get


@once
def engine() -> wasmtime.Engine:
    """The engine of this process."""
    return wasmtime.Engine(config())


@once
def linker() -> wasmtime.Linker:
    """The host functions of this process.

    The clock and the random bytes are the host's, through WASI; no files, arguments or environment.
    """
    return _linker()


@once
def clocked_linker() -> wasmtime.Linker:
    """The host functions, but that the time is that of the machine's own clock."""
    link = _linker()
    link.allow_shadowing = True
    kind = wasmtime.FuncType(
        [wasmtime.ValType.i32(), wasmtime.ValType.i64(), wasmtime.ValType.i32()], [wasmtime.ValType.i32()]
    )
    link.define_func("wasi_snapshot_preview1", "clock_time_get", kind, guarded(_clock_time_get, otherwise=0))
    return link


def _linker() -> wasmtime.Linker:
    link = wasmtime.Linker(engine())
    link.define_wasi()
    i32 = wasmtime.ValType.i32()

    def define(name: str, parameters: int, function: Any, *, result: bool = True) -> None:
        kind = wasmtime.FuncType([i32] * parameters, [i32] if result else [])
        link.define_func("env", name, kind, function)

    define("host_call", 5, guarded(_host_call, otherwise=0))
    define("host_get_timezone_offset", 2, lambda _high, _low: 0)  # the time zone is UTC
    define("host_interrupt", 0, lambda: 0)
    define("host_promise_rejection", 3, guarded(_rejected, otherwise=None), result=False)
    define("host_module_normalize", 2, guarded(_refuse_import, otherwise=0))
    define("host_module_load", 2, lambda *_: 0)  # it does not come to that
    return link


def _host_call(_name: int, _name_length: int, _this: int, count: int, arguments: int) -> int:
    return _current().host_call(count, arguments)


def _refuse_import(_base: int, _name: int) -> int:
    return _current().refuse_import()


def _clock_time_get(_clock: int, _precision: int, at: int) -> int:
    _current().tell_time(at)
    return 0


def _rejected(promise: int, reason: int, handled: int) -> None:
    _current().rejected(promise, reason, handled)


def _current() -> Machine:
    machine = _running.machine
    assert machine is not None, "a guest runs only inside cpu_time()"
    return machine


def guarded(function: Callable[..., _T], *, otherwise: _T) -> Callable[..., _T]:
    """A host function that raises nothing: what `function` raises is kept for `raise_failure` and `cpu_time`.

    wasmtime-py would give an exception to whichever thread looks first.

    Args:
        function: what the guest calls.
        otherwise: what the guest gets then. It is ended soon after.
    """

    def call(*arguments: float) -> _T:
        try:
            return function(*arguments)
        except Exception as error:  # noqa: BLE001  # such as a trap in a call back into the guest
            _running.failure = error
        except BaseException as error:  # noqa: BLE001
            _running.interruption = error
        return otherwise

    return call


@contextmanager
def cpu_time(machine: Machine | None, seconds: float) -> Iterator[None]:
    """Runs the block with `machine` as the guest of this thread, if there is one, and a budget of CPU time.

    A guest that is still running when the budget is used up ends in a `wasmtime.WasmtimeError`;
    `out_of_time()` then says so. What a signal's handler raises, such as KeyboardInterrupt, ends the guest and
    then the block.
    """
    _running.machine = machine
    _running.out_of_time = False
    _running.failure = _running.interruption = None
    _running.cpu_deadline = time.thread_time() + seconds
    carriers = _carriers()
    try:
        if carriers is not None:
            carriers.enter()
        _ticker.enter()  # within the carriers: what a handler raised in it would leave its lock held
        try:
            yield
        finally:
            _ticker.leave()
    finally:
        if carriers is not None:
            carriers.leave()
        interruption = _running.interruption
        # Nothing after the block is ended for them, or kept alive by their tracebacks.
        _running.machine = _running.failure = _running.interruption = None
        if interruption is not None:
            raise interruption


def change_machine(machine: Machine) -> None:
    """Makes another machine the guest of this thread, in the middle of `cpu_time`."""
    _running.machine = machine


class uncounted:  # noqa: N801  # it is used as a function
    """Leaves the CPU time of the block out of the budget of the `cpu_time` that it stands in."""

    def __enter__(self) -> None:
        self._began, self._deadline = time.thread_time(), _running.cpu_deadline
        _running.cpu_deadline = math.inf

    def __exit__(self, *_: object) -> None:
        _running.cpu_deadline = self._deadline + time.thread_time() - self._began


class _Carriers:
    """Lets what the handler of a signal raises come out of a block, however it came in.

    Python calls handlers wherever it next runs code of the main thread, and that may be the first instruction of a
    callback: ctypes would print the KeyboardInterrupt and go on with whatever the callback did not return.
    """

    def __init__(self, handlers: list[Any]) -> None:
        self._handlers = handlers
        self._carried = [
            (number, handler, _carrier(handler))
            for number, handler in zip(_SIGNALS, handlers, strict=True)
            if callable(handler)
        ]

    def are_for(self, handlers: list[Any]) -> bool:
        return self._handlers == handlers

    def enter(self) -> None:
        for number, _, carrier in self._carried:
            set_handler(number, carrier)

    def leave(self) -> None:
        for number, handler, carrier in self._carried:
            if getsignal(number) is carrier:  # or else a handler has set another
                set_handler(number, handler)


# Those of the last block: there are 64 signals to ask for at every hop, and their handlers seldom change.
_last_carriers = _Carriers([None] * len(_SIGNALS))


def _carriers() -> _Carriers | None:
    """The carriers for the handlers of now; None in a thread that runs none."""
    global _last_carriers  # noqa: PLW0603
    if threading.current_thread() is not threading.main_thread():
        return None
    handlers = [*map(getsignal, _SIGNALS)]
    if not _last_carriers.are_for(handlers):
        _last_carriers = _Carriers(handlers)
    return _last_carriers


def _carrier(handler: Callable[[int, FrameType | None], Any]) -> Callable[[int, FrameType | None], None]:
    def carry(number: int, frame: FrameType | None) -> None:
        try:
            handler(number, frame)
        except BaseException as error:  # noqa: BLE001  # it is raised when the block ends
            _running.interruption = error

    return carry


def raise_failure() -> None:
    """Raises what went wrong when the guest called the host: it was left in the middle, and must not go on."""
    if _running.failure is not None:
        raise _running.failure


def is_ending() -> bool:
    """Whether the guest of this thread is being ended for what a call of the host, or a signal's handler, raised."""
    return _running.failure is not None or _running.interruption is not None


def out_of_time() -> bool:
    """Whether the last `cpu_time` block of this thread ended because its budget was used up."""
    return _running.out_of_time


def watch(store: wasmtime.Store) -> None:
    """Lets the guest of `store` be interrupted when its thread's budget is used up."""
    native.interrupt_with(store, _callback)


def leave_alone(store: wasmtime.Store) -> None:
    """Lets nothing interrupt what runs in `store`, which is ours: until `set_epoch_deadline(1)`, if it is watched."""
    store.set_epoch_deadline(_NO_DEADLINE)


def _used_up() -> bool:
    _running.out_of_time = time.thread_time() >= _running.cpu_deadline
    return _running.out_of_time or is_ending()


_callback = native.epoch_callback(_used_up)


class _Ticker:
    """Advances the epoch of the engine while any hop of this process runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
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
