"""The driver's function, with messages as SQS gives them to it: what it does, sends, and reports as failed."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from handlers.messages import Message
from sequential_core.drive import Policy
from sequential_core.driver.fetcher import Fetcher
from sequential_core.errors import ConfigurationError, StorageBusyError
from sequential_core.storage import aws

EVENTS = Path(__file__).parents[2] / "events"

TWO = 'const a = await fetch("https://api.test/a"); const b = await fetch("https://api.test/b"); [a, b]'


def reply(value):
    """A response that is not read yet, as those of the network are."""
    body = httpx.ByteStream(json.dumps(value).encode())
    return httpx.Response(200, stream=body, headers={"content-type": "application/json"})


@pytest.fixture
def environment(queues):
    return {
        "SEQUENTIAL_DRIVER_QUEUE": queues.url,
        "SEQUENTIAL_DRIVER_DEAD_LETTERS": queues.dead,
        "SEQUENTIAL_RETAIN_SECONDS": "3600",
    }


@pytest.fixture
def paths():
    """Of the requests that the driver made, in the order in which they came."""
    return []


@pytest.fixture
def function(start, environment, paths):
    """The driver's module; every request is answered with its path."""
    module = start("driver", **environment)

    def answer(request):
        paths.append(request.url.path)
        return reply(request.url.path)

    module.driver.fetcher = Fetcher(network=httpx.MockTransport(answer))
    return module


@pytest.fixture
def flow(function, start):
    """Of callers, whose tasks the dispatcher sends to the queue."""
    return start("environment").flow


@pytest.fixture
def later(function, move):
    """Moves the time of the driver."""
    return lambda **by: move(function._flow, timedelta(**by))


def record(message, *, times=1, sent_ago=0.0, number=1):
    text = message if isinstance(message, str) else message.write()
    event = json.loads((EVENTS / "driver.json").read_text())["Records"][0]
    event |= {"messageId": f"message-{number}", "receiptHandle": f"receipt-{number}", "body": text}
    event["attributes"] |= {
        "ApproximateReceiveCount": str(times),
        "SentTimestamp": str(round((time.time() - sent_ago) * 1000)),
    }
    return event


@pytest.fixture
def deliver(function, context):
    """Gives the function messages; the numbers of those that failed."""

    def deliver(*messages, **options):
        records = [record(each, number=number, **options) for number, each in enumerate(messages, start=1)]
        failures = function.handler({"Records": records}, context)["batchItemFailures"]
        return [int(each["itemIdentifier"].removeprefix("message-")) for each in failures]

    return deliver


def messages(queues):
    """What was sent since the last look."""
    sent = [(Message.read(call["MessageBody"]), call["DelaySeconds"]) for call in queues.sent]
    del queues.sent[:]
    return sent


def turn_of(queues):
    ((_, _), (turn, _)) = messages(queues)  # after the watchdog
    return turn


# --- From the caller to the end ---


def test_a_task_is_driven_to_its_end_by_the_message_that_its_caller_has_sent(flow, deliver, queues, paths):
    task = flow.execute(TWO, drive=True)
    turn = turn_of(queues)
    assert deliver(turn) == []
    done = flow.get_task(task.id)
    assert (done.status, done.result) == ("completed", ["/a", "/b"])
    assert paths == ["/a", "/b"]
    assert messages(queues) == []


def test_a_message_that_comes_twice_changes_nothing_the_second_time(flow, deliver, queues, paths):
    task = flow.execute(TWO, drive=True)
    turn = turn_of(queues)
    assert deliver(turn) == deliver(turn) == []
    assert (flow.get_task(task.id).revision, paths) == (3, ["/a", "/b"])


def test_messages_of_one_batch_are_driven_side_by_side(flow, deliver, function, queues):
    together = threading.Barrier(10, timeout=20)

    def answer(request):
        together.wait()  # until ten have come
        return reply(request.url.path)

    function.driver.fetcher = Fetcher(network=httpx.MockTransport(answer))
    tasks = [flow.execute(f"await fetch('https://api.test/{number}')", drive=True) for number in range(10)]
    turns = [message for message, delay in messages(queues) if not delay]
    assert deliver(*turns) == []
    assert [flow.get_task(task.id).result for task in tasks] == [f"/{number}" for number in range(10)]


def test_the_event_of_the_folder_is_understood(function, context):
    assert function.handler(json.loads((EVENTS / "driver.json").read_text()), context) == {"batchItemFailures": []}


# --- What comes next ---


def test_a_task_that_waits_is_left_with_a_wake_and_goes_on_with_that(flow, deliver, queues, paths, later):
    task = flow.execute(
        "await fetch('https://api.test/a'); await sleep(60_000); await fetch('https://api.test/b')", drive=True
    )
    assert deliver(turn_of(queues)) == []
    left = flow.get_task(task.id)
    assert (left.drive.claim, left.drive.due_at) == (None, left.paused_state.wake_at)
    ((wake, delay),) = messages(queues)
    assert wake.due_at == left.drive.due_at
    assert 59 <= delay <= 60

    # It comes too early, by this machine's clock: it is sent on, with what is left.
    assert deliver(wake) == []
    ((again, delay),) = messages(queues)
    assert (again.due_at, 58 <= delay <= 60) == (wake.due_at, True)

    later(minutes=1)
    assert deliver(again) == []
    assert (paths, flow.get_task(task.id).result) == (["/a", "/b"], "/b")


def test_a_task_that_waits_for_an_event_leaves_no_message(flow, deliver, queues):
    task = flow.execute("await fetch('https://api.test/a'); await waitForEvent('paid')", drive=True)
    assert deliver(turn_of(queues)) == []
    assert messages(queues) == []
    flow.send_event(task.id, "paid", 7)
    assert flow.get_task(task.id).result == 7


def test_a_driver_without_time_sends_the_turn_on(flow, deliver, queues, paths, context):
    task = flow.execute(TWO, drive=True)
    turn = turn_of(queues)
    context.remaining_milliseconds = 20_000  # a request may take 30 s
    assert deliver(turn) == []
    assert (paths, messages(queues)) == ([], [(Message(task.id, token=turn.token), 0)])


def test_no_request_is_given_longer_than_a_minute(flow, function):
    task = flow.execute(TWO, drive=Policy(timeout=timedelta(minutes=10)))
    assert function.driver.policy(task.drive).timeout == timedelta(minutes=1)


# --- Whose turn it is ---


def test_a_watchdog_finds_nothing_to_do_while_the_task_is_claimed(flow, deliver, queues, paths):
    task = flow.execute(TWO, drive=True)
    messages(queues)
    assert deliver(Message(task.id), Message(task.id, token="another")) == []
    assert (paths, messages(queues)) == ([], [])


def test_a_watchdog_drives_what_nobody_was_told_of(flow, deliver, queues, paths, later):
    task = flow.execute(TWO, drive=True)
    messages(queues)
    later(minutes=10)
    assert deliver(Message(task.id)) == []
    assert (flow.get_task(task.id).status, paths) == ("completed", ["/a", "/b"])


def test_messages_of_tasks_that_are_gone_or_not_driven_are_done_with(flow, deliver, queues):
    task = flow.execute(TWO)
    assert deliver(Message("nobody"), Message(task.id, token="t")) == []
    assert messages(queues) == []


def test_a_message_that_is_none_of_ours_is_dropped_and_logged(deliver, capsys):
    assert deliver("not json", '{"task": "a"}') == []
    assert capsys.readouterr().out.count("a message that is none of ours was dropped") == 2


# --- What fails ---


@pytest.fixture
def broken(function, monkeypatch):
    """Lets the driver fail at some tasks."""
    drive = function.driver.drive

    def broken(*ids):
        def fails(task_id, **options):
            if task_id in ids:
                raise StorageBusyError("table secret-table: ThrottlingException")
            return drive(task_id, **options)

        monkeypatch.setattr(function.driver, "drive", fails)

    return broken


def test_only_what_failed_comes_again_and_soon(flow, deliver, queues, broken, capsys):
    tasks = [flow.execute(TWO, drive=True, id=name) for name in "abc"]
    turns = [message for message, delay in messages(queues) if not delay]
    broken("b")
    capsys.readouterr()
    assert deliver(*turns) == [2]
    assert [flow.get_task(task.id).status for task in tasks] == ["completed", "paused", "completed"]
    assert queues.postponed == [5]
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (failed,) = (line for line in lines if line.get("message") == "a task could not be driven")
    assert (failed["task_id"], failed["error"], failed["times_received"]) == ("b", "StorageBusyError", 1)
    (metrics,) = (line for line in lines if "_aws" in line)
    assert (metrics["Drives"], metrics["FailedDrives"]) == ([1, 1, 1], [1])


def test_a_batch_that_fails_whole_is_no_error_of_the_function(flow, deliver, queues, broken):
    flow.execute(TWO, drive=True, id="a")
    turn = turn_of(queues)
    broken("a")
    assert deliver(turn, times=9) == [1]
    assert queues.postponed == [720]


def test_the_last_time_it_goes_to_the_dead_letters_with_a_reason_that_tells_nothing_of_the_installation(
    flow, deliver, queues, broken
):
    flow.execute(TWO, drive=True, id="a")
    turn = turn_of(queues)
    broken("a")
    assert deliver(turn, times=10) == []  # what was sent there is not to come again
    (buried,) = queues.sent
    assert buried["QueueUrl"] == queues.dead
    reason = Message.read(buried["MessageBody"]).reason
    assert reason.startswith("StorageBusyError: ")
    assert "secret-table" not in reason


def test_if_not_even_that_can_be_done_sqs_gives_the_message_up(flow, deliver, queues, broken):
    flow.execute(TWO, drive=True, id="a")
    turn = turn_of(queues)
    broken("a")
    aws.client("sqs").delete_queue(QueueUrl=queues.dead)
    assert deliver(turn, times=10) == [1]


def test_lateness_is_counted_from_when_a_message_could_be_read(flow, deliver, capsys):
    def late():
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return [line["LateMilliseconds"] for line in lines if "LateMilliseconds" in line]

    deliver(Message("a"), sent_ago=3)
    deliver(replace(Message("a"), delay_seconds=60), sent_ago=61)
    deliver(replace(Message("a"), delay_seconds=900), sent_ago=61)
    deliver(Message("a"), sent_ago=500, times=2)  # its lateness was counted the first time
    (three,), (one,), (none,) = late()
    assert 3000 <= three < 4000
    assert 1000 <= one < 2000
    assert none == 0


# --- Settings ---


def test_a_callback_is_signed_with_the_secret(start, environment, queues, context, moto_aws):
    secret = aws.client("secretsmanager").create_secret(Name="key", SecretString="k" * 64)["ARN"]
    module = start("driver", **environment, SEQUENTIAL_SIGNING_KEY_SECRET=secret)
    seen = []

    def answer(request):
        seen.append(request)
        return reply(1)

    module.driver.fetcher = Fetcher(network=httpx.MockTransport(answer))
    flow = start("environment").flow
    task = flow.execute("await fetch('https://api.test/a')", drive=True, callback_url="https://there.test/done")
    module.handler({"Records": [record(turn_of(queues))]}, context)
    assert [request.url.path for request in seen] == ["/a", "/done"]
    assert seen[1].headers["webhook-signature"].startswith("v1,")
    assert flow.get_task(task.id).drive.callback.delivered_at is not None
    assert module.driver.signing_key == b"k" * 64


def test_code_may_ask_for_a_url_that_takes_an_event(start, environment, queues, context, moto_aws):
    secret = aws.client("secretsmanager").create_secret(Name="key", SecretString="k" * 64)["ARN"]
    signing = {"SEQUENTIAL_SIGNING_KEY_SECRET": secret, "SEQUENTIAL_PUBLIC_URL": "https://tasks.test/live"}
    module, flow = start("driver", **environment, **signing), start("environment").flow
    task = flow.execute("await callTool('sequential.eventUrl', {name: 'paid'})", drive=True)
    module.handler({"Records": [record(turn_of(queues))]}, context)
    assert flow.get_task(task.id).result.startswith("https://tasks.test/live/events/")


@pytest.mark.parametrize("variable", ["SEQUENTIAL_DRIVER_QUEUE", "SEQUENTIAL_DRIVER_DEAD_LETTERS"])
def test_a_driver_without_its_queues_does_not_start(start, environment, variable):
    with pytest.raises(ConfigurationError) as caught:
        start("driver", **{**environment, variable: ""})
    assert caught.value.variable == variable


@pytest.mark.parametrize("text", ["true", ""])
def test_this_machine_is_called_only_if_a_test_says_so(start, environment, queues, context, text):
    module = start("driver", **environment, SEQUENTIAL_DRIVER_LOOPBACK=text)
    flow = start("environment").flow
    # Nobody listens there: but it is either tried, or refused.
    code = "let seen = ''; try { await fetch('http://127.0.0.1:9/') } catch (error) { seen = error.message } seen"
    task = flow.execute(code, drive=Policy(attempts=1))
    module.handler({"Records": [record(turn_of(queues))]}, context)
    assert ("may not be called" in flow.get_task(task.id).result) is (text == "")
