"""The values that travel between the layers, and their JSON form.

Python names are snake_case, JSON names are camelCase; the pairs stand in the `to_dict` and `from_dict` of each
class and nowhere else. Instants are aware and UTC; in JSON they are RFC 3339 strings.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sequential_core.checks import from_rfc3339, to_rfc3339
from sequential_core.drive import Drive
from sequential_core.errors import InvalidRequestError
from sequential_core.pending import (
    KeptEvent,
    Pending,
    PendingEvent,
    PendingRequest,
    PendingTimer,
    PendingTool,
    TakenAnswer,
)

# Of events and tools.
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


class Status(StrEnum):
    """Where a task stands."""

    PAUSED = "paused"
    COMPLETED = "completed"
    ERROR = "error"


#: From where to where a hop may take a task; None is a task that has not begun.
TRANSITIONS: dict[Status | None, frozenset[Status]] = {
    None: frozenset(Status),
    Status.PAUSED: frozenset(Status),
    Status.COMPLETED: frozenset(),
    Status.ERROR: frozenset(),
}


class Language(StrEnum):
    """What a task's code is written in."""

    JAVASCRIPT = "javascript"
    TYPESCRIPT = "typescript"


class ErrorKind(StrEnum):
    """Why a task ended with an error."""

    EXCEPTION = "exception"
    DEADLOCK = "deadlock"
    CPU_LIMIT = "cpu_limit"
    MEMORY_LIMIT = "memory_limit"
    STACK_LIMIT = "stack_limit"
    PENDING_REQUESTS_LIMIT = "pending_requests_limit"
    REQUEST_LIMIT = "request_limit"
    RESULT_LIMIT = "result_limit"
    RESULT_NOT_JSON = "result_not_json"
    STATE_LIMIT = "state_limit"
    HOP_LIMIT = "hop_limit"
    DURATION_LIMIT = "duration_limit"
    CANCELLED = "cancelled"
    DRIVER = "driver"
    ENGINE = "engine"


@dataclass(frozen=True, slots=True)
class ErrorDetail:
    """The parts of a task's error.

    Attributes:
        kind: an uncaught exception, a limit, or a deadlock.
        name, message: as in JavaScript; `str()` joins them.
        line, column: where in the posted code, counted from 1; None if unknown.
        stack: the frames of the posted code, one a line; empty if unknown.
    """

    kind: ErrorKind
    name: str
    message: str
    line: int | None = None
    column: int | None = None
    stack: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.message}" if self.message else self.name

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind.value,
            "name": self.name,
            "message": self.message,
            "line": self.line,
            "column": self.column,
            "stack": self.stack,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ErrorDetail:
        return cls(**{**data, "kind": ErrorKind(data["kind"])})


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One call of `console`: its level (log, info, warn, error, debug) and its text."""

    level: str
    message: str

    def to_dict(self) -> dict[str, Any]:
        return {"level": self.level, "message": self.message}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LogEntry:
        return cls(data["level"], data["message"])


@dataclass(frozen=True, slots=True)
class PausedState:
    """Where a paused task stands.

    Attributes:
        line, column: the call of the oldest pending request; None if unknown.
        hops: how often the program has run so far.
        requests: how many requests it has made so far: calls of `fetch`, `callTool` and `waitForEvent`.
        pending: ids of the pending requests of every kind, oldest first.
        state_bytes: size of the state.
        timers: how many timers wait.
        wake_at: when the first of them is due; None if there is none.
    """

    line: int | None
    column: int | None
    hops: int
    requests: int
    pending: tuple[int, ...]
    state_bytes: int
    timers: int = 0
    wake_at: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "line": self.line,
            "column": self.column,
            "hops": self.hops,
            "requests": self.requests,
            "pending": list(self.pending),
            "stateBytes": self.state_bytes,
            "timers": self.timers,
            "wakeAt": None if self.wake_at is None else to_rfc3339(self.wake_at),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PausedState:
        return cls(
            line=data["line"],
            column=data["column"],
            hops=data["hops"],
            requests=data["requests"],
            pending=tuple(data["pending"]),
            state_bytes=data["stateBytes"],
            timers=data.get("timers", 0),  # not in tasks that an earlier version stored
            wake_at=None if data.get("wakeAt") is None else from_rfc3339(data["wakeAt"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(Mapping[str, Any]):
    """A program and where it stands. A value: every hop makes a new one.

    It is a mapping of its JSON form too: `task["fetchRequest"]`, `dict(task)`.

    Attributes:
        id: unique in a storage.
        name: a label of the caller's, or None.
        status: paused, completed or error.
        result: the value of the final expression, once completed.
        error_detail: what went wrong, if the status is error; `error` is its short form.
        fetch_requests: the pending calls of `fetch`, oldest first; `fetch_request` is the oldest.
        tool_calls: those of `callTool`, oldest first.
        event_waits: those of `waitForEvent`, oldest first.
        timers: the timers that are due first, at most 16; `paused_state` says how many there are.
        vm_state: the paused program, opaque; None once it has ended.
        paused_state: where it stands, only while paused.
        logs: what the code wrote to `console` in the last hop.
        revision: counts the saves.
        created_at, updated_at: instants.
        expires_at: from this instant on the task does not exist; None if it is not stored.
        ttl: how long a pause is kept.
        retain: how long the outcome is kept; None if it is not.
        language: what the code is written in.
        code_sha256: of the posted code in UTF-8, in hexadecimal.
        code: the posted code, in the task that `execute` returns and saves; None when loaded.
        taken: the latest answers that were taken, oldest first.
        kept_events: events that came before the code waits for them, oldest first.
        drive: how a driver performs the requests, and where that stands; None: the caller does.
        storage_note: what the storage that loaded it noted for itself; no part of the value, nor of its JSON form.
    """

    id: str
    name: str | None = None
    status: Status
    result: Any = None
    error_detail: ErrorDetail | None = None
    fetch_requests: tuple[PendingRequest, ...] = ()
    tool_calls: tuple[PendingTool, ...] = ()
    event_waits: tuple[PendingEvent, ...] = ()
    timers: tuple[PendingTimer, ...] = ()
    vm_state: bytes | None = field(default=None, repr=False)
    paused_state: PausedState | None = None
    logs: tuple[LogEntry, ...] = ()
    revision: int
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None
    ttl: timedelta
    retain: timedelta | None = None
    language: Language = Language.JAVASCRIPT
    code_sha256: str
    code: str | None = field(default=None, repr=False)
    taken: tuple[TakenAnswer, ...] = ()
    kept_events: tuple[KeptEvent, ...] = ()
    drive: Drive | None = None
    storage_note: Any = field(default=None, repr=False, compare=False)

    @property
    def error(self) -> str | None:
        """Such as "TypeError: bad"; None if the task did not fail."""
        return None if self.error_detail is None else str(self.error_detail)

    @property
    def fetch_request(self) -> PendingRequest | None:
        """The oldest pending call of `fetch`; None if the task has ended or waits for something else."""
        return self.fetch_requests[0] if self.fetch_requests else None

    @property
    def pending_requests(self) -> tuple[Pending, ...]:
        """What waits for an answer, whichever its kind, oldest first."""
        pending: list[Pending] = [*self.fetch_requests, *self.tool_calls, *self.event_waits]
        return tuple(sorted(pending, key=lambda request: request.id))

    @property
    def performable(self) -> tuple[PendingRequest | PendingTool, ...]:
        """The pending requests that a driver performs, oldest first: all but waits for events."""
        performable: tuple[PendingRequest | PendingTool, ...] = (*self.fetch_requests, *self.tool_calls)
        return tuple(sorted(performable, key=lambda request: request.id))

    def expired(self, now: datetime) -> bool:
        """Whether the task has ceased to exist; at the very instant it has."""
        return self.expires_at is not None and self.expires_at <= now

    def __getitem__(self, name: str) -> Any:
        if name == "vmState":  # which may be long, and is encoded when it is asked for
            return self._encoded_state()
        return self.to_dict(include_vm_state=False)[name]

    def __iter__(self) -> Iterator[str]:
        return iter((*self.to_dict(include_vm_state=False), "vmState"))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def to_dict(self, *, include_vm_state: bool = True) -> dict[str, Any]:
        """The JSON form. `vmState` is base64, and may be left out."""
        return {
            "id": self.id,
            "name": self.name,
            "status": self.status.value,
            "result": self.result,
            "error": self.error,
            "errorDetail": None if self.error_detail is None else self.error_detail.to_dict(),
            "fetchRequest": self.fetch_requests[0].to_dict() if self.fetch_requests else None,
            "fetchRequests": [request.to_dict() for request in self.fetch_requests],
            "toolCalls": [call.to_dict() for call in self.tool_calls],
            "eventWaits": [wait.to_dict() for wait in self.event_waits],
            "timers": [timer.to_dict() for timer in self.timers],
            **({"vmState": self._encoded_state()} if include_vm_state else {}),
            "pausedState": None if self.paused_state is None else self.paused_state.to_dict(),
            "logs": [entry.to_dict() for entry in self.logs],
            "revision": self.revision,
            "createdAt": to_rfc3339(self.created_at),
            "updatedAt": to_rfc3339(self.updated_at),
            "expiresAt": None if self.expires_at is None else to_rfc3339(self.expires_at),
            "ttl": self.ttl.total_seconds(),
            "retain": None if self.retain is None else self.retain.total_seconds(),
            "language": self.language.value,
            "codeSha256": self.code_sha256,
            "taken": [taken.to_list() for taken in self.taken],
            "keptEvents": [event.to_dict() for event in self.kept_events],
            "drive": None if self.drive is None else self.drive.to_dict(),
        }

    def _encoded_state(self) -> str | None:
        return None if self.vm_state is None else base64.b64encode(self.vm_state).decode()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Task:
        """The task of a JSON form.

        Raises:
            InvalidRequestError: it is not the JSON form of a task.
        """
        try:
            error, paused, state = data["errorDetail"], data["pausedState"], data.get("vmState")
            expires, retain = data["expiresAt"], data["retain"]
            return cls(
                id=data["id"],
                name=data["name"],
                status=Status(data["status"]),
                result=data["result"],
                error_detail=None if error is None else ErrorDetail.from_dict(error),
                fetch_requests=tuple(PendingRequest.from_dict(each) for each in data["fetchRequests"]),
                # Tasks that an earlier version stored have none of these three.
                tool_calls=tuple(PendingTool.from_dict(each) for each in data.get("toolCalls", ())),
                event_waits=tuple(PendingEvent.from_dict(each) for each in data.get("eventWaits", ())),
                timers=tuple(PendingTimer.from_dict(each) for each in data.get("timers", ())),
                vm_state=None if state is None else base64.b64decode(state, validate=True),
                paused_state=None if paused is None else PausedState.from_dict(paused),
                logs=tuple(LogEntry.from_dict(entry) for entry in data["logs"]),
                revision=data["revision"],
                created_at=from_rfc3339(data["createdAt"]),
                updated_at=from_rfc3339(data["updatedAt"]),
                expires_at=None if expires is None else from_rfc3339(expires),
                ttl=timedelta(seconds=data["ttl"]),
                retain=None if retain is None else timedelta(seconds=retain),
                language=Language(data.get("language", Language.JAVASCRIPT)),  # the first version had no other
                code_sha256=data["codeSha256"],
                taken=tuple(TakenAnswer.from_list(taken) for taken in data["taken"]),
                # Earlier versions had neither.
                kept_events=tuple(KeptEvent.from_dict(each) for each in data.get("keptEvents", ())),
                drive=None if data.get("drive") is None else Drive.from_dict(data["drive"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError, binascii.Error) as error:
            raise InvalidRequestError("task", "it is not the JSON form of a task") from error


def check_language(language: object) -> Language:
    """The language, if it is one that code may be written in.

    Raises:
        InvalidRequestError: it is not.
    """
    try:
        return Language(language)  # type: ignore[arg-type]  # whatever is no language is refused
    except ValueError:
        raise InvalidRequestError("language", f"it must be one of {', '.join(Language)}") from None


def check_event_name(name: object) -> str:
    """The name of an event, or of a tool, if it is one: 1 to 128 letters, digits and "_.:-".

    Raises:
        InvalidRequestError: it is not.
    """
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise InvalidRequestError("name", 'it must be 1 to 128 letters, digits and "_.:-"')
    return name
