"""Where tasks wait. `base` is the law, the other modules keep it."""

from sequential_core.storage.base import Clock, RevisionedStorage, Storage, TaskPage
from sequential_core.storage.memory import MemoryStorage
from sequential_core.storage.plain import PlainStorage
from sequential_core.storage.sqlite import SqliteStorage
from sequential_core.storage.url import storage_from_url

__all__ = [
    "Clock",
    "MemoryStorage",
    "PlainStorage",
    "RevisionedStorage",
    "SqliteStorage",
    "Storage",
    "TaskPage",
    "storage_from_url",
]
