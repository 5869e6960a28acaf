"""What a storage must do. `tests/contracts/` argues every sentence of this page.

Any object with `save(task)`, `load(task_id)` and `delete(task_id)` is a storage (`Storage`). Such a one cannot tell
two writers apart, so resuming is exactly-once only as far as one process goes; see `PlainStorage`.
Ours are a `RevisionedStorage`.

*Expiry.* A task whose `expires_at` is now or earlier does not exist, for every method, whether or not its bytes
are still there. A task without `expires_at` does not expire.

*Atomicity.* A save or a delete happens whole or not at all, also when the process or the machine dies in
the middle. Two saves that expect the same revision: one happens, the other raises.

*Durability.* When a save or a delete returns, it outlives the process (MemoryStorage excepted) and, as far as
the disk keeps its word, the machine.

*Size.* A task of 16 MiB of state and 1 MiB of result can be saved.

*Values.* What was loaded is not shared with the storage, nor with what was saved: changing one changes no other.

*Threads.* All methods may be called from several threads at once.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, runtime_checkable

from sequential_core.errors import CallerError, InvalidRequestError, TaskConflictError, TaskNotFoundError
from sequential_core.model import Status, Task

Clock = Callable[[], datetime]

MAX_PAGE_SIZE = 1000


def system_clock() -> datetime:
    """The current instant, aware and in UTC."""
    return datetime.now(UTC)


@runtime_checkable
class Storage(Protocol):
    """The three methods that make an object a storage."""

    def save(self, task: Task, /) -> Any:
        """Keeps the task under its id, in place of the one before. It is a mapping of its JSON form too."""

    def load(self, task_id: str, /) -> Task | Mapping[str, Any] | None:
        """The task, or its JSON form; None or a LookupError if there is none."""

    def delete(self, task_id: str, /) -> Any:
        """Forgets the task; does nothing, or raises a LookupError, if there is none."""


@dataclass(frozen=True, slots=True)
class TaskPage:
    """A part of a list of tasks.

    Attributes:
        tasks: without `vm_state`.
        cursor: give it to get what comes after; None at the end.
    """

    tasks: tuple[Task, ...]
    cursor: str | None


class RevisionedStorage(abc.ABC):
    """A storage that compares revisions, and so lets one of several writers win."""

    @abc.abstractmethod
    def save(self, task: Task, *, expected_revision: int | None = None) -> Any:
        """Keeps the task under its id.

        Args:
            task: what to keep. Its `code` is kept when the task is created, and stays as it is then.
            expected_revision: 0 to create; another number to replace the task of that revision
                and of the same `created_at`; None to keep it whatever is there.

        Returns:
            The `storage_note` that the task would have if it was loaded now: with it, it can be saved again. None if
            it would have none, or that is not known.

        Raises:
            TaskExistsError: it was to be created, and the id is in use.
            TaskConflictError: the stored task has another revision, or was created at another instant: the
                one that was meant has been deleted, and its id used again.
            TaskNotFoundError: there is no task to replace.
            StorageError, StorageBusyError: it could not be kept; what is stored is as before.
        """

    @abc.abstractmethod
    def load(self, task_id: str) -> Task | None:
        """The task without its code, or None if there is none. Sees every save that has returned."""

    @abc.abstractmethod
    def delete(self, task_id: str, *, expected: Task | None = None) -> None:
        """Forgets the task and its code.

        Args:
            task_id: which one.
            expected: only if the stored task has the revision and the `created_at` of this one; None:
                whatever it has.

        Raises:
            TaskNotFoundError: there is none.
            TaskConflictError: it has another revision, or was created at another instant.
        """

    @abc.abstractmethod
    def load_code(self, task_id: str) -> str | None:
        """The posted code of a task, or None if there is no such task."""

    @abc.abstractmethod
    def list(self, *, status: Status | None = None, limit: int = 100, cursor: str | None = None) -> TaskPage:
        """The tasks, newest first by `created_at`.

        Args:
            status: only those of this status.
            limit: at most so many, 1 to 1,000.
            cursor: from the page before. A task that is there during the whole walk is seen exactly once.

        Raises:
            InvalidRequestError: the limit or the cursor is not one.
        """

    def due(self, now: datetime, *, limit: int = 100) -> tuple[str, ...]:
        """Ids of driven tasks that a driver is to look at by now (`drive.due_at`), the one first that waits longest.

        This one walks all tasks; a storage that drivers ask often has an index.
        """
        found: list[tuple[datetime, str]] = []
        cursor = None
        while True:
            page = self.list(limit=MAX_PAGE_SIZE, cursor=cursor)
            found += [
                (task.drive.due_at, task.id)
                for task in page.tasks
                if task.drive is not None and task.drive.due_at is not None and task.drive.due_at <= now
            ]
            if (cursor := page.cursor) is None:
                return tuple(task_id for _, task_id in sorted(found)[:limit])

    def close(self) -> None:
        """Lets go of connections and files. The storage must not be used afterwards."""


def check_limit(limit: int) -> int:
    """The limit of a page, checked."""
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_PAGE_SIZE:
        raise InvalidRequestError("limit", f"it must be a number from 1 to {MAX_PAGE_SIZE}")
    return limit


class Stored(Protocol):
    """What a storage knows of a task that it has."""

    @property
    def revision(self) -> int: ...


def lost(task_id: str, stored: Stored | None, expected_revision: int) -> CallerError:
    """What a save or a delete raises that expected another task than the stored one; None: there is none."""
    if stored is None:
        return TaskNotFoundError(task_id)
    if stored.revision == expected_revision:
        return TaskConflictError(task_id, "it was deleted, and its id used again")
    return TaskConflictError(task_id, f"it has revision {stored.revision}, not {expected_revision}")
