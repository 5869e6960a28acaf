"""Storage URLs: one string that names a storage, everywhere and in SEQUENTIAL_STORAGE.

memory:                   this process
sqlite:///tasks.db        a file, relative to the working directory
sqlite:////data/tasks.db  a file, by its absolute path
dynamodb://table?region=eu-central-1&bucket=states
                          a table, and a bucket for what outgrows an item; also endpoint=, a URL in place of AWS's
"""

from __future__ import annotations

import os
import re
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from sequential_core.errors import InvalidStorageURLError, StorageError
from sequential_core.storage.base import RevisionedStorage

_TABLE = re.compile(r"[A-Za-z0-9_.-]{3,255}")  # as DynamoDB has it, in its section on names
_DYNAMODB_OPTIONS = {"region", "bucket", "endpoint"}

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
    if parts.scheme == "dynamodb":
        return _dynamodb(parts)
    known = "memory:, sqlite:///file, dynamodb://table"
    raise InvalidStorageURLError(f"{parts.scheme or url!r} is no kind of storage; known: {known}")


def _dynamodb(parts: SplitResult) -> RevisionedStorage:
    if parts.path or parts.fragment or _TABLE.fullmatch(parts.netloc) is None:
        raise InvalidStorageURLError("a DynamoDB URL is dynamodb://table?region=...&bucket=...")
    try:
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise InvalidStorageURLError("the options of a DynamoDB URL are name=value&name=value") from None
    chosen: dict[str, Any] = dict(options)
    if len(chosen) < len(options) or not all(chosen.values()) or not chosen.keys() <= _DYNAMODB_OPTIONS:
        known = ", ".join(sorted(_DYNAMODB_OPTIONS))
        raise InvalidStorageURLError(f"the options of a DynamoDB URL are {known}, each once and with a value")
    try:
        from sequential_core.storage.dynamodb import DynamoDBStorage
    except ModuleNotFoundError:
        raise InvalidStorageURLError("DynamoDB needs botocore: pip install 'sequential-core[aws]'") from None
    return DynamoDBStorage(parts.netloc, **chosen)


def default_url() -> str:
    """SEQUENTIAL_STORAGE, or a SQLite file in the user's data directory, whose folder is made.

    Raises:
        StorageError: the folder cannot be made.
    """
    if chosen := os.environ.get(ENVIRONMENT_VARIABLE):
        return chosen
    return f"sqlite:///{quote(str(data_directory() / 'tasks.db'))}"


def data_directory() -> Path:
    """Where a user's tasks and signing key are. It is made if it is not there.

    Raises:
        StorageError: it cannot be made.
    """
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
    return place


_opened: dict[str, RevisionedStorage] = {}
_lock = threading.Lock()


def shared_storage(url: str) -> RevisionedStorage:
    """The storage of a URL, opened once in this process and kept."""
    with _lock:
        if url not in _opened:
            _opened[url] = storage_from_url(url)
        return _opened[url]
