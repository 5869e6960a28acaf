"""Storage URLs: one string that names a storage, everywhere and in SEQUENTIAL_STORAGE.

memory:                   this process
sqlite:///tasks.db        a file, relative to the working directory
sqlite:////data/tasks.db  a file, by its absolute path
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from sequential_core.errors import InvalidStorageURLError, StorageError
from sequential_core.storage.base import RevisionedStorage

ENVIRONMENT_VARIABLE = "SEQUENTIAL_STORAGE"


def storage_from_url(url: str) -> RevisionedStorage:
    """Opens the storage that a URL names.

    Raises:
        InvalidStorageURLError: the URL is malformed, or of a kind that is not known.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise InvalidStorageURLError("it is no URL") from None
    if parts.scheme == "memory" and url in ("memory:", "memory://"):
        from sequential_core.storage.memory import MemoryStorage

        return MemoryStorage()
    if parts.scheme == "sqlite":
        path = unquote(parts.path[1:])
        whole = url.startswith("sqlite:///") and not (parts.netloc or parts.query or parts.fragment)
        if not whole or not path or "\0" in path:
            raise InvalidStorageURLError("a SQLite URL is sqlite:///relative.db or sqlite:////absolute/path.db")
        from sequential_core.storage.sqlite import SqliteStorage

        return SqliteStorage(path)
    raise InvalidStorageURLError(f"{parts.scheme or url!r} is no kind of storage; known: memory:, sqlite:///file")


def default_url() -> str:
    """SEQUENTIAL_STORAGE, or a SQLite file in the user's data directory, whose folder is made.

    Raises:
        StorageError: the folder cannot be made.
    """
    if chosen := os.environ.get(ENVIRONMENT_VARIABLE):
        return chosen
    if sys.platform == "darwin":
        place = Path.home() / "Library" / "Application Support" / "sequential"
    else:
        chosen = os.environ.get("XDG_DATA_HOME", "")
        # A relative path is to be ignored, says the XDG Base Directory Specification.
        place = (Path(chosen) if chosen.startswith("/") else Path.home() / ".local" / "share") / "sequential"
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError("the user's data directory cannot be made; set SEQUENTIAL_STORAGE") from error
    return f"sqlite:///{quote(str(place / 'tasks.db'))}"


_opened: dict[str, RevisionedStorage] = {}
_lock = threading.Lock()


def shared_storage(url: str) -> RevisionedStorage:
    """The storage of a URL, opened once in this process and kept."""
    with _lock:
        if url not in _opened:
            _opened[url] = storage_from_url(url)
        return _opened[url]
