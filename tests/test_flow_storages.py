"""A flow over a user's own storage: three methods, in any of the ways that people write them."""

from __future__ import annotations

import copy
import json
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from sequential_core import SequentialFlow, create_flow
from sequential_core.errors import (
    InvalidRequestError,
    StorageFormatError,
    TaskConflictError,
    TaskExistsError,
    TaskNotFoundError,
)
from sequential_core.testing import MovedClock

TWO = 'const a = await fetch("https://a.test/"); const b = await fetch("https://b.test/" + a); [a, b]'


class Tasks(dict):
    """Keeps the very objects. A dict, so it can be no key itself; a missing id is a KeyError."""

    def save(self, task):
        self[task.id] = task

    def load(self, task_id):
        return self[task_id]

    def delete(self, task_id):
        del self[task_id]


class Dicts:
    """Keeps what `keep` makes of a task, and loads what `give` makes of that."""

    def __init__(self, keep, give=lambda kept: kept):
        self.kept = {}
        self.keep, self.give = keep, give

    def save(self, task):
        self.kept[task["id"]] = self.keep(task)

    def load(self, task_id):
        return self.give(self.kept[task_id]) if task_id in self.kept else None

    def delete(self, task_id):
        self.kept.pop(task_id, None)


class OtherNames:
    """Has the three methods with parameters of its own names, and slots."""

    __slots__ = ("kept",)

    def __init__(self):
        self.kept = {}

    def save(self, value, /):
        self.kept[value["id"]] = value.to_dict()

    def load(self, key, /):
        return self.kept.get(key)

    def delete(self, key, /):
        del self.kept[key]


STORAGES = {
    "objects": Tasks,
    "to_dict": lambda: Dicts(lambda task: task.to_dict()),
    "dict(task)": lambda: Dicts(dict),
    "unpacked": lambda: Dicts(lambda task: {**task}),
    "JSON text": lambda: Dicts(lambda task: json.dumps(task.to_dict()), json.loads),
    "JSON text of dict(task)": lambda: Dicts(lambda task: json.dumps(dict(task), sort_keys=True), json.loads),
    "pickle": lambda: Dicts(pickle.dumps, pickle.loads),
    "copies": lambda: Dicts(copy.deepcopy),
    "with fields of its own": lambda: Dicts(lambda task: {**task, "ttl_epoch": 5, "_id": task.id}),
    "other names": OtherNames,
}


@pytest.fixture(params=STORAGES)
def storage(request):
    return STORAGES[request.param]()


def _is_empty(storage):
    return not (storage if isinstance(storage, dict) else storage.kept)


def test_task_runs_from_begin_to_end(storage):
    flow = create_flow(storage)
    task = flow.execute(TWO, id="task-1", name="label", retain=None)
    assert flow.get_task("task-1").to_dict() == task.to_dict()
    # Another flow knows nothing but the storage.
    task = create_flow(storage).resume("task-1", fetch_response=1)
    assert task.fetch_request.url == "https://b.test/1"
    assert create_flow(storage).resume("task-1", fetch_response=2).result == [1, 2]
    assert _is_empty(storage)
    with pytest.raises(TaskNotFoundError):
        flow.get_task("task-1")


def test_a_call_may_name_the_storage(storage):
    SequentialFlow.execute(TWO, id="task-1", storage=storage)
    SequentialFlow.resume("task-1", fetch_response=1, storage=storage)
    assert SequentialFlow.get_task("task-1", storage=storage).revision == 2
    SequentialFlow.delete_task("task-1", storage=storage)
    assert _is_empty(storage)


def test_missing_task(storage):
    flow = create_flow(storage)
    with pytest.raises(TaskNotFoundError):
        flow.get_task("task-1")
    with pytest.raises(TaskNotFoundError):
        flow.delete_task("task-1")
    with pytest.raises(TaskNotFoundError):
        flow.resume("task-1", fetch_response=1)


def test_starting_twice(storage):
    flow = create_flow(storage)
    first = flow.execute(TWO, id="task-1")
    assert flow.execute(TWO, id="task-1").to_dict() == first.to_dict()
    with pytest.raises(TaskExistsError):
        flow.execute("await fetch('http://a/other')", id="task-1")


def test_expired_task_does_not_exist(storage):
    clock = MovedClock()
    flow = SequentialFlow(storage, clock=clock)
    task = flow.execute(TWO, id="task-1")
    clock.now = task.expires_at
    with pytest.raises(TaskNotFoundError):
        flow.resume("task-1", fetch_response=1)
    assert flow.execute(TWO, id="task-1").expires_at > clock.now


def test_repeated_answer_is_known(storage):
    flow = create_flow(storage)
    flow.execute(TWO, id="task-1", retain=60)
    flow.resume("task-1", fetch_response=1, request_id=1)
    assert flow.resume("task-1", fetch_response=1, request_id=1).revision == 2
    with pytest.raises(TaskConflictError):
        flow.resume("task-1", fetch_response=3, request_id=1)
    flow.resume("task-1", fetch_response=2)
    assert flow.get_task("task-1").result == [1, 2]


def test_of_eight_threads_that_answer_one_pause_one_wins(storage):
    create_flow(storage).execute(TWO, id="task-1")

    def answer(number):
        try:
            return create_flow(storage).resume("task-1", fetch_response=number, revision=1)
        except TaskConflictError:
            return None

    with ThreadPoolExecutor(8) as pool:
        (winner,) = filter(None, pool.map(answer, range(8)))
    assert create_flow(storage).get_task("task-1").to_dict() == winner.to_dict()


def test_storage_of_our_own_form_cannot_list(storage):
    with pytest.raises(InvalidRequestError):
        create_flow(storage).list_tasks()


@pytest.mark.parametrize("storage", [object(), {}, 7, b"memory:", ["memory:"], lambda task: None])
def test_object_without_the_three_methods_is_no_storage(storage):
    with pytest.raises(InvalidRequestError) as caught:
        create_flow(storage).execute("1")
    assert caught.value.field == "storage"
    with pytest.raises(InvalidRequestError):
        SequentialFlow.get_task("task-1", storage=storage)


def test_storage_that_gives_something_else_is_named():
    storage = Dicts(lambda task: [1, 2])
    flow = create_flow(storage)
    flow.execute(TWO, id="task-1")
    with pytest.raises(StorageFormatError, match="gave a list"):
        flow.resume("task-1", fetch_response=1)


@pytest.mark.parametrize("lost", [{"vmState": None}, {"fetchRequests": []}], ids=str)
def test_storage_that_loses_a_part_of_the_task_is_named(lost):
    flow = create_flow(Dicts(lambda task: {**task, **lost}))
    flow.execute(TWO, id="task-1")
    with pytest.raises(StorageFormatError):
        flow.resume("task-1", fetch_response=1)
