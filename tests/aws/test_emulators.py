"""The emulated AWS is what its module says."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
import zipfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from aws import emulators

pytestmark = pytest.mark.once  # the emulators have a Python of their own

KEY = {"pk": {"S": "a"}, "sk": {"S": "task"}}


@pytest.fixture
def dynamodb(ministack):
    return ministack.client("dynamodb")


def is_running(pid):
    try:
        # A zombie has ended, though nobody has asked how.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# --- Starting and ending ---


def test_a_missing_part_fails_in_ci_and_is_skipped_elsewhere(monkeypatch):
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="the part is missing"):
        emulators.missing("the part")
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="the part is missing"):
        emulators.missing("the part")


def test_two_run_side_by_side_and_share_nothing(ministack):
    with emulators.ministack() as other:
        emulators.create_table(other.client("dynamodb"), "only-there")
        assert other.url != ministack.url
        assert "only-there" not in ministack.client("dynamodb").list_tables()["TableNames"]
        pid, folder = other.pid, other.log.parent
        assert is_running(pid)
    assert not is_running(pid)
    assert not folder.exists()


def test_nothing_listens_but_on_127_0_0_1_with_a_function_running_too(ministack):
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("app.py", "import sys\ndef handler(event, context):\n    return list(sys.version_info[:2])\n")
    functions = ministack.client("lambda", read_timeout=30)
    functions.create_function(
        FunctionName="probe",
        Runtime="python3.13",
        Handler="app.handler",
        Role="arn:aws:iam::000000000000:role/probe",
        Code={"ZipFile": package.getvalue()},
    )
    functions.get_waiter("function_active_v2").wait(FunctionName="probe")
    answer = functions.invoke(FunctionName="probe")
    assert "FunctionError" not in answer
    # It runs functions with its own Python.
    python = emulators.tool("python")
    own = subprocess.run(
        [python, "-c", "import sys; print(list(sys.version_info[:2]))"], capture_output=True, check=True
    )
    assert json.load(answer["Payload"]) == json.loads(own.stdout)

    addresses = emulators.listening(ministack.pid)
    assert ("127.0.0.1", int(ministack.url.rpartition(":")[2])) in addresses
    assert {address for address, _ in addresses} == {"127.0.0.1"}


def test_it_ends_with_the_process_that_started_it_when_that_is_killed():
    emulators.tool("ministack")
    code = (
        "import signal\nfrom aws.emulators import ministack\n"
        "with ministack() as running:\n    print(running.pid, running.log.parent, flush=True)\n    signal.pause()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    with process:
        pid, folder = process.stdout.readline().split()
        assert is_running(int(pid))
        process.send_signal(signal.SIGKILL)
    wait_for(lambda: not is_running(int(pid)))
    subprocess.run(["rm", "-r", folder], check=True)


# --- DynamoDB ---


def test_table_is_the_one_of_the_template(dynamodb, table):
    found = dynamodb.describe_table(TableName=table)["Table"]
    assert [key["AttributeName"] for key in found["KeySchema"]] == ["pk", "sk"]
    (index,) = found["GlobalSecondaryIndexes"]
    assert index["IndexName"] == "by-status"
    assert [key["AttributeName"] for key in index["KeySchema"]] == ["listed", "age"]
    assert index["Projection"] == {"ProjectionType": "KEYS_ONLY"}
    ttl = dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    assert ttl == {"AttributeName": "expires_at", "TimeToLiveStatus": "ENABLED"}


def test_one_of_32_conditional_writes_wins_and_the_others_see_what_is_in_the_way(dynamodb, table):
    dynamodb.put_item(TableName=table, Item={**KEY, "revision": {"N": "1"}})
    barrier = threading.Barrier(32)

    def write(number):
        barrier.wait()
        try:
            dynamodb.update_item(
                TableName=table,
                Key=KEY,
                UpdateExpression="SET revision = :new, writer = :writer",
                ConditionExpression="revision = :old",
                ExpressionAttributeValues={":new": {"N": "2"}, ":old": {"N": "1"}, ":writer": {"S": str(number)}},
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            return error.response["Error"]["Code"], error.response["Item"]["writer"]["S"]
        return None

    with ThreadPoolExecutor(32) as pool:
        seen = list(pool.map(write, range(32)))
    assert seen.count(None) == 1
    assert set(filter(None, seen)) == {("ConditionalCheckFailedException", str(seen.index(None)))}


def test_item_of_400_kib_is_taken_and_one_of_a_byte_more_refused(dynamodb, table):
    room = 409_600 - len("pkasktaskstate")
    dynamodb.put_item(TableName=table, Item={**KEY, "state": {"B": bytes(room)}})
    with pytest.raises(ClientError, match="Item size has exceeded"):
        dynamodb.put_item(TableName=table, Item={**KEY, "state": {"B": bytes(room + 1)}})
    assert len(dynamodb.get_item(TableName=table, Key=KEY)["Item"]["state"]["B"]) == room


def test_units_are_right_for_writes_and_not_for_reads(dynamodb, table):
    def units(answer):
        used = answer["ConsumedCapacity"]
        index = used.get("GlobalSecondaryIndexes", {}).get("by-status", {}).get("CapacityUnits", 0)
        return used["Table"]["CapacityUnits"], index

    def update(listed):
        return dynamodb.update_item(
            TableName=table,
            Key=KEY,
            UpdateExpression="SET #state = :state, listed = :listed",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":state": {"B": bytes(2600)}, ":listed": {"S": listed}},
            ReturnConsumedCapacity="INDEXES",
        )

    item = {**KEY, "state": {"B": bytes(2500)}, "listed": {"S": "paused#1"}, "age": {"B": bytes(24)}}
    assert units(dynamodb.put_item(TableName=table, Item=item, ReturnConsumedCapacity="INDEXES")) == (3, 1)
    assert units(update("paused#1")) == (3, 0)
    assert units(update("completed#1")) == (3, 2)  # taken from one place of the index, and put into another
    dynamodb.put_item(TableName=table, Item={**KEY, "state": {"B": bytes(40_000)}})
    read = dynamodb.get_item(TableName=table, Key=KEY, ConsistentRead=True, ReturnConsumedCapacity="INDEXES")
    assert units(read) == (1, 0)  # AWS: 10


def test_expired_item_is_deleted_within_moments_and_no_other(dynamodb, table):
    now = int(time.time())
    for name, expires in (("past", now), ("future", now + 3600)):
        key = {"pk": {"S": name}, "sk": {"S": "task"}}
        dynamodb.put_item(TableName=table, Item={**key, "expires_at": {"N": str(expires)}})
    dynamodb.put_item(TableName=table, Item=KEY)
    wait_for(lambda: dynamodb.scan(TableName=table)["Count"] == 2)
    assert {item["pk"]["S"] for item in dynamodb.scan(TableName=table)["Items"]} == {"future", "a"}


# --- S3 ---


def test_bucket_has_the_rules_of_the_template(ministack, bucket):
    rules = ministack.client("s3").get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert {(rule["Filter"]["Prefix"], rule["Expiration"]["Days"]) for rule in rules} == {
        ("days-7/", 8),
        ("days-30/", 31),
        ("days-90/", 91),
        ("days-365/", 366),
    }


# --- SQS ---


@pytest.fixture
def sqs(ministack):
    return ministack.client("sqs")


@pytest.fixture
def queue(sqs):
    """The URL of a new queue."""

    def queue(name="queue", **attributes):
        return sqs.create_queue(QueueName=f"{name}-{uuid.uuid4()}", Attributes=attributes)["QueueUrl"]

    return queue


def arn_of(sqs, url):
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def received(sqs, url, **options):
    """The bodies of messages, with how often each was received."""
    answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"], **options)
    return {m["Body"]: int(m["Attributes"]["ApproximateReceiveCount"]) for m in answer.get("Messages", [])}


def test_a_delayed_message_comes_when_its_delay_is_over_and_is_counted_until_then(sqs, queue):
    url = queue()
    sqs.send_message(QueueUrl=url, MessageBody="late", DelaySeconds=1)
    sqs.send_message(QueueUrl=url, MessageBody="now")
    assert received(sqs, url) == {"now": 1}
    counted = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert counted["ApproximateNumberOfMessagesDelayed"] == "1"
    assert received(sqs, url, WaitTimeSeconds=3) == {"late": 1}


def test_a_message_that_is_received_too_often_is_moved_with_the_time_it_was_sent(sqs, queue):
    dead = queue("dead")
    policy = json.dumps({"deadLetterTargetArn": arn_of(sqs, dead), "maxReceiveCount": 2})
    url = queue(RedrivePolicy=policy, VisibilityTimeout="0")
    sqs.send_message(QueueUrl=url, MessageBody="a")
    assert [received(sqs, url) for _ in range(3)] == [{"a": 1}, {"a": 2}, {}]
    (moved,) = sqs.receive_message(QueueUrl=dead, AttributeNames=["All"])["Messages"]
    assert moved["Attributes"]["ApproximateReceiveCount"] == "3"


def test_visibility_is_what_it_was_changed_to(sqs, queue):
    url = queue()
    sqs.send_message(QueueUrl=url, MessageBody="a")
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    assert received(sqs, url) == {}
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    assert received(sqs, url) == {"a": 2}


READER = """
def handler(event, context):
    failed = [record["messageId"] for record in event["Records"] if record["body"] == "fail"]
    return {"batchItemFailures": [{"itemIdentifier": each} for each in failed]}
"""


@pytest.fixture
def reader(ministack, queue, sqs):
    """Makes a function that reads a queue; the queue's URL."""
    functions = ministack.client("lambda", read_timeout=30)

    def reader(**options):
        url, name = queue(VisibilityTimeout="1"), f"reader-{uuid.uuid4()}"
        package = io.BytesIO()
        with zipfile.ZipFile(package, "w") as archive:
            archive.writestr("app.py", READER)
        functions.create_function(
            FunctionName=name,
            Runtime="python3.13",
            Handler="app.handler",
            Role="arn:aws:iam::000000000000:role/reader",
            Code={"ZipFile": package.getvalue()},
        )
        functions.get_waiter("function_active_v2").wait(FunctionName=name)
        functions.create_event_source_mapping(
            EventSourceArn=sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"][
                "QueueArn"
            ],
            FunctionName=name,
            FunctionResponseTypes=["ReportBatchItemFailures"],
            **options,
        )
        return url

    return reader


def left(sqs, url):
    """How many messages are in a queue, however they wait."""
    counted = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return sum(int(counted[f"ApproximateNumberOfMessages{kind}"]) for kind in ("", "NotVisible", "Delayed"))


@pytest.mark.slow
def test_lambda_deletes_what_was_read_but_for_what_is_reported_as_failed(sqs, reader):
    url = reader(BatchSize=10)
    sqs.send_message_batch(
        QueueUrl=url,
        Entries=[{"Id": str(n), "MessageBody": body} for n, body in enumerate(["a", "fail", "b", "c"])],
    )
    wait_for(lambda: left(sqs, url) == 1)
    assert received(sqs, url, WaitTimeSeconds=5).keys() == {"fail"}


@pytest.mark.slow
def test_concurrency_from_a_template_is_text_on_which_all_queues_stand_still():
    """So tests/infra/test_deploy.py sets it once more."""
    with emulators.ministack() as other:
        formation = other.client("cloudformation", read_timeout=60)
        formation.create_stack(
            StackName="concurrency",
            TemplateBody=json.dumps(
                {
                    "Parameters": {"Calls": {"Type": "Number", "Default": 2}},
                    "Resources": {
                        "Queue": {"Type": "AWS::SQS::Queue"},
                        "Reader": {
                            "Type": "AWS::Lambda::Function",
                            "Properties": {
                                "Runtime": "python3.13",
                                "Handler": "index.handler",
                                "Role": "arn:aws:iam::000000000000:role/reader",
                                "Code": {"ZipFile": "def handler(event, context): pass"},
                            },
                        },
                        "Source": {
                            "Type": "AWS::Lambda::EventSourceMapping",
                            "Properties": {
                                "EventSourceArn": {"Fn::GetAtt": ["Queue", "Arn"]},
                                "FunctionName": {"Ref": "Reader"},
                                "ScalingConfig": {"MaximumConcurrency": {"Ref": "Calls"}},
                            },
                        },
                    },
                    "Outputs": {"Queue": {"Value": {"Ref": "Queue"}}},
                }
            ),
        )
        stack = "concurrency"
        wait_for(lambda: formation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE")
        url = formation.describe_stacks(StackName=stack)["Stacks"][0]["Outputs"][0]["OutputValue"]
        sqs, functions = other.client("sqs"), other.client("lambda")
        sqs.send_message(QueueUrl=url, MessageBody="a")
        wait_for(lambda: "'>=' not supported between instances of 'int' and 'str'" in other.log.read_text())
        assert left(sqs, url) == 1
        (source,) = functions.list_event_source_mappings()["EventSourceMappings"]
        functions.update_event_source_mapping(UUID=source["UUID"], ScalingConfig={"MaximumConcurrency": 2})
        wait_for(lambda: left(sqs, url) == 0)


# --- EventBridge Scheduler ---


def test_a_schedule_fires_once_and_is_deleted_and_its_name_is_taken_until_then(ministack, sqs, queue):
    url, scheduler = queue(), ministack.client("scheduler")
    scheduler.create_schedule_group(Name="wakes")
    schedule = {
        "Name": "a",
        "GroupName": "wakes",
        "ScheduleExpression": f"at({datetime.now(UTC) + timedelta(seconds=1):%Y-%m-%dT%H:%M:%S})",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "ActionAfterCompletion": "DELETE",
        "Target": {
            "Arn": arn_of(sqs, url),
            "RoleArn": "arn:aws:iam::000000000000:role/is-not-looked-at",
            "Input": '{"id": "a"}',
        },
    }
    scheduler.create_schedule(**schedule)
    with pytest.raises(ClientError, match="ConflictException"):
        scheduler.create_schedule(**schedule)
    assert received(sqs, url, WaitTimeSeconds=10) == {'{"id": "a"}': 1}
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        scheduler.get_schedule(Name="a", GroupName="wakes")
