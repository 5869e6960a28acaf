"""Sequential runs posted JavaScript that pauses at `fetch()`, and goes on in any other process.

    from sequential_core import SequentialFlow

    task = SequentialFlow.execute('const user = await fetch("https://api.example.com/user/1"); user.name')
    task.fetch_request.url                       # 'https://api.example.com/user/1'
    task = SequentialFlow.resume(task.id, fetch_response={"id": 1, "name": "Alice"})
    task.result                                  # 'Alice'

The names of this package are loaded when they are first used, so that what needs only some of them starts quickly.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sequential_core import errors
    from sequential_core.flow import SequentialFlow, create_flow
    from sequential_core.limits import Limits
    from sequential_core.model import ErrorDetail, ErrorKind, Language, LogEntry, PausedState, Status, Task
    from sequential_core.pending import (
        PendingEvent,
        PendingRequest,
        PendingTimer,
        PendingTool,
        RequestKind,
        ResponseAnswer,
    )
    from sequential_core.storage import (
        DynamoDBStorage,
        MemoryStorage,
        RevisionedStorage,
        SqliteStorage,
        Storage,
        TaskPage,
        storage_from_url,
    )

__version__ = "0.1.0"

_MODULES = {
    "flow": ("SequentialFlow", "create_flow"),
    "limits": ("Limits",),
    "model": (
        "ErrorDetail",
        "ErrorKind",
        "Language",
        "LogEntry",
        "PausedState",
        "Status",
        "Task",
    ),
    "pending": (
        "PendingEvent",
        "PendingRequest",
        "PendingTimer",
        "PendingTool",
        "RequestKind",
        "ResponseAnswer",
    ),
    "storage": (
        "DynamoDBStorage",
        "MemoryStorage",
        "RevisionedStorage",
        "SqliteStorage",
        "Storage",
        "TaskPage",
        "storage_from_url",
    ),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "DynamoDBStorage",
    "ErrorDetail",
    "ErrorKind",
    "Language",
    "Limits",
    "LogEntry",
    "MemoryStorage",
    "PausedState",
    "PendingEvent",
    "PendingRequest",
    "PendingTimer",
    "PendingTool",
    "RequestKind",
    "ResponseAnswer",
    "RevisionedStorage",
    "SequentialFlow",
    "SqliteStorage",
    "Status",
    "Storage",
    "Task",
    "TaskPage",
    "create_flow",
    "errors",
    "storage_from_url",
]


def __getattr__(name: str) -> Any:
    if name == "errors":
        return importlib.import_module("sequential_core.errors")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"sequential_core.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
