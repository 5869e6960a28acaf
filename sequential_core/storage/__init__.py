"""Where tasks wait. `base` is the law, the other modules keep it. They are imported when they are first asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sequential_core.storage.base import Clock, RevisionedStorage, Storage, TaskPage
    from sequential_core.storage.dynamodb import DynamoDBStorage
    from sequential_core.storage.memory import MemoryStorage
    from sequential_core.storage.plain import PlainStorage
    from sequential_core.storage.sqlite import SqliteStorage
    from sequential_core.storage.url import storage_from_url

__all__ = [
    "Clock",
    "DynamoDBStorage",
    "MemoryStorage",
    "PlainStorage",
    "RevisionedStorage",
    "SqliteStorage",
    "Storage",
    "TaskPage",
    "storage_from_url",
]

_HOME = {
    "Clock": "base",
    "DynamoDBStorage": "dynamodb",
    "MemoryStorage": "memory",
    "PlainStorage": "plain",
    "RevisionedStorage": "base",
    "SqliteStorage": "sqlite",
    "Storage": "base",
    "TaskPage": "base",
    "storage_from_url": "url",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
