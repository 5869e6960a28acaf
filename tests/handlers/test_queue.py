"""What is sent to SQS and EventBridge Scheduler, as moto takes it."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from handlers.messages import Message
from handlers.queue import Queue, Schedules, SqsDispatcher
from sequential_core import MemoryStorage, SequentialFlow
from sequential_core.errors import StorageError
from sequential_core.storage import aws
from sequential_core.testing import MovedClock

ROLE = "arn:aws:iam::123456789012:role/scheduler"
REQUEST = "await fetch('https://api.test/a')"

# moto refuses a schedule that is past by the machine's own clock.
NOW = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
def clock():
    return MovedClock(NOW)


@pytest.fixture
def queue(queues, clock):
    """With schedules, as the driver has it."""
    aws.client("scheduler").create_schedule_group(Name="stack")
    return Queue(queues.url, schedules=Schedules("stack", ROLE, queues.arn), dead_letters=queues.dead, clock=clock)


@pytest.fixture
def plain(queues, clock):
    """Without, as callers have it."""
    return Queue(queues.url, clock=clock)


def due_in(flow, **wait):
    """A task that waits so long."""
    return flow.execute(f"await sleep({timedelta(**wait) / timedelta(milliseconds=1)})", drive=True)


@pytest.fixture
def flow(clock):
    return SequentialFlow(MemoryStorage(), clock=clock)


def schedules():
    client = aws.client("scheduler")
    names = [each["Name"] for each in client.list_schedules(GroupName="stack")["Schedules"]]
    return [client.get_schedule(Name=name, GroupName="stack") for name in names]


# --- Messages ---


def test_a_message_is_sent_at_once_or_with_a_delay_of_whole_seconds(queue, queues):
    queue.send(Message("a"))
    queue.send(Message("a", token="t"), timedelta(milliseconds=1500))
    queue.send(Message("a"), timedelta(seconds=-5))
    queue.send(Message("a"), timedelta(days=1))
    assert [(call["MessageBody"], call["DelaySeconds"]) for call in queues.sent] == [
        ('{"id": "a"}', 0),
        ('{"id": "a", "token": "t", "delay": 2}', 2),
        ('{"id": "a"}', 0),
        ('{"id": "a", "delay": 900}', 900),
    ]


def test_a_wake_within_15_minutes_is_a_delayed_message(queue, queues, flow):
    task = due_in(flow, minutes=15)
    queue.wake(task)
    (sent,) = queues.sent
    assert json.loads(sent["MessageBody"]) == {"id": task.id, "due": "2100-01-01T00:15:00.000000Z", "delay": 900}
    assert sent["DelaySeconds"] == 900
    assert schedules() == []


def test_a_later_wake_is_a_schedule_a_minute_early_which_is_deleted_when_it_has_fired(queue, queues, flow):
    task = due_in(flow, days=3)
    queue.wake(task)
    assert queues.sent == []
    (made,) = schedules()
    assert made["ScheduleExpression"] == "at(2100-01-03T23:59:00)"
    assert made["ScheduleExpressionTimezone"] == "UTC"
    assert made["ActionAfterCompletion"] == "DELETE"
    assert made["FlexibleTimeWindow"] == {"Mode": "OFF"}
    assert (made["Target"]["Arn"], made["Target"]["RoleArn"]) == (queues.arn, ROLE)
    assert Message.read(made["Target"]["Input"]) == Message(task.id, due_at=task.drive.due_at)


def test_the_same_wake_is_one_schedule_and_another_is_another(queue, flow, clock):
    task = due_in(flow, days=3)
    for _ in range(2):
        queue.wake(task)
    assert len(schedules()) == 1
    queue.wake(replace(task, drive=replace(task.drive, due_at=task.drive.due_at + timedelta(microseconds=1))))
    queue.wake(replace(task, created_at=task.created_at - timedelta(days=1)))  # an earlier task of that id
    assert len({made["Name"] for made in schedules()}) == 3


def test_without_schedules_a_later_wake_is_sent_from_delay_to_delay(plain, queues, flow):
    task = due_in(flow, days=3)
    plain.wake(task)
    (sent,) = queues.sent
    assert sent["DelaySeconds"] == 900
    assert Message.read(sent["MessageBody"]).due_at == task.drive.due_at


def test_a_message_that_failed_comes_again_twice_as_late_each_time(queue, queues):
    queue.send(Message("a"))
    (received,) = aws.client("sqs").receive_message(QueueUrl=queues.url)["Messages"]
    for times in (1, 2, 3, 8, 9, 10, 1000):
        queue.postpone(received["ReceiptHandle"], times)
    assert queues.postponed == [5, 10, 20, 640, 720, 720, 720]


def test_a_dead_letter_has_its_reason_and_comes_when_no_claim_can_be_left(queue, queues):
    queue.bury(Message("a", token="t"), "StateError: it is damaged")
    (sent,) = queues.sent
    assert (sent["QueueUrl"], sent["DelaySeconds"]) == (queues.dead, 90)
    assert Message.read(sent["MessageBody"]).reason == "StateError: it is damaged"


def test_what_the_service_refuses_is_an_error_of_the_storages(clock, moto_aws):
    with pytest.raises(StorageError, match=r"SendMessage was refused: .*NonExistentQueue"):
        Queue("https://sqs.us-east-1.amazonaws.com/123456789012/none", clock=clock).send(Message("a"))


# --- The dispatcher ---


@pytest.fixture
def driven(plain, clock):
    """A flow that has its tasks driven by way of the queue."""
    return SequentialFlow(MemoryStorage(), clock=clock, dispatcher=SqsDispatcher(plain, clock=clock))


def test_a_watchdog_is_sent_before_the_save_and_a_turn_after_it(driven, queues):
    task = driven.execute(REQUEST, id="a", drive=True)
    watchdog, turn = queues.sent
    assert (watchdog["MessageBody"], watchdog["DelaySeconds"]) == ('{"id": "a", "delay": 600}', 600)
    assert (Message.read(turn["MessageBody"]), turn["DelaySeconds"]) == (Message("a", token=task.drive.claim), 0)
    assert task.drive.due_at == NOW + timedelta(minutes=8)


def test_the_claim_of_a_caller_ends_before_its_watchdog_comes(driven, queues, clock):
    task = driven.execute(REQUEST, id="a", drive=True)
    clock.advance(timedelta(seconds=queues.sent[0]["DelaySeconds"]))
    assert not task.drive.is_claimed(clock())


def test_a_task_that_only_waits_is_woken(driven, queues):
    task = due_in(driven, minutes=2)
    assert task.drive.claim is None
    _watchdog, wake = queues.sent
    assert (Message.read(wake["MessageBody"]).due_at, wake["DelaySeconds"]) == (NOW + timedelta(minutes=2), 120)


def test_nothing_is_sent_for_a_task_that_nobody_drives_or_that_waits_for_an_event(driven, queues):
    driven.execute(REQUEST)
    driven.execute("await waitForEvent('paid')", drive=True)
    driven.execute("1", drive=True)
    assert queues.sent == []


def test_the_driver_of_a_task_is_not_told_of_it_again(driven, queues):
    driven.execute("await Promise.all([fetch('https://api.test/a'), fetch('https://api.test/b')])", id="a", drive=True)
    del queues.sent[:]
    driven.resume("a", fetch_response=1)
    assert queues.sent == []


def test_nothing_is_saved_if_the_watchdog_cannot_be_sent(clock, moto_aws):
    nowhere = Queue("https://sqs.us-east-1.amazonaws.com/123456789012/none", clock=clock)
    flow = SequentialFlow(MemoryStorage(), clock=clock, dispatcher=SqsDispatcher(nowhere, clock=clock))
    with pytest.raises(StorageError):
        flow.execute(REQUEST, id="a", drive=True)
    assert flow.list_tasks().tasks == ()


def test_a_turn_that_cannot_be_sent_is_left_to_the_watchdog(driven, queues, plain, caplog):
    send = plain.send

    def watchdogs_only(message, *delay):
        if not delay:
            raise StorageError("refused")
        send(message, *delay)

    plain.send = watchdogs_only
    with caplog.at_level(logging.ERROR, "sequential.driver"):
        task = driven.execute(REQUEST, drive=True)
    assert driven.get_task(task.id).drive.claim is not None
    assert [call["DelaySeconds"] for call in queues.sent] == [600]
    assert caplog.records[0].task_id == task.id
