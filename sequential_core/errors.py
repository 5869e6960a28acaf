"""Every error that Sequential raises, in branches by who can act on it.

One root, `SequentialError`. Below it `CallerError` (the request was wrong), `CodeError` (the posted code
was wrong), `StateError` (the bytes of a paused program cannot be used), `OperatorError` (the
installation or its storage is at fault) and `RetryableError` (the same call may work later).
Each class builds its message from typed arguments, and keeps them as attributes.

An error inside the posted program is not raised here: it is the outcome of a task, see
`sequential_core.model.ErrorDetail`.
"""

from __future__ import annotations

from typing import Any


class SequentialError(Exception):
    """The root of every error that Sequential raises."""

    def __reduce__(self) -> tuple[Any, ...]:
        # The default rebuilds from `args`, which hold the message and not the typed arguments.
        return _restore, (type(self), self.args, dict(self.__dict__))


def _restore(cls: type[SequentialError], args: tuple[Any, ...], attributes: dict[str, Any]) -> SequentialError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


# --- The request was wrong ---------------------------------------------------------------------


class CallerError(SequentialError):
    """The request cannot be carried out as it was made. Nothing was changed."""


class InvalidRequestError(CallerError, ValueError):
    """A field of the request is missing, unknown, or not of its kind."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class InvalidTaskIdError(InvalidRequestError):
    """The task id is empty, too long, or has characters that an id may not have."""

    def __init__(self, problem: str) -> None:
        super().__init__("id", problem)


class InvalidAnswerError(InvalidRequestError):
    """The answer to a pending request is missing, of two kinds at once, of one that it does not take, or not JSON."""

    def __init__(self, problem: str) -> None:
        super().__init__("answer", problem)


class InvalidStorageURLError(InvalidRequestError):
    """The storage URL is malformed, or names a storage that is not installed."""

    def __init__(self, problem: str) -> None:
        super().__init__("storage", problem)


class TaskNotFoundError(CallerError, LookupError):
    """No such task: it was never stored, it ended, it was deleted, or it has expired."""

    def __init__(self, task_id: str) -> None:
        super().__init__(f"there is no task {task_id!r}: it never was, has ended, or has expired")
        self.task_id = task_id


class TaskExistsError(CallerError):
    """The id is in use by a task with other code."""

    def __init__(self, task_id: str) -> None:
        super().__init__(f"task {task_id!r} exists already, with other code")
        self.task_id = task_id


class TaskConflictError(CallerError):
    """The pause that the caller saw is over: somebody else resumed or replaced the task."""

    def __init__(self, task_id: str, problem: str) -> None:
        super().__init__(f"task {task_id!r}: {problem}")
        self.task_id = task_id
        self.problem = problem


class TaskEndedError(TaskConflictError):
    """The task is kept, but has completed or failed: there is nothing to resume."""

    def __init__(self, task_id: str, status: str) -> None:
        super().__init__(task_id, f"it has ended, its status is {str(status)!r}")
        self.status = status


class UnknownRequestError(CallerError, LookupError):
    """The task has no such pending request."""

    def __init__(self, task_id: str, request_id: int | None, pending: tuple[int, ...]) -> None:
        waiting = ", ".join(map(str, pending)) or "none"
        if request_id is not None:
            problem = f"has no request {request_id}; pending: {waiting}"
        elif pending:  # Events: without an id the oldest of the others is meant.
            problem = f"waits for events only, and an answer to one needs its requestId; pending: {waiting}"
        else:
            problem = "waits for timers only, and takes no answer"
        super().__init__(f"task {task_id!r} {problem}")
        self.task_id = task_id
        self.request_id = request_id
        self.pending = pending


class TooManyEventsError(CallerError):
    """The task keeps as many events as it may, and waits for none of them. What it keeps is as before."""

    def __init__(self, task_id: str, most: int, most_bytes: int) -> None:
        super().__init__(f"task {task_id!r} keeps at most {most} events, and {most_bytes} bytes of them")
        self.task_id = task_id
        self.most = most
        self.most_bytes = most_bytes


class InvalidEventTokenError(CallerError):
    """The token of an event's URL is not one that was given out here, or has expired."""

    def __init__(self) -> None:
        super().__init__("the URL is not one that was given out here, or it has expired")


class IdempotencyKeyReusedError(CallerError):
    """The idempotency key was used before, with another request."""

    def __init__(self, task_id: str) -> None:
        super().__init__(f"the idempotency key was used before, with another request, for task {task_id!r}")
        self.task_id = task_id


# --- The posted code was wrong -----------------------------------------------------------------


class CodeError(SequentialError, ValueError):
    """The code was refused before it ran. Nothing was stored."""


class InvalidCodeError(CodeError):
    """The code is not a string of Unicode text."""


class CodeTooLargeError(CodeError):
    """The code is larger than the limit."""

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(f"the code has {size_bytes} bytes; the limit is {limit_bytes}")
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class CodeSyntaxError(CodeError):
    """The code does not parse.

    Attributes:
        message: what the parser says.
        line, column: where, counted from 1; None if the parser does not say.
    """

    def __init__(self, message: str, line: int | None, column: int | None) -> None:
        where = "" if line is None else f" (line {line}, column {column})"
        super().__init__(f"SyntaxError: {message}{where}")
        self.message = message
        self.line = line
        self.column = column


class CodeTooComplexError(CodeError):
    """The code is TypeScript of which the types cannot be stripped: it is nested too deeply, or takes too much."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"the types cannot be stripped from the code: {problem}")
        self.problem = problem


# --- The bytes of a paused program -------------------------------------------------------------


class StateError(SequentialError, ValueError):
    """The stored state cannot be resumed. The task is left as it is."""


class StateCorruptedError(StateError):
    """The bytes are not a state, or not a whole one, or were altered."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"the state is damaged: {problem}")
        self.problem = problem


class StateFormatError(StateError):
    """The state was written in a format that this version does not know."""

    def __init__(self, version: int, supported: int) -> None:
        super().__init__(f"the state has format {version}; this version reads up to {supported}")
        self.version = version
        self.supported = supported


class GuestMismatchError(StateError):
    """The state needs another guest than the ones that are installed."""

    def __init__(self, needed: str, installed: tuple[str, ...]) -> None:
        have = ", ".join(sha[:16] for sha in installed) or "none"
        super().__init__(f"the state needs guest {needed}; installed: {have}")
        self.needed = needed
        self.installed = installed


# --- The installation --------------------------------------------------------------------------


class OperatorError(SequentialError):
    """The installation, its configuration or its storage is at fault."""


class GuestNotFoundError(OperatorError, LookupError):
    """The installation has no baked guest."""

    def __init__(self) -> None:
        super().__init__("no baked guest is installed; build it with `python -m sequential_core.vm.build`")


class StripperNotFoundError(OperatorError, LookupError):
    """The installation lacks the module that strips types from TypeScript."""

    def __init__(self) -> None:
        super().__init__("nothing that strips types is installed; build it with `python -m sequential_core.vm.build`")


class CacheDirectoryError(OperatorError, PermissionError):
    """The directory for compiled guests could be written by somebody else."""

    def __init__(self, directory: str, problem: str) -> None:
        super().__init__(f"cache directory {directory}: {problem}; set SEQUENTIAL_CACHE_DIR to a private one")
        self.directory = directory
        self.problem = problem


class ConfigurationError(OperatorError, ValueError):
    """An environment variable is missing, or not of its kind."""

    def __init__(self, variable: str, problem: str) -> None:
        super().__init__(f"{variable}: {problem}")
        self.variable = variable
        self.problem = problem


class NoSigningKeyError(OperatorError, LookupError):
    """The installation has no key that signs the URLs of events."""

    def __init__(self) -> None:
        super().__init__("there is no signing key, so that no URL of an event can be made or taken")


class StorageError(OperatorError, OSError):
    """The storage failed. The stored task is the one from before the call."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"storage: {problem}")
        self.problem = problem


class StorageFullError(StorageError):
    """The storage has no room left. The stored task is the one from before the call."""


class StorageFormatError(StorageError):
    """The storage holds something that is not ours, or of a later version."""


# --- Try again ---------------------------------------------------------------------------------


class RetryableError(SequentialError):
    """The same call may work later. What is stored is whole: the old pause or the new one."""


class StorageBusyError(RetryableError):
    """The storage could not be reached, or had too much to do. Nothing was changed."""

    def __init__(self, problem: str = "locked by another process for too long") -> None:
        super().__init__(f"storage: {problem}")
        self.problem = problem


class OutcomeUnknownError(RetryableError):
    """The storage took the change and then could not be asked whether it was made.

    Repeating the call is safe if it says what it is for: a task's id; the request or the revision that an answer is
    for; or an idempotency key.
    """

    def __init__(self, task_id: str) -> None:
        super().__init__(f"task {task_id!r}: whether it was saved is not known; repeat the call")
        self.task_id = task_id
