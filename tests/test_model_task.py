from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from datetime import UTC, datetime, timedelta, timezone

import pytest
from contracts.tasks import MICROSECOND, a_task, as_loaded, tasks
from hypothesis import given

from sequential_core.checks import check_duration, check_task_id
from sequential_core.errors import InvalidRequestError, InvalidTaskIdError
from sequential_core.limits import Limits
from sequential_core.model import TRANSITIONS, ErrorDetail, ErrorKind, Language, LogEntry, PausedState, Status, Task
from sequential_core.pending import PendingEvent, PendingRequest, PendingTool, TakenAnswer
from sequential_core.testing import NOW


@given(task=tasks)
def test_json_form_comes_back_as_the_task_without_its_code(task):
    assert Task.from_dict(json.loads(json.dumps(task.to_dict()))) == as_loaded(task)
    assert Task.from_dict(dict(task)) == as_loaded(task)


@given(task=tasks)
def test_short_forms_agree_with_the_whole(task):
    form = task.to_dict()
    assert form["error"] == task.error
    assert form["fetchRequest"] == (form["fetchRequests"][0] if form["fetchRequests"] else None)
    assert task.fetch_request == (task.fetch_requests[0] if task.fetch_requests else None)


def test_instants_of_other_zones_are_written_in_utc():
    there = datetime(2030, 1, 1, 5, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert a_task(created_at=there)["createdAt"] == "2030-01-01T00:00:00.000000Z"


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2030-01-01T00:00:00.000001Z", NOW + MICROSECOND),
        ("2030-01-01T00:00:00Z", NOW),
        ("2030-01-01T01:00:00+01:00", NOW),
        ("2029-12-31T23:59:59.5-00:00", NOW - timedelta(milliseconds=500)),
    ],
)
def test_instants_are_read_from_rfc_3339(text, instant):
    task = Task.from_dict({**a_task(), "createdAt": text})
    assert task.created_at == instant
    assert task.created_at.tzinfo is UTC


# What tasks that an earlier version stored do not have.
LATER = {"language", "timers", "toolCalls", "eventWaits", "keptEvents", "drive"}


@pytest.mark.parametrize("name", sorted(a_task().to_dict().keys() - {"error", "fetchRequest", "vmState"} - LATER))
def test_json_form_without_a_field_is_none(name):
    form = a_task().to_dict()
    del form[name]
    with pytest.raises(InvalidRequestError):
        Task.from_dict(form)


def test_json_form_without_a_language_is_of_javascript():
    """The first version wrote none, and had no other."""
    form = a_task(language=Language.TYPESCRIPT).to_dict()
    assert form.pop("language") == "typescript"
    assert Task.from_dict(form).language is Language.JAVASCRIPT


def test_json_form_of_an_unknown_language_is_none():
    with pytest.raises(InvalidRequestError):
        Task.from_dict({**a_task(), "language": "coffeescript"})


@pytest.mark.parametrize("name", ["error", "fetchRequest", "vmState"])
def test_json_form_may_lack_what_is_there_twice_and_the_state(name):
    form = a_task().to_dict()
    del form[name]
    assert as_loaded(a_task(vm_state=None if name == "vmState" else a_task().vm_state)) == Task.from_dict(form)


@pytest.mark.parametrize(
    ("now", "expired"),
    [(NOW - MICROSECOND, False), (NOW, True), (NOW + MICROSECOND, True), (datetime.max.replace(tzinfo=UTC), True)],
)
def test_task_has_expired_at_the_instant_itself(now, expired):
    assert a_task(expires_at=NOW).expired(now) is expired
    assert a_task(expires_at=None).expired(now) is False


def test_task_is_a_value():
    task = a_task()
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.revision = 2
    assert copy.copy(task) == copy.deepcopy(task) == pickle.loads(pickle.dumps(task)) == task


def test_state_and_code_are_not_in_the_repr():
    shown = repr(a_task(vm_state=b"secret state", code="secret code"))
    assert "secret" not in shown


def test_state_in_json_is_standard_base64():
    assert a_task(vm_state=b"\xfb\xff\x00")["vmState"] == "+/8A"


def test_changing_the_json_form_changes_no_task():
    task = a_task(fetch_requests=(PendingRequest(1, "u", headers={"a": "1"}),))
    form = task.to_dict()
    form["fetchRequests"][0]["headers"]["b"] = "2"
    form["pausedState"]["pending"].append(2)
    form["logs"].append({})
    assert task.fetch_requests[0].headers == {"a": "1"}
    assert task["pausedState"]["pending"] == [1]
    assert task["logs"] == []


@pytest.mark.parametrize(
    ("detail", "text"),
    [
        (ErrorDetail(ErrorKind.EXCEPTION, "TypeError", "bad"), "TypeError: bad"),
        (ErrorDetail(ErrorKind.EXCEPTION, "Error", ""), "Error"),
        (None, None),
    ],
)
def test_error_reads_as_in_javascript(detail, text):
    assert a_task(error_detail=detail).error == text


@pytest.mark.parametrize(
    "value",
    [
        LogEntry("warn", "é"),
        PausedState(line=None, column=None, hops=3, requests=5, pending=(2, 5), state_bytes=1000),
        ErrorDetail(ErrorKind.DEADLOCK, "DeadlockError", "m", 1, 2, "at x"),
        PendingRequest(7, "u", "POST", {"a": "b"}, "body"),
        PendingTool(7, "search:web", {"query": ["é", None, 1.5]}),
        PendingEvent(7, "order.paid"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_parts_come_back_from_their_json_form(value):
    assert type(value).from_dict(json.loads(json.dumps(value.to_dict()))) == value


def test_pending_requests_of_every_kind_are_told_oldest_first():
    first, second, third = PendingEvent(2, "paid"), PendingTool(3, "charge", None), PendingRequest(5, "https://a/")
    task = a_task(fetch_requests=(third,), tool_calls=(second,), event_waits=(first,))
    assert task.pending_requests == (first, second, third)
    assert task.fetch_request == third


@pytest.mark.parametrize(
    ("taken", "form"),
    [
        (TakenAnswer(1, 2, "d"), [1, 2, "d"]),
        (TakenAnswer(1, 2, "d", "k"), [1, 2, "d", "k"]),
        (TakenAnswer(1, 2, "d", is_event=True), [1, 2, "d", "", "event"]),
        (TakenAnswer(1, 2, "d", "k", is_event=True), [1, 2, "d", "k", "event"]),
    ],
)
def test_taken_answers_are_short_lists(taken, form):
    assert taken.to_list() == form
    assert TakenAnswer.from_list(form) == taken


def test_transitions_speak_of_every_status():
    assert TRANSITIONS.keys() == {None, *Status}
    assert all(after <= set(Status) for after in TRANSITIONS.values())


@pytest.mark.parametrize("task_id", ["a", " ", "a#b/c é 日本", "\u00a0", "'\"%", "x" * 256, "😀" * 256])
def test_ids_that_a_task_may_have(task_id):
    assert check_task_id(task_id) is task_id


@pytest.mark.parametrize(
    "task_id", [None, 1, b"a", "", "x" * 257, "\t", "a\r", "\x00", "\x7f", "\x85", "\u2028", "\udfff"]
)
def test_ids_that_a_task_may_not_have(task_id):
    with pytest.raises(InvalidTaskIdError) as caught:
        check_task_id(task_id)
    assert caught.value.field == "id"


def test_durations_are_kept_to_the_microsecond():
    assert check_duration("ttl", 0.000001) == MICROSECOND
    assert check_duration("ttl", timedelta(days=36525)) == timedelta(days=36525)


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Limits)])
@pytest.mark.parametrize("value", [0, -1, True, "5", None, float("nan")])
def test_a_limit_is_a_number_above_zero(field, value):
    with pytest.raises(InvalidRequestError) as caught:
        Limits(**{field: value})
    assert caught.value.field == field


@pytest.mark.parametrize("memory_bytes", [(4 << 20) - 1, (4 << 30) + 1])
def test_memory_is_between_4_mib_and_4_gib(memory_bytes):
    with pytest.raises(InvalidRequestError):
        Limits(memory_bytes=memory_bytes)


def test_a_task_that_an_earlier_version_stored_is_read():
    form = a_task().to_dict()
    for name in LATER:
        del form[name]
    for name in ("timers", "wakeAt"):
        del form["pausedState"][name]
    for name in ("kind", "bodyEncoding", "redirect"):
        del form["fetchRequests"][0][name]
    assert Task.from_dict(form) == as_loaded(a_task())
