"""The queue that drives tasks: how its messages are sent, now or later, and the dispatcher that sends them for callers.

Why no task is forgotten: for every task that has something to do there is a message that is not yet deleted. A driver's
own is deleted when it has sent the next. A caller sends a watchdog before it saves, and after that what lets a driver
begin at once; if it dies in between, the watchdog comes ten minutes later.
"""

from __future__ import annotations

import hashlib
import logging
import math
import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from handlers.messages import Message
from sequential_core.checks import to_rfc3339
from sequential_core.drive import Claim
from sequential_core.model import Task
from sequential_core.storage import aws
from sequential_core.storage.base import Clock, system_clock

# A message cannot be delayed for longer (Amazon SQS, "message quotas").
_LONGEST_DELAY = timedelta(minutes=15)

# EventBridge Scheduler fires within a minute after the instant that was asked for ("Schedule types").
_SCHEDULER_SLACK = timedelta(minutes=1)

# The claim of a caller ends before its watchdog comes, so that this one may drive.
_WATCHDOG_DELAY = timedelta(minutes=10)
_CLAIM = timedelta(minutes=8)

# The claim of a driver ends so long after it was made, or sooner; until then nobody may fail its task.
_LONGEST_LEASE = timedelta(seconds=90)

# Who waits longest is tried again after so many seconds; SQS lets nobody wait longer than 12 hours.
_SHORTEST_BACKOFF_SECONDS = 5
_LONGEST_BACKOFF_SECONDS = 720

_logger = logging.getLogger("sequential.driver")


@dataclass(frozen=True, slots=True)
class Schedules:
    """Where wakes are put that are too late for a delay.

    Attributes:
        group: of EventBridge Scheduler.
        role: ARN of the role that it sends the message with.
        queue: ARN of the queue that it sends it to.
    """

    group: str
    role: str
    queue: str


class Queue:
    """The driver's queue.

    Args:
        url: of the queue.
        schedules: None: a wake is sent from delay to delay, until a reader of the queue has schedules.
        dead_letters: URL of the queue of dead letters; None: only SQS itself moves messages there.
        clock: says what time it is.
    """

    def __init__(
        self,
        url: str,
        *,
        schedules: Schedules | None = None,
        dead_letters: str | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self._url = url
        self._schedules = schedules
        self._dead_letters = dead_letters
        self._clock = clock

    @property
    def has_dead_letters(self) -> bool:
        """Whether messages can be buried."""
        return self._dead_letters is not None

    def send(self, message: Message, delay: timedelta = timedelta(0)) -> None:
        """Sends a message, which comes when the delay is over: whole seconds, 15 minutes at most.

        Raises:
            StorageBusyError, StorageError: it may not have been sent.
        """
        seconds = min(math.ceil(max(delay, timedelta(0)) / timedelta(seconds=1)), 900)
        self._send(self._url, replace(message, delay_seconds=seconds), DelaySeconds=seconds)

    def wake(self, task: Task) -> None:
        """Sends what comes when the task is due, which it must be some time.

        Raises:
            StorageBusyError, StorageError: it may not have been sent.
        """
        assert task.drive is not None, "it is driven"
        assert task.drive.due_at is not None, "it is due some time"
        message = Message(task.id, due_at=task.drive.due_at)
        left = task.drive.due_at - self._clock()
        if left <= _LONGEST_DELAY or self._schedules is None:
            self.send(message, min(left, _LONGEST_DELAY))
        else:
            self._schedule(self._schedules, message, task.created_at)

    def postpone(self, receipt: str, times_received: int) -> None:
        """Lets a message that failed come again sooner than after the visibility timeout: 5 s, then twice as long.

        Raises:
            StorageBusyError, StorageError: it comes again after that timeout.
        """
        seconds = min(_SHORTEST_BACKOFF_SECONDS * 2 ** min(times_received - 1, 10), _LONGEST_BACKOFF_SECONDS)
        with aws.errors():
            aws.client("sqs").change_message_visibility(
                QueueUrl=self._url, ReceiptHandle=receipt, VisibilityTimeout=seconds
            )

    def bury(self, message: Message, reason: str) -> None:
        """Sends a message that failed for good to the dead letters, with the reason.

        Raises:
            StorageBusyError, StorageError: it may not have been sent.
        """
        assert self._dead_letters is not None, "who buries knows where"
        delay = _LONGEST_LEASE // timedelta(seconds=1)
        self._send(self._dead_letters, replace(message, reason=reason, delay_seconds=delay), DelaySeconds=delay)

    def _send(self, url: str, message: Message, **options: Any) -> None:
        with aws.errors():
            aws.client("sqs").send_message(QueueUrl=url, MessageBody=message.write(), **options)

    def _schedule(self, schedules: Schedules, message: Message, created_at: datetime) -> None:
        assert message.due_at is not None, "it is a wake"
        at = (message.due_at - _SCHEDULER_SLACK).astimezone(UTC)
        with aws.errors():
            try:
                aws.client("scheduler").create_schedule(
                    GroupName=schedules.group,
                    Name=_name(message.task_id, created_at, message.due_at),
                    ScheduleExpression=f"at({at:%Y-%m-%dT%H:%M:%S})",
                    FlexibleTimeWindow={"Mode": "OFF"},
                    ActionAfterCompletion="DELETE",
                    Target={"Arn": schedules.queue, "RoleArn": schedules.role, "Input": message.write()},
                )
            except ClientError as error:
                if aws.error_code(error) != "ConflictException":
                    raise
                # The same wake, which was asked for before.


def _name(task_id: str, created_at: datetime, due_at: datetime) -> str:
    """The name of a schedule: 64 letters and digits, the most that one may have."""
    return hashlib.sha256(f"{task_id}\n{to_rfc3339(created_at)}\n{to_rfc3339(due_at)}".encode()).hexdigest()


class SqsDispatcher:
    """Lets a driver begin when a caller has changed a driven task, see `Dispatcher`."""

    def __init__(self, queue: Queue, *, clock: Clock = system_clock) -> None:
        self._queue = queue
        self._clock = clock

    def prepare(self, task_id: str) -> Claim:
        """Sends the watchdog.

        Raises:
            StorageBusyError, StorageError: it may not have been sent. Then nothing is to be saved.
        """
        self._queue.send(Message(task_id), _WATCHDOG_DELAY)
        return Claim(secrets.token_hex(8), self._clock() + _CLAIM)

    def dispatch(self, task: Task) -> None:
        """Sends a turn or a wake. If that fails, the watchdog does the same later, and the caller's request is done."""
        drive = task.drive
        if drive is None or drive.due_at is None:
            return
        try:
            if drive.is_claimed(self._clock()):
                self._queue.send(Message(task.id, token=drive.claim))
            else:
                self._queue.wake(task)
        except Exception:
            _logger.exception(
                "no driver could be told of a task: its watchdog will be the first", extra={"task_id": task.id}
            )
