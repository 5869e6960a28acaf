"""What a flow refuses: with which error, and that nothing is stored, run or changed."""

from __future__ import annotations

import math
import random
import struct
from datetime import timedelta

import pytest
from contracts.tasks import a_task

from sequential_core import SequentialFlow
from sequential_core import state as codec
from sequential_core.errors import (
    CodeSyntaxError,
    CodeTooLargeError,
    GuestMismatchError,
    InvalidAnswerError,
    InvalidCodeError,
    InvalidRequestError,
    InvalidTaskIdError,
    StateCorruptedError,
    StateFormatError,
    StorageFullError,
    TaskConflictError,
    TaskNotFoundError,
    UnknownRequestError,
)
from sequential_core.limits import Limits
from sequential_core.storage import MemoryStorage, SqliteStorage
from sequential_core.testing import MovedClock
from sequential_core.vm import guest as guests

TWO = 'const a = await fetch("https://a.test/"); const b = await fetch("https://b.test/" + a); [a, b]'


@pytest.fixture
def clock():
    return MovedClock()


@pytest.fixture
def storage(clock):
    return MemoryStorage(clock=clock)


@pytest.fixture
def flow(storage, clock):
    return SequentialFlow(storage, limits=Limits(code_bytes=1000, answer_bytes=1000), clock=clock)


@pytest.fixture
def paused(flow):
    """A task at its first pause, `task-1`."""
    return flow.execute(TWO, id="task-1")


def _contents(storage):
    return dict(storage._rows)


def _cycle():
    value = {}
    value["self"] = [value]
    return value


def _deep(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


# execute


@pytest.mark.parametrize(
    ("code", "line", "column"),
    [("let x = @", 1, 9), ("let x = 1;\nlet y = ;", 2, 9), ("await null;\n\n  }", 3, 3), ("return 1", 1, 1)],
)
def test_syntax_error_has_its_place(flow, storage, code, line, column):
    with pytest.raises(CodeSyntaxError) as caught:
        flow.execute(code, id="task-1")
    assert (caught.value.line, caught.value.column) == (line, column)
    assert str(caught.value) == f"SyntaxError: {caught.value.message} (line {line}, column {column})"
    assert _contents(storage) == {}


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (None, InvalidCodeError),
        (b"1", InvalidCodeError),
        (7, InvalidCodeError),
        (["1"], InvalidCodeError),
        ("'\ud800'", InvalidCodeError),
        ("/" * 1001, CodeTooLargeError),
        ("//" + "é" * 500, CodeTooLargeError),  # 1,002 bytes
    ],
)
def test_code_that_is_no_text_or_too_large(flow, storage, code, error):
    with pytest.raises(error):
        flow.execute(code, id="task-1", retain=60)
    assert _contents(storage) == {}


@pytest.mark.parametrize("code", ["//" + "x" * 998, "//" + "é" * 499])
def test_code_of_the_largest_size(flow, code):
    assert flow.execute(code).result is None


BAD_IDS = [
    "",
    "x" * 257,
    "a\x00",
    "a\nb",
    "\x1f",
    "\x7f",
    "\x80",
    "\x9f",
    "a\u2028",
    "\u2029",
    "\ud800",
    7,
    b"a",
    ["a"],
]


@pytest.mark.parametrize("task_id", BAD_IDS)
def test_id_that_a_task_may_not_have(flow, storage, task_id):
    for call in (
        lambda: flow.execute(TWO, id=task_id),
        lambda: flow.execute({"code": TWO, "id": task_id}),
        lambda: flow.resume(task_id, fetch_response=1),
        lambda: flow.resume({"id": task_id, "fetchResponse": 1}),
        lambda: flow.get_task(task_id),
        lambda: flow.delete_task(task_id),
    ):
        with pytest.raises(InvalidTaskIdError):
            call()
    assert _contents(storage) == {}


@pytest.mark.parametrize("name", ["x" * 257, 7, b"name", ["name"]])
def test_name_of_another_kind(flow, storage, name):
    with pytest.raises(InvalidRequestError) as caught:
        flow.execute(TWO, name=name)
    assert caught.value.field == "name"
    assert _contents(storage) == {}


@pytest.mark.parametrize("name", ["", "x" * 256, "é\n\ud800😀"])
def test_name_may_be_any_text_of_256_characters(flow, name):
    flow.execute(TWO, id="task-1", name=name)
    assert flow.get_task("task-1").name == name


@pytest.mark.parametrize("field", ["ttl", "retain"])
@pytest.mark.parametrize(
    "value",
    [
        *(-1, -0.5, math.nan, math.inf, -math.inf, 1e300, 10**400, 36525 * 86400 + 1),
        *(True, False, "60", [60], timedelta(seconds=-1), timedelta(days=36525, microseconds=1)),
    ],
)
def test_duration_that_is_none(flow, storage, field, value):
    for call in (lambda: flow.execute(TWO, **{field: value}), lambda: flow.execute({"code": TWO, field: value})):
        with pytest.raises(InvalidRequestError) as caught:
            call()
        assert caught.value.field == field
    assert _contents(storage) == {}


@pytest.mark.parametrize("nothing", [0, 0.0, 1e-9, timedelta(0)])
def test_a_pause_cannot_be_kept_for_no_time_but_an_outcome_can(flow, storage, nothing):
    with pytest.raises(InvalidRequestError):
        flow.execute(TWO, ttl=nothing)
    assert flow.execute("1", retain=nothing).expires_at is None
    assert _contents(storage) == {}


@pytest.mark.parametrize(
    "request_",
    [{}, {"id": "task-1"}, {"code": TWO, "ttl_seconds": 1}, {"code": TWO, "storage": "memory:"}, {"code": {}}],
)
def test_mapping_to_execute_with_fields_missing_or_unknown(flow, storage, request_):
    with pytest.raises(InvalidRequestError):
        flow.execute(request_)
    assert _contents(storage) == {}


def test_unknown_fields_are_named(flow):
    with pytest.raises(
        InvalidRequestError, match=r"unknown fields: 7, fetch_response, zzz; known: error, fetchResponse, id,"
    ):
        flow.resume({"id": "task-1", "zzz": 1, "fetch_response": 1, 7: 1})


@pytest.mark.parametrize("argument", [{"id": "a"}, {"name": "a"}, {"ttl": 1}, {"retain": 1}])
def test_execute_with_a_mapping_and_arguments(flow, storage, argument):
    with pytest.raises(InvalidRequestError, match="not as both"):
        flow.execute({"code": TWO}, **argument)
    assert _contents(storage) == {}


# resume


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, InvalidAnswerError),
        ({"fetch_response": 1, "error": "x"}, InvalidAnswerError),
        ({"fetch_response": None, "response": {}}, InvalidAnswerError),
        ({"response": {}, "error": ""}, InvalidAnswerError),
        ({"fetch_response": 1, "response": {}, "error": "x"}, InvalidAnswerError),
        ({"fetch_response": math.nan}, InvalidAnswerError),
        ({"fetch_response": [math.inf]}, InvalidAnswerError),
        ({"fetch_response": {1, 2}}, InvalidAnswerError),
        ({"fetch_response": b"bytes"}, InvalidAnswerError),
        ({"fetch_response": {"a": object()}}, InvalidAnswerError),
        ({"fetch_response": {(1, 2): 1}}, InvalidAnswerError),
        ({"fetch_response": _cycle()}, InvalidAnswerError),
        ({"fetch_response": _deep(501)}, InvalidAnswerError),
        ({"fetch_response": _deep(10_000)}, InvalidAnswerError),
        ({"fetch_response": "x" * 999}, InvalidAnswerError),  # with its quotes 1,001 bytes
        ({"response": {"body": "x" * 1000}}, InvalidAnswerError),
        ({"error": "x" * 999}, InvalidAnswerError),
        ({"error": 7}, InvalidAnswerError),
        ({"error": ["x"]}, InvalidAnswerError),
        ({"response": "text"}, InvalidAnswerError),
        ({"response": [200]}, InvalidAnswerError),
        ({"response": {"status": 200, "statuscode": 1}}, InvalidAnswerError),
        ({"response": {"status": 199}}, InvalidAnswerError),
        ({"response": {"status": 600}}, InvalidAnswerError),
        ({"response": {"status": "200"}}, InvalidAnswerError),
        ({"response": {"status": True}}, InvalidAnswerError),
        ({"response": {"status": None}}, InvalidAnswerError),
        ({"response": {"statusText": 7}}, InvalidAnswerError),
        ({"response": {"headers": [["a", "b"]]}}, InvalidAnswerError),
        ({"response": {"headers": {"a b": "1"}}}, InvalidAnswerError),
        ({"response": {"headers": {"": "1"}}}, InvalidAnswerError),
        ({"response": {"headers": {"a": 1}}}, InvalidAnswerError),
        ({"response": {"headers": {"a": "1\r\nb: 2"}}}, InvalidAnswerError),
        ({"response": {"headers": {"a": "1\n"}}}, InvalidAnswerError),
        ({"response": {"headers": {"a\n": "1"}}}, InvalidAnswerError),
        ({"response": {"headers": {"a": "日本"}}}, InvalidAnswerError),
        ({"response": {"body": b"bytes", "bodyEncoding": "base64"}}, InvalidAnswerError),
        ({"response": {"body": "YQ=", "bodyEncoding": "base64"}}, InvalidAnswerError),
        ({"response": {"body": "YQ==", "bodyEncoding": "hex"}}, InvalidAnswerError),
        ({"response": {"headers": {"a": []}}}, InvalidAnswerError),
        ({"response": {"headers": {"a": ["1", "2\n"]}}}, InvalidAnswerError),
        ({"response": {"body": {"a": math.nan}}}, InvalidAnswerError),
        ({"response": {"url": 7}}, InvalidAnswerError),
        ({"response": {"redirected": 1}}, InvalidAnswerError),
        ({"fetch_response": 1, "request_id": 2}, UnknownRequestError),
        ({"fetch_response": 1, "revision": 2}, TaskConflictError),
        ({"fetch_response": 1, "request_id": True}, InvalidRequestError),
        ({"fetch_response": 1, "request_id": 0}, InvalidRequestError),
        ({"fetch_response": 1, "revision": "1"}, InvalidRequestError),
    ],
    ids=lambda value: None if isinstance(value, dict) else value.__name__,
)
def test_resume_that_is_refused_leaves_the_task_as_it_is(flow, storage, paused, arguments, error):
    before = _contents(storage)
    with pytest.raises(error) as caught:
        flow.resume("task-1", **arguments)
    assert type(caught.value) is error
    assert _contents(storage) == before
    assert flow.resume("task-1", fetch_response="right").fetch_request.url == "https://b.test/right"


@pytest.mark.parametrize(
    "answer", [{"fetch_response": "x" * 998}, {"fetch_response": _deep(499)}, {"error": "x" * 998}]
)
def test_answer_of_the_largest_size_is_taken(flow, paused, answer):
    assert flow.resume("task-1", **answer).revision == 2


def test_answer_of_the_greatest_depth_is_taken(clock, storage, paused):
    assert SequentialFlow(storage, clock=clock).resume("task-1", fetch_response=_deep(500)).revision == 2


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"fetchResponse": 1},
        {"id": "task-1"},
        {"id": None, "fetchResponse": 1},
        {"id": {}, "fetchResponse": 1},
        {"id": "task-1", "response": None, "error": None},
        {"id": "task-1", "fetchResponse": 1, "error": "x"},
        {"id": "task-1", "fetch_response": 1},
        {"id": "task-1", "fetchResponse": 1, "storage": "memory:"},
        {"id": "task-1", "fetchResponse": 1, "requestId": "1"},
    ],
)
def test_mapping_to_resume_with_fields_missing_unknown_or_wrong(flow, storage, paused, request_):
    before = _contents(storage)
    with pytest.raises(InvalidRequestError):
        flow.resume(request_)
    assert _contents(storage) == before


@pytest.mark.parametrize("argument", [{"fetch_response": None}, {"error": "x"}, {"response": {}}, {"revision": 1}])
def test_resume_with_a_mapping_and_arguments(flow, storage, paused, argument):
    before = _contents(storage)
    with pytest.raises(InvalidRequestError, match="not as both"):
        flow.resume({"id": "task-1", "fetchResponse": 1}, **argument)
    assert _contents(storage) == before


def test_unknown_and_expired_tasks_are_not_found(flow, clock, paused):
    with pytest.raises(TaskNotFoundError) as caught:
        flow.resume("task-2", fetch_response=1)
    assert caught.value.task_id == "task-2"
    clock.now = paused.expires_at
    with pytest.raises(TaskNotFoundError):
        flow.resume("task-1", fetch_response=1)


def test_bad_answer_to_an_unknown_task_is_a_bad_answer(flow):
    with pytest.raises(InvalidAnswerError):
        flow.resume("task-2", fetch_response=1, error="x")


# The state in the storage


def _flip(index):
    def flip(state):
        changed = bytearray(state)
        changed[index] ^= 0x10
        return bytes(changed)

    return flip


def _of_another_guest(state):
    decoded = codec.decode(state, guests.dictionary)
    return codec.encode(codec.State("ab" * 32, decoded.memory_pages, decoded.main, decoded.runs))


def _of_a_later_format(state):
    return state[:4] + struct.pack("<H", codec.FORMAT_VERSION + 1) + state[6:]


def _of_a_larger_memory(state):
    decoded = codec.decode(state, guests.dictionary)
    return codec.encode(codec.State(decoded.guest, 1, decoded.main, ()))


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda state: b"", StateCorruptedError),
        (lambda state: state[:10], StateCorruptedError),
        (lambda state: state[:-1], StateCorruptedError),
        (lambda state: state + b"\x00", StateCorruptedError),
        (lambda state: b"{}" + state, StateCorruptedError),
        *((_flip(index), StateCorruptedError) for index in (0, 3, 6, 13, 14, 21, 22, 23, 24, 27, 29, 30, 300, -1)),
        (_of_a_larger_memory, StateCorruptedError),
        (_of_another_guest, GuestMismatchError),
        (_of_a_later_format, StateFormatError),
    ],
)
def test_state_that_cannot_be_resumed_is_left_as_it_is(flow, storage, paused, damage, error):
    stored = storage.load("task-1")
    storage.save(a_task(vm_state=damage(stored.vm_state), expires_at=None))
    before = _contents(storage)
    with pytest.raises(error) as caught:
        flow.resume("task-1", fetch_response=1)
    assert type(caught.value) is error
    assert _contents(storage) == before
    storage.save(stored)
    assert flow.resume("task-1", fetch_response=1).fetch_request.url == "https://b.test/1"


def test_state_of_another_guest_says_which_it_needs(flow, storage, paused):
    storage.save(a_task(vm_state=_of_another_guest(paused.vm_state)))
    with pytest.raises(GuestMismatchError) as caught:
        flow.resume("task-1", fetch_response=1)
    assert caught.value.needed == "ab" * 8
    assert guests.current().sha256 in caught.value.installed
    assert codec.read(paused.vm_state).guest == guests.current().sha256[:16]


def test_state_that_waits_for_another_request_than_the_task_says(flow, storage):
    other = flow.execute("await Promise.all([fetch('http://a/a'), fetch('http://a/b')])", id="other")
    flow.execute(TWO, id="task-1")
    storage.save(a_task(vm_state=flow.get_task("task-1").vm_state, fetch_requests=other.fetch_requests))
    with pytest.raises(StateCorruptedError, match="request 2 is not pending"):
        flow.resume("task-1", fetch_response=1, request_id=2)


# A storage without room


def test_full_storage_stores_nothing_of_a_start_and_keeps_the_old_pause_of_a_hop(tmp_path):
    storage = SqliteStorage(tmp_path / "tasks.db")
    flow = SequentialFlow(storage)
    flow.execute("const a = await fetch('http://a/a'); await fetch('http://a/b'); a.length", id="task-1")
    before = storage.load("task-1")
    pages = storage._connection.execute("PRAGMA page_count").fetchone()[0]
    storage._connection.execute(f"PRAGMA max_page_count = {pages}")
    code = f"const noise = '{'x' * 20_000}'; await fetch('http://a/a')"
    with pytest.raises(StorageFullError):
        flow.execute(code, id="task-2")
    noise = [random.Random(number).random() for number in range(3_000)]
    with pytest.raises(StorageFullError):
        flow.resume("task-1", fetch_response=noise)
    assert [task.id for task in storage.list().tasks] == ["task-1"]
    assert storage.load("task-1") == before
    storage._connection.execute("PRAGMA max_page_count = 10000")
    flow.resume("task-1", fetch_response=noise)
    assert flow.resume("task-1", fetch_response=1).result == 3_000
    assert flow.execute(code, id="task-2").revision == 1
    storage.close()
