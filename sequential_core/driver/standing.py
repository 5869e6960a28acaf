"""Where a driver leaves a task: values, on which its caller matches."""

from __future__ import annotations

from dataclasses import dataclass

from sequential_core.model import Task


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing is left to do: the task has ended, is not driven any more, or does not exist.

    Attributes:
        task: as it stands; None if it does not exist.
    """

    task: Task | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing is to be done before `task.drive.due_at`, or before somebody else changes it. Nobody has claimed it."""

    task: Task


@dataclass(frozen=True, slots=True)
class Yielded:
    """The time was up. The task stays claimed, for whoever comes with the token."""

    task: Task
    token: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """Another driver is at it."""

    task: Task


Standing = Ended | Waiting | Yielded | Claimed
