from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from contracts.tasks import a_task, tasks
from hypothesis import given
from hypothesis import strategies as st

from sequential_core.errors import InvalidRequestError, StorageFormatError
from sequential_core.model import Language
from sequential_core.pending import PendingEvent, PendingRequest, PendingTool
from sequential_core.storage.document import (
    decode_cursor,
    encode_cursor,
    from_document,
    microseconds,
    to_document,
)


@given(task=tasks)
def test_document_and_state_are_the_task_without_its_code(task):
    loaded = from_document(to_document(task), task.vm_state)
    assert loaded.code is None
    assert (loaded.to_dict(), loaded.vm_state) == (task.to_dict(), task.vm_state)


@given(task=tasks)
def test_document_is_ascii_without_state_and_code(task):
    document = to_document(task)
    assert document.isascii()
    assert not {"vmState", "code"} & json.loads(document).keys()


def test_document_of_the_first_version_is_of_javascript():
    """Which had no other, and did not say so."""
    document = json.loads(to_document(a_task()))
    assert document.pop("language") == "javascript"
    assert from_document(json.dumps(document), a_task().vm_state).language is Language.JAVASCRIPT


def test_document_keeps_where_a_request_was_made():
    task = a_task(
        fetch_requests=(
            PendingRequest(2, "https://api.test/", line=3, column=7),
            PendingRequest(4, "https://api.test/"),
        ),
        tool_calls=(PendingTool(1, "charge", {"cents": 5}, line=2, column=9),),
        event_waits=(PendingEvent(3, "paid", line=8, column=1), PendingEvent(5, "paid", line=8, column=30)),
    )
    assert from_document(to_document(task), None).pending_requests == task.pending_requests


def test_document_of_a_version_without_tools_and_events_is_read():
    """It had nothing of them, and its positions were those of fetches."""
    document = json.loads(to_document(a_task(fetch_requests=(PendingRequest(1, "https://a/", line=3, column=7),))))
    assert document["positions"] == [[3, 7]]
    assert not {"toolCalls", "eventWaits"} & document.keys()
    task = from_document(json.dumps(document), None)
    assert (task.tool_calls, task.event_waits) == ((), ())


def _changed(**fields):
    return json.dumps({**json.loads(to_document(a_task())), **fields})


@pytest.mark.parametrize(
    "document",
    [
        "",
        "{",
        "null",
        "7",
        "[]",
        '"text"',
        "{}",
        _changed(status="waiting"),
        _changed(status=None),
        _changed(createdAt="2030"),
        _changed(createdAt=None),
        _changed(expiresAt=5),
        _changed(ttl="long"),
        _changed(retain=[]),
        _changed(fetchRequests=None),
        _changed(fetchRequests=[{}]),
        _changed(fetchRequests=[{"id": 1, "url": "u", "color": "red"}]),
        _changed(toolCalls=[{"id": 1, "kind": "tool", "name": "charge"}]),
        _changed(eventWaits=[{"id": 1, "kind": "event", "name": "paid"}]),
        _changed(errorDetail={"kind": "exception"}),
        _changed(pausedState={}),
        _changed(logs=7),
        _changed(positions=7),
        _changed(positions=[]),
        _changed(positions=[[1]]),
        _changed(taken=[7]),
        _changed(taken=[[1, 1]]),
        _changed(vmState="?"),
    ],
)
def test_document_that_is_no_task_is_a_format_error(document):
    with pytest.raises(StorageFormatError):
        from_document(document, None)


@pytest.mark.parametrize("fields", [{"ttl": 1e300}, {"createdAt": "0001-01-01T00:00:00+01:00"}])
def test_document_with_a_time_out_of_range_is_a_format_error(fields):
    with pytest.raises(StorageFormatError):
        from_document(_changed(**fields), None)


@pytest.mark.parametrize(
    ("instant", "number"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), 0),
        (datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC), 1),
        (datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), -1),
        (datetime(2026, 11, 24, 0, 0, 0, 123_457, tzinfo=UTC), 1_795_478_400_123_457),
        (datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), 253_402_300_799_999_999),
    ],
)
def test_microseconds_are_exact(instant, number):
    assert microseconds(instant) == number


@given(instant=st.datetimes(timezones=st.timezones()))
def test_microseconds_keep_the_order_of_instants(instant):
    try:
        later = instant.astimezone(UTC) + timedelta(microseconds=1)
    except OverflowError:
        return
    assert microseconds(later) == microseconds(instant) + 1


@given(created_at=st.integers(-(2**62), 2**62), task_id=st.text())
def test_cursor_comes_back(created_at, task_id):
    cursor = encode_cursor(created_at, task_id)
    assert decode_cursor(cursor) == (created_at, task_id)
    assert cursor.isascii()
    assert not set(cursor) & set("+/?&#")  # it travels in a query


@given(text=st.text())
def test_text_that_is_no_cursor_is_refused(text):
    with pytest.raises(InvalidRequestError):
        decode_cursor(text)
