"""What a caller may do to a paused task besides answering it: end it, hand it to a driver, take it back."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sequential_core import MemoryStorage, create_flow
from sequential_core.errors import TaskConflictError, TaskEndedError, TaskNotFoundError
from sequential_core.model import ErrorDetail, ErrorKind, Status

PAUSING = "await fetch('https://api.example.com/')"


@pytest.fixture
def flow():
    return create_flow(MemoryStorage())


CHANGES = {
    "cancel": lambda flow, **more: flow.cancel_task("t", **more),
    "drive": lambda flow, **more: flow.drive_task("t", **more),
    "undrive": lambda flow, **more: flow.drive_task("t", False, **more),
    "fail": lambda flow, **more: flow.fail_task("t", ErrorDetail(ErrorKind.DRIVER, "DriverError", "no"), **more),
}
each_change = pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())


@each_change
def test_a_task_that_has_ended_is_told_to_have_ended(flow, change):
    flow.execute("1", id="t", retain=60)
    with pytest.raises(TaskEndedError):
        change(flow)


def test_an_event_for_a_task_that_has_ended_is_told_so(flow):
    flow.execute("1", id="t", retain=60)
    with pytest.raises(TaskEndedError):
        flow.send_event("t", "paid")


@each_change
def test_a_task_that_does_not_exist_is_told_so(flow, change):
    with pytest.raises(TaskNotFoundError):
        change(flow)


@each_change
def test_a_change_may_be_bound_to_a_revision(flow, change):
    task = flow.execute(PAUSING, id="t", retain=60)
    with pytest.raises(TaskConflictError):
        change(flow, revision=task.revision + 1)
    assert flow.get_task("t").revision == task.revision
    change(flow, revision=task.revision)


def test_a_cancelled_task_stays_cancelled(flow):
    flow.execute(PAUSING, id="t", retain=60)
    cancelled = flow.cancel_task("t")
    assert (cancelled.status, str(cancelled.error)) == (Status.ERROR, "CancelledError: the task was cancelled")
    assert flow.cancel_task("t") == flow.get_task("t")
    assert flow.get_task("t").revision == cancelled.revision


def test_the_outcome_of_a_task_that_is_handed_over_is_kept_for_a_day_or_as_is_said(flow):
    for task_id, retain, kept in (("t", None, timedelta(days=1)), ("u", 0, None), ("v", 60, timedelta(minutes=1))):
        flow.execute(PAUSING, id=task_id)
        assert flow.drive_task(task_id, retain=retain).retain == kept
