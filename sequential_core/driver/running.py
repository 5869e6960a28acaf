"""Drives one task to its end, waiting where it waits: what `sequential run` does."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace

from sequential_core.drive import next_due
from sequential_core.driver.driver import Driver
from sequential_core.driver.standing import Yielded
from sequential_core.errors import TaskNotFoundError
from sequential_core.flow import SequentialFlow
from sequential_core.model import Status, Task

# How often it is looked whether somebody else has changed the task.
_LOOK_SECONDS = 0.5


def run_to_end(driver: Driver, task: Task, *, token: str | None = None) -> Task:
    """Drives a task until it ends, and waits when it waits.

    An exception, KeyboardInterrupt too, leaves the stored task at its last pause, for whoever drives it next.

    Args:
        driver: of the flow that has the task.
        task: as it stands.
        token: of its claim.

    Returns:
        The task, completed or error.

    Raises:
        TaskNotFoundError: it was deleted or has expired meanwhile.
    """
    flow, token = driver.flow, token or driver.new_token()
    try:
        while task.status is Status.PAUSED:
            standing = driver.drive(task.id, token=token)
            if standing.task is None:
                break
            task = standing.task
            if task.status is Status.PAUSED and not isinstance(standing, Yielded):
                _wait(flow, task)
        else:
            return task
    except BaseException:
        let_go(flow, task.id, token)
        raise
    raise TaskNotFoundError(task.id)


def _wait(flow: SequentialFlow, task: Task) -> None:
    """Waits until there is something to do for a task, or somebody has changed it."""
    while task.drive is None or task.drive.due_at is None or task.drive.due_at > flow.now():
        wait = _LOOK_SECONDS
        if task.drive is not None and task.drive.due_at is not None:
            wait = min(wait, (task.drive.due_at - flow.now()).total_seconds())
        time.sleep(max(wait, 0))
        now = flow.revisioned().load(task.id)
        if now is None or now.revision != task.revision:
            return


def let_go(flow: SequentialFlow, task_id: str, token: str) -> None:
    """Ends a claim early, if it still stands. What goes wrong is left to the end of the claim."""
    with contextlib.suppress(Exception):
        task = flow.revisioned().load(task_id)
        if task is not None and task.drive is not None and task.drive.claim == token:
            flow.hops.put(
                flow.revisioned(),
                task,
                task,
                drive_as=lambda task, drive: replace(drive, claim=None, due_at=next_due(task, drive, flow.now())),
            )
