"""Who wins when a call is made twice: by a caller who repeats it, or by two callers."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from sequential_core import SequentialFlow, create_flow
from sequential_core.errors import (
    InvalidRequestError,
    TaskConflictError,
    TaskEndedError,
    TaskExistsError,
    TaskNotFoundError,
    UnknownRequestError,
)
from sequential_core.model import Status
from sequential_core.storage import MemoryStorage
from sequential_core.testing import MovedClock
from sequential_core.vm import program as programs

TWO = 'const a = await fetch("http://a/a"); const b = await fetch("http://a/b" + a); [a, b]'
LOOP = 'let seen = []; for (let i = 0; i < 4; i++) seen.push(await fetch("http://a/u")); seen'
ALL = 'Promise.all([fetch("http://a/a"), fetch("http://a/b"), fetch("http://a/c")])'


class Hops:
    """Counts the hops that the engine runs."""

    def __init__(self, monkeypatch):
        self.count = 0
        for name in ("start", "resume"):
            monkeypatch.setattr(programs, name, self._counted(getattr(programs, name)))

    def _counted(self, function):
        def counted(*arguments, **options):
            self.count += 1
            return function(*arguments, **options)

        return counted


class Interrupted(MemoryStorage):
    """Lets somebody else do something just before the next save or delete."""

    def __init__(self):
        super().__init__()
        self.meanwhile = None

    def _interrupt(self):
        if (meanwhile := self.meanwhile) is not None:
            self.meanwhile = None
            meanwhile()

    def save(self, task, *, expected_revision=None):
        self._interrupt()
        super().save(task, expected_revision=expected_revision)

    def delete(self, task_id, *, expected=None):
        self._interrupt()
        super().delete(task_id, expected=expected)


@pytest.fixture
def storage():
    return Interrupted()


@pytest.fixture
def flow(storage):
    return create_flow(storage)


@pytest.fixture
def hops(monkeypatch):
    return Hops(monkeypatch)


# execute


def test_same_code_again_gives_the_stored_task_and_runs_nothing(flow, hops):
    first = flow.execute(TWO, id="task-1")
    assert flow.execute(TWO, id="task-1", name="other", ttl=1, retain=1).to_dict() == first.to_dict()
    now = flow.resume("task-1", fetch_response=1)
    assert flow.execute(TWO, id="task-1").to_dict() == now.to_dict()
    assert hops.count == 2


def test_same_code_again_gives_the_retained_outcome(flow, hops):
    flow.execute("6 * 7", id="task-1", retain=60)
    assert flow.execute("6 * 7", id="task-1").result == 42
    assert hops.count == 1


def test_other_code_under_an_id_in_use_runs_nothing_and_changes_nothing(flow, hops, storage):
    flow.execute(TWO, id="task-1")
    before = storage.load("task-1")
    with pytest.raises(TaskExistsError):
        flow.execute(TWO + " ", id="task-1")
    assert storage.load("task-1") == before
    assert storage.load_code("task-1") == TWO
    assert hops.count == 1


def test_an_id_is_free_again_after_the_end(flow):
    flow.execute("await fetch('http://a/a')", id="task-1")
    flow.resume("task-1", fetch_response=1)
    assert flow.execute(TWO, id="task-1").revision == 1


def test_start_that_loses_to_the_same_code_gives_the_winners_task(flow, storage):
    storage.meanwhile = lambda: flow.execute(TWO, id="task-1", name="winner")
    assert flow.execute(TWO, id="task-1", name="loser").name == "winner"
    assert storage.load("task-1").name == "winner"


def test_start_that_loses_to_other_code_is_refused(flow, storage):
    storage.meanwhile = lambda: flow.execute(ALL, id="task-1")
    with pytest.raises(TaskExistsError):
        flow.execute(TWO, id="task-1")
    assert storage.load_code("task-1") == ALL


def test_two_starts_at_the_same_moment_are_one_task(flow):
    barrier = threading.Barrier(2)

    def start(name):
        barrier.wait()
        return flow.execute(TWO, id="task-1", name=name)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(start, ["first", "second"])
    assert first.name == second.name == flow.get_task("task-1").name
    assert first.vm_state == second.vm_state


# Of two answers to one pause one wins


def test_answer_that_comes_second_conflicts_and_leaves_nothing(flow, storage):
    flow.execute(TWO, id="task-1")
    storage.meanwhile = lambda: flow.resume("task-1", fetch_response="first")
    with pytest.raises(TaskConflictError) as caught:
        flow.resume("task-1", fetch_response="second")
    assert caught.value.task_id == "task-1"
    assert flow.get_task("task-1").fetch_request.url == "http://a/bfirst"
    assert flow.resume("task-1", fetch_response=2).result == ["first", 2]


def test_second_answer_that_would_end_a_retained_task_conflicts(flow, storage):
    flow.execute("await fetch('http://a/a')", id="task-1", retain=60)
    storage.meanwhile = lambda: flow.resume("task-1", fetch_response="first")
    with pytest.raises(TaskConflictError):
        flow.resume("task-1", fetch_response="second")
    assert flow.get_task("task-1").result == "first"


def test_second_answer_that_would_end_the_task_conflicts(flow, storage):
    flow.execute("await fetch('http://a/a')", id="task-1")
    storage.meanwhile = lambda: flow.resume("task-1", fetch_response="first")
    with pytest.raises(TaskConflictError):
        flow.resume("task-1", fetch_response="second")


def test_deletion_wins_over_a_hop_that_it_overtakes(flow, storage):
    flow.execute(TWO, id="task-1")
    storage.meanwhile = lambda: flow.delete_task("task-1")
    with pytest.raises(TaskConflictError):
        flow.resume("task-1", fetch_response=1)
    assert storage.load("task-1") is None


@pytest.mark.parametrize("code", [TWO, "await fetch('http://a/a')"], ids=["pauses", "ends"])
def test_hop_that_a_deletion_and_a_new_task_of_the_id_overtake_leaves_the_new_one(flow, storage, code):
    flow.execute(code, id="task-1")

    def replace_it():
        flow.delete_task("task-1")
        flow.execute(code, id="task-1", name="new")

    storage.meanwhile = replace_it
    with pytest.raises(TaskConflictError):
        flow.resume("task-1", fetch_response=1)
    assert (flow.get_task("task-1").name, flow.get_task("task-1").revision) == ("new", 1)


def test_hop_during_which_the_task_expires_is_lost():
    clock = MovedClock()
    storage = MemoryStorage(clock=clock)
    flow = SequentialFlow(storage, clock=clock)
    task = flow.execute(TWO, id="task-1")
    load = storage.load

    def slow(task_id):
        found = load(task_id)
        clock.now = task.expires_at
        return found

    storage.load = slow
    with pytest.raises(TaskConflictError):
        flow.resume("task-1", fetch_response=1)
    assert load("task-1") is None


def test_answers_to_different_requests_of_one_pause_do_not_overwrite_each_other(flow, storage):
    flow.execute(ALL, id="task-1")
    storage.meanwhile = lambda: flow.resume("task-1", fetch_response="A", request_id=1)
    with pytest.raises(TaskConflictError):
        flow.resume("task-1", fetch_response="B", request_id=2)
    task = flow.resume("task-1", fetch_response="B", request_id=2)
    assert [request.id for request in task.fetch_requests] == [3]
    assert flow.resume("task-1", fetch_response="C").result == ["A", "B", "C"]


# An answer repeated


@pytest.mark.parametrize("target", [{"request_id": 1}, {"revision": 1}, {"request_id": 1, "revision": 1}])
@pytest.mark.parametrize(
    "answer",
    [{"fetch_response": {"b": 1, "a": None}}, {"response": {"body": "x"}}, {"error": "no"}, {"fetch_response": None}],
)
def test_repeated_answer_gives_the_task_as_it_stands_and_runs_nothing(flow, hops, target, answer):
    code = 'try { await fetch("http://a/a") } catch (e) {}; await fetch("http://a/b"); await fetch("http://a/c")'
    flow.execute(code, id="task-1", retain=60)
    flow.resume("task-1", **answer, **target)
    assert flow.resume("task-1", **answer, **target).to_dict() == flow.get_task("task-1").to_dict()
    flow.resume("task-1", fetch_response="more")
    assert flow.resume("task-1", **answer, **target).revision == 3
    flow.resume("task-1", fetch_response="end")
    assert flow.resume("task-1", **answer, **target).result == "end"
    assert hops.count == 4


def test_order_of_keys_makes_no_other_answer(flow, hops):
    flow.execute(TWO, id="task-1")
    flow.resume("task-1", fetch_response={"a": 1, "b": 2}, request_id=1)
    assert flow.resume("task-1", fetch_response={"b": 2, "a": 1}, request_id=1).revision == 2
    assert hops.count == 2


@pytest.mark.parametrize("target", [{"request_id": 1}, {"revision": 1}, {"request_id": 1, "revision": 1}])
@pytest.mark.parametrize(
    "other",
    [
        {"fetch_response": 2},
        {"fetch_response": "1"},
        {"fetch_response": [1]},
        {"error": "1"},
        {"response": {"body": "1"}},
    ],
)
def test_another_answer_to_an_answered_request_conflicts_and_changes_nothing(flow, hops, target, other):
    flow.execute(TWO, id="task-1")
    flow.resume("task-1", fetch_response=1, **target)
    before = flow.get_task("task-1")
    with pytest.raises(TaskConflictError):
        flow.resume("task-1", **other, **target)
    assert flow.get_task("task-1") == before
    assert hops.count == 2


@pytest.mark.parametrize(("one", "other"), [(True, 1), (1, 1.0), (None, False), ("", None)])
def test_values_that_python_takes_for_equal_are_different_answers(flow, one, other):
    flow.execute(TWO, id="task-1")
    flow.resume("task-1", fetch_response=one, request_id=1)
    with pytest.raises(TaskConflictError):
        flow.resume("task-1", fetch_response=other, request_id=1)


def test_equal_answers_in_a_loop_are_no_repetitions(flow):
    flow.execute(LOOP, id="task-1")
    for _ in range(3):
        assert flow.resume("task-1", fetch_response="same").status is Status.PAUSED
    assert flow.resume("task-1", fetch_response="same").result == ["same"] * 4


@pytest.mark.parametrize("by", ["request_id", "revision"])
def test_equal_answers_in_a_loop_that_name_their_pause_are_taken_once_each(flow, hops, by):
    flow.execute(LOOP, id="task-1", retain=60)
    for number in range(1, 5):
        flow.resume("task-1", fetch_response="same", **{by: number})
        flow.resume("task-1", fetch_response="same", **{by: number})
    assert flow.get_task("task-1").result == ["same"] * 4
    assert hops.count == 5


def test_the_oldest_of_several_requests_is_meant_by_a_repetition_with_the_revision_alone(flow, hops):
    flow.execute(ALL, id="task-1")
    flow.resume("task-1", fetch_response="A", revision=1)
    assert flow.resume("task-1", fetch_response="A", revision=1).revision == 2
    assert hops.count == 2


def test_equal_answer_to_a_younger_request_is_no_repetition_of_one_to_the_oldest(flow):
    flow.execute(ALL, id="task-1")
    flow.resume("task-1", fetch_response="same", request_id=2)
    with pytest.raises(TaskConflictError):
        flow.resume("task-1", fetch_response="same", revision=1)


def test_equal_answer_to_a_younger_request_is_no_repetition_after_the_oldest_was_answered_either(flow):
    flow.execute(ALL, id="task-1")
    flow.resume("task-1", fetch_response="same", request_id=2)
    flow.resume("task-1", fetch_response="different", request_id=1)
    with pytest.raises(TaskConflictError):
        flow.resume("task-1", fetch_response="same", revision=1)


def test_repetition_that_names_another_pause_conflicts(flow):
    flow.execute(LOOP, id="task-1")
    flow.resume("task-1", fetch_response="same")
    flow.resume("task-1", fetch_response="same")
    with pytest.raises(TaskConflictError):
        flow.resume("task-1", fetch_response="same", request_id=1, revision=2)


def test_repetition_after_the_end_finds_no_task(flow):
    flow.execute("await fetch('http://a/a')", id="task-1")
    flow.resume("task-1", fetch_response=1, request_id=1)
    with pytest.raises(TaskNotFoundError):
        flow.resume("task-1", fetch_response=1, request_id=1)


def test_another_answer_after_a_retained_end_says_that_it_ended(flow):
    flow.execute("await fetch('http://a/a')", id="task-1", retain=60)
    flow.resume("task-1", fetch_response=1, request_id=1)
    for target in ({}, {"request_id": 1}, {"request_id": 9}, {"revision": 1}, {"revision": 2}):
        with pytest.raises(TaskEndedError) as caught:
            flow.resume("task-1", fetch_response=2, **target)
        assert caught.value.status == "completed"


def test_the_latest_32_answers_are_remembered(flow):
    flow.execute('for (let i = 0; i < 40; i++) await fetch("http://a/u")', id="task-1")
    for number in range(1, 35):
        flow.resume("task-1", fetch_response=number)
    assert [taken.request_id for taken in flow.get_task("task-1").taken] == list(range(3, 35))
    assert flow.resume("task-1", fetch_response=3, request_id=3).revision == 35
    with pytest.raises(TaskConflictError):
        flow.resume("task-1", fetch_response=2, request_id=2)


# The pause that the caller saw


@pytest.mark.parametrize("revision", [2, 9])
def test_revision_that_is_not_yet_conflicts(flow, revision):
    flow.execute(TWO, id="task-1")
    with pytest.raises(TaskConflictError):
        flow.resume("task-1", fetch_response=1, revision=revision)
    assert flow.get_task("task-1").revision == 1


def test_request_that_never_was_is_unknown(flow):
    flow.execute(ALL, id="task-1")
    flow.resume("task-1", fetch_response=1)
    with pytest.raises(UnknownRequestError) as caught:
        flow.resume("task-1", fetch_response=1, request_id=4)
    assert (caught.value.request_id, caught.value.pending) == (4, (2, 3))


def test_request_whose_answer_is_forgotten_has_still_been_answered(flow):
    flow.execute('Promise.all(Array.from({length: 40}, (_, i) => fetch("http://a/u" + i)))', id="task-1")
    flow.resume("task-1", fetch_response="x", request_id=40)
    for number in range(2, 40):
        flow.resume("task-1", fetch_response="x", request_id=number)
    try:
        flow.resume("task-1", fetch_response="x", request_id=40)
    except TaskConflictError:
        return
    pytest.fail("it was taken for a repetition")


@pytest.mark.parametrize("field", ["request_id", "revision"])
@pytest.mark.parametrize("value", [0, -1, True, False, "1", 1.0, [1]])
def test_numbers_are_whole_and_above_zero(flow, field, value):
    flow.execute(TWO, id="task-1")
    with pytest.raises(InvalidRequestError) as caught:
        flow.resume("task-1", fetch_response=1, **{field: value})
    assert caught.value.field == {"request_id": "requestId", "revision": "revision"}[field]
    assert flow.get_task("task-1").revision == 1


def test_hop_whose_save_fails_leaves_the_old_pause(flow, storage):
    flow.execute(TWO, id="task-1")
    before = storage.load("task-1")

    def fail():
        raise ConnectionError

    storage.meanwhile = fail
    with pytest.raises(ConnectionError):
        flow.resume("task-1", fetch_response=1)
    assert storage.load("task-1") == before
    assert replace(flow.resume("task-1", fetch_response=1), taken=()).revision == 2
