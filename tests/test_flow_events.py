"""Events, and ends from outside: what callers do to a task beside answering its requests."""

from datetime import timedelta

import pytest

from sequential_core import MemoryStorage, SequentialFlow
from sequential_core.errors import (
    IdempotencyKeyReusedError,
    InvalidAnswerError,
    InvalidRequestError,
    TaskEndedError,
    TaskNotFoundError,
    TooManyEventsError,
)
from sequential_core.model import ErrorDetail, ErrorKind, Status
from sequential_core.testing import MovedClock


@pytest.fixture
def clock():
    return MovedClock()


@pytest.fixture
def flow(clock):
    return SequentialFlow(MemoryStorage(clock=clock), clock=clock)


def test_an_event_goes_to_the_program_that_waits_for_it(flow):
    flow.execute("const who = await waitForEvent('approved'); who.name", id="a")
    assert flow.send_event("a", "approved", {"name": "Alice"}).result == "Alice"


def test_an_event_without_a_value_is_null(flow):
    flow.execute("await waitForEvent('go')", id="a", retain=60)
    task = flow.send_event("a", "go")
    assert (task.status, task.result) == (Status.COMPLETED, None)


def test_an_event_that_comes_before_the_wait_is_kept(flow):
    flow.execute("await fetch('https://api.test/'); [await waitForEvent('b'), await waitForEvent('a')]", id="a")
    flow.send_event("a", "a", 1)
    task = flow.send_event("a", "b", 2)
    assert [event.name for event in task.kept_events] == ["a", "b"]
    assert task.paused_state.hops == 1, "nothing has run"
    assert flow.resume("a", fetch_response=0).result == [2, 1]


def test_events_of_one_name_are_taken_in_their_order(flow):
    flow.execute(
        "await fetch('https://api.test/'); const all = [];"
        "for (let i = 0; i < 5; i++) all.push(await waitForEvent('tick')); all",
        id="a",
    )
    for number in range(4):
        flow.send_event("a", "tick", number)
    task = flow.resume("a", fetch_response=0)
    assert task.status is Status.PAUSED
    assert task.kept_events == ()
    assert flow.send_event("a", "tick", 4).result == [0, 1, 2, 3, 4]


def test_of_several_waits_the_oldest_gets_the_event(flow):
    flow.execute(
        "const wait = (which) => waitForEvent('a').then((value) => which + value);"
        "const both = [wait('first '), wait('second ')];"
        "await Promise.all(both)",
        id="a",
    )
    flow.send_event("a", "a", 1)
    assert flow.send_event("a", "a", 2).result == ["first 1", "second 2"]


def test_an_event_that_comes_when_its_wait_has_timed_out_is_kept_for_the_next(flow, clock):
    code = """
        let first;
        try { first = await waitForEvent('a', { timeout: 1000 }) } catch (e) { first = e.name }
        await fetch('https://api.test/');
        [first, await waitForEvent('a')]
    """
    flow.execute(code, id="a")
    clock.advance(timedelta(seconds=1))
    task = flow.send_event("a", "a", "late")
    assert [event.value for event in task.kept_events] == ["late"]
    assert flow.resume("a", fetch_response=0).result == ["TimeoutError", "late"]


def test_a_kept_event_needs_no_second_hop_of_a_caller(flow):
    flow.execute(
        "await fetch('https://api.test/'); await fetch('https://api.test/' + await waitForEvent('a'))",
        id="a",
    )
    flow.send_event("a", "a", "x")
    task = flow.resume("a", fetch_response=0)
    assert task.fetch_request.url == "https://api.test/x"
    assert (task.paused_state.hops, task.revision) == (2, 3)


def test_an_event_with_a_key_is_taken_once(flow):
    flow.execute("[await waitForEvent('a'), await waitForEvent('a')]", id="a")
    first = flow.send_event("a", "a", 1, idempotency_key="k")
    assert flow.send_event("a", "a", 1, idempotency_key="k") == first
    for name, value in (("a", 2), ("b", 1)):
        with pytest.raises(IdempotencyKeyReusedError):
            flow.send_event("a", name, value, idempotency_key="k")
    assert flow.send_event("a", "a", 1, idempotency_key="l").result == [1, 1]
    assert flow.send_event("a", "a", 1, idempotency_key="l").result == [1, 1], "it is kept for a day"


def test_without_a_key_each_call_is_an_event(flow):
    flow.execute("[await waitForEvent('a'), await waitForEvent('a')]", id="a")
    flow.send_event("a", "a", 1)
    assert flow.send_event("a", "a", 1).result == [1, 1]


def test_what_a_task_keeps_is_bounded(flow):
    flow.execute("await fetch('https://api.test/')", id="a")
    for number in range(100):
        flow.send_event("a", "a", number)
    before = flow.get_task("a")
    with pytest.raises(TooManyEventsError):
        flow.send_event("a", "a", 100)
    assert flow.get_task("a") == before
    flow.execute("await fetch('https://api.test/')", id="b")
    flow.send_event("b", "a", "x" * 200_000)
    with pytest.raises(TooManyEventsError):
        flow.send_event("b", "a", "x" * 100_000)


def test_kept_events_share_the_cpu_time_of_one_hop(clock):
    from sequential_core import Limits

    flow = SequentialFlow(MemoryStorage(clock=clock), clock=clock, limits=Limits(cpu_seconds=0.5))
    flow.execute(
        "await fetch('https://api.test/'); const busy = () => { for (let i = 0; i < 4e6; i++); };"
        "for (;;) { await waitForEvent('a'); busy() }",
        id="a",
        retain=60,
    )
    for _ in range(100):
        flow.send_event("a", "a")
    task = flow.resume("a", fetch_response=0)
    assert task.error_detail.kind is ErrorKind.CPU_LIMIT


@pytest.mark.parametrize("name", ["", "a b", "é", "x" * 129, "a\n", None, 7])
def test_what_is_no_name_of_an_event_is_refused(flow, name):
    flow.execute("await waitForEvent('a')", id="a")
    with pytest.raises(InvalidRequestError):
        flow.send_event("a", name)


def test_what_is_not_json_is_no_value_of_an_event(flow):
    flow.execute("await waitForEvent('a')", id="a")
    with pytest.raises(InvalidAnswerError):
        flow.send_event("a", "a", object())


def test_events_of_tasks_that_are_not_there_or_have_ended(flow, clock):
    with pytest.raises(TaskNotFoundError):
        flow.send_event("a", "a")
    task = flow.execute("1", id="a", retain=60)
    with pytest.raises(TaskEndedError):
        flow.send_event("a", "a")
    flow.execute("await waitForEvent('a')", id="b")
    with pytest.raises(TaskNotFoundError):
        flow.send_event("b", "a", created_at=task.created_at - timedelta(seconds=1))


def test_a_cancelled_task_ends_with_an_error_that_says_so(flow):
    flow.execute("await fetch('https://api.test/')", id="a", retain=60)
    task = flow.cancel_task("a")
    assert (task.status, task.error_detail.kind) == (Status.ERROR, ErrorKind.CANCELLED)
    assert flow.cancel_task("a") == flow.get_task("a") == task
    with pytest.raises(TaskEndedError):
        flow.resume("a", fetch_response=1)


def test_a_cancelled_task_whose_outcome_nobody_keeps_is_gone(flow):
    flow.execute("await fetch('https://api.test/')", id="a")
    assert flow.cancel_task("a").status is Status.ERROR
    with pytest.raises(TaskNotFoundError):
        flow.cancel_task("a")


def test_a_task_that_has_completed_cannot_be_cancelled(flow):
    flow.execute("1", id="a", retain=60)
    with pytest.raises(TaskEndedError):
        flow.cancel_task("a")


def test_whoever_runs_a_task_may_end_it_at_the_pause_that_it_saw(flow):
    flow.execute("await fetch('https://api.test/')", id="a", retain=60)
    detail = ErrorDetail(ErrorKind.DRIVER, "DriverError", "it failed")
    with pytest.raises(Exception, match="revision"):
        flow.fail_task("a", detail, revision=7)
    assert flow.fail_task("a", detail, revision=1).error == "DriverError: it failed"
    with pytest.raises(TaskEndedError):
        flow.fail_task("a", detail)
