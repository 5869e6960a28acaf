"""Storage URLs: one string that names a storage, everywhere and in SEQUENTIAL_STORAGE.

memory:                   this process
sqlite:///tasks.db        a file, relative to the working directory
sqlite:////data/tasks.db  a file, by its absolute path
"""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from sequential_core.errors import InvalidStorageURLError
from sequential_core.storage.base import RevisionedStorage

ENVIRONMENT_VARIABLE = "SEQUENTIAL_STORAGE"


def storage_from_url(url: str) -> RevisionedStorage:
    """Opens the storage that a URL names.

    Raises:
        InvalidStorageURLError: the URL is malformed, or of a kind that is not known.
    """
    parts = urlsplit(url)
    if parts.scheme == "memory" and url in ("memory:", "memory://"):
        from sequential_core.storage.memory import MemoryStorage

        return MemoryStorage()
    if parts.scheme == "sqlite":
        if parts.netloc or not parts.path.startswith("/") or parts.path == "/" or parts.query or parts.fragment:
            raise InvalidStorageURLError("a SQLite URL is sqlite:///relative.db or sqlite:////absolute/path.db")
        from sequential_core.storage.sqlite import SqliteStorage

        return SqliteStorage(unquote(parts.path[1:]))
    raise InvalidStorageURLError(f"{parts.scheme or url!r} is no kind of storage; known: memory:, sqlite:///file")


def default_url() -> str:
    """SEQUENTIAL_STORAGE, or a SQLite file in the user's data directory, whose folder is made."""
    if chosen := os.environ.get(ENVIRONMENT_VARIABLE):
        return chosen
    if sys.platform == "darwin":
        place = Path.home() / "Library" / "Application Support" / "sequential"
    else:
        place = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "sequential"
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    return f"sqlite:///{quote(str(place / 'tasks.db'))}"


@functools.lru_cache(maxsize=16)
def shared_storage(url: str) -> RevisionedStorage:
    """The storage of a URL, opened once in this process."""
    return storage_from_url(url)
