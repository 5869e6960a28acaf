"""What goes wrong between us and AWS, at every write and read of a task: no task is lost, no answer counts twice."""

from __future__ import annotations

import asyncio
import math
import random
import string
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError
from contracts.tasks import a_task, as_loaded

from aws import faults
from aws.emulators import REGION
from aws.faults import ALWAYS, PASS, refuse, refuse_afterwards
from sequential_core import create_flow
from sequential_core.errors import (
    OutcomeUnknownError,
    SequentialError,
    StorageBusyError,
    StorageError,
    StorageFormatError,
    TaskConflictError,
    TaskNotFoundError,
)
from sequential_core.flow import SequentialFlow
from sequential_core.http import create_app
from sequential_core.http.problems import problem_of
from sequential_core.storage import MemoryStorage, objects
from sequential_core.storage.dynamodb import ITEM_BYTES, DynamoDBStorage
from sequential_core.testing import MovedClock

# Every request tells which answer came before it, so a pause shows what was taken.
CODE = 'const a = await fetch("http://a/first"); const b = await fetch("http://a/after " + a); [a, b]'
ATTEMPTS = 2


@pytest.fixture(autouse=True)
def between_attempts(monkeypatch):
    """Calls what a test puts here, in place of waiting before a call is repeated."""
    hook = SimpleNamespace(call=lambda: None)
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _seconds: hook.call()))
    return hook


@pytest.fixture
def storage(ministack, table, bucket):
    """Where nothing goes wrong."""
    return DynamoDBStorage(table, bucket=bucket, region=REGION, endpoint=ministack.url)


@pytest.fixture
def flow(storage):
    return create_flow(storage)


@pytest.fixture
def make_faulty(proxy, table, bucket, monkeypatch):
    # No request takes as long, and where no answer comes nobody waits for it.
    monkeypatch.setattr(objects, "_READ_SECONDS", 30)
    monkeypatch.setitem(objects._DELETE, "read_seconds", 30)

    def make(**options: Any) -> SequentialFlow:
        options = {"read_seconds": 30, "attempts": ATTEMPTS} | options
        return create_flow(DynamoDBStorage(table, bucket=bucket, region=REGION, endpoint=proxy.url, **options))

    with proxy.giving_up_at_once():
        yield make


@pytest.fixture
def faulty(make_faulty):
    """A flow on the same table, behind the proxy."""
    return make_faulty()


@pytest.fixture
def all_items(ministack, table):
    return lambda: ministack.client("dynamodb").scan(TableName=table)["Items"]


@pytest.fixture
def all_objects(ministack, bucket):
    return lambda: [each["Key"] for each in ministack.client("s3").list_objects_v2(Bucket=bucket).get("Contents", ())]


# --- Every write, and whatever may become of it ---


@dataclass(frozen=True)
class Step:
    """A call of the flow that ends with one conditional write.

    Attributes:
        prepare: what comes before.
        call: the call, the same when it is repeated.
        operation: of DynamoDB; `passes` of it come before the write that counts.
        before, after: the stored task, as `seen` tells it.
        returned: the task that the call gives, likewise.
    """

    prepare: Callable[[SequentialFlow], object]
    call: Callable[[SequentialFlow], Any]
    operation: str
    passes: int
    before: object
    after: object
    returned: object


def seen(task: Any) -> object:
    """What tells where a task stands."""
    return None if task is None else (task.revision, task.fetch_request.url if task.fetch_request else task.result)


def _to_the_last_pause(flow, retain=None):
    flow.execute(CODE, id="task-1", retain=retain)
    flow.resume("task-1", fetch_response="one", revision=1)


STEPS = {
    "creation": Step(
        prepare=lambda _flow: None,
        call=lambda flow: flow.execute(CODE, id="task-1"),
        operation="PutItem",
        passes=1,  # the code's
        before=None,
        after=(1, "http://a/first"),
        returned=(1, "http://a/first"),
    ),
    "hop": Step(
        prepare=lambda flow: flow.execute(CODE, id="task-1"),
        call=lambda flow: flow.resume("task-1", fetch_response="one", revision=1),
        operation="UpdateItem",
        passes=0,
        before=(1, "http://a/first"),
        after=(2, "http://a/after%20one"),
        returned=(2, "http://a/after%20one"),
    ),
    "end that is kept": Step(
        prepare=lambda flow: _to_the_last_pause(flow, retain=3600),
        call=lambda flow: flow.resume("task-1", fetch_response="two", revision=2),
        operation="UpdateItem",
        passes=0,
        before=(2, "http://a/after%20one"),
        after=(3, ["one", "two"]),
        returned=(3, ["one", "two"]),
    ),
    "end": Step(
        prepare=_to_the_last_pause,
        call=lambda flow: flow.resume("task-1", fetch_response="two", revision=2),
        operation="PutItem",  # of a tombstone
        passes=0,
        before=(2, "http://a/after%20one"),
        after=None,
        returned=(3, ["one", "two"]),
    ),
}

LOST_BEFORE = {
    "reset before": faults.DROP_REQUEST,
    "timeout before": faults.HANG,
    "throttled": refuse("ThrottlingException"),
    "throughput": refuse("ProvisionedThroughputExceededException"),
    "fault": refuse("InternalServerError"),
}
LOST_AFTERWARDS = {
    "reset after": faults.DROP_ANSWER,
    "timeout after": faults.HANG_AFTERWARDS,
    "fault after": refuse_afterwards("InternalServerError"),
}
BOTH = LOST_BEFORE | LOST_AFTERWARDS


def by_name(table):
    return pytest.mark.parametrize(
        "fault" if table is not STEPS else "step", table.values(), ids=[name.replace(" ", "-") for name in table]
    )


def finish(flow, step):
    """Goes on with the program from where a step left it, to its end, whose result is the one of an undisturbed run."""
    if step.returned == (1, "http://a/first"):
        assert seen(flow.resume("task-1", fetch_response="one", revision=1)) == (2, "http://a/after%20one")
    if step.returned[0] < 3:
        assert flow.resume("task-1", fetch_response="two", revision=2).result == ["one", "two"]
        with pytest.raises(TaskNotFoundError):
            flow.get_task("task-1")


@by_name(STEPS)
@by_name(BOTH)
def test_one_failure_is_not_noticed(flow, storage, faulty, proxy, step, fault):  # noqa: PLR0917
    step.prepare(flow)
    proxy.inject(step.operation, PASS, times=step.passes)
    proxy.inject(step.operation, fault)
    assert seen(step.call(faulty)) == step.returned
    assert seen(storage.load("task-1")) == step.after
    assert proxy.seen[step.operation] == step.passes + 2
    finish(flow, step)


def _given_up(step):
    """A creation has nothing by which it could be fenced off, so that it may yet be carried out."""
    return OutcomeUnknownError if step.before is None else StorageBusyError


@by_name(STEPS)
@by_name(LOST_BEFORE)
def test_write_that_never_arrives_changes_nothing_and_can_be_repeated(  # noqa: PLR0917
    flow, storage, faulty, proxy, step, fault
):
    step.prepare(flow)
    proxy.inject(step.operation, PASS, times=step.passes)
    proxy.inject(step.operation, fault, times=ATTEMPTS)
    with pytest.raises(_given_up(step)) as caught:
        step.call(faulty)
    assert problem_of(caught.value).status == 503
    assert seen(storage.load("task-1")) == step.before
    assert seen(step.call(faulty)) == step.returned
    assert seen(storage.load("task-1")) == step.after
    finish(flow, step)


@by_name(STEPS)
@by_name(LOST_AFTERWARDS)
def test_write_whose_answers_are_all_lost_is_found_to_be_made(flow, storage, faulty, proxy, step, fault):  # noqa: PLR0917
    step.prepare(flow)
    proxy.inject(step.operation, PASS, times=step.passes)
    proxy.inject(step.operation, fault, times=ATTEMPTS)
    assert seen(step.call(faulty)) == step.returned
    assert seen(storage.load("task-1")) == step.after
    finish(flow, step)


@by_name(STEPS)
@pytest.mark.parametrize("fault", [faults.DROP_REQUEST, faults.DROP_ANSWER], ids=["not-made", "made"])
def test_write_that_cannot_be_looked_into_is_of_unknown_outcome_and_repeating_it_settles_it(  # noqa: PLR0917
    flow, storage, faulty, proxy, step, fault
):
    step.prepare(flow)
    proxy.inject(step.operation, PASS, times=step.passes)
    proxy.inject(step.operation, fault, times=ATTEMPTS)
    proxy.inject("GetItem", PASS)
    proxy.inject("GetItem", refuse("ThrottlingException"), times=ATTEMPTS)
    with pytest.raises(OutcomeUnknownError) as caught:
        step.call(faulty)
    assert caught.value.task_id == "task-1"
    assert problem_of(caught.value).status == 503
    made = fault is faults.DROP_ANSWER
    assert seen(storage.load("task-1")) == (step.after if made else step.before)
    if made and step.after is None:
        with pytest.raises(TaskNotFoundError):  # as the flow says: keep the outcome if you need it
            step.call(faulty)
    else:
        assert seen(step.call(faulty)) == step.returned
    assert seen(storage.load("task-1")) == step.after
    finish(flow, step)


@by_name(STEPS)
def test_write_that_arrives_after_it_was_given_up_and_repeated_changes_nothing(flow, storage, make_faulty, proxy, step):
    step.prepare(flow)
    faulty = make_faulty(attempts=1)
    proxy.inject(step.operation, PASS, times=step.passes)
    proxy.inject(step.operation, faults.LATE)
    with pytest.raises(_given_up(step)):
        step.call(faulty)
    assert seen(step.call(flow)) == step.returned
    settled = storage.load("task-1")
    proxy.release()
    assert seen(storage.load("task-1")) == seen(settled) == step.after
    finish(flow, step)


@by_name(STEPS)
def test_write_that_arrives_after_it_was_given_up_counts_for_nothing_or_once(flow, storage, make_faulty, proxy, step):
    """What was fenced off is not carried out, as the caller was told; a creation may be, as the caller was told too."""
    step.prepare(flow)
    faulty = make_faulty(attempts=1)
    proxy.inject(step.operation, PASS, times=step.passes)
    proxy.inject(step.operation, faults.LATE)
    with pytest.raises(_given_up(step)):
        step.call(faulty)
    proxy.release()
    assert seen(storage.load("task-1")) == (step.after if step.before is None else step.before)
    assert seen(step.call(flow)) == step.returned
    assert seen(storage.load("task-1")) == step.after
    finish(flow, step)


def test_answer_that_was_given_up_is_not_taken_for_two_requests(flow, make_faulty, proxy):
    """A caller that names neither request nor pause, and is told that nothing was changed, may repeat its call."""
    flow.execute(CODE, id="task-1", retain=3600)
    faulty = make_faulty(attempts=1)
    proxy.inject("UpdateItem", faults.LATE)
    with pytest.raises(StorageBusyError):
        faulty.resume("task-1", fetch_response="one")
    proxy.release()
    assert faulty.resume("task-1", fetch_response="one").revision == 2
    assert seen(flow.resume("task-1", fetch_response="two")) == (3, ["one", "two"])


def test_call_that_is_overtaken_while_no_answer_comes_gets_the_task(flow, faulty, proxy, between_attempts):
    flow.execute(CODE, id="task-1", retain=3600)
    proxy.inject("UpdateItem", faults.DROP_ANSWER, times=ATTEMPTS)
    between_attempts.call = lambda: flow.resume("task-1", fetch_response="two", revision=2)
    assert seen(faulty.resume("task-1", fetch_response="one", request_id=1)) == (3, ["one", "two"])


def test_deletion_that_arrives_late_spares_the_task_that_took_the_id(flow, make_faulty, proxy):
    _to_the_last_pause(flow)
    proxy.inject("PutItem", faults.LATE)
    with pytest.raises(StorageBusyError):
        make_faulty(attempts=1).resume("task-1", fetch_response="two")
    flow.delete_task("task-1")
    _to_the_last_pause(flow)
    proxy.release()
    assert seen(flow.get_task("task-1")) == (2, "http://a/after%20one")


def test_read_that_fails_changes_nothing(flow, storage, faulty, proxy):
    flow.execute(CODE, id="task-1")
    for fault in LOST_BEFORE.values():
        proxy.inject("GetItem", fault, times=ATTEMPTS)
        with pytest.raises(StorageBusyError) as caught:
            faulty.resume("task-1", fetch_response="one")
        assert problem_of(caught.value).status == 503
    assert seen(storage.load("task-1")) == (1, "http://a/first")
    assert "UpdateItem" not in proxy.seen


def test_code_that_cannot_be_written_leaves_no_task(faulty, storage, all_items, proxy):
    proxy.inject("PutItem", refuse("ThrottlingException"), times=ATTEMPTS)
    with pytest.raises(StorageBusyError):
        faulty.execute(CODE, id="task-1")
    assert all_items() == []
    assert seen(faulty.execute(CODE, id="task-1")) == (1, "http://a/first")
    assert storage.load_code("task-1") == CODE


@pytest.mark.parametrize("code", ["AccessDeniedException", "ResourceNotFoundException", "ValidationException"])
def test_refusal_that_will_not_pass_is_the_operators(flow, faulty, storage, proxy, code):
    flow.execute(CODE, id="task-1")
    proxy.inject("UpdateItem", refuse(code), times=ALWAYS)
    with pytest.raises(StorageError) as caught:
        faulty.resume("task-1", fetch_response="one")
    assert problem_of(caught.value).status == 500
    assert proxy.seen["UpdateItem"] == 1
    assert seen(storage.load("task-1")) == (1, "http://a/first")


@pytest.mark.parametrize("key", ["key", None])
def test_answer_that_was_taken_is_no_conflict_though_another_call_went_on_before_the_retry(
    flow, faulty, proxy, between_attempts, key
):
    """The first attempt lands and its answer is lost; before the second, somebody else answers the next request."""
    flow.execute(CODE, id="task-1", retain=3600)
    proxy.inject("UpdateItem", faults.DROP_ANSWER)
    between_attempts.call = lambda: flow.resume("task-1", fetch_response="two", revision=2)
    task = faulty.resume("task-1", fetch_response="one", revision=1, idempotency_key=key)
    assert seen(task) == (3, ["one", "two"])


def test_deletion_succeeds_though_its_code_stays_behind(flow, faulty, storage, proxy, all_items):
    """The tombstone is written, so the task is gone; the code that nobody asks for any more expires by itself."""
    flow.execute(CODE, id="task-1")
    proxy.inject("DeleteItem", refuse("ThrottlingException"), times=ALWAYS)
    faulty.delete_task("task-1")
    assert storage.load("task-1") is None
    assert all("expires_at" in item for item in all_items())


@pytest.mark.parametrize("lost", [1, ATTEMPTS])
def test_deletion_is_found_to_be_made_though_the_ttl_sweeps_at_once(  # noqa: PLR0917
    flow, faulty, proxy, between_attempts, ministack, table, all_items, lost
):
    _to_the_last_pause(flow)
    proxy.inject("PutItem", faults.DROP_ANSWER, times=lost)

    def wait_for_the_sweep():
        """Until it has taken what expires now, as the storage would write that: in whole seconds, rounded up."""
        expired = {"pk": {"S": "expired"}, "sk": {"S": "task"}, "expires_at": {"N": str(math.ceil(time.time()))}}
        ministack.client("dynamodb").put_item(TableName=table, Item=expired)
        deadline = time.monotonic() + 20
        while expired in all_items():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    between_attempts.call = wait_for_the_sweep
    assert seen(faulty.resume("task-1", fetch_response="two")) == (3, ["one", "two"])


@pytest.mark.parametrize("operation", ["Query", "BatchGetItem"])
@by_name(LOST_BEFORE)
def test_list_that_fails_says_so(flow, faulty, proxy, operation, fault):
    flow.execute(CODE, id="task-1")
    proxy.inject(operation, fault)
    assert [task.id for task in faulty.list_tasks().tasks] == ["task-1"]
    proxy.inject(operation, fault, times=ATTEMPTS)
    with pytest.raises(StorageBusyError):
        faulty.list_tasks()


@pytest.mark.parametrize("times", [1, ATTEMPTS])
def test_half_an_answer_is_not_taken_for_a_whole_one(flow, faulty, proxy, times):
    flow.execute(CODE, id="task-1")
    proxy.inject("GetItem", faults.CUT_ANSWER, times=times)
    try:
        assert seen(faulty.get_task("task-1")) == (1, "http://a/first")
    except StorageBusyError:
        assert times == ATTEMPTS


# --- Sizes ---

NOISY = (
    'const noise = await fetch("http://a/noise"); const answer = await fetch("http://a/answer");'
    "[noise.length, noise.slice(-9), answer]"
)
_ALPHABET = string.ascii_letters + string.digits + "+/"


def noise_for(state_bytes: int) -> str:
    """An answer that makes a state of about this size of NOISY, to a hundred bytes.

    A state is as large as random numbers make it: when it is made again, it differs by some tens of bytes, or seldom by
    300. Where that is likely, a letter more makes it 300 bytes larger: so the search halves what is left as soon as it
    has a beginning and an end, and takes other noise where that ends at such a place.
    """
    flow = create_flow(MemoryStorage())
    for seed in range(5):
        noise = "".join(random.Random(seed).choices(_ALPHABET, k=state_bytes * 3 // 2))
        too_short, length, too_long = 0, state_bytes * 4 // 3, None  # six bits a letter
        for number in range(9):
            flow.execute(NOISY, id=f"{seed}-{number}")
            size = flow.resume(f"{seed}-{number}", fetch_response=noise[:length]).paused_state.state_bytes
            if abs(size - state_bytes) < 100:
                return noise[:length]
            if size < state_bytes:
                too_short = length
            else:
                too_long = length
            length += round((state_bytes - size) * length / size)
            if too_short and too_long:
                length = (too_short + too_long) // 2
    raise AssertionError(size)


@pytest.mark.parametrize("size", [400_000, 401_000, 399 * 1024, 401 * 1024, 5_000_000])
def test_task_of_any_size_goes_on(flow, storage, all_objects, size):
    noise = noise_for(size)
    for number in range(5):  # a state that is made again may seldom be another, see there
        task = flow.resume(flow.execute(NOISY, id=f"task-{number}").id, fetch_response=noise)
        if abs(task.paused_state.state_bytes - size) < 300:
            break
        flow.delete_task(task.id)
    assert abs(task.paused_state.state_bytes - size) < 300
    assert flow.get_task(task.id) == as_loaded(task)
    assert len(all_objects()) == 1
    assert flow.resume(task.id, fetch_response=1).result == [len(noise), noise[-9:], 1]
    assert storage.load(task.id) is None
    assert all_objects() == []


def test_item_of_every_size_around_the_limit_is_kept(storage, all_objects):
    # What DynamoDB counts beside the state is a few hundred bytes; between these two it must move to the bucket.
    for size in (*range(ITEM_BYTES - 1000, ITEM_BYTES + 1000, 250), *range(409_600 - 1500, 409_600 + 500, 250)):
        task = a_task(f"é{size}", vm_state=random.Random(size).randbytes(size), expires_at=None)
        storage.save(task, expected_revision=0)
        assert storage.load(task.id) == as_loaded(task)
    assert all_objects()


# --- S3 ---


@pytest.fixture(scope="module")
def noise():
    return noise_for(500_000)


def large(flow, noise, task_id="task-1"):
    """A task whose state is in the bucket, before its last answer."""
    flow.execute(NOISY.replace("[noise", "await fetch('http://a/last'); [noise"), id=task_id)
    flow.resume(task_id, fetch_response=noise)


@pytest.mark.parametrize(
    ("fault", "times", "error", "status"),
    [
        (refuse("AccessDenied"), 1, StorageError, 500),
        (refuse("NoSuchBucket"), 1, StorageError, 500),
        (refuse("SlowDown"), ATTEMPTS, StorageBusyError, 503),
        (refuse("InternalError"), ATTEMPTS, StorageBusyError, 503),
        (faults.HANG, ATTEMPTS, StorageBusyError, 503),
        (faults.HANG_AFTERWARDS, ATTEMPTS, StorageBusyError, 503),
        (faults.DROP_ANSWER, ATTEMPTS, StorageBusyError, 503),
    ],
)
def test_bucket_that_takes_nothing_leaves_the_task_as_it_was(  # noqa: PLR0917
    flow, faulty, proxy, noise, fault, times, error, status
):
    large(flow, noise)
    before = flow.get_task("task-1")
    proxy.inject("PutObject", fault, times=times)
    with pytest.raises(error) as caught:
        faulty.resume("task-1", fetch_response="answer", revision=2)
    assert type(caught.value) is error
    assert problem_of(caught.value).status == status
    assert flow.get_task("task-1") == before
    assert "UpdateItem" not in proxy.seen
    assert seen(faulty.resume("task-1", fetch_response="answer", revision=2)) == (3, "http://a/last")
    assert flow.resume("task-1", fetch_response=0).result[::2] == [len(noise), "answer"]


@pytest.mark.parametrize(
    ("fault", "times", "error", "status"),
    [
        (refuse("AccessDenied"), ALWAYS, StorageError, 500),
        (refuse("NoSuchBucket"), 1, StorageError, 500),
        (refuse("SlowDown"), ATTEMPTS, StorageBusyError, 503),
        (refuse("InternalError"), ATTEMPTS, StorageBusyError, 503),
        (faults.HANG, ATTEMPTS, StorageBusyError, 503),
        (faults.DROP_ANSWER, ATTEMPTS, StorageBusyError, 503),
        (faults.CUT_ANSWER, ATTEMPTS, StorageBusyError, 503),
    ],
)
def test_bucket_that_gives_nothing_leaves_the_task_as_it_was(  # noqa: PLR0917
    flow, faulty, proxy, noise, fault, times, error, status
):
    large(flow, noise)
    before = flow.get_task("task-1")
    proxy.inject("GetObject", fault, times=times)
    with pytest.raises(error) as caught:
        faulty.resume("task-1", fetch_response="answer", revision=2)
    assert type(caught.value) is error
    assert problem_of(caught.value).status == status
    proxy.clear()
    assert flow.get_task("task-1") == before
    assert seen(faulty.resume("task-1", fetch_response="answer", revision=2)) == (3, "http://a/last")


def test_save_that_fails_after_its_object_was_written_keeps_the_old_object(flow, faulty, proxy, noise, all_objects):
    large(flow, noise)
    before, (old,) = flow.get_task("task-1"), all_objects()
    proxy.inject("UpdateItem", refuse("ThrottlingException"), times=ATTEMPTS)
    with pytest.raises(StorageBusyError):
        faulty.resume("task-1", fetch_response="answer")
    assert old in all_objects()
    assert len(all_objects()) == 2
    assert flow.get_task("task-1") == before
    assert all(key.startswith("days-7/") for key in all_objects())  # a rule of the bucket removes the other


def test_loser_of_a_race_leaves_the_winners_object(flow, faulty, proxy, noise, between_attempts):
    large(flow, noise)
    proxy.inject("UpdateItem", faults.DROP_REQUEST)
    between_attempts.call = lambda: flow.resume("task-1", fetch_response="winner")
    with pytest.raises(TaskConflictError):
        faulty.resume("task-1", fetch_response="loser")
    assert flow.resume("task-1", fetch_response=0).result[::2] == [len(noise), "winner"]


@pytest.mark.parametrize("fault", [refuse("AccessDenied"), refuse("SlowDown"), faults.HANG])
def test_old_object_that_cannot_be_deleted_does_no_harm(flow, faulty, proxy, noise, fault):
    large(flow, noise)
    proxy.inject("DeleteObject", fault, times=ALWAYS)
    assert seen(faulty.resume("task-1", fetch_response="answer")) == (3, "http://a/last")
    assert faulty.resume("task-1", fetch_response=0).result[::2] == [len(noise), "answer"]


def test_lost_object_is_the_operators_and_the_task_can_be_deleted(flow, ministack, bucket, noise, all_objects):
    large(flow, noise)
    flow.execute(CODE, id="task-2")
    (key,) = all_objects()
    s3 = ministack.client("s3")
    s3.delete_object(Bucket=bucket, Key=key)
    for call in (lambda: flow.get_task("task-1"), lambda: flow.resume("task-1", fetch_response="answer")):
        with pytest.raises(StorageError) as caught:
            call()
        assert problem_of(caught.value).status == 500
    assert {task.id for task in flow.list_tasks().tasks} == {"task-1", "task-2"}
    flow.delete_task("task-1")
    assert [task.id for task in flow.list_tasks().tasks] == ["task-2"]


def test_object_with_other_content_is_not_resumed(flow, ministack, bucket, noise, all_objects):
    large(flow, noise)
    (key,) = all_objects()
    ministack.client("s3").put_object(Bucket=bucket, Key=key, Body=b"other")
    with pytest.raises(StorageFormatError):
        flow.resume("task-1", fetch_response="answer")


# --- What TTL removes, or should have removed ---


def test_item_that_ttl_should_have_removed_is_no_task(ministack, table, bucket, all_items):
    clock = MovedClock()
    storage = DynamoDBStorage(table, bucket=bucket, region=REGION, endpoint=ministack.url, clock=clock)
    flow = SequentialFlow(storage, clock=clock)
    flow.execute(CODE, id="task-1")
    clock.advance(timedelta(hours=2))
    before = all_items()
    assert len(before) == 2
    for call in (
        lambda: flow.get_task("task-1"),
        lambda: flow.resume("task-1", fetch_response="one"),
        lambda: flow.delete_task("task-1"),
    ):
        with pytest.raises(TaskNotFoundError) as caught:
            call()
        assert problem_of(caught.value).status == 404
    assert flow.list_tasks().tasks == ()
    assert all_items() == before
    assert seen(flow.execute(CODE + "; 0", id="task-1")) == (1, "http://a/first")
    assert storage.load_code("task-1") == CODE + "; 0"


def test_task_that_ttl_has_removed_is_gone_and_its_id_free(flow, storage, ministack, table, all_items):
    flow.execute(CODE, id="task-1", ttl=0.1)
    deadline = time.monotonic() + 20
    while len(items := all_items()) > 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # The code outlives its task by a day.
    assert items[0]["sk"]["S"].startswith("code#")
    assert int(items[0]["expires_at"]["N"]) > time.time() + 80_000
    with pytest.raises(TaskNotFoundError):
        flow.resume("task-1", fetch_response="one")
    assert storage.load_code("task-1") is None
    flow.execute(CODE + "; 0", id="task-1")
    assert storage.load_code("task-1") == CODE + "; 0"


@pytest.mark.parametrize("retain", [None, 3600])
def test_task_that_ttl_removes_during_a_hop_does_not_come_back(flow, ministack, table, all_items, retain):
    _to_the_last_pause(flow, retain=retain)
    stored = flow.get_task("task-1")
    key = {"pk": {"S": "task-1"}, "sk": {"S": "task"}}

    class Swept(DynamoDBStorage):
        def load(self, task_id):
            task = super().load(task_id)
            ministack.client("dynamodb").delete_item(TableName=table, Key=key)
            return task

    swept = create_flow(Swept(table, region=REGION, endpoint=ministack.url))
    with pytest.raises(TaskConflictError) as caught:
        swept.resume(stored.id, fetch_response="two")
    assert problem_of(caught.value).status == 409
    assert {item["sk"]["S"] for item in all_items()}.isdisjoint({"task"})


def test_code_without_its_task_is_nothing_and_expires(faulty, flow, storage, proxy, all_items):
    """As a process leaves it that dies after the first of the two writes of a creation."""
    proxy.inject("PutItem", PASS)
    proxy.inject("PutItem", faults.DROP_REQUEST, times=ATTEMPTS)
    with pytest.raises(OutcomeUnknownError):
        faulty.execute(CODE + "; 'first attempt'", id="task-1")
    (orphan,) = all_items()
    assert "expires_at" in orphan
    assert storage.load("task-1") is None
    assert storage.load_code("task-1") is None
    assert flow.list_tasks().tasks == ()
    flow.execute(CODE, id="task-1")
    assert storage.load_code("task-1") == CODE
    _ = flow.resume("task-1", fetch_response="one")
    assert flow.resume("task-1", fetch_response="two").result == ["one", "two"]


def test_task_whose_code_is_gone_goes_on(flow, storage, ministack, table, all_items):
    flow.execute(CODE, id="task-1")
    (code,) = (item for item in all_items() if item["sk"]["S"] != "task")
    ministack.client("dynamodb").delete_item(TableName=table, Key={"pk": code["pk"], "sk": code["sk"]})
    with pytest.raises(StorageError):
        storage.load_code("task-1")
    flow.resume("task-1", fetch_response="one")
    assert flow.resume("task-1", fetch_response="two").result == ["one", "two"]


# --- Through HTTP ---


def call(app, method, path, body=None, **headers):
    async def send():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            return await client.request(method, path, json=body, headers=headers)

    return asyncio.run(send())


@pytest.mark.parametrize(
    ("told", "status", "slug"),
    [
        ([("UpdateItem", refuse("ThrottlingException"), ATTEMPTS)], 503, "try-again"),
        ([("UpdateItem", faults.HANG, ATTEMPTS)], 503, "try-again"),
        ([("UpdateItem", faults.DROP_ANSWER, 1)], 200, None),
        ([("UpdateItem", faults.HANG_AFTERWARDS, ATTEMPTS)], 200, None),
        (
            [("UpdateItem", faults.DROP_ANSWER, ATTEMPTS), ("GetItem", PASS, 1), ("GetItem", faults.HANG, ALWAYS)],
            503,
            "outcome-unknown",
        ),
        ([("UpdateItem", refuse("AccessDeniedException"), 1)], 500, "storage-failed"),
        ([("GetItem", refuse("ProvisionedThroughputExceededException"), ATTEMPTS)], 503, "try-again"),
    ],
)
@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "key-1"}, {"If-Match": '"1"'}], ids=["", "key", "match"])
def test_callers_of_the_api_are_told_and_may_repeat(flow, faulty, proxy, told, status, slug, headers):  # noqa: PLR0917
    app = create_app(faulty)
    created = call(app, "POST", "/tasks", {"code": CODE, "id": "task-1"})
    assert created.status_code == 201
    for operation, fault, times in told:
        proxy.inject(operation, fault, times)
    body = {"fetchResponse": "one", "revision": 1}
    response = call(app, "POST", "/tasks/task-1/resume", body, **headers)
    assert response.status_code == status
    if slug is not None:
        problem = response.json()
        assert response.headers["content-type"] == "application/problem+json"
        assert problem["type"].endswith(f":{slug}")
        # Nothing of the installation gets out.
        assert faulty._storage._table not in response.text
        assert proxy.url not in response.text
        assert ("retry-after" in response.headers) == (status == 503)
    proxy.clear()
    repeated = call(app, "POST", "/tasks/task-1/resume", body, **headers)
    assert repeated.status_code == 200
    assert repeated.json()["revision"] == 2
    assert repeated.json()["fetchRequest"]["url"] == "http://a/after%20one"
    assert flow.resume("task-1", fetch_response="two").result == ["one", "two"]


def test_creation_by_key_is_repeated_until_it_is_known_and_makes_one_task(flow, faulty, proxy):
    app = create_app(faulty)
    proxy.inject("PutItem", PASS)
    proxy.inject("PutItem", faults.DROP_ANSWER, times=ATTEMPTS)
    proxy.inject("GetItem", PASS)
    proxy.inject("GetItem", faults.DROP_REQUEST, times=ATTEMPTS)
    headers = {"Idempotency-Key": "create-1"}
    response = call(app, "POST", "/tasks", {"code": CODE}, **headers)
    assert (response.status_code, response.json()["type"].rpartition(":")[2]) == (503, "outcome-unknown")
    again = [call(app, "POST", "/tasks", {"code": CODE}, **headers) for _ in range(2)]
    assert [each.status_code for each in again] == [201, 201]
    assert again[0].json() == again[1].json()
    assert [task.id for task in flow.list_tasks().tasks] == [again[0].json()["id"]]


@pytest.mark.parametrize("operation", ["GetObject", "PutObject"])
@pytest.mark.parametrize(("code", "status"), [("AccessDenied", 500), ("SlowDown", 503)])
def test_bucket_that_refuses_is_told_to_callers_of_the_api(  # noqa: PLR0917
    flow, faulty, proxy, noise, operation, code, status
):
    large(flow, noise)
    proxy.inject(operation, refuse(code), times=ALWAYS)
    response = call(create_app(faulty), "POST", "/tasks/task-1/resume", {"fetchResponse": "answer"})
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert seen(flow.get_task("task-1"))[0] == 2


def test_statuses_of_a_large_task_that_is_lost(flow, ministack, bucket, noise, all_objects):
    large(flow, noise)
    ministack.client("s3").delete_object(Bucket=bucket, Key=all_objects()[0])
    app = create_app(flow)
    assert call(app, "GET", "/tasks/task-1").status_code == 500
    assert call(app, "POST", "/tasks/task-1/resume", {"fetchResponse": 1}).status_code == 500
    assert call(app, "GET", "/tasks").status_code == 200
    assert call(app, "DELETE", "/tasks/task-1").status_code == 204


def test_errors_of_aws_never_leave_the_storage(flow, faulty, proxy, noise):
    """Whatever each operation answers, what is raised is one of our errors."""
    large(flow, noise)
    for operation in ("GetItem", "UpdateItem", "PutItem", "GetObject", "PutObject", "Query", "BatchGetItem"):
        for fault in (refuse("SomethingNew"), refuse("SomethingNew", 418), refuse("SomethingNew", 503)):
            proxy.inject(operation, fault, times=ALWAYS)
            for attempt in (
                lambda: faulty.resume("task-1", fetch_response="answer"),
                lambda: faulty.execute(CODE),
                faulty.list_tasks,
                lambda: faulty.delete_task("task-1", revision=2),
            ):
                try:
                    attempt()
                except SequentialError:
                    pass
                except ClientError as error:
                    pytest.fail(f"{operation}: {error}")
            proxy.clear()
