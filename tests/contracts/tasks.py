"""Tasks to put into storages, and a clock that is moved by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from sequential_core.drive import Callback, Drive, Exchange, Policy, Retry
from sequential_core.model import ErrorDetail, ErrorKind, Language, LogEntry, PausedState, Status, Task
from sequential_core.pending import KeptEvent, PendingEvent, PendingRequest, PendingTimer, PendingTool, TakenAnswer
from sequential_core.testing import NOW

MICROSECOND = timedelta(microseconds=1)


def a_task(task_id: str = "task-1", **fields: Any) -> Task:
    """A paused task of revision 1, made at NOW for two hours; `fields` are what is to differ."""
    usual = {
        "status": Status.PAUSED,
        "fetch_requests": (PendingRequest(1, "https://api.test/"),),
        "vm_state": b"\x00state\xff",
        "paused_state": PausedState(line=1, column=14, hops=1, requests=1, pending=(1,), state_bytes=7),
        "revision": 1,
        "created_at": NOW,
        "updated_at": NOW,
        "expires_at": NOW + timedelta(hours=2),
        "ttl": timedelta(hours=2),
        "code_sha256": "ab" * 32,
        "code": 'await fetch("https://api.test/")',
    }
    return Task(id=task_id, **{**usual, **fields})


def as_loaded(task: Task) -> Task:
    """What `load` gives for a task that was saved."""
    return replace(task, code=None)


_text = st.text(max_size=30)
_ids = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=256)
_numbers = st.integers(1, 1 << 40)
_instants = st.datetimes(timezones=st.just(UTC))
_durations = st.timedeltas(MICROSECOND, timedelta(days=36525))
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4),
    max_leaves=8,
)
_requests = st.builds(
    PendingRequest,
    id=_numbers,
    url=_text,
    method=_text,
    headers=st.dictionaries(_text, _text, max_size=3),
    body=st.none() | _text,
    body_encoding=st.none() | st.just("base64"),
    redirect=st.sampled_from(["follow", "error", "manual"]),
)
_policies = st.builds(
    Policy,
    answers=st.sampled_from(["value", "response"]),
    attempts=st.integers(1, 20),
    backoff=_durations,
    retry_statuses=st.lists(st.integers(400, 599), max_size=3).map(tuple),
    retry_methods=st.lists(st.sampled_from(["GET", "POST"]), max_size=2).map(tuple),
    timeout=st.just(timedelta(seconds=5)),
    response_bytes=st.integers(1, 5 << 20),
    hops=st.integers(1, 1_000_000),
    duration=_durations,
    allow=st.lists(st.sampled_from(["*.example.com", "10.0.0.0/8"]), max_size=2).map(tuple),
)
_drives = st.builds(
    Drive,
    policy=_policies,
    claim=st.none() | _text,
    due_at=st.none() | _instants,
    retries=st.lists(
        st.builds(Retry, request_id=_numbers, attempts=_numbers, next_at=_instants, problem=_text), max_size=2
    ).map(tuple),
    history=st.lists(
        st.builds(
            Exchange,
            hop=_numbers,
            url=_text,
            status=st.none() | _numbers,
            milliseconds=_numbers,
            size_bytes=_numbers,
            attempts=_numbers,
        ),
        max_size=2,
    ).map(tuple),
    log=st.lists(st.tuples(_text, _text), max_size=2).map(tuple),
    callback=st.none()
    | st.builds(
        Callback,
        url=_text,
        attempts=_numbers,
        next_at=st.none() | _instants,
        delivered_at=st.none() | _instants,
        problem=st.none() | _text,
    ),
)
_tools = st.builds(PendingTool, id=_numbers, name=_text, args=_json)
_events = st.builds(PendingEvent, id=_numbers, name=_text)

#: Tasks with any value in any field, none of which has expired at NOW.
tasks = st.builds(
    Task,
    id=_ids,
    name=st.none() | _text,
    status=st.sampled_from(Status),
    result=_json,
    error_detail=st.none()
    | st.builds(
        ErrorDetail,
        kind=st.sampled_from(ErrorKind),
        name=_text,
        message=_text,
        line=st.none() | _numbers,
        column=st.none() | _numbers,
        stack=_text,
    ),
    fetch_requests=st.lists(_requests, max_size=3).map(tuple),
    tool_calls=st.lists(_tools, max_size=3).map(tuple),
    event_waits=st.lists(_events, max_size=3).map(tuple),
    kept_events=st.lists(st.builds(KeptEvent, name=_text, value=_json), max_size=2).map(tuple),
    drive=st.none() | _drives,
    vm_state=st.none() | st.binary(max_size=200),
    paused_state=st.none()
    | st.builds(
        PausedState,
        line=st.none() | _numbers,
        column=st.none() | _numbers,
        hops=_numbers,
        requests=_numbers,
        pending=st.lists(_numbers, max_size=3).map(tuple),
        state_bytes=_numbers,
        timers=st.integers(0, 10_000),
        wake_at=st.none() | _instants,
    ),
    timers=st.lists(st.builds(PendingTimer, id=_numbers, due_at=_instants), max_size=2).map(tuple),
    logs=st.lists(st.builds(LogEntry, level=_text, message=_text), max_size=3).map(tuple),
    revision=_numbers,
    created_at=_instants,
    updated_at=_instants,
    expires_at=st.none() | st.datetimes(datetime(2030, 1, 1, 0, 0, 1), timezones=st.just(UTC)),  # noqa: DTZ001  # Hypothesis adds the zone
    ttl=_durations,
    retain=st.none() | _durations,
    language=st.sampled_from(Language),
    code_sha256=_text,
    code=st.none() | _text,
    taken=st.lists(
        st.builds(
            TakenAnswer,
            request_id=_numbers,
            revision=_numbers,
            digest=_text,
            key=st.none() | st.text(min_size=1, max_size=30),
            is_event=st.booleans(),
        ),
        max_size=3,
    ).map(tuple),
)
