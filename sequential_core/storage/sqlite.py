"""Tasks in one SQLite file, for any number of threads and processes of one machine.

The file is in WAL mode: readers do not wait for writers. Every method is one transaction, and a
transaction is on the disk when it returns (synchronous=FULL: a machine that loses power must not
forget a pause whose answer was acknowledged).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from sequential_core.errors import (
    StorageBusyError,
    StorageError,
    StorageFormatError,
    StorageFullError,
    TaskExistsError,
    TaskNotFoundError,
)
from sequential_core.model import Status, Task
from sequential_core.storage.base import Clock, RevisionedStorage, TaskPage, check_limit, lost, system_clock
from sequential_core.storage.document import (
    decode_cursor,
    encode_cursor,
    from_document,
    microseconds,
    to_document,
)

# 2: due_at, for drivers. Tables of version 1 are changed when they are opened.
_SCHEMA_VERSION = 2

# SQLite keeps this number in the header of the file, so that a file says whose it is.
_APPLICATION = int.from_bytes(b"SEQT", "big")

# Instants are whole microseconds since 1970; a task that does not expire has the largest integer.
_SCHEMA = """
CREATE TABLE task (
    id         TEXT PRIMARY KEY,
    revision   INTEGER NOT NULL,
    status     TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    document   TEXT NOT NULL,
    state      BLOB,
    due_at     INTEGER
);
CREATE INDEX task_by_age ON task (created_at, id);
CREATE INDEX task_by_expiry ON task (expires_at);
CREATE INDEX task_by_due ON task (due_at) WHERE due_at IS NOT NULL;
CREATE TABLE code (
    task_id TEXT PRIMARY KEY REFERENCES task (id) ON DELETE CASCADE,
    text    TEXT NOT NULL
);
"""
_FROM_VERSION_1 = (
    "ALTER TABLE task ADD COLUMN due_at INTEGER",
    "CREATE INDEX task_by_due ON task (due_at) WHERE due_at IS NOT NULL",
)
_NEVER = (1 << 63) - 1

# How many expired tasks a save clears away at most.
_SWEEP = 20


class SqliteStorage(RevisionedStorage):
    """See `RevisionedStorage`.

    Args:
        path: the file; it is made if it is not there, its folder is not.
        clock: says what time it is, for expiry.
        busy_timeout: how long a call waits for other writers before it raises StorageBusyError.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        clock: Clock = system_clock,
        busy_timeout: timedelta = timedelta(seconds=30),
    ) -> None:
        self._path = Path(path).absolute()
        self._clock = clock
        self._busy_timeout = busy_timeout
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._process = os.getpid()
        self._inherited: list[sqlite3.Connection | None] = []

    def save(self, task: Task, *, expected_revision: int | None = None) -> None:
        expires = _NEVER if task.expires_at is None else microseconds(task.expires_at)
        row = {
            "id": task.id,
            "revision": task.revision,
            "status": task.status.value,
            "created_at": microseconds(task.created_at),
            "expires_at": expires,
            "document": to_document(task),
            "state": task.vm_state,
            "due_at": None if task.drive is None or task.drive.due_at is None else microseconds(task.drive.due_at),
            "expected": expected_revision,
        }
        with self._transaction(task.id) as (connection, now):
            if expected_revision:
                updated = connection.execute(
                    "UPDATE task SET revision = :revision, status = :status,"
                    " expires_at = :expires_at, document = :document, state = :state, due_at = :due_at"
                    " WHERE id = :id AND revision = :expected AND created_at = :created_at",
                    row,
                )
                if not updated.rowcount:
                    raise lost(task.id, _stored(connection, task.id), expected_revision)
                return
            exists = _stored(connection, task.id) is not None
            if expected_revision == 0 and exists:
                raise TaskExistsError(task.id)
            connection.execute(
                "INSERT INTO task (id, revision, status, created_at, expires_at, document, state, due_at)"
                " VALUES (:id, :revision, :status, :created_at, :expires_at, :document, :state, :due_at)"
                " ON CONFLICT (id) DO UPDATE SET revision = :revision, status = :status, created_at = :created_at,"
                " expires_at = :expires_at, document = :document, state = :state, due_at = :due_at",
                row,
            )
            if task.code is not None and not exists:
                connection.execute("INSERT INTO code VALUES (?, ?)", (task.id, task.code))
            connection.execute(
                "DELETE FROM task WHERE id IN (SELECT id FROM task WHERE expires_at <= ? AND id <> ? LIMIT ?)",
                (now, task.id, _SWEEP),
            )

    def load(self, task_id: str) -> Task | None:
        with self._errors() as connection:
            row = connection.execute(
                "SELECT document, state FROM task WHERE id = ? AND expires_at > ?", (task_id, self._now())
            ).fetchone()
        return None if row is None else from_document(*row)

    def load_code(self, task_id: str) -> str | None:
        with self._errors() as connection:
            row = connection.execute(
                "SELECT text FROM code JOIN task ON id = task_id WHERE id = ? AND expires_at > ?",
                (task_id, self._now()),
            ).fetchone()
        return None if row is None else str(row[0])

    def delete(self, task_id: str, *, expected: Task | None = None) -> None:
        with self._transaction(task_id) as (connection, _):
            if expected is None:
                deleted = connection.execute("DELETE FROM task WHERE id = ?", (task_id,))
                if not deleted.rowcount:
                    raise TaskNotFoundError(task_id)
                return
            deleted = connection.execute(
                "DELETE FROM task WHERE id = ? AND revision = ? AND created_at = ?",
                (task_id, expected.revision, microseconds(expected.created_at)),
            )
            if not deleted.rowcount:
                raise lost(task_id, _stored(connection, task_id), expected.revision)

    def list(self, *, status: Status | None = None, limit: int = 100, cursor: str | None = None) -> TaskPage:
        created_at, task_id = (_NEVER, "") if cursor is None else decode_cursor(cursor)
        limit = check_limit(limit)
        with self._errors() as connection:
            rows = connection.execute(
                "SELECT document, created_at, id FROM task"
                " WHERE expires_at > :now AND (created_at, id) < (:created_at, :id)"
                " AND (:status IS NULL OR status = :status)"
                " ORDER BY created_at DESC, id DESC LIMIT :limit",
                {
                    "now": self._now(),
                    "created_at": created_at,
                    "id": task_id,
                    "status": None if status is None else status.value,
                    "limit": limit + 1,
                },
            ).fetchall()
        tasks = tuple(from_document(document, None) for document, _, _ in rows[:limit])
        return TaskPage(tasks, encode_cursor(*rows[limit - 1][1:]) if len(rows) > limit else None)

    def due(self, now: datetime, *, limit: int = 100) -> tuple[str, ...]:
        with self._errors() as connection:
            rows = connection.execute(
                "SELECT id FROM task WHERE due_at <= ? AND expires_at > ? ORDER BY due_at LIMIT ?",
                (microseconds(now), self._now(), limit),
            ).fetchall()
        return tuple(str(row[0]) for row in rows)

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _now(self) -> int:
        return microseconds(self._clock())

    @contextmanager
    def _transaction(self, task_id: str) -> Iterator[tuple[sqlite3.Connection, int]]:
        """A write transaction in which the task of that id, if it is there, has not expired."""
        with self._errors() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                now = self._now()
                connection.execute("DELETE FROM task WHERE id = ? AND expires_at <= ?", (task_id, now))
                yield connection, now
                connection.execute("COMMIT")
            except BaseException:
                # SQLite may have rolled back by itself, as it does when the disk is full.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _errors(self) -> Iterator[sqlite3.Connection]:
        """The connection, for this thread alone; translates the errors of SQLite."""
        if self._process != os.getpid():
            # A connection must not be used, nor closed, on the other side of a fork.
            self._inherited.append(self._connection)
            self._connection, self._lock, self._process = None, threading.Lock(), os.getpid()
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._open()
                yield self._connection
            except sqlite3.Error as error:
                raise _translated(error) from error

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path,
            timeout=self._busy_timeout.total_seconds(),
            isolation_level=None,
            check_same_thread=False,  # the lock sees to it
        )
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA synchronous = FULL")
            if _schema(connection) != (_APPLICATION, _SCHEMA_VERSION):
                _make_tables(connection)
            # The mode stays with the file, and cannot be set while others are about to: then they set it.
            with contextlib.suppress(sqlite3.OperationalError):
                connection.execute("PRAGMA journal_mode = WAL")
        except BaseException:
            connection.close()
            raise
        return connection


def _schema(connection: sqlite3.Connection) -> tuple[int, int]:
    """Whose file it is, and the version of its tables; zeros in a new file."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return application, version


def _make_tables(connection: sqlite3.Connection) -> None:
    """Makes the tables, once, however many processes come at the same moment.

    Raises:
        StorageFormatError: the file holds other tables, or those of a later version.
    """
    connection.execute("BEGIN IMMEDIATE")
    application, version = _schema(connection)
    if (application, version) != (_APPLICATION, _SCHEMA_VERSION):
        if (application, version) == (_APPLICATION, 1):
            statements: tuple[str, ...] = _FROM_VERSION_1
        elif application == _APPLICATION:
            raise StorageFormatError(f"the file has tables of version {version}; this version reads {_SCHEMA_VERSION}")
        elif application or version or connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise StorageFormatError("the file belongs to another program")
        else:
            statements = tuple(_SCHEMA.split(";"))
        for statement in statements:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
    connection.execute("COMMIT")


class _Stored(NamedTuple):
    revision: int


def _stored(connection: sqlite3.Connection, task_id: str) -> _Stored | None:
    row = connection.execute("SELECT revision FROM task WHERE id = ?", (task_id,)).fetchone()
    return None if row is None else _Stored(*row)


def _translated(error: sqlite3.Error) -> Exception:
    # The low byte is the primary code: SQLITE_IOERR_WRITE and its like are kinds of SQLITE_IOERR.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StorageBusyError()
    if code == sqlite3.SQLITE_FULL:
        return StorageFullError("the disk, or the file's quota, is full")
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return StorageFormatError("the file is not a database, or is damaged")
    if code == sqlite3.SQLITE_CANTOPEN:
        return StorageError("the file cannot be opened, or its folder is not there")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return StorageError("the file cannot be written")
    return StorageError("SQLite failed")
