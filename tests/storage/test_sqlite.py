from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from contracts.storage import StorageContract
from contracts.tasks import a_task, as_loaded

from sequential_core.drive import Drive
from sequential_core.errors import (
    StorageBusyError,
    StorageError,
    StorageFormatError,
    StorageFullError,
    TaskConflictError,
)
from sequential_core.storage.document import microseconds, to_document
from sequential_core.storage.sqlite import SqliteStorage
from sequential_core.testing import NOW


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tasks.db"


@pytest.fixture
def storage(path):
    opened = SqliteStorage(path, clock=lambda: NOW)
    yield opened
    opened.close()


class TestSqliteStorage(StorageContract):
    @pytest.fixture
    def storage(self, path, clock):
        opened = SqliteStorage(path, clock=clock)
        yield opened
        opened.close()


class TestTwoSqliteStoragesOfOneFile(StorageContract):
    """Every method goes to the other storage than the one before: each sees what the other did at once."""

    @pytest.fixture
    def storage(self, path, clock):
        both = [SqliteStorage(path, clock=clock) for _ in range(2)]

        class Alternating:
            def __getattr__(self, name):
                both.reverse()
                return getattr(both[0], name)

        yield Alternating()
        for each in both:
            each.close()


def _pragma(connection, name):
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def _python(code, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Tests import the package from where they stand.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        **options,
    )


# What a process of its own needs to make tasks.
_BEGIN = """
import os, resource, signal, sys
from dataclasses import replace
from pathlib import Path
from contracts.tasks import NOW, a_task, as_loaded
from sequential_core.errors import *
from sequential_core.storage.sqlite import SqliteStorage
storage = SqliteStorage(sys.argv[1], clock=lambda: NOW)
"""


def test_file_is_in_wal_mode_and_writes_are_synchronous(storage, path):
    storage.save(a_task())
    assert _pragma(storage._connection, "synchronous") == 2  # FULL
    assert _pragma(storage._connection, "foreign_keys") == 1
    other = sqlite3.connect(path)
    assert _pragma(other, "journal_mode") == "wal"
    other.close()


def test_readers_do_not_wait_for_a_writer(storage, path):
    storage.save(a_task())
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("DELETE FROM task")
    assert storage.load("task-1") == as_loaded(a_task())
    assert len(storage.list().tasks) == 1
    writer.close()


def test_writer_that_waits_too_long_gets_busy_and_can_try_again(path):
    storage = SqliteStorage(path, clock=lambda: NOW, busy_timeout=timedelta(milliseconds=20))
    storage.save(a_task())
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageBusyError):
        storage.save(a_task(revision=2), expected_revision=1)
    with pytest.raises(StorageBusyError):
        storage.delete("task-1")
    other.execute("ROLLBACK")
    other.close()
    storage.save(a_task(revision=2), expected_revision=1)
    assert storage.load("task-1").revision == 2
    storage.close()


def test_writer_waits_for_another(storage, path):
    storage.save(a_task())
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    begun = threading.Event()

    def save():
        begun.set()
        storage.save(a_task(revision=2), expected_revision=1)

    thread = threading.Thread(target=save)
    thread.start()
    begun.wait()
    other.execute("COMMIT")
    thread.join()
    other.close()
    assert storage.load("task-1").revision == 2


def test_a_save_clears_away_tasks_that_have_expired(path):
    now = NOW
    storage = SqliteStorage(path, clock=lambda: now)
    for number in range(3):
        storage.save(a_task(f"task-{number}"))
    now += timedelta(hours=2)
    storage.save(a_task("new", expires_at=None))
    storage.close()
    rows = sqlite3.connect(path)
    assert rows.execute("SELECT id FROM task").fetchall() == [("new",)]
    assert rows.execute("SELECT task_id FROM code").fetchall() == [("new",)]
    rows.close()


def test_ten_processes_make_a_new_file_at_the_same_moment(path, storage):
    code = _BEGIN + "print('ready', flush=True); input(); storage.save(a_task(sys.argv[2]), expected_revision=0)"
    processes = [_python(code, path, number) for number in range(10)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert errors == [""] * 10
    assert {task.id for task in storage.list().tasks} == {str(number) for number in range(10)}
    assert _pragma(storage._connection, "journal_mode") == "wal"


def test_what_was_saved_outlives_the_process(path, storage):
    code = _BEGIN + "storage.save(a_task(), expected_revision=0); os._exit(0)"
    assert _python(code, path).communicate(timeout=60)[1] == ""
    assert storage.load("task-1") == as_loaded(a_task())


def test_process_killed_inside_a_transaction_leaves_the_old_task(path, storage):
    storage.save(a_task(), expected_revision=0)
    code = _BEGIN + (
        "with storage._transaction('task-1') as (connection, _):\n"
        "    connection.execute('PRAGMA cache_size = 1')\n"  # writes go to the file before the commit
        "    connection.execute('UPDATE task SET revision = 2, state = randomblob(1000000)')\n"
        "    connection.execute('DELETE FROM code')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    process = _python(code, path)
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == -9
    fresh = SqliteStorage(path, clock=lambda: NOW)
    assert fresh.load("task-1") == storage.load("task-1") == as_loaded(a_task())
    assert fresh.load_code("task-1") == a_task().code
    fresh.save(a_task(revision=2), expected_revision=1)
    fresh.close()
    assert storage.load("task-1").revision == 2


@pytest.mark.parametrize("expected", [0, None, 1])
def test_full_database_keeps_the_old_task_and_stays_usable(storage, expected):
    storage.save(a_task(), expected_revision=0)
    pages = _pragma(storage._connection, "page_count")
    storage._connection.execute(f"PRAGMA max_page_count = {pages}")
    large = a_task("task-2" if expected == 0 else "task-1", revision=2, vm_state=bytes(100_000))
    with pytest.raises(StorageFullError):
        storage.save(large, expected_revision=expected)
    assert storage.load("task-1") == as_loaded(a_task())
    assert storage.load("task-2") is None
    storage.save(a_task(revision=2, name="small"), expected_revision=1)
    assert storage.load("task-1") == as_loaded(a_task(revision=2, name="small"))
    storage._connection.execute("PRAGMA max_page_count = 10000")
    storage.save(replaced := a_task(revision=3, vm_state=bytes(100_000)), expected_revision=2)
    assert storage.load("task-1") == as_loaded(replaced)


def test_file_that_may_not_grow_keeps_the_old_task_and_stays_usable(path, storage):
    storage.save(a_task(), expected_revision=0)
    # The signal that a write beyond the limit sends is ignored by Python; the write then fails.
    code = _BEGIN + (
        "assert storage.load('task-1') == as_loaded(a_task())\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))\n"
        "try:\n"
        "    storage.save(a_task(revision=2, vm_state=bytes(1_000_000)), expected_revision=1)\n"
        "except StorageError as error:\n"
        "    print(type(error).__name__)\n"
        "assert storage.load('task-1') == as_loaded(a_task())\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "storage.save(a_task(revision=2, vm_state=bytes(1_000_000)), expected_revision=1)\n"
        "storage.close()\n"
    )
    process = _python(code, path)
    out, err = process.communicate(timeout=60)
    assert err == ""
    assert out in ("StorageError\n", "StorageFullError\n")
    assert storage.load("task-1") == as_loaded(a_task(revision=2, vm_state=bytes(1_000_000)))


@pytest.mark.parametrize("content", [b"This is a text. " * 100, b"SQLite format 3\x00" + bytes(range(256)) * 40])
def test_file_that_is_no_database_is_a_format_error_and_left_alone(path, storage, content):
    path.write_bytes(content)
    with pytest.raises(StorageFormatError):
        storage.load("task-1")
    with pytest.raises(StorageFormatError):
        storage.save(a_task())
    assert path.read_bytes() == content


def test_empty_file_becomes_a_database(path, storage):
    path.write_bytes(b"")
    storage.save(a_task())
    assert storage.load("task-1") == as_loaded(a_task())


def _other_program(path, version):
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE recipe (name TEXT)")
    other.execute(f"PRAGMA user_version = {version}")
    other.close()


@pytest.mark.parametrize("version", [0, 2, 1])
def test_database_of_another_program_is_a_format_error(path, storage, version):
    _other_program(path, version)
    with pytest.raises(StorageFormatError):
        storage.save(a_task())
    with pytest.raises(StorageFormatError):
        storage.load("task-1")


def test_database_of_another_program_is_not_changed(path, storage):
    _other_program(path, 0)
    before = path.read_bytes()
    with pytest.raises(StorageFormatError):
        storage.load("task-1")
    assert path.read_bytes() == before


def test_schema_of_a_later_version_is_a_format_error_that_names_it(path, storage):
    storage.save(a_task())
    storage._connection.execute("PRAGMA user_version = 3")
    storage.close()
    with pytest.raises(StorageFormatError, match="version 3; this version reads 2"):
        SqliteStorage(path).load("task-1")


# The tables of the first version, as it made them.
VERSION_1 = """
CREATE TABLE task (
    id         TEXT PRIMARY KEY,
    revision   INTEGER NOT NULL,
    status     TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    document   TEXT NOT NULL,
    state      BLOB
);
CREATE INDEX task_by_age ON task (created_at, id);
CREATE INDEX task_by_expiry ON task (expires_at);
CREATE TABLE code (
    task_id TEXT PRIMARY KEY REFERENCES task (id) ON DELETE CASCADE,
    text    TEXT NOT NULL
);
"""


def test_a_file_of_the_first_version_goes_on(path):
    def clock():
        return NOW

    task = a_task()
    connection = sqlite3.connect(path)
    connection.executescript(VERSION_1)
    connection.execute(
        "INSERT INTO task VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            task.id,
            task.revision,
            task.status.value,
            microseconds(task.created_at),
            microseconds(task.expires_at),
            to_document(task),
            task.vm_state,
        ),
    )
    connection.execute(f"PRAGMA application_id = {int.from_bytes(b'SEQT', 'big')}")
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()
    storage = SqliteStorage(path, clock=clock)
    assert storage.load(task.id) == as_loaded(task)
    assert storage.due(clock()) == ()
    driven = replace(task, revision=task.revision + 1, drive=Drive(due_at=clock()))
    storage.save(driven, expected_revision=task.revision)
    storage.close()
    with contextlib.closing(SqliteStorage(path, clock=clock)) as again:
        assert again.due(clock()) == (task.id,)


def test_row_that_is_no_task_is_a_format_error(storage):
    storage.save(a_task())
    storage._connection.execute("UPDATE task SET document = '{}'")
    with pytest.raises(StorageFormatError):
        storage.load("task-1")


def test_damaged_page_is_a_storage_error(path, storage):
    storage.save(a_task(vm_state=bytes(50_000)))
    storage.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * 8 * 4096)
    damaged = SqliteStorage(path, clock=lambda: NOW)
    with pytest.raises(StorageError):
        damaged.load("task-1")
    damaged.close()


def test_folder_in_place_of_the_file(tmp_path):
    with pytest.raises(StorageError, match="cannot be opened"):
        SqliteStorage(tmp_path).load("task-1")


def test_missing_folder_is_not_made(tmp_path):
    with pytest.raises(StorageError, match="cannot be opened"):
        SqliteStorage(tmp_path / "missing" / "tasks.db").save(a_task())
    assert not (tmp_path / "missing").exists()


def test_connection_that_may_only_read(storage):
    storage.save(a_task())
    storage._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(StorageError, match="cannot be written"):
        storage.save(a_task(revision=2), expected_revision=1)
    assert storage.load("task-1") == as_loaded(a_task())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write what is read-only")
def test_read_only_file(path, storage):
    storage.save(a_task())
    storage.close()
    path.chmod(0o400)
    read_only = SqliteStorage(path, clock=lambda: NOW)
    with pytest.raises(StorageError):
        read_only.save(a_task(revision=2), expected_revision=1)
    read_only.close()


def test_storage_opens_again_after_a_failure(tmp_path):
    folder = tmp_path / "later"
    storage = SqliteStorage(folder / "tasks.db", clock=lambda: NOW)
    with pytest.raises(StorageError):
        storage.load("task-1")
    folder.mkdir()
    storage.save(a_task())
    assert storage.load("task-1") == as_loaded(a_task())
    storage.close()


def test_closing_lets_go_of_the_files(path, storage):
    storage.save(a_task())
    storage.close()
    storage.close()
    assert [each.name for each in path.parent.iterdir()] == ["tasks.db"]  # neither -wal nor -shm


def test_storage_that_was_open_before_a_fork_works_on_both_sides(path):
    # In a process of its own: pytest's may have threads, of which a fork would keep only one.
    code = _BEGIN + (
        "storage.save(a_task(), expected_revision=0)\n"
        "inherited = storage._connection\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    assert storage.load('task-1') == as_loaded(a_task())\n"
        "    assert storage._connection is not inherited\n"
        "    storage.save(a_task(revision=2), expected_revision=1)\n"
        "    storage.close()\n"
        "    os._exit(0)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0\n"
        "assert storage._connection is inherited\n"
        "try:\n"
        "    storage.save(a_task(revision=2), expected_revision=1)\n"
        "except TaskConflictError:\n"
        "    storage.save(a_task(revision=3), expected_revision=2)\n"
        "    print(storage.load('task-1').revision)\n"
    )
    assert _python(code, path).communicate(timeout=60) == ("3\n", "")


def test_storage_in_use_by_a_thread_during_a_fork_works_in_the_child(path):
    code = _BEGIN + (
        "storage.save(a_task(), expected_revision=0)\n"
        "storage._lock.acquire()\n"  # as the thread does, which the child does not have
        "child = os.fork()\n"
        "if not child:\n"
        "    signal.alarm(30)\n"
        "    storage.save(a_task(revision=2), expected_revision=1)\n"
        "    os._exit(0)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    assert _python(code, path).communicate(timeout=60) == ("0\n", "")


def test_relative_path_stays_where_it_was_when_the_process_moves(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    storage = SqliteStorage("tasks.db")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    storage.save(a_task())
    storage.close()
    assert (tmp_path / "tasks.db").exists()


def test_task_created_without_code_stays_without(storage):
    storage.save(a_task(code=None))
    storage.save(a_task(revision=2, code="late"))
    assert storage.load_code("task-1") is None


def test_error_of_a_lost_race_names_both_revisions(storage):
    storage.save(a_task(revision=4))
    with pytest.raises(TaskConflictError, match="it has revision 4, not 2"):
        storage.save(a_task(revision=3), expected_revision=2)
