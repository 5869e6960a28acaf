"""Documents in few bytes: what DynamoDB has of a task."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from contracts.tasks import a_task, tasks
from hypothesis import given
from hypothesis import strategies as st

from sequential_core.errors import StorageFormatError
from sequential_core.pending import PendingRequest
from sequential_core.storage import items, packed
from sequential_core.storage.document import to_document, to_fields

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
BESIDE = packed.Beside("task-1", 3, NOW - timedelta(days=1), NOW + timedelta(hours=2))
FIELDS = {"status": "paused", "ttl": 7200.0, "updatedAt": "2026-03-01T12:30:00.000000Z", "codeSha256": "5d" * 32}
WHOLE = {**FIELDS, **BESIDE.fields()}


def item_of(task):
    return {**items.key(task.id, items.TASK), **items.task_item(task)}


@given(task=tasks)
def test_an_item_is_the_task_without_its_code(task):
    item = item_of(task)
    loaded = items.task_of(item, item["document"]["B"], task.vm_state)
    assert loaded.code is None
    assert (loaded.to_dict(), loaded.vm_state) == (task.to_dict(), task.vm_state)


@given(task=tasks)
def test_an_item_of_an_earlier_version_is_read(task):
    """It had the JSON of the document, a string."""
    item = item_of(task) | {"document": {"S": to_document(task)}}
    loaded = items.task_of(item, items.content(item["document"]), task.vm_state)
    assert loaded.to_dict() == task.to_dict()


# Written by hand, as that version wrote it.
OLD = {
    "pk": {"S": "task-1"},
    "sk": {"S": "task"},
    "revision": {"N": "2"},
    "created_at": {"N": "1772368200000000"},
    "expires": {"N": "1772375400000000"},
    "expires_at": {"N": "1772375400"},
    "document": {
        "S": '{"id":"task-1","name":null,"status":"paused","result":null,"errorDetail":null,"fetchRequests":[{"id":2,'
        '"kind":"fetch","url":"https://a/","method":"GET","headers":{},"body":null,"bodyEncoding":null,"redirect":'
        '"follow"}],"timers":[],"pausedState":{"line":1,"column":7,"hops":2,"requests":2,"pending":[2],"stateBytes":3,'
        '"timers":0,"wakeAt":null},"logs":[],"revision":2,"createdAt":"2026-03-01T12:30:00.000000Z","updatedAt":'
        '"2026-03-01T12:30:00.000000Z","expiresAt":"2026-03-01T14:30:00.000000Z","ttl":7200.0,"retain":null,"language":'
        '"javascript","codeSha256":"' + "5d" * 32 + '","taken":[[1,1,"0011223344556677"]],"positions":[[1,7]]}'
    },
}


def test_an_item_as_the_previous_version_wrote_it_is_read_and_written_smaller():
    task = items.task_of(OLD, items.content(OLD["document"]), b"abc")
    assert task.fetch_requests == (PendingRequest(2, "https://a/", line=1, column=7),)
    assert (task.id, task.revision, task.created_at, task.expires_at) == ("task-1", 2, NOW, NOW + timedelta(hours=2))
    new = item_of(task)
    assert items.task_of(new, items.content(new["document"]), b"abc") == task
    assert items.value_size(new["document"]) < items.value_size(OLD["document"]) / 5


# What version 1 made of WHOLE: its dictionary is never to change.
STORED = bytes.fromhex("01" + "5d" * 32 + "2000005d0000107b7d02007918609cac2b")


def test_documents_of_version_1_stay_readable():
    assert packed.unpack(STORED, BESIDE) == WHOLE


def test_what_is_kept_beside_is_left_out():
    content = packed.pack(WHOLE, BESIDE)
    assert content[0] == 1
    assert content[1:33] == b"\x5d" * 32
    assert content[33] == len('{"status":"paused","ttl":7200.0}')
    assert packed.unpack(content, replace(BESIDE, id="other", revision=9)) == {**WHOLE, "id": "other", "revision": 9}


@pytest.mark.parametrize(
    "changed",
    [
        {"updatedAt": "2026-03-01T12:30:00.000001Z"},
        {"ttl": 60.0},
        {"codeSha256": ""},
        {"codeSha256": "5D" * 32},
        {"name": "x" * 20_000},
    ],
)
def test_what_is_not_as_usual_is_kept(changed):
    whole = {**WHOLE, **changed}
    assert packed.unpack(packed.pack(whole, BESIDE), BESIDE) == whole


def test_a_task_that_does_not_expire_keeps_when_it_was_updated():
    beside = replace(BESIDE, expires_at=None)
    whole = {**WHOLE, "expiresAt": None}
    assert packed.unpack(packed.pack(whole, beside), beside) == whole


CONTENT = packed.pack(WHOLE, BESIDE)
HEAD = CONTENT[:33]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x02" + CONTENT[1:],
        b"\x01",
        HEAD,
        HEAD + b"\x80\x80\x80\x80\x80\x00",
        CONTENT[:-1],
        HEAD + bytes([CONTENT[33] - 1]) + CONTENT[34:],
        HEAD + bytes([CONTENT[33] + 1]) + CONTENT[34:],
        CONTENT[:34] + b"no frame",
    ],
)
def test_damaged_bytes_are_refused(content):
    with pytest.raises(StorageFormatError):
        packed.unpack(content, BESIDE)


@pytest.mark.parametrize("text", ["7", "[]", "null", "{}", '{"ttl":null}', "{"])
def test_json_that_is_no_document_is_refused(text):
    content = HEAD + bytes([len(text)]) + packed._dictionary().compress(text.encode())
    with pytest.raises(StorageFormatError):
        packed.unpack(content, BESIDE)


@given(content=st.binary(max_size=80))
def test_any_bytes_are_a_document_or_refused(content):
    with contextlib.suppress(StorageFormatError):
        assert isinstance(packed.unpack(b"\x01" + content, BESIDE), dict)


def test_an_instant_that_is_none_is_refused():
    task = a_task()
    item = item_of(task) | {"created_at": {"N": "1" + "0" * 30}}
    with pytest.raises(StorageFormatError):
        items.task_of(item, items.content(item["document"]), None)


def test_fields_are_what_the_document_says():
    assert json.loads(to_document(a_task())) == to_fields(a_task())


def test_sizes_are_those_of_the_developer_guide():
    """A number takes a byte, and one for each two digits; a key is part of its item."""
    assert items.item_size("t", {}) == len("pk") + 1 + len("sk") + len("task")
    assert items.value_size(items.number(5)) == 2
    assert items.value_size(items.number(-12345)) == 4
    assert items.item_size("t", {"n": items.number(1234), "b": {"B": b"abc"}}) == items.item_size("t", {}) + 1 + 3 + 4
