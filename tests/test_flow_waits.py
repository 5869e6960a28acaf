"""Tasks that wait for tools and events: what they show, and which answer is for what."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sequential_core import MemoryStorage, SqliteStorage, create_flow
from sequential_core.errors import (
    IdempotencyKeyReusedError,
    InvalidAnswerError,
    TaskConflictError,
    TaskEndedError,
    UnknownRequestError,
)
from sequential_core.model import Status
from sequential_core.pending import PendingEvent, PendingRequest, PendingTool
from sequential_core.testing import NOW, MovedClock

URL = "https://api.test/"

ALL = f"""const paid = waitForEvent("order.paid");
const charged = callTool("charge", {{cents: 500}});
const [a, b, c] = await Promise.all([paid, charged, fetch("{URL}")]);
[a, b, c]"""

EVENT = 'await waitForEvent("paid")'
PATIENT = 'await waitForEvent("paid", {timeout: 60_000}).catch((error) => error.name)'


@pytest.fixture
def clock():
    return MovedClock()


@pytest.fixture(params=["memory", "sqlite"])
def flow(request, clock, tmp_path):
    storage = MemoryStorage(clock=clock) if request.param == "memory" else SqliteStorage(tmp_path / "t.db", clock=clock)
    yield create_flow(storage, clock=clock)
    storage.close()


def test_a_task_tells_what_it_waits_for_by_kind(flow):
    task = flow.execute(ALL, id="t")
    assert task.event_waits == (PendingEvent(1, "order.paid", line=1, column=14),)
    assert task.tool_calls == (PendingTool(2, "charge", {"cents": 500}, line=2, column=17),)
    assert task.fetch_requests == (PendingRequest(3, URL, line=3, column=53),)
    assert task.fetch_request.id == 3
    paused = task.paused_state
    assert (paused.pending, paused.requests) == ((1, 2, 3), 3)
    assert (paused.line, paused.column) == (1, 14), "where the oldest of any kind was made"
    stored = flow.get_task("t")
    assert stored.pending_requests == task.pending_requests
    assert stored.paused_state == paused


def test_in_json_they_are_in_lists_of_their_own(flow):
    form = flow.execute(ALL, id="t").to_dict()
    assert form["eventWaits"] == [{"id": 1, "kind": "event", "name": "order.paid"}]
    assert form["toolCalls"] == [{"id": 2, "kind": "tool", "name": "charge", "args": {"cents": 500}}]
    assert [request["id"] for request in form["fetchRequests"]] == [3]
    assert flow.get_task("t").to_dict() == form


def test_an_answer_that_names_no_request_is_for_the_oldest_fetch_or_tool(flow):
    flow.execute(ALL, id="t")
    task = flow.resume("t", fetch_response="charged")
    assert task.paused_state.pending == (1, 3)
    task = flow.resume("t", fetch_response="fetched")
    assert (task.paused_state.pending, task.fetch_request, task.tool_calls) == ((1,), None, ())
    task = flow.resume("t", fetch_response="paid", request_id=1)
    assert task.result == ["paid", "charged", "fetched"]


def test_an_answer_may_name_any_pending_request(flow):
    flow.execute(ALL, id="t")
    for request_id in (1, 3):
        flow.resume("t", fetch_response=request_id, request_id=request_id)
    assert flow.resume("t", fetch_response=2, request_id=2).result == [1, 2, 3]


def test_a_task_that_waits_for_events_only_is_not_resumed_by_what_names_none(flow):
    task = flow.execute(EVENT, id="t")
    assert (task.status, task.fetch_request, task.paused_state.pending) == (Status.PAUSED, None, (1,))
    with pytest.raises(UnknownRequestError, match=r"needs its requestId; pending: 1$") as caught:
        flow.resume("t", fetch_response=1)
    assert caught.value.pending == (1,)
    with pytest.raises(InvalidAnswerError, match="is needed, not none"):
        flow.resume("t")
    assert flow.get_task("t").revision == 1


@pytest.mark.parametrize(
    ("request_id", "answer", "problem"),
    [
        (1, {"response": {"status": 200}}, "only fetch takes a response, and request 1 is of kind event"),
        (2, {"response": {"status": 200}}, "only fetch takes a response, and request 2 is of kind tool"),
        (None, {"response": {"status": 200}}, "only fetch takes a response, and request 2 is of kind tool"),
        (1, {"error": "no"}, "an event has a value and never an error, and request 1 waits for one"),
    ],
)
def test_an_answer_of_a_kind_that_the_request_does_not_take_is_refused(flow, request_id, answer, problem):
    flow.execute(ALL, id="t")
    with pytest.raises(InvalidAnswerError, match=problem):
        flow.resume("t", request_id=request_id, **answer)
    assert flow.get_task("t").revision == 1


def test_the_error_of_a_tool_rejects_with_its_message(flow):
    flow.execute('await callTool("charge").catch((error) => error.name + ": " + error.message)', id="t")
    assert flow.resume("t", error="no money").result == "Error: no money"


def test_a_tool_whose_error_nobody_catches_fails_the_task(flow):
    flow.execute('await callTool("charge")', id="t")
    task = flow.resume("t", error="no money")
    assert (task.status, task.error) == (Status.ERROR, "Error: no money")


# --- Timeouts ----------------------------------------------------------------------------------------


def test_an_event_with_a_timeout_wakes_the_task(flow, clock):
    task = flow.execute(PATIENT, id="t")
    assert task.paused_state.wake_at == NOW + timedelta(minutes=1)
    assert [timer.due_at for timer in task.timers] == [NOW + timedelta(minutes=1)]
    clock.advance(timedelta(seconds=59))
    assert flow.resume("t").revision == 1
    clock.advance(timedelta(seconds=1))
    assert flow.resume("t").result == "TimeoutError"


def test_an_event_that_comes_in_time_takes_the_timer_away(flow, clock):
    flow.execute(f"const got = {PATIENT}; await waitForEvent('next'); got", id="t")
    clock.advance(timedelta(seconds=59))
    task = flow.resume("t", fetch_response="paid", request_id=1)
    assert (task.timers, task.paused_state.timers, task.paused_state.wake_at) == ((), 0, None)
    assert flow.resume("t", fetch_response=0, request_id=2).result == "paid"


def test_an_event_at_the_very_instant_of_its_timeout_is_taken_and_comes_to_nothing(flow, clock):
    flow.execute(f"const got = {PATIENT}; await waitForEvent('next'); got", id="t")
    clock.advance(timedelta(minutes=1))
    task = flow.resume("t", fetch_response="paid", request_id=1)
    assert [wait.name for wait in task.event_waits] == ["next"]
    assert flow.resume("t", fetch_response=0, request_id=2).result == "TimeoutError"


def test_an_event_for_a_wait_that_has_timed_out_conflicts(flow, clock):
    flow.execute(f"const got = {PATIENT}; await waitForEvent('next'); got", id="t")
    clock.advance(timedelta(minutes=2))
    assert flow.resume("t").revision == 2
    with pytest.raises(TaskConflictError, match="request 1 is no longer pending"):
        flow.resume("t", fetch_response="paid", request_id=1)


def test_a_paused_wait_is_kept_for_its_ttl_after_its_timeout(flow):
    task = flow.execute('await waitForEvent("paid", {timeout: 86_400_000})', id="t", ttl=60)
    assert task.expires_at == NOW + timedelta(days=1, minutes=1)
    assert flow.execute(EVENT, id="u", ttl=60).expires_at == NOW + timedelta(minutes=1)


# --- Once --------------------------------------------------------------------------------------------


def test_a_repeated_answer_for_an_event_gives_the_task_as_it_stands_and_another_one_conflicts(flow):
    flow.execute(f"await waitForEvent('a'); {EVENT}", id="t")
    task = flow.resume("t", fetch_response={"cents": 5}, request_id=1)
    assert (task.revision, task.taken[0].is_event) == (2, True)
    assert flow.resume("t", fetch_response={"cents": 5}, request_id=1).revision == 2
    with pytest.raises(TaskConflictError):
        flow.resume("t", fetch_response={"cents": 6}, request_id=1)


def test_an_event_that_came_meanwhile_does_not_hide_the_repetition_of_an_answer_that_names_no_request(flow):
    flow.execute(f"waitForEvent('a'); const b = await fetch('{URL}'); await callTool('c'); b", id="t")
    assert flow.resume("t", fetch_response="b", revision=1).paused_state.pending == (1, 3)
    assert flow.resume("t", fetch_response="a", request_id=1).revision == 3
    assert flow.resume("t", fetch_response="b", revision=1).revision == 3, "the oldest but for events was request 2"


def test_the_answer_of_an_event_is_no_repetition_of_an_answer_that_names_no_request(flow):
    flow.execute(f"waitForEvent('a'); await fetch('{URL}')", id="t")
    assert flow.resume("t", fetch_response="same", request_id=1).revision == 2
    with pytest.raises(TaskConflictError, match="it is at revision 2, not 1"):
        flow.resume("t", fetch_response="same", revision=1)


def test_an_event_with_an_idempotency_key_is_taken_once_also_after_the_end(flow):
    flow.execute(EVENT, id="t")
    done = flow.resume("t", fetch_response=7, request_id=1, idempotency_key="k")
    assert (done.status, done.result) == (Status.COMPLETED, 7)
    assert flow.resume("t", fetch_response=7, request_id=1, idempotency_key="k").result == 7
    with pytest.raises(IdempotencyKeyReusedError):
        flow.resume("t", fetch_response=8, request_id=1, idempotency_key="k")
    with pytest.raises(TaskEndedError):
        flow.resume("t", fetch_response=8, request_id=1)
