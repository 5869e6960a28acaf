"""What a message says, and what is to be done about one: the table of docs/deploy.md, Driven tasks."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from handlers.messages import MalformedMessageError, Message, Step, last_step, next_step
from sequential_core import MemoryStorage, SequentialFlow
from sequential_core.testing import NOW

SOON, LATER = NOW + timedelta(minutes=1), NOW + timedelta(hours=1)
PAST = NOW - timedelta(seconds=1)

TURN, OTHER_TURN, WATCHDOG = Message("a", token="mine"), Message("a", token="other"), Message("a")


@pytest.fixture(scope="module")
def paused():
    flow = SequentialFlow(MemoryStorage(), clock=lambda: NOW)
    return flow.execute("await fetch('https://api.test/a')", id="a", drive=True)


@pytest.fixture
def task(paused):
    """The task with what is given of its drive."""

    def task(**drive):
        return replace(paused, drive=replace(paused.drive, **drive))

    return task


@pytest.mark.parametrize(
    "message",
    [
        WATCHDOG,
        TURN,
        Message("日本 #?", due_at=NOW + timedelta(microseconds=1), delay_seconds=900),
        Message("a", token="t", reason="StorageBusyError: ü"),
    ],
)
def test_what_is_written_can_be_read(message):
    assert Message.read(message.write()) == message


def test_a_message_says_no_more_than_it_has_to():
    assert WATCHDOG.write() == '{"id": "a"}'
    assert TURN.write() == '{"id": "a", "token": "mine"}'
    assert Message("a", due_at=NOW, delay_seconds=60).write() == (
        '{"id": "a", "due": "2030-01-01T00:00:00.000000Z", "delay": 60}'
    )


def test_what_a_later_version_adds_is_passed_over():
    assert Message.read('{"id": "a", "token": null, "priority": 7}') == WATCHDOG


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "[]",
        "null",
        "{}",
        '{"id": 1}',
        '{"id": ""}',
        '{"id": "a", "token": 1}',
        '{"id": "a", "due": 1795000000}',
        '{"id": "a", "due": "soon"}',
        '{"id": "a", "delay": "long"}',
        '{"id": "a", "delay": []}',
        "[" * 100_000,
    ],
    ids=lambda text: text[:30],
)
def test_what_is_none_of_ours_is_told_as_such(text):
    with pytest.raises(MalformedMessageError):
        Message.read(text)


WAKE, OTHER_WAKE = Message("a", due_at=SOON), Message("a", due_at=LATER)

# Of a task that nobody is at, and which is due so: what the driver does with each message, and the dead letters.
UNCLAIMED = [
    (PAST, WATCHDOG, Step.DRIVE, Step.FAIL),
    (PAST, TURN, Step.DRIVE, Step.FAIL),
    (PAST, WAKE, Step.DRIVE, Step.FAIL),
    (NOW, WATCHDOG, Step.DRIVE, Step.FAIL),
    (SOON, WATCHDOG, Step.WAKE, Step.WAKE),
    (SOON, TURN, Step.WAKE, Step.WAKE),
    (SOON, WAKE, Step.WAKE, Step.FAIL),
    (SOON, OTHER_WAKE, Step.NOTHING, Step.NOTHING),
    (None, WATCHDOG, Step.NOTHING, Step.NOTHING),
    (None, TURN, Step.NOTHING, Step.NOTHING),
    (None, WAKE, Step.NOTHING, Step.NOTHING),
]


@pytest.mark.parametrize(("due_at", "message", "next_one", "last_one"), UNCLAIMED)
def test_task_that_nobody_is_at(task, due_at, message, next_one, last_one):
    left = task(claim=None, due_at=due_at)
    assert next_step(message, left, NOW) is next_one
    assert last_step(message, left, NOW) is last_one


# Of a task that "mine" is at.
CLAIMED = [
    (SOON, TURN, Step.DRIVE, Step.LATER),
    (SOON, OTHER_TURN, Step.NOTHING, Step.NOTHING),
    (SOON, WATCHDOG, Step.NOTHING, Step.NOTHING),
    (SOON, WAKE, Step.NOTHING, Step.NOTHING),
    (NOW, TURN, Step.DRIVE, Step.FAIL),
    (NOW, OTHER_TURN, Step.DRIVE, Step.FAIL),
    (PAST, WATCHDOG, Step.DRIVE, Step.FAIL),
    (PAST, WAKE, Step.DRIVE, Step.FAIL),
]


@pytest.mark.parametrize(("until", "message", "next_one", "last_one"), CLAIMED)
def test_task_that_is_claimed(task, until, message, next_one, last_one):
    claimed = task(claim="mine", due_at=until)
    assert next_step(message, claimed, NOW) is next_one
    assert last_step(message, claimed, NOW) is last_one


@pytest.mark.parametrize("message", [WATCHDOG, TURN, WAKE])
def test_task_that_is_not_there_or_not_driven(paused, message):
    for gone in (None, replace(paused, drive=None)):
        assert next_step(message, gone, NOW) is Step.NOTHING
        assert last_step(message, gone, NOW) is Step.NOTHING


def test_task_that_has_ended_is_driven_for_its_callback_and_never_failed(task):
    flow = SequentialFlow(MemoryStorage(), clock=lambda: NOW)
    ended = flow.execute("1", drive=True, callback_url="https://there.test/")
    assert (ended.status, ended.drive.due_at) == ("completed", NOW)
    assert next_step(WATCHDOG, ended, NOW) is Step.DRIVE
    assert last_step(WATCHDOG, ended, NOW) is Step.NOTHING
