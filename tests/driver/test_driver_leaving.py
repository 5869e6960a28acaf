"""How a driver leaves a task when its time is up, and what callers leave behind when they end one that is claimed."""

from __future__ import annotations

import random
from datetime import timedelta

import httpx
import pytest

from sequential_core import MemoryStorage, create_flow
from sequential_core.driver import Driver, Ended, Fetcher, Waiting, Yielded
from sequential_core.model import Status
from sequential_core.testing import NOW, MovedClock

URL = "https://api.test/"


@pytest.fixture
def clock():
    return MovedClock()


@pytest.fixture
def flow(clock):
    return create_flow(MemoryStorage(clock=clock), clock=clock)


def failing(_):
    raise httpx.ReadTimeout("slow")


def driver(flow, answer, **options):
    return Driver(flow, fetcher=Fetcher(network=httpx.MockTransport(answer)), chance=random.Random(1), **options)


class Listening:
    """Calls what it is given, and ignores the rest."""

    def __init__(self, **calls):
        self._calls = calls

    def __getattr__(self, name):
        return self._calls.get(name, lambda *_: None)


@pytest.mark.parametrize("is_due", [True, False])
def test_attempts_are_counted_though_the_time_is_up_after_each_of_them(flow, clock, is_due):
    task = flow.execute(f"await fetch('{URL}')", drive={"attempts": 3})
    token, sent, standings = None, [], []

    def answer(request):
        sent.append(request)
        once.stop()  # there is no time for another attempt
        raise httpx.ReadTimeout("slow")

    def failed(*_):
        clock.advance(timedelta(seconds=10 if is_due else 0))

    while len(standings) < 4:
        once = driver(flow, answer, listener=Listening(failed=failed))
        standing = once.drive(task.id, token=token)
        standings.append(type(standing))
        if isinstance(standing, Ended):
            break
        token = standing.token if is_due else None
        clock.advance(timedelta(seconds=10))
    left = Yielded if is_due else Waiting
    assert standings == [left, left, Ended]
    assert len(sent) == 3
    assert standing.task.error_detail.message.endswith("(attempt 3)")


def test_a_program_whose_timers_are_always_due_does_not_hold_a_driver_whose_time_is_up(flow, clock):
    task = flow.execute("setInterval(() => {}, 1)", drive=True)
    hops = []

    def resumed(task):
        hops.append(task)
        clock.advance(timedelta(milliseconds=5))
        if len(hops) == 3:
            ours.stop()

    clock.advance(timedelta(milliseconds=5))
    ours = driver(flow, failing, listener=Listening(resumed=resumed))
    standing = ours.drive(task.id)
    assert isinstance(standing, Yielded)
    assert len(hops) == 3
    assert standing.task.drive.claim == standing.token


def test_a_driver_whose_time_is_up_leaves_a_task_whose_timer_is_soon_due(flow, clock):
    task = flow.execute("setTimeout(() => {}, 500)", drive=True)
    standing = driver(flow, failing).drive(task.id, seconds=0)
    assert isinstance(standing, Waiting)
    assert standing.task.drive.claim is None
    assert standing.task.drive.due_at == NOW + timedelta(milliseconds=500)


@pytest.mark.parametrize("end", ["cancel", "answer"])
def test_nobody_needs_to_look_at_a_task_that_a_caller_has_ended_while_it_was_claimed(flow, clock, end):
    task = flow.execute(f"await fetch('{URL}')", drive=True)

    def answer(_):
        if end == "cancel":
            flow.cancel_task(task.id)
        else:
            flow.resume(task.id, fetch_response=1)
        return httpx.Response(200, json=2)

    standing = driver(flow, answer).drive(task.id)
    assert isinstance(standing, Ended)
    assert standing.task.status is (Status.ERROR if end == "cancel" else Status.COMPLETED)
    stored = flow.get_task(task.id)
    assert (stored.drive.claim, stored.drive.due_at) == (None, None)
    clock.advance(timedelta(minutes=5))
    assert flow.revisioned().due(clock()) == ()
