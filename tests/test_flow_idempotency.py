"""Calls with an idempotency key: who does not hear back may ask again, also after the end."""

from __future__ import annotations

from datetime import timedelta

import pytest
from contracts.tasks import MICROSECOND

from sequential_core import SequentialFlow
from sequential_core.errors import (
    IdempotencyKeyReusedError,
    InvalidRequestError,
    TaskConflictError,
    TaskEndedError,
    TaskExistsError,
    TaskNotFoundError,
)
from sequential_core.model import Status, Task
from sequential_core.storage import MemoryStorage
from sequential_core.testing import MovedClock

TWO = 'const a = await fetch("http://a/a"); const b = await fetch("http://a/b" + a); [a, b]'
DAY = timedelta(days=1)


@pytest.fixture
def clock():
    return MovedClock()


@pytest.fixture
def storage(clock):
    return MemoryStorage(clock=clock)


@pytest.fixture
def flow(storage, clock):
    return SequentialFlow(storage, clock=clock)


def test_repeated_execution_gives_the_task_of_the_first(flow):
    first = flow.execute(TWO, idempotency_key="k")
    assert flow.execute(TWO, idempotency_key="k") == flow.get_task(first.id)


def test_different_keys_make_different_tasks(flow):
    assert flow.execute(TWO, idempotency_key="k").id != flow.execute(TWO, idempotency_key="K").id


def test_repeated_execution_gives_the_task_as_it_stands_now(flow):
    first = flow.execute(TWO, idempotency_key="k")
    flow.resume(first.id, fetch_response=1)
    assert flow.execute(TWO, idempotency_key="k").revision == 2
    flow.resume(first.id, fetch_response=2)
    ended = flow.execute(TWO, idempotency_key="k")
    assert (ended.status, ended.result) == (Status.COMPLETED, [1, 2])


def test_program_that_never_pauses_runs_once_for_a_key(flow):
    first = flow.execute("Math.random()", idempotency_key="k")
    assert flow.execute("Math.random()", idempotency_key="k").result == first.result


def test_key_of_an_execution_with_other_code_is_refused(flow):
    task = flow.execute(TWO, idempotency_key="k")
    with pytest.raises(IdempotencyKeyReusedError) as caught:
        flow.execute("1", idempotency_key="k")
    assert caught.value.task_id == task.id
    assert flow.get_task(task.id).revision == 1


def test_given_id_counts_more_than_the_key(flow):
    assert flow.execute(TWO, id="mine", idempotency_key="k").id == "mine"
    with pytest.raises(TaskExistsError):
        flow.execute("1", id="mine", idempotency_key="k")


def test_outcome_of_an_execution_with_a_key_is_kept_for_a_day(flow, clock):
    task = flow.execute(TWO, idempotency_key="k", ttl=60)
    flow.resume(task.id, fetch_response=1)
    flow.resume(task.id, fetch_response=2)
    clock.advance(DAY - MICROSECOND)
    assert flow.get_task(task.id).result == [1, 2]
    clock.advance(MICROSECOND)
    with pytest.raises(TaskNotFoundError):
        flow.get_task(task.id)


@pytest.mark.parametrize(("retain", "kept"), [(60, DAY), (3 * 86400, 3 * DAY)])
def test_longer_retention_than_a_day_is_kept_to(flow, retain, kept):
    assert flow.execute(TWO, idempotency_key="k", retain=retain).retain == kept


def test_pause_still_ends_with_its_ttl(flow, clock):
    task = flow.execute(TWO, idempotency_key="k", ttl=60)
    clock.advance(timedelta(seconds=60))
    with pytest.raises(TaskNotFoundError):
        flow.resume(task.id, fetch_response=1)


def test_repeated_last_answer_gives_the_outcome(flow):
    task = flow.execute(TWO)
    flow.resume(task.id, fetch_response=1)
    ended = flow.resume(task.id, fetch_response=2, idempotency_key="k")
    again = flow.resume(task.id, fetch_response=2, idempotency_key="k")
    assert ended.result == again.result == [1, 2]
    assert again.expires_at == ended.updated_at + DAY


def test_repeated_answer_is_taken_once_without_a_revision(flow):
    task = flow.execute(TWO)
    first = flow.resume(task.id, fetch_response=1, idempotency_key="k")
    again = flow.resume(task.id, fetch_response=1, idempotency_key="k")
    assert again.revision == first.revision == 2
    assert again.fetch_request.url == "http://a/b1"


def test_same_answer_with_another_key_answers_the_next_request(flow):
    task = flow.execute(TWO)
    flow.resume(task.id, fetch_response=1, idempotency_key="k1")
    assert flow.resume(task.id, fetch_response=1, idempotency_key="k2").result == [1, 1]


@pytest.mark.parametrize(
    "other", [{"fetch_response": 2}, {"error": "1"}, {"fetch_response": 1, "request_id": 2}], ids=str
)
def test_key_of_an_answer_with_another_request_is_refused(flow, other):
    task = flow.execute(TWO)
    flow.resume(task.id, fetch_response=1, idempotency_key="k")
    with pytest.raises(IdempotencyKeyReusedError):
        flow.resume(task.id, **other, idempotency_key="k")
    assert flow.get_task(task.id).revision == 2


def test_key_with_another_revision_is_refused(flow):
    task = flow.execute(TWO)
    flow.resume(task.id, fetch_response=1, revision=1, idempotency_key="k")
    with pytest.raises(IdempotencyKeyReusedError):
        flow.resume(task.id, fetch_response=1, revision=2, idempotency_key="k")


def test_ended_task_takes_no_answer_with_a_new_key(flow):
    task = flow.execute('await fetch("http://a/a")', retain=60)
    flow.resume(task.id, fetch_response=1, idempotency_key="k")
    with pytest.raises(TaskEndedError):
        flow.resume(task.id, fetch_response=2, idempotency_key="other")


@pytest.mark.parametrize("said", [{"idempotency_key": "k"}, {"revision": 1}, {"request_id": 1}, {}], ids=str)
def test_of_two_equal_answers_at_once_the_slower_gets_the_task_if_it_says_which_pause_is_meant(clock, said):
    class Slower(MemoryStorage):
        """Lets the other call go first."""

        first = None

        def save(self, task: Task, *, expected_revision: int | None = None) -> None:
            if self.first is not None and expected_revision:
                first, self.first = self.first, None
                first()
            super().save(task, expected_revision=expected_revision)

    storage = Slower(clock=clock)
    flow = SequentialFlow(storage, clock=clock)
    task = flow.execute(TWO)
    storage.first = lambda: flow.resume(task.id, fetch_response=1, **said)
    if said:
        assert flow.resume(task.id, fetch_response=1, **said).revision == 2
    else:
        with pytest.raises(TaskConflictError):
            flow.resume(task.id, fetch_response=1)
    assert flow.get_task(task.id).revision == 2


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "é", "a\n", 7])
def test_key_that_is_none_is_refused(flow, key):
    task = flow.execute(TWO)
    for call in (
        lambda: flow.execute(TWO, idempotency_key=key),
        lambda: flow.resume(task.id, fetch_response=1, idempotency_key=key),
    ):
        with pytest.raises(InvalidRequestError) as caught:
            call()
        assert caught.value.field == "idempotencyKey"


def test_longest_key(flow):
    assert flow.execute(TWO, idempotency_key="~" * 255).status is Status.PAUSED


def test_key_in_a_mapping(flow):
    task = flow.execute({"code": TWO, "idempotencyKey": "k"})
    assert flow.execute({"code": TWO, "idempotencyKey": "k"}).id == task.id
    request = {"id": task.id, "fetchResponse": 1, "idempotencyKey": "k"}
    assert flow.resume(request).revision == flow.resume(request).revision == 2


def test_key_itself_is_not_kept(flow):
    task = flow.execute(TWO, idempotency_key="the-secret-key")
    task = flow.resume(task.id, fetch_response=1, idempotency_key="the-secret-key")
    assert "the-secret-key" not in str(task.to_dict())


def test_defaults_of_a_flow(storage, clock):
    flow = SequentialFlow(storage, ttl=60, retain=timedelta(seconds=30), clock=clock)
    task = flow.execute(TWO)
    assert (task.ttl, task.retain) == (timedelta(seconds=60), timedelta(seconds=30))
    assert flow.execute(TWO, ttl=5, retain=7).ttl == timedelta(seconds=5)
    for wrong in ({"ttl": 0}, {"retain": -1}):
        with pytest.raises(InvalidRequestError):
            SequentialFlow(storage, **wrong)


def test_deletion_of_another_revision_conflicts(flow):
    task = flow.execute(TWO)
    with pytest.raises(TaskConflictError):
        flow.delete_task(task.id, revision=2)
    assert flow.get_task(task.id).revision == 1
    flow.delete_task(task.id, revision=1)
    with pytest.raises(TaskNotFoundError):
        flow.delete_task(task.id, revision=1)
