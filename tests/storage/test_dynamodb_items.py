"""What DynamoDBStorage does beyond the contract: what it writes, and when. On moto, one call at a time."""

from __future__ import annotations

import functools
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import boto3
import botocore.exceptions
import moto
import pytest
from contracts.tasks import MICROSECOND, a_task, as_loaded

from sequential_core import SequentialFlow
from sequential_core.errors import StorageBusyError, StorageError, StorageFormatError, StorageFullError, TaskExistsError
from sequential_core.model import Status
from sequential_core.storage import aws, items, objects
from sequential_core.storage.dynamodb import DynamoDBStorage
from sequential_core.testing import NOW, MovedClock

DAY = timedelta(days=1)


@functools.cache
def _resource(service):
    return boto3.resource(service, region_name="us-east-1")


@pytest.fixture(autouse=True)
def _credentials(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with moto.mock_aws():
        yield


@pytest.fixture
def table():
    database = _resource("dynamodb")
    database.create_table(
        TableName="tasks",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": kind}
            for name, kind in (("pk", "S"), ("sk", "S"), ("listed", "S"), ("age", "B"))
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": items.INDEX,
                "KeySchema": [
                    {"AttributeName": "listed", "KeyType": "HASH"},
                    {"AttributeName": "age", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
    )
    return database.Table("tasks")


@pytest.fixture
def bucket():
    made = _resource("s3").Bucket("states")
    made.create()
    return made


@pytest.fixture
def clock():
    return MovedClock()


@pytest.fixture
def storage(table, bucket, clock):
    return DynamoDBStorage("tasks", bucket="states", clock=clock)


@pytest.fixture
def calls(storage):
    """The names of the calls that are made, in their order."""
    made = []

    def note(model, **_):
        made.append(model.name)

    for service in (storage._client, aws.client("s3", **storage._bucket._options)):
        service.meta.events.register("before-call", note)
    yield made
    for service in (storage._client, aws.client("s3", **storage._bucket._options)):
        service.meta.events.unregister("before-call", note)


def found(table):
    """All items, the task's first."""
    return sorted(table.scan()["Items"], key=lambda item: item["sk"] != "task")


def large(seed=1):
    return random.Random(seed).randbytes(500_000)


# --- Items ---


def test_attributes_of_a_paused_task(storage, table):
    storage.save(a_task(code="the code"), expected_revision=0)
    item, code = found(table)
    assert set(item) == {
        "pk", "sk", "revision", "created_at", "expires", "expires_at", "document", "state", "code", "code_until",
        "writer", "listed", "age",
    }  # fmt: skip
    assert (item["pk"], item["revision"]) == ("task-1", 1)
    assert item["expires_at"] == int((NOW + timedelta(hours=2)).timestamp())
    assert (code["pk"], code["sk"], code["code"]) == ("task-1", item["code"], "the code")
    assert code["expires_at"] == item["expires_at"] + 24 * 60 * 60


def test_ttl_is_rounded_up(storage, table):
    storage.save(a_task(expires_at=NOW + MICROSECOND), expected_revision=0)
    assert found(table)[0]["expires_at"] == int(NOW.timestamp()) + 1


def test_hop_reads_one_item_and_writes_one(storage, calls):
    storage.save(a_task(), expected_revision=0)
    del calls[:]
    task = storage.load("task-1")
    storage.save(replace(task, revision=2, vm_state=b"next"), expected_revision=1)
    assert calls == ["GetItem", "UpdateItem"]


def test_creation_writes_code_and_then_task(storage, calls):
    storage.save(a_task(), expected_revision=0)
    assert calls == ["PutItem", "PutItem"]


def test_losing_creator_leaves_no_code(storage, table):
    storage.save(a_task(code="first"), expected_revision=0)
    with pytest.raises(TaskExistsError):
        storage.save(a_task(code="second"), expected_revision=0)
    assert [item.get("code") for item in found(table)[1:]] == ["first"]
    assert storage.load_code("task-1") == "first"


def test_end_of_a_task_leaves_a_tombstone_and_the_code_to_the_ttl(storage, table, calls):
    storage.save(a_task(), expected_revision=0)
    task = storage.load("task-1")
    del calls[:]
    storage.delete("task-1", expected=task)
    assert calls == ["PutItem"]
    tombstone, code = found(table)
    assert set(tombstone) == {"pk", "sk", "writer", "expires_at"}
    assert tombstone["expires_at"] == int(NOW.timestamp()) + 60 * 60
    assert "expires_at" in code
    assert storage.load_code("task-1") is None


def test_deletion_by_the_user_leaves_no_code(storage, table):
    storage.save(a_task(), expected_revision=0)
    storage.delete("task-1")
    assert [item["sk"] for item in found(table)] == ["task"]


def test_code_that_does_not_expire_goes_with_its_task(storage, table):
    storage.save(a_task(expires_at=None), expected_revision=0)
    storage.delete("task-1", expected=storage.load("task-1"))
    assert [item["sk"] for item in found(table)] == ["task"]


def test_code_is_renewed_at_most_once_a_day(storage, table, clock, calls):
    storage.save(a_task(), expected_revision=0)
    renewals = []
    for hop in range(2, 75):  # three days of a hop an hour
        clock.advance(timedelta(hours=1))
        task = storage.load("task-1")
        del calls[:]
        storage.save(replace(task, revision=hop, expires_at=clock.now + timedelta(hours=2)), expected_revision=hop - 1)
        if calls == ["UpdateItem", "UpdateItem"]:
            renewals.append(hop)
        item, code = found(table)
        assert code["expires_at"] >= item["expires_at"]
        assert code["expires_at"] == item["code_until"]
    assert len(renewals) == 2
    assert storage.load_code("task-1") is not None


def test_code_of_a_task_that_no_longer_expires_does_not_either(storage, table):
    storage.save(a_task(), expected_revision=0)
    task = storage.load("task-1")
    storage.save(replace(task, revision=2, expires_at=None), expected_revision=1)
    item, code = found(table)
    assert "expires_at" not in code
    assert "code_until" not in item


def test_each_write_has_a_writer_of_its_own(storage, table):
    writers = set()
    for revision in range(5):
        storage.save(a_task(revision=revision + 1), expected_revision=revision)
        writers.add(bytes(found(table)[0]["writer"].value))
    assert len(writers) == 5


def test_item_that_is_not_ours(storage, table):
    table.put_item(Item={"pk": "task-1", "sk": "task", "revision": 1})
    with pytest.raises(StorageFormatError):
        storage.load("task-1")


# --- Objects ---


def test_large_state_is_in_the_bucket_and_the_item_points_to_it(storage, table, bucket):
    storage.save(a_task(vm_state=large()), expected_revision=0)
    item = found(table)[0]
    assert "state" not in item
    assert [each.key for each in bucket.objects.all()] == [item["state_object"]]
    assert storage.load("task-1").vm_state == large()


def test_object_is_written_before_the_item(storage, calls):
    storage.save(a_task(vm_state=large(), code=None), expected_revision=0)
    assert calls == ["PutObject", "PutItem"]


@pytest.mark.parametrize(("over", "kept"), [(0, "state"), (1, "state_object")])
def test_item_is_as_large_as_it_may_be(table, bucket, clock, over, kept):
    task = a_task(code=None, vm_state=b"x" * 1000)
    size = items.item_size(task.id, items.task_item(task))
    storage = DynamoDBStorage("tasks", bucket="states", clock=clock, item_bytes=size - over)
    storage.save(task, expected_revision=0)
    assert kept in found(table)[0]


def test_document_goes_to_the_bucket_when_it_is_what_is_large(storage, table):
    task = a_task(status=Status.COMPLETED, result=random.Random(1).randbytes(500_000).hex(), vm_state=None)
    storage.save(task, expected_revision=0)
    assert "document_object" in found(table)[0]
    assert storage.load("task-1") == as_loaded(task)
    assert storage.list().tasks == (as_loaded(task),)


def test_list_reads_no_state_from_the_bucket(storage, calls):
    storage.save(a_task(vm_state=large()), expected_revision=0)
    del calls[:]
    assert storage.list().tasks == (as_loaded(a_task(vm_state=None)),)
    assert "GetObject" not in calls


def test_code_that_does_not_fit_an_item_is_refused(storage, table):
    with pytest.raises(StorageFullError):
        storage.save(a_task(code="é" * 300_000), expected_revision=0)
    assert found(table) == []


def test_replaced_state_leaves_no_object(storage, bucket):
    storage.save(a_task(vm_state=large()), expected_revision=0)
    task = storage.load("task-1")
    storage.save(replace(task, revision=2, vm_state=large(2)), expected_revision=1)
    assert len(list(bucket.objects.all())) == 1
    assert storage.load("task-1").vm_state == large(2)


def test_deleted_task_leaves_no_object(storage, bucket):
    storage.save(a_task(vm_state=large()), expected_revision=0)
    storage.delete("task-1")
    assert list(bucket.objects.all()) == []


def test_same_state_at_another_revision_is_another_object(storage, bucket):
    storage.save(a_task(vm_state=large()), expected_revision=0)
    task = storage.load("task-1")
    storage.save(replace(task, revision=2), expected_revision=1)
    assert storage.load("task-1").vm_state == large()
    assert len(list(bucket.objects.all())) == 1


def test_large_task_without_a_bucket_is_refused_whole(table, clock):
    storage = DynamoDBStorage("tasks", clock=clock)
    with pytest.raises(StorageFullError):
        storage.save(a_task(vm_state=large(), code=None), expected_revision=0)
    assert found(table) == []


def test_object_that_is_gone(storage, bucket):
    storage.save(a_task(vm_state=large()), expected_revision=0)
    bucket.objects.all().delete()
    with pytest.raises(StorageError, match="missing"):
        storage.load("task-1")


def test_object_with_other_content(storage, bucket):
    storage.save(a_task(vm_state=large()), expected_revision=0)
    next(iter(bucket.objects.all())).put(Body=b"other")
    with pytest.raises(StorageFormatError):
        storage.load("task-1")


def test_reader_that_comes_too_late_for_an_object_reads_the_next_pause(storage, monkeypatch):
    storage.save(a_task(vm_state=large()), expected_revision=0)
    task = storage.load("task-1")
    read = storage._bucket.get

    def late(key):
        monkeypatch.setattr(storage._bucket, "get", read)
        storage.save(replace(task, revision=2, vm_state=large(2)), expected_revision=1)
        return read(key)

    monkeypatch.setattr(storage._bucket, "get", late)
    assert storage.load("task-1").vm_state == large(2)


@pytest.mark.parametrize(
    ("lifetime", "prefix"),
    [
        (timedelta(0), "days-7/"),
        (7 * DAY, "days-7/"),
        (7 * DAY + MICROSECOND, "days-30/"),
        (30 * DAY, "days-30/"),
        (31 * DAY, "days-90/"),
        (365 * DAY, "days-365/"),
        (365 * DAY + MICROSECOND, "keep/"),
        (None, "keep/"),
    ],
)
def test_object_outlives_its_task(lifetime, prefix):
    task = a_task(expires_at=None if lifetime is None else NOW + lifetime)
    assert objects.object_key(task, NOW, b"x").startswith(prefix)


def test_objects_of_different_tasks_never_share_a_key():
    keys = {
        objects.object_key(task, NOW, content)
        for task in (a_task("a"), a_task("b"), a_task("a", revision=2), a_task("a", created_at=NOW + MICROSECOND))
        for content in (b"x", b"y")
    }
    assert len(keys) == 8


# --- The index ---


def test_places_in_the_index_follow_the_instants():
    instants = [-(1 << 62), -1, 0, 1, 255, 256, 1 << 40, 1 << 62]
    places = [items.age(instant, "a") for instant in instants]
    assert places == sorted(places)
    assert {len(place) for place in places} == {24}


def test_tasks_are_spread_over_the_parts_of_the_index(storage, table):
    for number in range(64):
        storage.save(a_task(f"task-{number}", code=None), expected_revision=0)
    assert {item["listed"] for item in found(table)} == {f"paused#{part}" for part in range(items.PARTS)}


def test_nothing_scans(storage, calls):
    for number in range(30):
        storage.save(a_task(f"task-{number}", code=None), expected_revision=0)
    del calls[:]
    storage.list(limit=5)
    storage.list(status=Status.ERROR)
    assert set(calls) == {"Query", "BatchGetItem"}


# --- Clients ---


def test_client_is_made_once():
    assert aws.client("dynamodb") is aws.client("dynamodb")
    assert aws.client("dynamodb") is not aws.client("dynamodb", attempts=1)


def test_client_has_the_timeouts_of_a_function():
    config = aws.client("dynamodb").meta.config
    assert (config.connect_timeout, config.read_timeout) == (1, 2)
    assert config.retries["total_max_attempts"] == 3


def test_client_without_a_region(monkeypatch, tmp_path):
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(StorageError, match="region"):
        DynamoDBStorage("tasks")


def test_client_with_an_endpoint_that_is_no_url():
    with pytest.raises(StorageError, match="endpoint"):
        DynamoDBStorage("tasks", endpoint="here")


def _client_error(code, status):
    response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return botocore.exceptions.ClientError(response, "PutItem")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (_client_error("ProvisionedThroughputExceededException", 400), StorageBusyError),
        (_client_error("ThrottlingException", 400), StorageBusyError),
        (_client_error("InternalServerError", 500), StorageBusyError),
        (_client_error("SlowDown", 503), StorageBusyError),
        (_client_error("Anything", 429), StorageBusyError),
        (_client_error("ResourceNotFoundException", 400), StorageError),
        (_client_error("AccessDeniedException", 400), StorageError),
        (_client_error("ValidationException", 400), StorageError),
        (botocore.exceptions.ReadTimeoutError(endpoint_url="u"), StorageBusyError),
        (botocore.exceptions.ConnectTimeoutError(endpoint_url="u"), StorageBusyError),
        (botocore.exceptions.EndpointConnectionError(endpoint_url="u"), StorageBusyError),
        (botocore.exceptions.ConnectionClosedError(endpoint_url="u"), StorageBusyError),
        (botocore.exceptions.IncompleteReadError(actual_bytes=1, expected_bytes=2), StorageBusyError),
        (botocore.exceptions.NoCredentialsError(), StorageError),
    ],
    ids=lambda value: str(value) if isinstance(value, Exception) else "",
)
def test_errors_of_the_services(error, kind):
    with pytest.raises((StorageError, StorageBusyError)) as caught, aws.errors():
        raise error
    assert type(caught.value) is kind
    assert caught.value.__cause__ is error


def test_table_that_is_not_there(bucket):
    storage = DynamoDBStorage("nothing")
    with pytest.raises(StorageError, match="ResourceNotFoundException"):
        storage.load("task-1")


def test_instants_before_1970_can_be_kept(storage):
    task = a_task(created_at=datetime(1960, 1, 1, tzinfo=UTC))
    storage.save(task, expected_revision=0)
    assert storage.list().tasks == (as_loaded(replace(task, vm_state=None)),)


# --- What a pause costs ---


def test_a_pause_of_the_reference_program_takes_one_write_unit(storage, clock):
    """An item of up to 1,024 bytes does, with its keys; with an id as the flow makes them."""
    flow = SequentialFlow(storage, clock=clock)
    sizes = []
    task = flow.execute(
        'const user = await fetch("https://api.example.com/user/1"); '
        'const posts = await fetch("https://api.example.com/posts"); [user, posts]'
    )
    sizes.append(items.item_size(task.id, storage._get(task.id, items.TASK)))
    flow.resume(task.id, fetch_response={"id": 1, "name": "Alice"})
    sizes.append(items.item_size(task.id, storage._get(task.id, items.TASK)))
    assert max(sizes) <= 1024, sizes
