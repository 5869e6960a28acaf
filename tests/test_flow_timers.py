"""Tasks that wait for time: what they show, and what resuming them without an answer does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from sequential_core import MemoryStorage, SqliteStorage, create_flow
from sequential_core.errors import (
    IdempotencyKeyReusedError,
    InvalidAnswerError,
    TaskConflictError,
    TaskEndedError,
    TaskNotFoundError,
    UnknownRequestError,
)
from sequential_core.model import Status
from sequential_core.testing import NOW, MovedClock

URL = "https://api.test/"
SLEEPER = "await sleep(60_000); const first = Date.now(); await sleep(60_000); [first, Date.now()]"
BOTH = f"const late = sleep(60_000).then(() => 'timer'); const value = await fetch('{URL}'); [value, await late]"


@pytest.fixture
def clock():
    return MovedClock()


@pytest.fixture(params=["memory", "sqlite"])
def flow(request, clock, tmp_path):
    storage = MemoryStorage(clock=clock) if request.param == "memory" else SqliteStorage(tmp_path / "t.db", clock=clock)
    yield create_flow(storage, clock=clock)
    storage.close()


def milliseconds(instant):
    return instant.timestamp() * 1000


def test_a_task_that_waits_for_timers_only_has_no_request_and_says_when_to_come_back(flow):
    task = flow.execute(SLEEPER, id="t")
    assert task.status is Status.PAUSED
    assert (task.fetch_request, task.fetch_requests) == (None, ())
    assert task.paused_state.wake_at == NOW + timedelta(minutes=1)
    assert (task.paused_state.timers, task.paused_state.pending, task.paused_state.line) == (1, (), None)
    told = task.to_dict()
    assert (told["fetchRequest"], told["fetchRequests"]) == (None, [])
    assert told["pausedState"]["wakeAt"] == "2030-01-01T00:01:00.000000Z"
    assert told["timers"] == [{"id": 1, "kind": "timer", "dueAt": "2030-01-01T00:01:00.000000Z"}]
    assert flow.get_task("t").to_dict() == told


def test_resuming_it_before_its_time_changes_nothing(flow, clock):
    task = flow.execute(SLEEPER, id="t")
    clock.advance(timedelta(seconds=59))
    again = flow.resume("t")
    assert (again.revision, again.paused_state) == (1, task.paused_state)


def test_resuming_it_without_an_answer_runs_what_is_due(flow, clock):
    flow.execute(SLEEPER, id="t")
    clock.advance(timedelta(seconds=61))
    task = flow.resume({"id": "t"})
    assert task.revision == 2
    assert task.paused_state.wake_at == NOW + timedelta(seconds=121)
    clock.advance(timedelta(seconds=60))
    task = flow.resume("t")
    assert task.result == [milliseconds(NOW + timedelta(seconds=61)), milliseconds(NOW + timedelta(seconds=121))]


def test_a_task_is_kept_until_its_timer_is_due_and_for_its_ttl_from_then_on(flow, clock):
    task = flow.execute("await sleep(365 * 86_400_000); 'a year'", id="t", ttl=60)
    due = NOW + timedelta(days=365)
    assert task.expires_at == due + timedelta(seconds=60)
    clock.now = due + timedelta(seconds=59)
    assert flow.resume("t").result == "a year"


def test_a_task_whose_timer_nobody_came_for_expires(flow, clock):
    flow.execute(SLEEPER, id="t", ttl=60)
    clock.advance(timedelta(seconds=120))
    with pytest.raises(TaskNotFoundError):
        flow.resume("t")


def test_an_answer_counts_from_when_it_comes_and_due_timers_run_before(flow, clock):
    flow.execute(BOTH, id="t")
    clock.advance(timedelta(seconds=61))
    assert flow.resume("t", fetch_response=1).result == [1, "timer"]


def test_timers_may_run_while_a_request_stays_pending(flow, clock):
    flow.execute(BOTH, id="t")
    clock.advance(timedelta(seconds=61))
    task = flow.resume("t")
    assert (task.revision, task.paused_state.timers, task.fetch_request.id) == (2, 0, 1)
    assert flow.resume("t", fetch_response=1).result == [1, "timer"]


def test_a_task_without_timers_needs_an_answer(flow):
    task = flow.execute(f"await fetch('{URL}')", id="t")
    with pytest.raises(InvalidAnswerError, match="not none"):
        flow.resume("t")
    assert flow.get_task("t").revision == task.revision


def test_no_answer_is_for_no_request(flow, clock):
    flow.execute(BOTH, id="t")
    clock.advance(timedelta(seconds=61))
    with pytest.raises(InvalidAnswerError, match="not none"):
        flow.resume("t", request_id=1)


def test_an_answer_finds_no_request_in_a_task_that_only_waits_for_timers(flow):
    flow.execute(SLEEPER, id="t")
    with pytest.raises(UnknownRequestError, match="waits for timers only"):
        flow.resume("t", fetch_response=1)
    with pytest.raises(UnknownRequestError, match="no request 4"):
        flow.resume("t", fetch_response=1, request_id=4)


def test_a_timed_out_fetch_takes_its_late_answer_and_a_repetition_of_it(flow, clock):
    code = f"""
        let problem;
        try {{ await fetch('{URL}', {{ signal: AbortSignal.timeout(1000) }}) }} catch (error) {{ problem = error.name }}
        await fetch('{URL}second');
        problem
    """
    flow.execute(code, id="t")
    clock.advance(timedelta(seconds=5))
    task = flow.resume("t", fetch_response="late", request_id=1)
    assert [request.id for request in task.fetch_requests] == [2]
    assert flow.resume("t", fetch_response="late", request_id=1) == flow.get_task("t")
    with pytest.raises(TaskConflictError, match="no longer pending"):
        flow.resume("t", fetch_response="other", request_id=1)
    assert flow.resume("t", fetch_response=0).result == "TimeoutError"


def test_a_request_that_was_aborted_while_others_were_pending_is_gone(flow):
    code = f"""
        const controller = new AbortController();
        const lost = fetch('{URL}lost', {{ signal: controller.signal }}).catch((error) => error.name);
        const kept = await fetch('{URL}kept');
        controller.abort();
        [kept, await lost, await fetch('{URL}last')]
    """
    task = flow.execute(code, id="t")
    assert [request.id for request in task.fetch_requests] == [1, 2]
    task = flow.resume("t", fetch_response="k", request_id=2)
    assert [request.id for request in task.fetch_requests] == [3]
    with pytest.raises(TaskConflictError):
        flow.resume("t", fetch_response="lost", request_id=1)
    assert flow.resume("t", fetch_response="l").result == ["k", "AbortError", "l"]


# --- Whoever asks twice ------------------------------------------------------------------------------


def test_a_wake_with_the_revision_that_was_seen_counts_once(flow, clock):
    flow.execute(SLEEPER, id="t")
    clock.advance(timedelta(seconds=61))
    task = flow.resume("t", revision=1)
    assert task.revision == 2
    assert flow.resume("t", revision=1).revision == 2, "it is the repetition of that call"
    clock.advance(timedelta(seconds=61))
    assert flow.resume("t", revision=1).revision == 2, "whatever is due by now"
    with pytest.raises(TaskConflictError):
        flow.resume("t", revision=7)


def test_a_wake_with_an_idempotency_key_finds_the_outcome_after_the_end(flow, clock):
    flow.execute("await sleep(10); 'done'", id="t")
    clock.advance(timedelta(seconds=1))
    first = flow.resume("t", idempotency_key="k")
    assert first.result == "done"
    assert flow.resume("t", idempotency_key="k").result == "done"
    with pytest.raises(IdempotencyKeyReusedError):
        flow.resume("t", fetch_response=1, idempotency_key="k")
    with pytest.raises(TaskEndedError):
        flow.resume("t", revision=2)


def test_waking_a_task_that_has_ended_gives_its_outcome(flow, clock):
    flow.execute("await sleep(10); 'done'", id="t", retain=3600)
    clock.advance(timedelta(seconds=1))
    assert [flow.resume("t").result for _ in range(2)] == ["done", "done"]


def test_wakes_do_not_crowd_out_the_answers_that_are_remembered(flow, clock):
    code = f"const value = await fetch('{URL}'); for (let i = 0; i < 40; i++) await sleep(1000); await fetch('{URL}')"
    flow.execute(code, id="t")
    flow.resume("t", fetch_response="answer", request_id=1)
    for _ in range(40):
        clock.advance(timedelta(seconds=1))
        flow.resume("t")
    assert flow.resume("t", fetch_response="answer", request_id=1) == flow.get_task("t")


def test_of_many_who_wake_a_task_one_runs_it_and_the_rest_get_it_as_it_stands(flow, clock):
    flow.execute("let n = 0; await sleep(10); n++; await sleep(60_000); n", id="t")
    clock.advance(timedelta(seconds=1))
    with ThreadPoolExecutor(8) as pool:
        tasks = list(pool.map(lambda _: flow.resume("t"), range(8)))
    assert {(task.revision, task.paused_state.hops) for task in tasks} == {(2, 2)}
    assert flow.get_task("t").paused_state.hops == 2, "whatever else was run was not kept"
    clock.advance(timedelta(seconds=61))
    assert flow.resume("t").result == 1
