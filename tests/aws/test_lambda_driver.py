"""The driver's functions under Lambda's own runtime, with ministack's queues, schedules and secrets."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from http_server import running_server

from aws.lambda_emulator import LambdaEmulator
from sequential_core import SequentialFlow
from sequential_core.storage.url import storage_from_url

pytestmark = pytest.mark.slow


@pytest.fixture
def server():
    with running_server() as running:
        yield running


@pytest.fixture
def queues(ministack):
    """The URLs of the driver's queue and of its dead letters."""
    sqs, name = ministack.client("sqs"), uuid.uuid4()
    return tuple(sqs.create_queue(QueueName=f"{kind}-{name}")["QueueUrl"] for kind in ("driver", "dead-letters"))


@pytest.fixture
def environment(ministack, table, bucket, queues):
    group, secret = f"wakes-{uuid.uuid4()}", ministack.client("secretsmanager")
    ministack.client("scheduler").create_schedule_group(Name=group)
    return {
        "AWS_ENDPOINT_URL": ministack.url,
        "SEQUENTIAL_STORAGE": f"dynamodb://{table}?bucket={bucket}",
        "SEQUENTIAL_DRIVER_QUEUE": queues[0],
        "SEQUENTIAL_DRIVER_DEAD_LETTERS": queues[1],
        "SEQUENTIAL_DRIVER_QUEUE_ARN": f"arn:aws:sqs:us-east-1:000000000000:{queues[0].rpartition('/')[2]}",
        "SEQUENTIAL_SCHEDULE_GROUP": group,
        "SEQUENTIAL_SCHEDULER_ROLE": "arn:aws:iam::000000000000:role/scheduler",
        "SEQUENTIAL_SIGNING_KEY_SECRET": secret.create_secret(Name=group, SecretString="k" * 64)["ARN"],
        "SEQUENTIAL_DRIVER_LOOPBACK": "true",
    }


@pytest.fixture
def function(environment):
    """Starts functions, each of which stays until the test ends."""
    running = {}

    def function(name, number=0):
        if (name, number) not in running:
            running[name, number] = LambdaEmulator(f"handlers.{name}.handler", environment, timeout_seconds=120)
        return running[name, number]

    yield function
    for each in running.values():
        each.close()


def event_of(messages):
    """What Lambda makes of messages that it has received."""
    records = [
        {
            "messageId": each["MessageId"],
            "receiptHandle": each["ReceiptHandle"],
            "body": each["Body"],
            "attributes": each["Attributes"],
            "messageAttributes": {},
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:driver",
            "awsRegion": "us-east-1",
        }
        for each in messages
    ]
    return {"Records": records}


def message(body, *, times=1):
    """A message as it would be received, but for its handle."""
    attributes = {"ApproximateReceiveCount": str(times), "SentTimestamp": "1795000000000"}
    return {"MessageId": str(uuid.uuid4()), "ReceiptHandle": "none", "Body": json.dumps(body), "Attributes": attributes}


@pytest.fixture
def receive(ministack, queues):
    """Messages that can be read now."""

    def receive():
        options = {"MaxNumberOfMessages": 10, "AttributeNames": ["All"], "VisibilityTimeout": 720}
        return ministack.client("sqs").receive_message(QueueUrl=queues[0], **options).get("Messages", [])

    return receive


def test_tasks_go_from_message_to_message_to_their_end(function, receive, server):
    ids = [
        function("execute").invoke({"code": f"await fetch('{server.url}/json/{n}')", "drive": True}).payload["id"]
        for n in range(3)
    ]
    assert function("driver").invoke(event_of(receive())).payload == {"batchItemFailures": []}
    for number, task_id in enumerate(ids):
        task = function("task").invoke({"action": "get", "id": task_id}).payload
        assert (task["status"], task["result"]) == ("completed", {"path": str(number)})
    assert receive() == []  # the watchdogs are delayed


def test_a_message_that_two_drivers_get_at_once_counts_once(function, receive, server):
    code = (
        f"let sum = 0; for (const n of [1, 2, 3, 4]) sum += Number((await fetch('{server.url}/json/' + n)).path); sum"
    )
    task_id = function("execute").invoke({"code": code, "drive": True}).payload["id"]
    event = event_of(receive())
    for number in range(2):
        function("driver", number).invoke(event_of([]))  # so that both have started
    with ThreadPoolExecutor(2) as both:
        answers = list(both.map(lambda number: function("driver", number).invoke(event).payload, range(2)))
    assert answers == [{"batchItemFailures": []}] * 2
    task = function("task").invoke({"action": "get", "id": task_id}).payload
    assert (task["result"], task["revision"]) == (10, 5)


def test_a_long_sleep_is_a_schedule_of_the_group(function, receive, ministack, environment):
    task = function("execute").invoke({"code": "await sleep(3_600_000)", "drive": True}).payload
    assert receive() == []  # watchdog and wake are delayed
    early = event_of([message({"id": task["id"], "due": task["drive"]["dueAt"]})])
    assert function("driver").invoke(early).payload == {"batchItemFailures": []}
    group, schedules = environment["SEQUENTIAL_SCHEDULE_GROUP"], ministack.client("scheduler")
    (made,) = schedules.list_schedules(GroupName=group)["Schedules"]
    target = schedules.get_schedule(GroupName=group, Name=made["Name"])["Target"]
    assert json.loads(target["Input"]) == {"id": task["id"], "due": task["drive"]["dueAt"]}


def test_a_callback_is_made_and_signed(function, receive, server):
    event = {"code": "1 + 1", "drive": True, "callbackUrl": f"{server.url}/echo"}
    task = function("execute").invoke(event).payload
    function("driver").invoke(event_of(receive()))
    ((method, path, headers, body),) = server.seen
    assert (method, path, json.loads(body)["result"]) == ("POST", "/echo", 2)
    assert {name.lower() for name in headers} >= {"webhook-id", "webhook-timestamp", "webhook-signature"}
    told = function("task").invoke({"action": "get", "id": task["id"]}).payload["drive"]["callback"]
    assert told["deliveredAt"] is not None


def test_a_task_that_cannot_be_driven_ends_with_the_reason(function, ministack, queues, table, bucket):
    storage = storage_from_url(f"dynamodb://{table}?bucket={bucket}&endpoint={ministack.url}")
    task = SequentialFlow(storage).execute("await fetch('https://api.example.com/')", drive=True)
    ministack.client("dynamodb").update_item(
        TableName=table,
        Key={"pk": {"S": task.id}, "sk": {"S": "task"}},
        UpdateExpression="SET #state = :damaged",
        ExpressionAttributeNames={"#state": "state"},
        ExpressionAttributeValues={":damaged": {"B": b"nothing of ours"}},
    )
    sleeper = SequentialFlow(storage).execute("await sleep(1)", drive=True)

    tenth = function("driver").invoke(event_of([message({"id": task.id}, times=10), message({"id": sleeper.id})]))
    assert tenth.payload == {"batchItemFailures": []}
    assert SequentialFlow(storage).get_task(sleeper.id).status == "completed"
    counted = ministack.client("sqs").get_queue_attributes(QueueUrl=queues[1], AttributeNames=["All"])["Attributes"]
    assert counted["ApproximateNumberOfMessagesDelayed"] == "1"
