from __future__ import annotations

import contextlib
import json
import threading

import pytest
from contracts.storage import RevisionContract, at_once
from contracts.tasks import a_task, as_loaded

from sequential_core.errors import InvalidRequestError, StorageFormatError, TaskNotFoundError
from sequential_core.storage.plain import PlainStorage


class Texts:
    """A user's storage: JSON texts in a dict."""

    def __init__(self):
        self.texts = {}

    def save(self, task):
        self.texts[task.id] = json.dumps(task.to_dict())

    def load(self, task_id):
        text = self.texts.get(task_id)
        return None if text is None else json.loads(text)

    def delete(self, task_id):
        del self.texts[task_id]


class Unhashable(Texts):
    def __eq__(self, other):
        return self is other

    __hash__ = None


class Slotted:
    """Can be no key of a weak dictionary."""

    __slots__ = ("found",)

    def save(self, task):
        self.found = task

    def load(self, task_id):
        return getattr(self, "found", None)

    def delete(self, task_id):
        del self.found


class Gives:
    """Loads always the same thing."""

    def __init__(self, found):
        self.found = found

    def save(self, task):
        raise AssertionError(task)

    def load(self, task_id):
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def delete(self, task_id):
        raise AssertionError(task_id)


class TestPlainStorage(RevisionContract):
    @pytest.fixture
    def storage(self, clock):
        return PlainStorage(Texts(), clock=clock)


class TestPlainStorageOfAnUnhashableOne(RevisionContract):
    @pytest.fixture
    def storage(self, clock):
        return PlainStorage(Unhashable(), clock=clock)


def test_every_view_of_one_storage_has_the_same_lock():
    texts = Texts()
    assert PlainStorage(texts)._lock is PlainStorage(texts)._lock
    assert PlainStorage(texts)._lock is not PlainStorage(Texts())._lock


def test_storages_that_can_be_no_key_share_a_lock():
    assert PlainStorage(Slotted())._lock is PlainStorage(Unhashable())._lock


@pytest.mark.parametrize("kind", [Texts, Unhashable])
def test_of_two_threads_that_load_before_they_save_one_wins(kind):
    both_have_loaded = threading.Barrier(2)

    class Slow(kind):
        def load(self, task_id):
            found = super().load(task_id)
            # Broken: the other waits for its turn, as it should.
            with contextlib.suppress(threading.BrokenBarrierError):
                both_have_loaded.wait(0.1)
            return found

        __hash__ = kind.__hash__

    slow = Slow()
    PlainStorage(slow).save(a_task())
    raised = at_once(
        lambda: PlainStorage(slow).save(a_task(revision=2, name="a"), expected_revision=1),
        lambda: PlainStorage(slow).delete("task-1", expected=a_task()),
    )
    assert raised.count(None) == 1


def test_storage_with_slots():
    storage = PlainStorage(Slotted())
    storage.save(a_task(), expected_revision=0)
    assert as_loaded(storage.load("task-1")) == as_loaded(a_task())


@pytest.mark.parametrize("missing", [None, KeyError("task-1"), IndexError(), TaskNotFoundError("task-1")])
def test_missing_task_is_none_or_a_lookup_error(missing):
    storage = PlainStorage(Gives(missing))
    assert storage.load("task-1") is None
    assert storage.load_code("task-1") is None
    with pytest.raises(TaskNotFoundError):
        storage.delete("task-1")
    with pytest.raises(TaskNotFoundError):
        storage.save(a_task(revision=2), expected_revision=1)


def test_other_exceptions_of_the_storage_are_its_callers():
    with pytest.raises(ConnectionError):
        PlainStorage(Gives(ConnectionError())).load("task-1")


@pytest.mark.parametrize("found", ["text", b"bytes", 7, [], [("id", "task-1")], {}, {"id": "task-1"}, object()])
def test_what_is_no_task_is_a_format_error(found):
    with pytest.raises(StorageFormatError):
        PlainStorage(Gives(found)).load("task-1")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("status", "waiting"),
        ("createdAt", 0),
        ("createdAt", "yesterday"),
        ("ttl", None),
        ("vmState", "not base64"),
        ("fetchRequests", [{"id": 1}]),
        ("errorDetail", {"kind": "unknown", "name": "", "message": ""}),
        ("pausedState", []),
        ("logs", [{}]),
        ("taken", [[1]]),
    ],
)
def test_mapping_with_a_field_of_another_kind_is_a_format_error(name, value):
    with pytest.raises(StorageFormatError):
        PlainStorage(Gives({**a_task().to_dict(), name: value})).load("task-1")


def test_code_is_there_if_the_storage_keeps_task_objects():
    storage = PlainStorage(Slotted())
    storage.save(a_task(code="1 + 1"), expected_revision=0)
    assert storage.load_code("task-1") == "1 + 1"


def test_list_says_that_the_storage_cannot():
    with pytest.raises(InvalidRequestError, match="a Texts cannot list"):
        PlainStorage(Texts()).list()
