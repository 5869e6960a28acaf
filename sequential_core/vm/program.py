"""`start` and `resume`: one hop of a program, with no I/O.

A hop takes a program from where it stands to where nothing can go on without an answer. Its
outcome is a value, on which the caller matches.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import wasmtime

from sequential_core import state as codec
from sequential_core.answers import MAX_JSON_DEPTH, nested_too_deeply
from sequential_core.errors import (
    CodeSyntaxError,
    CodeTooLargeError,
    InvalidCodeError,
    StateCorruptedError,
)
from sequential_core.limits import Limits
from sequential_core.model import ErrorDetail, ErrorKind, LogEntry
from sequential_core.pending import Answer, Pending
from sequential_core.vm import deltas, machines, modules, runtime, snapshot, waits
from sequential_core.vm import guest as guests
from sequential_core.vm.guest import Guest
from sequential_core.vm.machine import (
    FILE_NAME,
    PRELUDE_NAME,
    Clock,
    GuestError,
    OutOfMemory,
)

_PENDING, _FULFILLED = 0, 1

# Above so many bytes of changes cyclic garbage is collected, and the snapshot taken again: about 8 KB when compressed.
# A collection visits every object, those of the image too, so it must have something to gain: it is made at the first
# such pause, then when the changes have grown by half since the pause before, and at every eighth pause.
_COLLECT_ABOVE_BYTES = 32 << 10
_COLLECT_GROWTH = 1.5
_COLLECT_PAUSES = 8

# The engine gives line 0 to the initialisers of static fields.
_POSITION = re.compile(re.escape(FILE_NAME) + r":([1-9]\d{0,8}):(\d{1,9})")
_DEFAULT_LIMITS = Limits()

# The prelude has rejections to report.
_REPORT = b"!"

# What the timers may take beside the pending requests.
_TIMERS_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Completed:
    """The program ended; `result` is its value, as `JSON.stringify` writes it, parsed."""

    result: Any
    logs: tuple[LogEntry, ...]


@dataclass(frozen=True, slots=True)
class Suspended:
    """The program waits for answers or for timers; `state` goes on with `resume`.

    Attributes:
        state: the program as bytes.
        requests: every pending request of whichever kind, oldest first.
        timers: what it waits for besides; None if it has no timer.
        logs: what the code wrote to `console` in this hop.
        passed_over: ids of requests whose answer came to nothing, since a timer that was due aborted them.
    """

    state: bytes
    requests: tuple[Pending, ...]
    timers: waits.Timers | None
    logs: tuple[LogEntry, ...]
    passed_over: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """The program ended with an error, of its own or because it passed a limit."""

    error: ErrorDetail
    logs: tuple[LogEntry, ...]


Outcome = Completed | Suspended | Failed


def start(
    code: str, limits: Limits = _DEFAULT_LIMITS, clock: Clock | None = None, *, pause_everywhere: bool = False
) -> Outcome:
    """Runs a program from its beginning.

    Args:
        code: a script with top-level await. The value of its final expression is the result.
        limits: bounds of this hop.
        clock: what time it is for the program; None: the system's.
        pause_everywhere: for tests, see `Program`.

    Raises:
        InvalidCodeError: the code is not a string of Unicode text.
        CodeTooLargeError: it is larger than `limits.code_bytes`.
        CodeSyntaxError: it does not parse.
        GuestNotFoundError: the installation has no guest.
    """
    program = Program(guests.current(), limits, clock, pause_everywhere=pause_everywhere)
    outcome = program.hop(lambda: program.begin(encode_code(code, limits)))
    program.close()
    return outcome


def resume(
    state: bytes,
    answers: Mapping[int, Answer],
    limits: Limits = _DEFAULT_LIMITS,
    clock: Clock | None = None,
    *,
    pause_everywhere: bool = False,
) -> Outcome:
    """Goes on with a program where it waits.

    Args:
        state: the bytes of a `Suspended`.
        answers: by the id of a pending request, delivered in this order, after the timers that are due. One that such a
            timer has aborted is passed over. None at all: only the timers.
        limits: bounds of this hop.
        clock: what time it is for the program; None: the system's.
        pause_everywhere: for tests, see `Program`.

    Raises:
        StateError: the bytes cannot be resumed here; see its subclasses.
        KeyError: an id is not pending.
    """
    paused = codec.read(state)
    guest = guests.load(paused.guest)
    size = paused.memory_pages * codec.WASM_PAGE_BYTES
    if size > limits.memory_bytes:  # before it is unpacked: to as much as twice that
        return Failed(_memory_error(limits), ())
    body = codec.unpack(paused, guest.dictionary, deltas=deltas.QUICK)
    program = Program(guest, limits, clock, pause_everywhere=pause_everywhere, memory_bytes=size)
    outcome = program.hop(lambda: program.go_on(paused, body, answers))
    program.close()
    return outcome


def encode_code(code: str, limits: Limits) -> bytes:
    """The code in UTF-8, checked."""
    if not isinstance(code, str):
        raise InvalidCodeError(f"the code must be a string, not {type(code).__name__}")
    try:
        data = code.encode()
    except UnicodeEncodeError as error:
        raise InvalidCodeError(f"the code has half of a surrogate pair at offset {error.start}") from None
    if len(data) > limits.code_bytes:
        raise CodeTooLargeError(len(data), limits.code_bytes)
    return data


class _Stop(Exception):
    """Ends a hop as `Failed`."""

    def __init__(self, error: ErrorDetail) -> None:
        super().__init__(error.message)
        self.error = error


class Program:
    """A program in a machine. `start` and `resume` are all that most callers need.

    With `uncut`, keeping one and calling `hop` with `settle` again and again runs a program in one machine, of which no
    snapshot is taken: what the tests compare the cut run to. Its states are empty.

    With `pause_everywhere` it is cut wherever it can be: before every job of the job queue it becomes bytes, its
    machine is dropped, and it goes on in a fresh one. No program can tell, but for the numbers of `Math.random`. Its
    limits are those of the hop: neither the CPU time nor the size of these states counts.

    `memory_bytes` is how large the memory of the state is that it will be given; 0: there is none.
    """

    def __init__(
        self,
        guest: Guest,
        limits: Limits,
        clock: Clock | None = None,
        *,
        pause_everywhere: bool = False,
        uncut: bool = False,
        memory_bytes: int = 0,
    ) -> None:
        self._guest = guest
        self._limits = limits
        self._clock = clock
        self._pause_everywhere = pause_everywhere
        self._uncut = uncut
        self._machine = machines.take(guest, limits, clock, memory_bytes)
        self._failed = self._taken = False
        self._main = 0
        self._restored_bytes = 0
        self._passed_over: list[int] = []

    def close(self) -> None:
        """Lets another program have the machine. Nothing is to be called after it."""
        failed, self._failed = self._failed, True  # once: it would else be given to two
        if not failed:
            machines.give_back(self._machine, taken=self._taken)

    def hop(self, step: Callable[[], None]) -> Outcome:
        """Runs `step`, then whatever can run, and tells where that ended."""
        machine = self._machine
        machine.logs = []
        failed, self._failed, self._taken = self._failed, True, False
        try:
            with runtime.cpu_time(machine, self._limits.cpu_seconds), _failures(self):
                step()
                outcome = self._outcome(self._run())
        except _Stop as stop:
            return Failed(stop.error, tuple(self._machine.logs))
        self._failed = failed
        return outcome

    def begin(self, code: bytes) -> None:
        """Starts the code. To be called in `hop`."""
        machine = self._machine
        machine.prepare()
        machine.call("qjs_free_value", machine.apply("begin"))
        try:
            self._main = machine.evaluate(code)
        except GuestError as error:
            # Whatever the code throws rejects its promise, so this is the parser.
            detail = self._describe(error.handle)
            if detail.name == "SyntaxError":
                raise modules.named(CodeSyntaxError(detail.message, detail.line, detail.column), code) from None
            raise _Stop(detail) from None

    def go_on(self, paused: codec.Packed, body: bytes, answers: Mapping[int, Answer]) -> None:
        """Restores a state, of which `body` is that of `codec.unpack`, and delivers answers. To be called in `hop`."""
        self._restore(paused, body)
        if age := self._machine.age:
            # Above the last that counts, all are the same.
            self._machine.age = min(age, _COLLECT_PAUSES) + 1 if len(body) > _COLLECT_ABOVE_BYTES else 0
        self.settle(answers)

    def settle(self, answers: Mapping[int, Answer]) -> None:
        """Delivers answers. To be called in `hop`."""
        self._passed_over = []
        self._machine.prepare()
        for request_id, answer in answers.items():
            machine = self._machine
            argument = machine.new_string(waits.encode_answer(request_id, answer))
            if not machine.truth(machine.apply("settle", argument)):
                if not machine.truth(machine.apply("isPending", argument)):
                    raise KeyError(request_id)
                self._run()  # the timers that are due come first, and one may abort the request
                machine = self._machine
                if not machine.truth(machine.apply("settle", argument)):
                    self._passed_over.append(request_id)
            machine.call("qjs_free_value", argument)

    def _run(self) -> bytes:
        """Runs jobs and timers until nothing is due; returns what the program then waits for, as `turn` gives it."""
        limit = self._limits.request_bytes + _TIMERS_BYTES
        while True:
            if self._pause_everywhere:
                self._run_jobs_cut()
            else:
                self._machine.run_jobs()
            text = self._machine.apply_text("turn", limit=limit + 1)
            if text == _REPORT:
                self._report()
            elif text:
                return text

    def _run_jobs_cut(self) -> None:
        self._cut()
        while self._machine.run_job():
            self._cut()

    def _cut(self) -> None:
        """Goes on in a fresh machine, by way of bytes. Between two jobs, so that nothing is on the stack."""
        with runtime.uncounted():
            state, before = self._snapshot(cut=True), self._machine
            machine = machines.take(self._guest, self._limits, self._clock, before.memory_bytes)
            machine.take_logs(before)
            machines.give_back(before, taken=True)
            self._machine = machine
            runtime.change_machine(machine)
            paused = codec.read(state)
            self._restore(paused, codec.unpack(paused, self._guest.dictionary, deltas=deltas.QUICK))
            machine.prepare()

    def _report(self) -> None:
        """Lets the prelude report what was rejected and nobody handles, but for what will be the outcome."""
        machine = self._machine
        machine.call("qjs_free_value", machine.apply("forget", self._main))
        if machine.call("qjs_promise_state", self._main) == _FULFILLED:
            value = machine.completion(self._main)
            machine.call("qjs_free_value", machine.apply("forget", value))
            machine.call("qjs_free_value", value)
        machine.call("qjs_free_value", machine.apply("report"))

    def _restore(self, paused: codec.Packed, body: bytes) -> None:
        machine = self._machine
        stack_end = self._guest.manifest.stack_end
        size = paused.memory_pages * codec.WASM_PAGE_BYTES
        more = size - machine.memory_bytes
        if more < 0 or not stack_end <= paused.main < size:
            raise StateCorruptedError("it does not fit its guest")
        if more:
            try:
                machine.grow(more // codec.WASM_PAGE_BYTES)
            except wasmtime.WasmtimeError:
                raise _Stop(_memory_error(self._limits)) from None
        with runtime.uncounted():
            snapshot.restore(machine, self._guest, paused.count, body)
        self._restored_bytes = len(body)
        self._main = paused.main

    def _outcome(self, text: bytes) -> Outcome:
        machine, limits = self._machine, self._limits
        requests, timers = _waits(text, limits)
        logs = tuple(machine.logs)
        if requests or (timers is not None and (timers.keeping or self._is_open())):
            state = self._snapshot()
            self._taken = True
            return Suspended(state, requests, timers, logs, tuple(self._passed_over))
        status = machine.call("qjs_promise_state", self._main)
        if status == _PENDING:
            raise _Stop(_deadlock())
        if status != _FULFILLED:
            raise GuestError(machine.call("qjs_promise_result", self._main))
        return self._completed(machine.completion(self._main))

    def _is_open(self) -> bool:
        """Whether the main promise, or the promise that it gave, is still to be settled."""
        machine = self._machine
        status = machine.call("qjs_promise_state", self._main)
        if status != _FULFILLED:
            return status == _PENDING
        value = machine.completion(self._main)
        is_open = machine.call("qjs_is_promise", value) and machine.call("qjs_promise_state", value) == _PENDING
        machine.call("qjs_free_value", value)
        return bool(is_open)

    def _completed(self, value: int) -> Completed:
        machine, limits = self._machine, self._limits
        if machine.call("qjs_is_promise", value):
            # The final expression is a promise, such as a call of an async function: its value counts.
            status = machine.call("qjs_promise_state", value)
            if status == _PENDING:
                raise _Stop(_deadlock())
            value = machine.call("qjs_promise_result", value)
            if status != _FULFILLED:
                raise GuestError(value)
        try:
            text = machine.apply_text("result", value, limit=limits.result_bytes + 1)
        except GuestError as error:
            detail = self._describe(error.handle)
            if detail.kind is ErrorKind.EXCEPTION:
                message = f"the result cannot be written as JSON: {detail.message}"
                detail = replace(detail, kind=ErrorKind.RESULT_NOT_JSON, message=message)
            raise _Stop(detail) from None
        if len(text) > limits.result_bytes:
            message = f"the result has more than {limits.result_bytes} bytes of JSON"
            raise _Stop(_limit_error(ErrorKind.RESULT_LIMIT, message))
        if nested_too_deeply(text.decode()):
            message = f"the result cannot be written as JSON: it is nested deeper than {MAX_JSON_DEPTH}"
            raise _Stop(_limit_error(ErrorKind.RESULT_NOT_JSON, message))
        try:
            return Completed(json.loads(text), tuple(machine.logs))
        except RecursionError:  # the caller's own stack is deep
            message = "the result cannot be written as JSON: it is nested too deeply"
            raise _Stop(_limit_error(ErrorKind.RESULT_NOT_JSON, message)) from None

    def _snapshot(self, *, cut: bool = False) -> bytes:
        if self._uncut:
            return b""
        machine, limit = self._machine, self._limits.state_bytes
        taken = self._take()
        if not cut and self._may_have_garbage(len(taken.body)):
            machine.call("qjs_run_gc")
            machine.age = 1
            taken = self._take()
        size = machine.memory_bytes // codec.WASM_PAGE_BYTES
        guest = self._guest
        state = codec.pack(
            guest.sha256,
            size,
            self._main,
            taken.runs,
            taken.body,
            dictionary=guest.dictionary,
            deltas=deltas.QUICK,
        )
        if len(state) > limit and not cut:
            raise _Stop(_limit_error(ErrorKind.STATE_LIMIT, f"the state has more than {limit} bytes"))
        return state

    def _may_have_garbage(self, changed: int) -> bool:
        """Whether a collection is worth its time, with so many bytes of changes."""
        if changed <= _COLLECT_ABOVE_BYTES:
            return False
        age = self._machine.age  # how many pauses ago the last one was, counting this; 0: there was none
        return not 0 < age <= _COLLECT_PAUSES or changed > _COLLECT_GROWTH * self._restored_bytes

    def _take(self) -> snapshot.Snapshot:
        with runtime.uncounted():
            return snapshot.take(self._machine, self._guest)

    def _describe(self, handle: int) -> ErrorDetail:
        """The parts of what the guest threw. Running out of anything meanwhile is left to `_failures`."""
        try:
            parts = json.loads(self._machine.apply_text("describe", handle))
        except (GuestError, OutOfMemory):
            return _memory_error(self._limits)
        except ValueError:  # the code has broken what the prelude is made of
            return _engine_error()
        if parts["name"] == "InternalError" and parts["message"] == "out of memory":
            return _memory_error(self._limits)
        lines = [line.strip() for line in parts["stack"].splitlines()]
        lines = [line for line in lines if line and f"({PRELUDE_NAME}:" not in line]
        place = next((found for line in lines if (found := _POSITION.search(line))), None)
        return ErrorDetail(
            kind=ErrorKind.EXCEPTION,
            name=parts["name"],
            message=parts["message"],
            line=int(place[1]) if place else None,
            column=int(place[2]) if place else None,
            stack="\n".join(lines),
        )


@contextlib.contextmanager
def _host_failures_first() -> Iterator[None]:
    """Raises what went wrong in a call of the host by the guest, whatever the guest did then."""
    try:
        yield
    except Exception:
        runtime.raise_failure()
        raise
    runtime.raise_failure()


@contextlib.contextmanager
def _failures(program: Program) -> Iterator[None]:
    """Turns whatever ends the guest into `_Stop`."""
    try:
        try:
            with _host_failures_first():
                yield
        except GuestError as error:
            raise _Stop(program._describe(error.handle)) from None
    except OutOfMemory:
        raise _Stop(_memory_error(program._limits)) from None
    except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
        if runtime.out_of_time():
            message = f"the hop used up its CPU time of {program._limits.cpu_seconds:g} s"
            raise _Stop(_limit_error(ErrorKind.CPU_LIMIT, message)) from None
        if isinstance(error, wasmtime.Trap) and error.trap_code is wasmtime.TrapCode.STACK_OVERFLOW:
            # The parser and JSON recurse deeper in WebAssembly than the engine's own count of its stack.
            detail = ErrorDetail(ErrorKind.STACK_LIMIT, "RangeError", "Maximum call stack size exceeded")
            raise _Stop(detail) from None
        raise _Stop(_engine_error()) from error


def _limit_error(kind: ErrorKind, message: str) -> ErrorDetail:
    return ErrorDetail(kind, "LimitError", message)


def _memory_error(limits: Limits) -> ErrorDetail:
    return ErrorDetail(
        ErrorKind.MEMORY_LIMIT, "InternalError", f"out of memory: a hop may use {limits.memory_bytes} bytes"
    )


def _deadlock() -> ErrorDetail:
    return ErrorDetail(
        ErrorKind.DEADLOCK, "DeadlockError", "the code awaits what nothing can settle: no request or timer is pending"
    )


def _waits(text: bytes, limits: Limits) -> tuple[tuple[Pending, ...], waits.Timers | None]:
    """The pending requests and the timers of a turn."""
    if len(text) > limits.request_bytes + _TIMERS_BYTES:
        message = f"the pending requests have more than {limits.request_bytes} bytes of JSON"
        raise _Stop(_limit_error(ErrorKind.REQUEST_LIMIT, message))
    try:
        requests, timers = waits.parse(text)
    except waits.NestedTooDeeplyError:
        message = f"the arguments of a tool are nested deeper than {MAX_JSON_DEPTH}"
        raise _Stop(_limit_error(ErrorKind.REQUEST_LIMIT, message)) from None
    except ValueError:  # the code has broken what the prelude is made of
        raise _Stop(_engine_error()) from None
    if len(requests) > limits.pending_requests:
        message = f"{len(requests)} requests are pending; the limit is {limits.pending_requests}"
        raise _Stop(_limit_error(ErrorKind.PENDING_REQUESTS_LIMIT, message))
    return requests, timers


def _engine_error() -> ErrorDetail:
    return ErrorDetail(ErrorKind.ENGINE, "InternalError", "the engine stopped")
