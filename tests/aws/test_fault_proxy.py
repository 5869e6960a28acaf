"""The proxy goes wrong as it was told to, and else not at all."""

from __future__ import annotations

import time

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    HTTPClientError,
    ReadTimeoutError,
)

from aws import faults
from aws.emulators import client
from aws.faults import ALWAYS, refuse, refuse_afterwards

pytestmark = pytest.mark.once  # the emulators have a Python of their own

KEY = {"pk": {"S": "counter"}, "sk": {"S": "task"}}


@pytest.fixture
def through(proxy):
    with proxy.giving_up_at_once():
        yield client("dynamodb", proxy.url, read_timeout=30)


@pytest.fixture
def add(through, table):
    """Adds one to a counter: tells whether a request was carried out, and how often."""

    def call():
        through.update_item(
            TableName=table,
            Key=KEY,
            UpdateExpression="ADD n :one",
            ExpressionAttributeValues={":one": {"N": "1"}},
        )

    return call


@pytest.fixture
def count(ministack, table):
    def call():
        item = ministack.client("dynamodb").get_item(TableName=table, Key=KEY, ConsistentRead=True).get("Item")
        return int(item["n"]["N"]) if item else 0

    return call


def test_requests_pass_when_nothing_was_told(add, count, proxy):
    add()
    add()
    assert count() == 2
    assert proxy.seen == proxy.forwarded == {"UpdateItem": 2}


@pytest.mark.parametrize(
    ("fault", "error", "carried_out"),
    [
        (faults.DROP_REQUEST, ConnectionClosedError, 0),
        (faults.HANG, ReadTimeoutError, 0),
        (faults.DROP_ANSWER, ConnectionClosedError, 1),
        (faults.HANG_AFTERWARDS, ReadTimeoutError, 1),
        (refuse("ThrottlingException"), ClientError, 0),
        (refuse("InternalServerError"), ClientError, 0),
        (refuse_afterwards("InternalServerError"), ClientError, 1),
    ],
)
def test_a_fault_hits_the_next_request_and_no_other(add, count, proxy, fault, error, carried_out):  # noqa: PLR0917
    proxy.inject("GetItem", faults.HANG, times=ALWAYS)
    proxy.inject("UpdateItem", faults.PASS)
    proxy.inject("UpdateItem", fault)
    add()
    with pytest.raises(error) as caught:
        add()
    if isinstance(caught.value, ClientError):
        assert caught.value.response["Error"]["Code"] == fault.answers
        status = 500 if fault.answers == "InternalServerError" else 400
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    add()
    assert count() == 2 + carried_out
    assert proxy.seen == {"UpdateItem": 3}
    assert proxy.forwarded == {"UpdateItem": 2 + carried_out}


def test_a_standing_fault_stays_until_it_is_cleared(add, count, proxy):
    proxy.inject("UpdateItem", faults.DROP_REQUEST, times=ALWAYS)
    for _ in range(3):
        with pytest.raises(ConnectionClosedError):
            add()
    assert proxy.seen == {"UpdateItem": 3}
    proxy.clear()
    add()
    assert count() == 1


def test_a_late_request_is_carried_out_when_it_is_released(add, count, proxy):
    proxy.inject("UpdateItem", faults.LATE)
    with pytest.raises(ReadTimeoutError):
        add()
    assert count() == 0
    add()
    assert count() == 1
    proxy.release()
    assert count() == 2


@pytest.mark.parametrize("fault", [faults.HANG, faults.HANG_AFTERWARDS, faults.LATE])
def test_who_gives_up_at_once_does_not_wait_for_what_will_not_come(add, proxy, fault):
    proxy.inject("UpdateItem", fault)
    begun = time.monotonic()
    with pytest.raises(ReadTimeoutError):
        add()
    assert time.monotonic() - begun < 10  # of 30


def test_who_gives_up_at_once_still_does_so_when_its_own_time_is_over(proxy, table, monkeypatch):
    class Forgetful(set):
        """The proxy does not know that it is silent: the service is only slow."""

        def add(self, _):
            pass

    monkeypatch.setattr(proxy, "_silent_to", Forgetful())
    proxy.inject("UpdateItem", faults.HANG)
    with proxy.giving_up_at_once(), pytest.raises(ReadTimeoutError):
        client("dynamodb", proxy.url, read_timeout=0.2).update_item(TableName=table, Key=KEY)


def test_operations_of_s3_are_told_apart(proxy, bucket):
    s3 = client("s3", proxy.url)
    content = bytes(range(256)) * 20_000
    s3.put_object(Bucket=bucket, Key="keep/a b/é", Body=content)
    assert s3.get_object(Bucket=bucket, Key="keep/a b/é")["Body"].read() == content
    assert s3.head_object(Bucket=bucket, Key="keep/a b/é")["ContentLength"] == len(content)
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1
    proxy.inject("PutObject", refuse("SlowDown"))
    proxy.inject("DeleteObject", refuse("AccessDenied"))
    for call, code, status in (
        (lambda: s3.put_object(Bucket=bucket, Key="keep/b", Body=b"b"), "SlowDown", 503),
        (lambda: s3.delete_object(Bucket=bucket, Key="keep/a b/é"), "AccessDenied", 403),
        (lambda: s3.get_object(Bucket=bucket, Key="keep/b"), "NoSuchKey", 404),
    ):
        with pytest.raises(ClientError) as caught:
            call()
        assert caught.value.response["Error"]["Code"] == code
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    s3.delete_object(Bucket=bucket, Key="keep/a b/é")
    assert proxy.seen == {"PutObject": 2, "GetObject": 2, "HeadObject": 1, "ListObjectsV2": 1, "DeleteObject": 2}


def test_half_an_answer_is_asked_for_again(proxy, add, table):
    add()
    dynamodb = client("dynamodb", proxy.url, retries={"mode": "standard", "total_max_attempts": 2})
    proxy.inject("GetItem", faults.CUT_ANSWER)
    assert dynamodb.get_item(TableName=table, Key=KEY)["Item"]["n"] == {"N": "1"}
    assert proxy.seen["GetItem"] == 2


def test_half_an_object_is_an_error(proxy, bucket):
    s3 = client("s3", proxy.url)
    s3.put_object(Bucket=bucket, Key="keep/a", Body=bytes(1_000_000))
    proxy.inject("GetObject", faults.CUT_ANSWER)
    with pytest.raises(HTTPClientError):
        s3.get_object(Bucket=bucket, Key="keep/a")["Body"].read()


def test_a_proxy_ends_while_a_caller_hangs(ministack, table):
    with faults.FaultProxy(ministack.url) as proxy:
        proxy.inject("UpdateItem", faults.LATE)
        with pytest.raises(ReadTimeoutError):
            client("dynamodb", proxy.url, read_timeout=0.2).update_item(TableName=table, Key=KEY)
