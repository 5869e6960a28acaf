"""Tasks in the memory of this process: for tests, and for programs that do not outlive it."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from sequential_core.errors import TaskExistsError, TaskNotFoundError
from sequential_core.model import Status, Task
from sequential_core.storage.base import Clock, RevisionedStorage, TaskPage, check_limit, lost, system_clock
from sequential_core.storage.document import (
    decode_cursor,
    encode_cursor,
    from_document,
    microseconds,
    to_document,
)


@dataclass(frozen=True, slots=True)
class _Row:
    document: str
    state: bytes | None
    code: str | None
    revision: int
    status: Status
    created_at: int
    expires_at: int | None


class MemoryStorage(RevisionedStorage):
    """See `RevisionedStorage`. Keeps the tasks as bytes, as the others do, so that nothing is shared."""

    def __init__(self, *, clock: Clock = system_clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._rows: dict[str, _Row] = {}

    def save(self, task: Task, *, expected_revision: int | None = None) -> None:
        document = to_document(task)
        with self._lock:
            row = self._row(task.id)
            if expected_revision == 0 and row is not None:
                raise TaskExistsError(task.id)
            if expected_revision and not _is(row, expected_revision, task):
                raise lost(task.id, row, expected_revision)
            self._rows[task.id] = _Row(
                document=document,
                state=task.vm_state,
                code=task.code if row is None else row.code,
                revision=task.revision,
                status=task.status,
                created_at=microseconds(task.created_at),
                expires_at=None if task.expires_at is None else microseconds(task.expires_at),
            )

    def load(self, task_id: str) -> Task | None:
        with self._lock:
            row = self._row(task_id)
        return None if row is None else from_document(row.document, row.state)

    def load_code(self, task_id: str) -> str | None:
        with self._lock:
            row = self._row(task_id)
        return None if row is None else row.code

    def delete(self, task_id: str, *, expected: Task | None = None) -> None:
        with self._lock:
            row = self._row(task_id)
            if row is None:
                raise TaskNotFoundError(task_id)
            if expected is not None and not _is(row, expected.revision, expected):
                raise lost(task_id, row, expected.revision)
            del self._rows[task_id]

    def list(self, *, status: Status | None = None, limit: int = 100, cursor: str | None = None) -> TaskPage:
        after = None if cursor is None else decode_cursor(cursor)
        limit = check_limit(limit)
        with self._lock:
            found = sorted(
                (
                    (row.created_at, task_id)
                    for task_id in tuple(self._rows)
                    if (row := self._row(task_id)) is not None
                    and (status is None or row.status is status)
                    and (after is None or (row.created_at, task_id) < after)
                ),
                reverse=True,
            )
            rows = [self._rows[task_id] for _, task_id in found[:limit]]
        tasks = tuple(from_document(row.document, None) for row in rows)
        more = len(found) > limit
        return TaskPage(tasks, encode_cursor(*found[limit - 1]) if more else None)

    def _row(self, task_id: str) -> _Row | None:
        """The row of a task that exists; one that has expired is forgotten. The lock is held."""
        row = self._rows.get(task_id)
        if row is not None and row.expires_at is not None and row.expires_at <= microseconds(self._clock()):
            del self._rows[task_id]
            return None
        return row


def _is(row: _Row | None, revision: int, task: Task) -> bool:
    return row is not None and (row.revision, row.created_at) == (revision, microseconds(task.created_at))
