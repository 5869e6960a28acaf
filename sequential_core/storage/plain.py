"""Makes a storage of a user's own, three methods that know nothing of revisions, fit for the flow."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping
from typing import Any

from sequential_core.errors import (
    InvalidRequestError,
    StorageFormatError,
    TaskExistsError,
    TaskNotFoundError,
)
from sequential_core.model import Status, Task
from sequential_core.storage.base import Clock, RevisionedStorage, Storage, TaskPage, lost, system_clock


class PlainStorage(RevisionedStorage):
    """Compares revisions by loading before saving, under a lock.

    So of several threads of one process that resume the same pause one wins. Between
    processes nobody can promise that without help from the storage.
    """

    def __init__(self, storage: Storage, *, clock: Clock = system_clock) -> None:
        self._storage = storage
        self._clock = clock
        self._lock = _lock_of(storage)

    def save(self, task: Task, *, expected_revision: int | None = None) -> None:
        with self._lock:
            if expected_revision is not None:
                stored = self.load(task.id)
                if expected_revision == 0 and stored is not None:
                    raise TaskExistsError(task.id)
                if expected_revision and not _is(stored, expected_revision, task):
                    raise lost(task.id, stored, expected_revision)
            self._storage.save(task)

    def load(self, task_id: str) -> Task | None:
        try:
            found: Any = self._storage.load(task_id)
        except LookupError:
            return None
        if found is None:
            return None
        task = found if isinstance(found, Task) else _from_mapping(found)
        return None if task.expired(self._clock()) else task

    def load_code(self, task_id: str) -> str | None:
        task = self.load(task_id)
        return None if task is None else task.code

    def delete(self, task_id: str, *, expected: Task | None = None) -> None:
        with self._lock:
            stored = self.load(task_id)
            if stored is None:
                raise TaskNotFoundError(task_id)
            if expected is not None and not _is(stored, expected.revision, expected):
                raise lost(task_id, stored, expected.revision)
            self._storage.delete(task_id)

    def list(
        self,
        *,
        status: Status | None = None,  # noqa: ARG002  # the interface
        limit: int = 100,  # noqa: ARG002
        cursor: str | None = None,  # noqa: ARG002
    ) -> TaskPage:
        raise InvalidRequestError("storage", f"a {type(self._storage).__name__} cannot list its tasks")


def _from_mapping(found: object) -> Task:
    if not isinstance(found, Mapping):
        raise StorageFormatError(f"load() gave a {type(found).__name__}, not a task or its JSON form")
    try:
        return Task.from_dict(found)
    except InvalidRequestError as error:
        raise StorageFormatError("load() gave a mapping that is not the JSON form of a task") from error


def _is(stored: Task | None, revision: int, task: Task) -> bool:
    return stored is not None and (stored.revision, stored.created_at) == (revision, task.created_at)


_locks: weakref.WeakKeyDictionary[Any, threading.RLock] = weakref.WeakKeyDictionary()
_lock_of_others = threading.RLock()


def _lock_of(storage: object) -> Any:
    """One lock for each storage object, and one for all those that cannot be a key."""
    try:
        return _locks.setdefault(storage, threading.RLock())
    except TypeError:
        return _lock_of_others
