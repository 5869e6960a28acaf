"""One instance of the guest: calls into it, its strings, its memory.

Everything here is synchronous and single-threaded; a machine is used for one hop at a time, see `machines`.
Values of the guest are held by handles: addresses of boxed JSValues inside its memory.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import wasmtime

from sequential_core.limits import MIB, Limits
from sequential_core.model import LogEntry
from sequential_core.vm import host, native, runtime

if TYPE_CHECKING:
    from sequential_core.vm.guest import Guest
    from sequential_core.vm.snapshot import Companion

# JS_EVAL_FLAG_ASYNC: a script with top-level await, whose promise settles with {value: completion}.
_EVAL_ASYNC = 1 << 7

# JSEvalOptions: version, flags, file name, number of the first line.
_EVAL_OPTIONS = struct.Struct("<iiIi")
_EVAL_OPTIONS_VERSION = 1

# The engine counts some columns of the very first line from 0. So the code begins two lines later, and the
# lines are counted from -1: it takes 0 for 1.
_LEAD = b"\n\n"

# What the posted code is called in its stack traces.
FILE_NAME = "task.js"

# What the prelude is called there, as the engine says of its own functions; `program` takes its frames out.
PRELUDE_NAME = "native"

# The engine gives up before the store does, so that the code sees an `out of memory` it can catch.
_ENGINE_MARGIN_BYTES = 2 * MIB

# Room for the arguments of a call of the prelude, and for what the engine tells by a pointer; and behind it a number
# that is kept, see `age`.
_AGE = 16
SCRATCH_BYTES = _AGE + 8

# The state of `Math.random`: set anew at every hop, and so never part of a state.
RANDOM_STATE_BYTES = 8


Clock = Callable[[], datetime]

_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_MICROSECOND = timedelta(microseconds=1)


class GuestError(Exception):
    """The guest threw: `handle` is what."""

    def __init__(self, handle: int) -> None:
        super().__init__("the guest threw")
        self.handle = handle


class OutOfMemory(Exception):
    """The guest had no room for what the host wanted to put into it."""


class Instance:
    """The C interface of the guest over one wasmtime instance."""

    def __init__(self, store: wasmtime.Store, instance: wasmtime.Instance) -> None:
        self.store = store
        self.exports = native.Exports(store, instance)
        self.call = self.exports.call

    # The base address moves when the memory grows, so it is asked for at every access.

    @property
    def memory_bytes(self) -> int:
        return self.exports.memory_bytes

    def read(self, start: int, stop: int) -> bytes:
        if not 0 <= start <= stop <= self.memory_bytes:
            raise IndexError("outside the guest's memory")
        return ctypes.string_at(self.exports.address + start, stop - start)

    def write(self, start: int, data: bytes) -> None:
        if not 0 <= start <= start + len(data) <= self.memory_bytes:
            raise IndexError("outside the guest's memory")
        ctypes.memmove(self.exports.address + start, data, len(data))

    def grow(self, pages: int) -> None:
        self.exports.memory().grow(self.store, pages)

    def word(self, at: int) -> int:
        return int.from_bytes(self.read(at, at + 4), "little")

    def new_buffer(self, data: bytes) -> int:
        """A handle of a new ArrayBuffer with these bytes."""
        at = self.put(data)
        handle = self.call("qjs_new_array_buffer", at, len(data))
        self.call("wasm_free", at)
        return self.checked(handle)

    def put(self, data: bytes) -> int:
        """Copies bytes and a NUL into the guest; the caller frees them with `wasm_free`."""
        at = self.call("wasm_malloc", len(data) + 1)
        if at == 0:
            raise OutOfMemory
        self.write(at, data + b"\0")
        return at

    def new_string(self, text: bytes) -> int:
        at = self.put(text)
        handle = self.call("qjs_new_string", at, len(text))
        self.call("wasm_free", at)
        return self.checked(handle)

    def string(self, handle: int, length_at: int, limit: int | None = None) -> bytes:
        """The string of a handle in UTF-8, cut at `limit` bytes; `length_at` is a scratch word."""
        at = self.call("qjs_get_string_len", handle, length_at)
        length = self.word(length_at)
        self.write(length_at, bytes(4))
        if at == 0:
            raise OutOfMemory
        data = self.read(at, at + (length if limit is None else min(length, limit)))
        self.call("qjs_free_cstring", at)
        return data

    def checked(self, handle: int) -> int:
        if handle == 0:
            raise OutOfMemory
        if self.call("qjs_is_exception", handle):
            raise GuestError(self.call("qjs_get_exception"))
        return handle

    def run_jobs(self) -> None:
        """Runs the job queue until it is empty."""
        while self.run_job():
            pass

    def run_job(self) -> bool:
        """Runs the first job of the queue; False if there is none."""
        done = self.call("qjs_execute_pending_job")
        if done < 0:
            raise GuestError(self.call("qjs_get_exception"))
        return done > 0


class Machine(Instance):
    """A guest for one hop, at the baked image until a state is restored into it.

    Attributes:
        guest: what it is an instance of.
        memory_limit: how many bytes its memory may have.
        clocked: it asks a clock of its own for the time, which `begin` gives.
        companion: what takes its snapshots, see `snapshot`; None before the first.
    """

    def __init__(self, guest: Guest, limits: Limits, clock: Clock | None = None) -> None:
        store = wasmtime.Store(runtime.engine())
        store.set_limits(memory_size=limits.memory_bytes)
        store.set_wasi(wasmtime.WasiConfig())
        runtime.watch(store)
        template = guest.template if clock is None else guest.clocked_template
        super().__init__(store, template.instantiate(store))
        self.guest = guest
        self._manifest = guest.manifest
        self._image_bytes = self.memory_bytes
        self.memory_limit = limits.memory_bytes
        self.clocked = clock is not None
        self.companion: Companion | None = None
        self.begin(limits, clock)

    def begin(self, limits: Limits, clock: Clock | None) -> None:
        """Begins a hop: the machine is at its image, and the limit of memory is that which it was made with."""
        self.store.set_epoch_deadline(1)  # `snapshot.reset` has left it without
        self._clock = clock
        self._log_room = limits.log_bytes
        self._log_limit = limits.log_bytes
        self.logs: list[LogEntry] = []

    def end(self) -> None:
        """Ends a hop: what it was given and what it logged is let go of."""
        self._clock, self.logs = None, []

    @property
    def has_grown(self) -> bool:
        """Whether its memory is larger than the image."""
        return self.memory_bytes != self._image_bytes

    def take_logs(self, other: Machine) -> None:
        """Goes on with the logs of another machine, and with what room they have left."""
        self.logs, self._log_room = other.logs, other._log_room

    def prepare(self) -> None:
        """What every hop sets anew, in a fresh or a restored memory: random numbers and limits."""
        seed = os.urandom(RANDOM_STATE_BYTES)
        self.write(self._manifest.random_state, seed if any(seed) else b"\1" * RANDOM_STATE_BYTES)
        self.call("qjs_set_memory_limit", self.memory_limit - _ENGINE_MARGIN_BYTES)

    @property
    def age(self) -> int:
        """A number of the program's, in its memory and so in its states; 0 at first."""
        return self.word(self._manifest.scratch + _AGE)

    @age.setter
    def age(self, value: int) -> None:
        self.write(self._manifest.scratch + _AGE, value.to_bytes(4, "little"))

    def evaluate(self, code: bytes) -> int:
        """Starts the posted code; returns a handle of its promise."""
        if code.startswith(b"#!"):  # a comment, but only at the very beginning
            code = b"//" + code[2:]
        source = self.put(_LEAD + code)
        name = self.put(FILE_NAME.encode())
        options = self.put(_EVAL_OPTIONS.pack(_EVAL_OPTIONS_VERSION, _EVAL_ASYNC, name, 1 - len(_LEAD)))
        value = self.call("JS_Eval2", self._manifest.context, source, len(_LEAD + code), options)
        for at in (source, name, options):
            self.call("wasm_free", at)
        return self.checked(self.put(value.to_bytes(8, "little", signed=True)))

    def apply(self, function: str, *arguments: int) -> int:
        """Calls a function of the prelude, by its name there, with up to three handles; returns a handle."""
        manifest = self._manifest
        if arguments:
            self.write(manifest.scratch, b"".join(argument.to_bytes(4, "little") for argument in arguments))
        function_handle = manifest.functions[function]
        handle = self.call("qjs_call", function_handle, manifest.undefined, len(arguments), manifest.scratch)
        if arguments:
            self.write(manifest.scratch, bytes(4 * len(arguments)))
        return self.checked(handle)

    def apply_text(self, function: str, *arguments: int, limit: int | None = None) -> bytes:
        """Calls a function of the prelude that gives a string; returns that in UTF-8."""
        handle = self.apply(function, *arguments)
        text = self.string(handle, self._manifest.scratch, limit)
        self.call("qjs_free_value", handle)
        return text

    def truth(self, handle: int) -> bool:
        """Whether a handle, which is freed, is the value `true`."""
        value = bool(self.call("qjs_get_bool", handle))
        self.call("qjs_free_value", handle)
        return value

    def completion(self, promise: int) -> int:
        """A handle of what the script of that promise, which is fulfilled, came to."""
        result = self.call("qjs_promise_result", promise)
        value = self.property(result, "value")
        self.call("qjs_free_value", result)
        return value

    def property(self, handle: int, name: str) -> int:
        at = self.put(name.encode())
        value = self.call("qjs_get_prop_string", handle, at)
        self.call("wasm_free", at)
        return self.checked(value)

    def undefined(self) -> int:
        """A new handle of `undefined`."""
        return self.call("qjs_dup_value", self._manifest.undefined)

    def host_call(self, count: int, arguments: int) -> int:
        """Answers a call of the host by the prelude, see `host`; returns a handle, or 0 if it threw."""
        handles = [self.word(arguments + 4 * index) for index in range(count)]
        operation = self._text(handles[0])
        if operation == "log":
            if self._log_room >= 0:
                self._log(handles[1], handles[2])
            return self.undefined()
        try:
            value = host.perform(operation, [self._argument(handle) for handle in handles[1:]])
        except host.Refusal as refusal:
            reason = self.new_string(f"{refusal.name}\n{refusal.message}".encode())
            self.call("qjs_throw", reason)
            self.call("qjs_free_value", reason)
            return 0
        if value is None:
            return self.undefined()
        if isinstance(value, str):
            return self.new_string(value.encode(errors="surrogatepass"))
        return self.new_buffer(value)

    def refuse_import(self) -> int:
        """Answers an import() by the code; the engine takes the 0 for an exception that was thrown."""
        error = self.apply("importError")
        self.call("qjs_throw", error)
        self.call("qjs_free_value", error)
        return 0

    def tell_time(self, at: int) -> None:
        """Writes the nanoseconds since 1970, by the clock that the machine was given."""
        assert self._clock is not None, "the other template asks the system"
        self.write(at, ((self._clock() - _EPOCH) // _MICROSECOND * 1000).to_bytes(8, "little"))

    def rejected(self, promise: int, reason: int, handled: int) -> None:
        """Tells the prelude of a promise that was rejected and has no handler, or has one now."""
        flag = self.call("qjs_get_true" if handled else "qjs_get_false")
        # Where there is no room for that, on the stack or in the memory, the code learns of it soon enough.
        with contextlib.suppress(GuestError):
            self.call("qjs_free_value", self.apply("rejected", promise, reason, flag))
        for handle in (promise, reason, flag):
            self.call("qjs_free_value", handle)

    def _argument(self, handle: int) -> host.Value:
        if self.call("qjs_is_string", handle):
            return self._text(handle)
        if not self.call("qjs_is_array_buffer", handle):
            return None
        scratch = self._manifest.scratch + 8
        at = self.call("qjs_get_array_buffer", handle, scratch)
        data = self.read(at, at + self.word(scratch))
        self.write(scratch, bytes(4))
        return data

    def _text(self, handle: int) -> str:
        return self.string(handle, self._manifest.scratch).decode(errors="surrogatepass")

    def _log(self, level_handle: int, text_handle: int) -> None:
        scratch = self._manifest.scratch
        level = self.string(level_handle, scratch, limit=16).decode(errors="replace")
        data = self.string(text_handle, scratch, limit=self._log_room + 1)
        kept = data[: self._log_room]
        if kept or not data:
            self.logs.append(LogEntry(level, kept.decode(errors="ignore")))
        # Every entry costs at least one byte, so that their number is bounded too.
        self._log_room -= max(len(data), 1)
        if self._log_room < 0:
            self.logs.append(LogEntry("warn", f"logs truncated: a hop may write {self._log_limit} bytes"))
