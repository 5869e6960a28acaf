"""What becomes of the task of a message that was given up."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from handlers.messages import Message
from sequential_core.errors import ConfigurationError, StorageBusyError

EVENTS = Path(__file__).parents[2] / "events"

REQUEST = "await fetch('https://api.test/a')"


@pytest.fixture
def environment(queues):
    return {"SEQUENTIAL_DRIVER_QUEUE": queues.url, "SEQUENTIAL_RETAIN_SECONDS": "3600"}


@pytest.fixture
def function(start, environment):
    return start("dead_letters", **environment)


@pytest.fixture
def flow(function):
    return function.flow


@pytest.fixture
def later(flow, move):
    """Moves the time of the function."""
    return lambda **by: move(flow, timedelta(**by))


@pytest.fixture
def give_up(function, context):
    """Gives the function a dead letter; whether it comes again."""

    def give_up(message):
        event = json.loads((EVENTS / "dead-letters.json").read_text())
        event["Records"][0]["body"] = message if isinstance(message, str) else message.write()
        return bool(function.handler(event, context)["batchItemFailures"])

    return give_up


@pytest.fixture
def outcome(capsys):
    """What the log says that became of the last dead letter."""

    def outcome():
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        found = [line["outcome"] for line in lines if line.get("message") == "a message was given up"]
        counted = [count for line in lines if "_aws" in line for count in line.get("DeadLetters", [])]
        assert len(found) == len(counted)
        return found[-1] if found else None

    return outcome


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("StateError: it is damaged", "the driver failed repeatedly: StateError: it is damaged"),
        (None, "the driver failed repeatedly: it ended each time without saying why, as for want of time or memory"),
    ],
)
def test_the_task_ends_with_an_error_that_says_why(flow, give_up, later, reason, told):
    task = flow.execute(REQUEST, drive=True)
    later(minutes=30)
    assert not give_up(Message(task.id, token=task.drive.claim, reason=reason))
    failed = flow.get_task(task.id)
    assert (failed.status, failed.error_detail.kind, failed.error) == ("error", "driver", f"DriverError: {told}")


def test_what_became_of_a_message_is_counted_and_logged(flow, give_up, later, outcome):
    task = flow.execute(REQUEST, drive=True)
    later(minutes=30)
    give_up(Message(task.id))
    assert outcome() == "it has ended with an error"


def test_whoever_is_to_be_called_back_is(flow, give_up, later, queues):
    task = flow.execute(REQUEST, drive=True, callback_url="https://there.test/")
    later(minutes=30)
    del queues.sent[:]
    assert not give_up(Message(task.id, token=task.drive.claim))
    watchdog, turn = queues.sent
    assert watchdog["DelaySeconds"] == 600
    assert Message.read(turn["MessageBody"]) == Message(task.id, token=flow.get_task(task.id).drive.claim)


def test_a_task_is_not_failed_while_its_claim_lasts(flow, give_up, later):
    task = flow.execute(REQUEST, drive=True)
    letter = Message(task.id, token=task.drive.claim)
    assert give_up(letter)
    assert flow.get_task(task.id).status == "paused"
    later(minutes=8)
    assert not give_up(letter)
    assert flow.get_task(task.id).status == "error"


def test_a_task_that_another_driver_is_at_is_left_to_it(flow, give_up, outcome):
    task = flow.execute(REQUEST, drive=True)
    assert not give_up(Message(task.id, token="another"))
    assert flow.get_task(task.id).revision == task.revision
    assert outcome() == "it had ended, or goes on without this message"


def test_a_task_that_is_not_yet_due_is_woken_again(flow, give_up, queues, outcome):
    task = flow.execute("await sleep(600_000)", drive=True)
    del queues.sent[:]
    assert not give_up(Message(task.id, token="t"))
    (wake,) = queues.sent
    assert Message.read(wake["MessageBody"]).due_at == task.drive.due_at
    assert flow.get_task(task.id).status == "paused"
    assert outcome() == "it is looked at again when it is due"


def test_a_task_whose_wake_was_given_up_is_failed(flow, give_up):
    task = flow.execute("await sleep(600_000)", drive=True)
    assert not give_up(Message(task.id, due_at=task.drive.due_at))
    assert flow.get_task(task.id).error_detail.kind == "driver"


def test_a_task_that_has_ended_or_is_gone_stays_as_it_is(flow, give_up, outcome):
    done = flow.execute("1", drive=True)
    assert not give_up(Message(done.id))
    assert not give_up(Message("nobody"))
    assert flow.get_task(done.id).revision == done.revision
    assert outcome() == "it had ended, or goes on without this message"


def test_a_message_that_is_none_of_ours_is_logged_and_done_with(give_up, outcome):
    assert not give_up("nothing of ours")
    assert outcome().startswith("it is none of ours")


def test_what_cannot_be_saved_comes_again(flow, give_up, later, monkeypatch, outcome):
    task = flow.execute(REQUEST, drive=True)
    later(minutes=30)

    def busy(*_, **__):
        raise StorageBusyError("ThrottlingException")

    monkeypatch.setattr(flow, "fail_task", busy)
    assert give_up(Message(task.id))
    assert outcome() is None


def test_the_event_of_the_folder_is_understood(function, context):
    event = json.loads((EVENTS / "dead-letters.json").read_text())
    assert Message.read(event["Records"][0]["body"]).reason
    assert function.handler(event, context) == {"batchItemFailures": []}


def test_a_function_without_the_drivers_queue_does_not_start(start, environment):
    with pytest.raises(ConfigurationError, match="SEQUENTIAL_DRIVER_QUEUE"):
        start("dead_letters", **{**environment, "SEQUENTIAL_DRIVER_QUEUE": ""})


def test_a_later_task_with_the_id_is_another(flow, give_up, later):
    """Its own message is still to come: what an earlier one left behind finds it claimed."""
    first = flow.execute(REQUEST, id="a", drive=True)
    flow.delete_task("a")
    second = flow.execute(REQUEST, id="a", drive=True)
    assert first.drive.claim != second.drive.claim
    assert not give_up(replace(Message("a"), token=first.drive.claim))
    assert flow.get_task("a").status == "paused"
