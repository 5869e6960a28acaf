"""What the messages say that drive tasks, and what is to be done about one.

A message says which task is to be looked at, and by what right; what is to be done is in the task. It may come twice,
late, and beside others of the same task. There are three:

    {"id"}           the watchdog: sent before a caller saves, in case that nothing comes after
    {"id", "token"}  a turn: for the driver that the task is claimed for
    {"id", "due"}    a wake: nobody was to look at the task before that instant

`delay` is how many seconds a message was held back. One that failed for good has its `reason`, for the dead letters.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sequential_core.checks import check_task_id, from_rfc3339, to_rfc3339
from sequential_core.model import Status, Task


class MalformedMessageError(ValueError):
    """The text of a message is none that is sent here."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    Attributes:
        task_id: the task.
        token: of a turn, the one that the task was claimed with.
        due_at: of a wake, what the task had as its `due_at`.
        delay_seconds: how long it was held back.
        reason: of a dead letter, why it failed; None if nobody could say.
    """

    task_id: str
    token: str | None = None
    due_at: datetime | None = None
    delay_seconds: int = 0
    reason: str | None = None

    def write(self) -> str:
        """Its text."""
        fields = {
            "id": self.task_id,
            "token": self.token,
            "due": None if self.due_at is None else to_rfc3339(self.due_at),
            "delay": self.delay_seconds or None,
            "reason": self.reason,
        }
        return json.dumps({name: value for name, value in fields.items() if value is not None})

    @classmethod
    def read(cls, text: str) -> Message:
        """The message of a text. Members that are not known are passed over: a later version may send them.

        Raises:
            MalformedMessageError: it is none.
        """
        try:
            data = json.loads(text)
            if not isinstance(data, dict):
                raise MalformedMessageError("it is no object")
            due = _text(data, "due")
            return cls(
                task_id=check_task_id(data.get("id")),
                token=_text(data, "token"),
                due_at=None if due is None else from_rfc3339(due),
                delay_seconds=int(data.get("delay", 0)),
                reason=_text(data, "reason"),
            )
        except (TypeError, ValueError, RecursionError) as error:  # InvalidTaskIdError is one
            raise MalformedMessageError(str(error)[:200]) from None


def _text(data: Mapping[str, Any], name: str) -> str | None:
    value = data.get(name)
    if value is not None and not isinstance(value, str):
        raise MalformedMessageError(f"{name} is no string")
    return value


class Step(enum.Enum):
    """What is to be done about a message."""

    NOTHING = enum.auto()
    DRIVE = enum.auto()
    WAKE = enum.auto()
    FAIL = enum.auto()
    LATER = enum.auto()


def next_step(message: Message, task: Task | None, now: datetime, *, came_before: bool = False) -> Step:
    """What the driver does: nothing, drives the task, or sends a wake for when it is due.

    Args:
        message: the message.
        task: as it is stored; None: it is not.
        now: the present.
        came_before: whether it was received before, and not deleted.
    """
    drive = None if task is None else task.drive
    if drive is None or drive.due_at is None:
        return Step.NOTHING
    if drive.is_claimed(now):
        # Another driver has a message of its own.
        return Step.DRIVE if message.token == drive.claim else Step.NOTHING
    if drive.due_at <= now:
        return Step.DRIVE
    # Whoever has given the task another instant has sent another wake. But a turn, or the watchdog, comes here if its
    # sender has died before it could; and what comes again, if the function that had it died before it could. Then a
    # wake too many does no harm: the first one gives the task another instant, and the others find that.
    return Step.WAKE if came_before or message.due_at in (None, drive.due_at) else Step.NOTHING


def last_step(message: Message, task: Task | None, now: datetime) -> Step:
    """What is done about a message that could not be dealt with: nothing, fails the task now or later, or sends a wake.

    A task is failed if it waits for this message and no other. If it may go on without, it is left to do so.

    Args:
        message: the message.
        task: as it is stored; None: it is not.
        now: the present.
    """
    drive = None if task is None or task.status is not Status.PAUSED else task.drive
    if drive is None or drive.due_at is None:
        return Step.NOTHING
    if drive.is_claimed(now):
        return Step.LATER if message.token == drive.claim else Step.NOTHING
    if drive.due_at <= now or message.due_at == drive.due_at:
        return Step.FAIL
    return Step.WAKE if message.due_at is None else Step.NOTHING
