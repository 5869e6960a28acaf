"""The law of `sequential_core.storage.base`, argued sentence by sentence.

A backend's test file makes a subclass with a fixture `storage`, built on the fixture `clock`.
`RevisionContract` is what every storage keeps, `StorageContract` what ours keep: they also list tasks and keep code.
"""

from __future__ import annotations

import base64
import json
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings

from contracts.tasks import MICROSECOND, a_task, as_loaded, tasks
from sequential_core.drive import Drive
from sequential_core.errors import (
    CallerError,
    InvalidRequestError,
    TaskConflictError,
    TaskExistsError,
    TaskNotFoundError,
)
from sequential_core.model import Status, Task
from sequential_core.pending import PendingRequest
from sequential_core.storage.base import RevisionedStorage
from sequential_core.testing import NOW, MovedClock

MIB = 1 << 20

STRANGE_IDS = [
    "a#b/c é 日本",
    'it\'s "quoted" `x`',
    "100%25_%",
    "' OR 1=1 --",
    "../../etc/passwd",
    " ",
    "😀",
    "é",  # one character
    "e\u0301",  # looks the same, is two
    "x" * 256,
    "日" * 256,
]


def at_once(*calls: Callable[[], object]) -> list[CallerError | None]:
    """Makes all calls at the same moment, each in a thread; what each raised, None if nothing."""
    barrier = threading.Barrier(len(calls))

    def call(one: Callable[[], object]) -> CallerError | None:
        barrier.wait()
        try:
            one()
        except CallerError as error:
            return error
        return None

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, calls))


class RevisionContract:
    """What every storage keeps."""

    @pytest.fixture
    def clock(self):
        return MovedClock()

    # save

    def test_created_task_is_loaded_without_its_code(self, storage: RevisionedStorage):
        storage.save(a_task(), expected_revision=0)
        assert storage.load("task-1") == as_loaded(a_task())

    def test_creation_with_an_id_in_use_changes_nothing(self, storage):
        storage.save(a_task(), expected_revision=0)
        with pytest.raises(TaskExistsError) as caught:
            storage.save(a_task(name="other"), expected_revision=0)
        assert caught.value.task_id == "task-1"
        assert storage.load("task-1") == as_loaded(a_task())

    def test_replacement_of_the_expected_revision(self, storage):
        storage.save(a_task(), expected_revision=0)
        new = a_task(revision=2, vm_state=b"new", code=None, name="new")
        storage.save(new, expected_revision=1)
        assert storage.load("task-1") == new

    def test_an_ended_task_takes_the_place_of_the_paused_one_whole(self, storage):
        storage.save(a_task(), expected_revision=0)
        ended = a_task(
            revision=2,
            status=Status.COMPLETED,
            result=7,
            vm_state=None,
            paused_state=None,
            fetch_requests=(),
            code=None,
        )
        storage.save(ended, expected_revision=1)
        assert storage.load("task-1") == ended

    @pytest.mark.parametrize("expected", [1, 3, 4])
    def test_replacement_of_another_revision_conflicts_and_changes_nothing(self, storage, expected):
        storage.save(a_task(revision=2), expected_revision=0)
        with pytest.raises(TaskConflictError) as caught:
            storage.save(a_task(revision=expected + 1, name="new"), expected_revision=expected)
        assert caught.value.task_id == "task-1"
        assert storage.load("task-1") == as_loaded(a_task(revision=2))

    def test_replacement_of_a_task_that_is_not_there(self, storage):
        with pytest.raises(TaskNotFoundError) as caught:
            storage.save(a_task(revision=2), expected_revision=1)
        assert caught.value.task_id == "task-1"
        assert storage.load("task-1") is None

    @pytest.mark.parametrize("there", [False, True])
    def test_save_without_an_expectation_keeps_the_task_whatever_is_there(self, storage, there):
        if there:
            storage.save(a_task(revision=9), expected_revision=0)
        storage.save(a_task(revision=5, name="kept"))
        assert storage.load("task-1") == as_loaded(a_task(revision=5, name="kept"))

    @pytest.mark.parametrize("state", [b"small", bytes(500_000)], ids=["small", "large"])
    def test_a_task_that_was_saved_can_be_saved_again_as_if_it_had_been_loaded(self, storage, state):
        task = a_task(vm_state=state)
        for revision in range(3):
            task = replace(task, revision=revision + 1)
            noted = storage.save(task, expected_revision=revision)
            assert noted == storage.load("task-1").storage_note
            task = replace(task, storage_note=noted, vm_state=state + bytes([revision]))

    # load

    def test_task_that_never_was_is_none(self, storage):
        storage.save(a_task(), expected_revision=0)
        assert storage.load("task-2") is None

    @pytest.mark.parametrize("task_id", STRANGE_IDS)
    def test_any_id_names_its_own_task(self, storage, task_id):
        others = [other for other in STRANGE_IDS if other != task_id]
        for other in others:
            storage.save(a_task(other), expected_revision=0)
        assert storage.load(task_id) is None
        storage.save(a_task(task_id, name="mine"), expected_revision=0)
        assert storage.load(task_id) == as_loaded(a_task(task_id, name="mine"))
        storage.delete(task_id)
        assert storage.load(task_id) is None
        assert [storage.load(other) for other in others] == [as_loaded(a_task(other)) for other in others]

    def test_every_field_comes_back_as_it_was(self, storage):
        # A function of its own for each backend: Hypothesis keeps what it learns by function.
        @settings(max_examples=60)
        @given(task=tasks)
        def check(task):
            storage.save(task)
            assert storage.load(task.id) == as_loaded(task)
            storage.delete(task.id)
            assert storage.load(task.id) is None

        check()

    def test_values_keep_their_kinds_and_the_order_of_their_keys(self, storage):
        result = {"z": 1, "a": 1.0, "t": True, "n": None, "half a pair": "\ud800", "big": 2**70, "nul": "\x00"}
        storage.save(a_task(result=result), expected_revision=0)
        loaded = storage.load("task-1").result
        assert json.dumps(loaded) == json.dumps(result)  # unlike ==, tells True from 1 and sees the order of keys

    def test_instants_are_kept_to_the_microsecond(self, storage):
        instants = {
            "created_at": datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
            "updated_at": datetime(2030, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
            "expires_at": datetime(2999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
            "ttl": timedelta(days=36524, microseconds=1),
            "retain": timedelta(microseconds=1),
        }
        storage.save(a_task(**instants), expected_revision=0)
        loaded = storage.load("task-1")
        assert {name: getattr(loaded, name) for name in instants} == instants
        assert loaded.created_at.utcoffset() == timedelta(0)

    def test_state_of_16_mib_and_result_of_1_mib(self, storage):
        state = random.Random(16).randbytes(16 * MIB)
        storage.save(a_task(vm_state=state, result="é" * (MIB // 2)), expected_revision=0)
        storage.save(a_task(vm_state=state[::-1], result="ü" * (MIB // 2), revision=2), expected_revision=1)
        loaded = storage.load("task-1")
        assert loaded.vm_state == state[::-1]
        assert loaded.result == "ü" * (MIB // 2)

    def test_changing_a_value_changes_no_other(self, storage):
        saved = a_task(result={"list": [1]}, fetch_requests=(PendingRequest(1, "u", headers={"a": "1"}),))
        storage.save(saved, expected_revision=0)
        saved.result["list"].append(2)
        loaded = storage.load("task-1")
        assert loaded.result == {"list": [1]}
        loaded.result["list"].append(3)
        loaded.fetch_requests[0].headers["b"] = "2"
        again = storage.load("task-1")
        assert again.result == {"list": [1]}
        assert again.fetch_requests[0].headers == {"a": "1"}

    # delete

    @pytest.mark.parametrize("expected", [None, a_task(revision=3), a_task(revision=3, name="other", result=1)])
    def test_deleted_task_is_gone_and_its_id_is_free(self, storage, expected):
        storage.save(a_task(revision=3), expected_revision=0)
        storage.delete("task-1", expected=expected)
        assert storage.load("task-1") is None
        storage.save(a_task(), expected_revision=0)
        assert storage.load("task-1") == as_loaded(a_task())

    @pytest.mark.parametrize("expected", [None, a_task()])
    def test_deletion_of_a_task_that_is_not_there(self, storage, expected):
        with pytest.raises(TaskNotFoundError):
            storage.delete("task-1", expected=expected)

    @pytest.mark.parametrize("expected", [a_task(revision=2), a_task(revision=4)])
    def test_deletion_of_another_revision_conflicts_and_changes_nothing(self, storage, expected):
        storage.save(a_task(revision=3), expected_revision=0)
        with pytest.raises(TaskConflictError):
            storage.delete("task-1", expected=expected)
        assert storage.load("task-1") == as_loaded(a_task(revision=3))

    def test_deletion_touches_no_other_task(self, storage):
        storage.save(a_task("a"), expected_revision=0)
        storage.save(a_task("b"), expected_revision=0)
        storage.delete("a")
        assert storage.load("b") == as_loaded(a_task("b"))

    # an id used again

    @pytest.mark.parametrize("apart", [MICROSECOND, -MICROSECOND, timedelta(days=1)])
    def test_task_that_took_the_id_of_a_deleted_one_is_neither_replaced_nor_deleted_in_its_place(self, storage, apart):
        old = a_task(vm_state=b"old")
        storage.save(old, expected_revision=0)
        storage.delete("task-1")
        new = a_task(vm_state=b"new", created_at=NOW + apart)
        storage.save(new, expected_revision=0)
        for late in (
            lambda: storage.save(a_task(vm_state=b"old", revision=2), expected_revision=1),
            lambda: storage.delete("task-1", expected=old),
        ):
            with pytest.raises(TaskConflictError):
                late()
            assert storage.load("task-1") == as_loaded(new)
        storage.delete("task-1", expected=new)
        assert storage.load("task-1") is None

    # expiry

    def test_task_exists_until_the_instant_of_expiry_and_not_at_it(self, storage, clock):
        storage.save(a_task(expires_at=NOW + timedelta(hours=2)), expected_revision=0)
        clock.advance(timedelta(hours=2) - MICROSECOND)
        assert storage.load("task-1") is not None
        clock.advance(MICROSECOND)
        assert storage.load("task-1") is None

    def test_task_without_an_instant_of_expiry_does_not_expire(self, storage, clock):
        storage.save(a_task(expires_at=None), expected_revision=0)
        clock.now = datetime(9999, 12, 31, tzinfo=UTC)
        assert storage.load("task-1") == as_loaded(a_task(expires_at=None))

    def test_id_of_an_expired_task_is_free(self, storage, clock):
        storage.save(a_task(), expected_revision=0)
        clock.advance(timedelta(hours=2))
        new = a_task(name="new", expires_at=clock.now + MICROSECOND)
        storage.save(new, expected_revision=0)
        assert storage.load("task-1") == as_loaded(new)

    def test_expired_task_cannot_be_replaced(self, storage, clock):
        storage.save(a_task(), expected_revision=0)
        clock.advance(timedelta(hours=2))
        with pytest.raises(TaskNotFoundError):
            storage.save(a_task(revision=2, expires_at=clock.now + timedelta(hours=2)), expected_revision=1)
        assert storage.load("task-1") is None

    @pytest.mark.parametrize("expected", [None, a_task()])
    def test_expired_task_cannot_be_deleted(self, storage, clock, expected):
        storage.save(a_task(), expected_revision=0)
        clock.advance(timedelta(hours=2))
        with pytest.raises(TaskNotFoundError):
            storage.delete("task-1", expected=expected)

    def test_replacement_renews_the_expiry(self, storage, clock):
        storage.save(a_task(), expected_revision=0)
        storage.save(a_task(revision=2, expires_at=NOW + timedelta(hours=3)), expected_revision=1)
        clock.advance(timedelta(hours=2))
        assert storage.load("task-1").revision == 2

    # threads

    def test_one_of_eight_threads_creates(self, storage):
        raised = at_once(
            *(
                lambda name=name: storage.save(a_task(name=name, vm_state=name.encode()), expected_revision=0)
                for name in "abcdefgh"
            )
        )
        assert sorted(type(error).__name__ for error in raised) == ["NoneType"] + 7 * ["TaskExistsError"]
        winner = "abcdefgh"[raised.index(None)]
        assert storage.load("task-1") == as_loaded(a_task(name=winner, vm_state=winner.encode()))

    def test_one_of_eight_threads_replaces(self, storage):
        storage.save(a_task(), expected_revision=0)
        raised = at_once(
            *(
                lambda name=name: storage.save(
                    a_task(name=name, vm_state=name.encode(), revision=2), expected_revision=1
                )
                for name in "abcdefgh"
            )
        )
        assert sorted(type(error).__name__ for error in raised) == ["NoneType"] + 7 * ["TaskConflictError"]
        winner = "abcdefgh"[raised.index(None)]
        assert storage.load("task-1") == as_loaded(a_task(name=winner, vm_state=winner.encode(), revision=2))

    def test_one_of_eight_threads_deletes(self, storage):
        storage.save(a_task(), expected_revision=0)
        raised = at_once(*(lambda: storage.delete("task-1", expected=a_task()) for _ in range(8)))
        assert sorted(type(error).__name__ for error in raised) == ["NoneType"] + 7 * ["TaskNotFoundError"]

    def test_of_a_replacement_and_a_deletion_one_happens(self, storage):
        for number in range(20):
            task_id = f"task-{number}"
            storage.save(a_task(task_id), expected_revision=0)
            saved, deleted = at_once(
                lambda task_id=task_id: storage.save(a_task(task_id, revision=2), expected_revision=1),
                lambda task_id=task_id: storage.delete(task_id, expected=a_task(task_id)),
            )
            if saved is None:
                assert isinstance(deleted, TaskConflictError)
                assert storage.load(task_id) == as_loaded(a_task(task_id, revision=2))
            else:
                assert isinstance(saved, TaskNotFoundError)
                assert deleted is None
                assert storage.load(task_id) is None


class StorageContract(RevisionContract):
    """What our storages keep."""

    def test_where_a_request_was_made_is_kept(self, storage):
        requests = (PendingRequest(1, "u", line=3, column=7), PendingRequest(2, "v"))
        storage.save(a_task(fetch_requests=requests), expected_revision=0)
        assert storage.load("task-1").fetch_requests == requests
        assert storage.list().tasks[0].fetch_requests == requests

    # load_code

    def test_code_is_kept(self, storage):
        code = "await fetch(\"é 日本 😀 \\u0000\")\r\n// \x00 'quoted'"
        storage.save(a_task(code=code), expected_revision=0)
        assert storage.load_code("task-1") == code

    def test_code_of_a_task_that_is_not_there_is_none(self, storage):
        assert storage.load_code("task-1") is None

    @pytest.mark.parametrize("later", [None, "other code"])
    @pytest.mark.parametrize("expected", [None, 1])
    def test_code_stays_as_it_was_when_the_task_was_created(self, storage, later, expected):
        storage.save(a_task(code="first"), expected_revision=0)
        storage.save(a_task(code=later, revision=2), expected_revision=expected)
        assert storage.load_code("task-1") == "first"

    def test_task_created_without_code_stays_without(self, storage):
        storage.save(a_task(code=None), expected_revision=0)
        storage.save(a_task(code="late", revision=2))
        assert storage.load_code("task-1") is None

    def test_code_goes_with_its_task(self, storage):
        storage.save(a_task(code="first"), expected_revision=0)
        storage.delete("task-1")
        assert storage.load_code("task-1") is None
        storage.save(a_task(code="second"), expected_revision=0)
        assert storage.load_code("task-1") == "second"

    @pytest.mark.parametrize("expected", [None, 0])
    def test_code_of_an_expired_task_is_gone_and_its_successor_has_its_own(self, storage, clock, expected):
        storage.save(a_task(code="first"), expected_revision=0)
        clock.advance(timedelta(hours=2))
        assert storage.load_code("task-1") is None
        storage.save(a_task(code="second", expires_at=None), expected_revision=expected)
        assert storage.load_code("task-1") == "second"

    # list

    def test_empty_storage_lists_nothing(self, storage):
        page = storage.list()
        assert page.tasks == ()
        assert page.cursor is None

    def test_tasks_are_listed_newest_first_without_state_and_code(self, storage):
        for number in (2, 0, 1):
            storage.save(a_task(f"task-{number}", created_at=NOW + number * MICROSECOND), expected_revision=0)
        expected = [a_task(f"task-{n}", created_at=NOW + n * MICROSECOND, vm_state=None, code=None) for n in (2, 1, 0)]
        assert list(storage.list().tasks) == expected

    def test_list_is_ordered_by_creation_and_not_by_the_last_change(self, storage):
        storage.save(a_task("old"), expected_revision=0)
        storage.save(a_task("new", created_at=NOW + MICROSECOND), expected_revision=0)
        storage.save(a_task("old", revision=2, updated_at=NOW + timedelta(hours=1)), expected_revision=1)
        assert [task.id for task in storage.list().tasks] == ["new", "old"]

    @pytest.mark.parametrize("status", Status)
    def test_list_of_one_status(self, storage, status):
        for each in Status:
            storage.save(a_task(each.value, status=each), expected_revision=0)
        assert [task.id for task in storage.list(status=status).tasks] == [status.value]

    def test_due_are_driven_tasks_whose_time_has_come_the_longest_first(self, storage, clock):
        now = clock()
        for name, due_at in (
            ("now", now),
            ("later", now + MICROSECOND),
            ("long ago", now - timedelta(days=1)),
            ("never", None),
        ):
            storage.save(a_task(name, drive=Drive(due_at=due_at)), expected_revision=0)
        storage.save(a_task("not driven"), expected_revision=0)
        storage.save(
            a_task("expired", drive=Drive(due_at=now), expires_at=now + timedelta(seconds=1)), expected_revision=0
        )
        ended = a_task("ended", status=Status.COMPLETED, drive=Drive(due_at=now - timedelta(hours=1)))
        storage.save(ended, expected_revision=0)
        assert storage.due(now)[:2] == ("long ago", "ended")
        assert {*storage.due(now)[2:]} == {"now", "expired"}
        assert storage.due(now, limit=1) == ("long ago",)
        clock.advance(timedelta(seconds=1))
        assert "expired" not in storage.due(now)
        assert "later" in storage.due(clock())

    def test_due_changes_with_each_save(self, storage, clock):
        now = clock()
        task = a_task(drive=Drive(due_at=now))
        storage.save(task, expected_revision=0)
        later = replace(storage.load(task.id), revision=task.revision + 1, drive=Drive(due_at=now + MICROSECOND))
        storage.save(later, expected_revision=task.revision)
        assert storage.due(now) == ()
        handed_back = replace(storage.load(task.id), revision=task.revision + 2, drive=None)
        storage.save(handed_back, expected_revision=task.revision + 1)
        assert storage.due(now + MICROSECOND) == ()

    def test_list_has_no_expired_task(self, storage, clock):
        storage.save(a_task("short", expires_at=NOW + MICROSECOND), expected_revision=0)
        storage.save(a_task("long", expires_at=NOW + 2 * MICROSECOND), expected_revision=0)
        clock.advance(MICROSECOND)
        assert [task.id for task in storage.list().tasks] == ["long"]

    @pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 8, 1000])
    def test_pages_together_are_the_list(self, storage, limit):
        # Some share an instant: the cursor must tell them apart.
        for number in range(7):
            storage.save(a_task(f"é{number}", created_at=NOW + number // 3 * MICROSECOND), expected_revision=0)
        pages = walk(storage, limit)
        assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)
        assert 1 <= len(pages[-1]) <= limit
        assert [task for page in pages for task in page] == list(storage.list().tasks)
        assert {task.id for page in pages for task in page} == {f"é{number}" for number in range(7)}

    def test_pages_of_one_status(self, storage):
        for number in range(6):
            status = Status.PAUSED if number % 2 else Status.ERROR
            storage.save(a_task(f"task-{number}", status=status), expected_revision=0)
        pages = walk(storage, 2, status=Status.ERROR)
        assert sorted(task.id for page in pages for task in page) == ["task-0", "task-2", "task-4"]

    def test_walk_sees_each_lasting_task_once_while_others_come_and_go(self, storage):
        lasting = {f"lasting-{number}" for number in range(9)}
        for number in range(9):
            storage.save(a_task(f"lasting-{number}", created_at=NOW + number * MICROSECOND), expected_revision=0)
            storage.save(a_task(f"going-{number}", created_at=NOW + number * MICROSECOND), expected_revision=0)
        seen, cursor, step = [], None, 0
        while True:
            page = storage.list(limit=2, cursor=cursor)
            seen += [task.id for task in page.tasks]
            if page.cursor is None:
                break
            cursor = page.cursor
            # The very task that the cursor stands on may go, and new ones come on both sides of it.
            last = page.tasks[-1]
            if last.id not in lasting:
                storage.delete(last.id)
            storage.save(a_task(f"newer-{step}", created_at=NOW + timedelta(hours=1, seconds=step)))
            storage.save(a_task(f"older-{step}", created_at=NOW - timedelta(hours=1, seconds=step)))
            storage.save(a_task(f"lasting-{step % 9}", revision=step + 2, created_at=NOW + step % 9 * MICROSECOND))
            step += 1
            assert step < 100
        assert len(seen) == len(set(seen))
        assert lasting <= set(seen)

    @pytest.mark.parametrize("limit", [0, -1, 1001, True, 2.0, "2", None])
    def test_limit_outside_1_to_1000_is_refused(self, storage, limit):
        with pytest.raises(InvalidRequestError) as caught:
            storage.list(limit=limit)
        assert caught.value.field == "limit"

    @pytest.mark.parametrize(
        "cursor",
        ["", "x", "%%%", "é", 7, b"W10="]
        + [
            base64.urlsafe_b64encode(text.encode()).decode()
            for text in (
                "[]",
                "[1]",
                '[true,"a"]',
                '["1","a"]',
                "[1,2]",
                '[1,"a",2]',
                '[9223372036854775808,"a"]',
                '[1,"\\ud800"]',
                '{"a":1,"b":2}',
                '"ab"',
                "12",
            )
        ],
    )
    def test_cursor_that_is_none_is_refused(self, storage, cursor):
        with pytest.raises(InvalidRequestError) as caught:
            storage.list(cursor=cursor)
        assert caught.value.field == "cursor"


def walk(storage: RevisionedStorage, limit: int, status: Status | None = None) -> list[tuple[Task, ...]]:
    """All pages of a list."""
    pages, cursor = [], None
    while True:
        page = storage.list(status=status, limit=limit, cursor=cursor)
        pages.append(page.tasks)
        if page.cursor is None:
            return pages
        cursor = page.cursor
