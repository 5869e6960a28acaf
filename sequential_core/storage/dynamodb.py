"""Tasks in one DynamoDB table, with what outgrows an item in S3.

*Items.* A task is two items under its id (`pk`). `sk = "task"` holds what a hop changes: document, state, revision and
times. The code is another item, written once: a hop's cost does not grow with it. Its sort key is its own in each
attempt to create a task, so that two attempts that race never mix task and code. It is written first; without its task
it is nothing, and expires.

*One winner.* Every change is one conditional write of the task's item, and carries a random `writer`. So a
call whose outcome is not known (no answer, or an error after a retry) reads the item and sees whether the write was
its own. If it was not, it may still be under way: so it is fenced off, by another `writer` in the place of the one that
its condition names. For the same reasons a task is deleted by a write: what is left is a tombstone, an item with
no revision that the table's TTL removes.

*Expiry.* `expires` has the exact instant in microseconds since 1970, and every call looks at it. `expires_at` has it in
seconds, rounded up, for the TTL of the table, which deletes some time later, and for nothing. The code's item
expires a day after its task would, and is renewed at most once a day.

*List.* The index `by-status` has the keys of paused, completed and failed tasks, each in eight parts so that no one
partition takes all writes. A hop from pause to pause does not touch it.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from sequential_core.errors import (
    OutcomeUnknownError,
    SequentialError,
    StorageBusyError,
    StorageError,
    StorageFormatError,
    StorageFullError,
    TaskConflictError,
    TaskExistsError,
    TaskNotFoundError,
)
from sequential_core.model import Status, Task
from sequential_core.storage import aws, items
from sequential_core.storage.base import Clock, RevisionedStorage, TaskPage, check_limit, lost, system_clock
from sequential_core.storage.document import decode_cursor, encode_cursor, microseconds
from sequential_core.storage.items import Item, Note
from sequential_core.storage.objects import Bucket

#: DynamoDB allows 400 KB; the rest is room for what counts beside names and values.
ITEM_BYTES = 390 * 1024

# A deletion whose answer is lost looks for its tombstone, which must not have been removed by then.
_TOMBSTONE_SECONDS = 60 * 60

# BatchGetItem takes so many keys.
_BATCH = 100

# A task may come and go between two looks at it; this often is not chance.
_ATTEMPTS = 5

_ALIVE = "attribute_exists(revision) AND (attribute_not_exists(expires) OR expires > :now)"
_FREE = "attribute_not_exists(revision) OR expires <= :now"
_EXPECTED = f"revision = :revision AND created_at = :created_at AND {_ALIVE}"
_OVER = " AND writer = :before"

_T = TypeVar("_T")

# A task without its state.
_LISTED = "pk, revision, created_at, expires, age, document, document_object"


class DynamoDBStorage(RevisionedStorage):
    """See `RevisionedStorage`. A list may show a change some moments late, since the index follows the table.

    Args:
        table: its name; `template.yaml` says what it must be like.
        bucket: for what outgrows an item; None: such a task is refused with StorageFullError.
        region: None: the environment's.
        endpoint: a URL in place of AWS's own, for both services.
        clock: says what time it is, for expiry.
        item_bytes: larger items go to the bucket.
        read_seconds: how long an attempt of a call waits for an answer.
        attempts: of a call.

    Raises:
        StorageError: there is no region, or the endpoint is not a URL.
    """

    def __init__(
        self,
        table: str,
        *,
        bucket: str | None = None,
        region: str | None = None,
        endpoint: str | None = None,
        clock: Clock = system_clock,
        item_bytes: int = ITEM_BYTES,
        read_seconds: float = aws.READ_SECONDS,
        attempts: int = aws.ATTEMPTS,
    ) -> None:
        self._table = table
        self._options: dict[str, Any] = {
            "region": region,
            "endpoint": endpoint,
            "attempts": attempts,
            "read_seconds": read_seconds,
        }
        self._bucket = None if bucket is None else Bucket(bucket, region=region, endpoint=endpoint, attempts=attempts)
        self._clock = clock
        self._item_bytes = item_bytes
        # What is wrong with the configuration is to be known at once; and the first call need not wait for the client.
        _ = self._client

    def save(self, task: Task, *, expected_revision: int | None = None) -> Note | None:
        if expected_revision:
            return self._replace(task, expected_revision)
        if expected_revision == 0:
            return self._create(task)
        self._keep(task)
        return None

    def load(self, task_id: str) -> Task | None:
        return self._read(task_id, self._task)

    def load_code(self, task_id: str) -> str | None:
        return self._read(task_id, self._code)

    def delete(self, task_id: str, *, expected: Task | None = None) -> None:
        if expected is not None:
            self._end(expected)
            return
        for _ in range(_ATTEMPTS):
            task = self._read(task_id, self._listed)
            if task is None:
                raise TaskNotFoundError(task_id)
            try:
                self._end(task)
            except TaskConflictError:
                continue
            # The code of a task that ends by itself is left to the TTL, since a deletion is paid for by size.
            self._delete_code(task_id, task.storage_note.code)
            return
        raise StorageBusyError("the task changes faster than it can be deleted")

    def list(self, *, status: Status | None = None, limit: int = 100, cursor: str | None = None) -> TaskPage:
        before = None if cursor is None else items.age(*decode_cursor(cursor))
        limit = check_limit(limit)
        parts = [
            self._index_entries(f"{each.value}#{part}", before, page=max(10, 2 * limit // items.PARTS))
            for each in (Status if status is None else (status,))
            for part in range(items.PARTS)
        ]
        # A task whose status has just changed may be in the index twice, in places side by side.
        entries = (entry for entry, _ in itertools.groupby(heapq.merge(*parts, reverse=True)))
        tasks: tuple[Task, ...] = ()
        while len(tasks) <= limit and (batch := tuple(itertools.islice(entries, min(_BATCH, limit + 1)))):
            tasks += tuple(task for task in self._listed_tasks(batch) if status in (None, task.status))
        if len(tasks) <= limit:
            return TaskPage(tasks, None)
        last = tasks[limit - 1]
        return TaskPage(tasks[:limit], encode_cursor(microseconds(last.created_at), last.id))

    # --- Writing ---

    @property
    def _client(self) -> Any:
        return aws.client("dynamodb", **self._options)

    def _create(self, task: Task) -> Note | None:
        item = self._item(task)
        if task.code is not None:
            item |= self._put_code(task, task.code)
        in_the_way = self._write(
            task.id,
            item["writer"]["B"],
            lambda client: client.put_item(
                TableName=self._table,
                Item={**items.key(task.id, items.TASK), **item},
                ConditionExpression=_FREE,
                ExpressionAttributeValues={":now": items.number(microseconds(self._clock()))},
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            ),
        )
        if in_the_way is not None:
            if "code" in item:
                if in_the_way.get("code") == item["code"]:
                    return None  # it was made, and has gone on since
                self._delete_code(task.id, item["code"]["S"])
            raise TaskExistsError(task.id)
        return Note.of(item)

    def _replace(self, task: Task, expected_revision: int) -> Note | None:
        item, note = self._item(task), _note(task)
        if note is not None:
            item |= self._renewed_code(task, note)
        in_the_way = self._update(task.id, item, *_as_expected(task, expected_revision), note)
        if in_the_way is not None:
            raise self._lost(task.id, in_the_way, expected_revision)
        if note is None:
            return None
        self._delete_objects(tuple(set(note.objects) - set(items.objects(item))))
        return replace(Note.of(item), code=note.code)

    def _keep(self, task: Task) -> None:
        for _ in range(_ATTEMPTS):
            item, note = self._item(task), _note(task)
            if note is not None:
                item |= self._renewed_code(task, note)
            if self._update(task.id, item, _ALIVE, {}, note=None) is None:
                return
            with contextlib.suppress(TaskExistsError):
                self._create(task)
                return
        raise StorageBusyError("the task is made and deleted all the time")

    def _end(self, task: Task) -> None:
        """Leaves a tombstone in the place of a task that was loaded."""
        writer, now, note = secrets.token_bytes(8), microseconds(self._clock()), _note(task)
        condition, values = _as_expected(task, task.revision)
        tombstone = {
            **items.key(task.id, items.TASK),
            "writer": {"B": writer},
            items.TTL_ATTRIBUTE: items.number(items.seconds(now) + _TOMBSTONE_SECONDS),
        }
        in_the_way = self._write(
            task.id,
            writer,
            lambda client: client.put_item(
                TableName=self._table,
                Item=tombstone,
                ConditionExpression=condition,
                ExpressionAttributeValues={**values, ":now": items.number(now)},
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            ),
            note,
        )
        if in_the_way is not None:
            raise self._lost(task.id, in_the_way, task.revision)
        if note is not None:
            self._delete_objects(note.objects)
            if note.code_until is None:
                self._delete_code(task.id, note.code)

    def _update(
        self, task_id: str, item: Item, condition: str, values: dict[str, Any], note: Note | None
    ) -> Item | None:
        """Puts the item in the place of the stored one, whose code it keeps; what is in the way, or None."""
        there = [name for name in items.CHANGING if name in item]
        # Without a note nothing is known of the code.
        gone = [name for name in items.CHANGING if name not in item and (note is not None or name != "code_until")]
        update = "SET " + ", ".join(f"#{name} = :new_{name}" for name in there)
        if gone:
            update += " REMOVE " + ", ".join(f"#{name}" for name in gone)
        return self._write(
            task_id,
            item["writer"]["B"],
            lambda client: client.update_item(
                TableName=self._table,
                Key=items.key(task_id, items.TASK),
                UpdateExpression=update,
                ConditionExpression=condition,
                ExpressionAttributeNames={f"#{name}": name for name in (*there, *gone)},
                ExpressionAttributeValues={
                    **{f":new_{name}": item[name] for name in there},
                    **values,
                    ":now": items.number(microseconds(self._clock())),
                },
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            ),
            note,
        )

    def _write(
        self, task_id: str, writer: bytes, call: Callable[[Any], dict[str, Any]], note: Note | None = None
    ) -> Item | None:
        """Makes a conditional write of a task's item, and finds out what became of it.

        Args:
            task_id: whose item.
            writer: what the write leaves in it.
            call: makes the write.
            note: of the item that the write's condition names.

        Returns:
            What is in the way (empty: nothing is there), or None if the write was made.

        Raises:
            StorageError, StorageBusyError: it was not made, and will not be.
            OutcomeUnknownError: that cannot be found out.
        """
        try:
            with aws.errors():
                try:
                    call(self._client)
                except ClientError as error:
                    found = _in_the_way(error)
                else:
                    return None
        except StorageBusyError:
            # An attempt may have been carried out, though no answer came; or be on its way still.
            fenced_off = False
            try:
                found = self._get(task_id, items.TASK) or {}
                if note is not None and items.is_of(found, note.writer):
                    fenced_off, found = self._fence_off(task_id, note)
            except (StorageError, StorageBusyError) as error:
                raise OutcomeUnknownError(task_id) from error
            if fenced_off:
                raise
            if note is None and not items.is_of(found, writer):
                raise OutcomeUnknownError(task_id) from None
        # What is in the way of the last attempt may be the one before.
        return None if items.is_of(found, writer) else found

    def _fence_off(self, task_id: str, note: Note) -> tuple[bool, Item]:
        """Lets a write that is still under way fail, by the writer that its condition names.

        Returns:
            Whether it is sure to fail; if not, what there is in the place of the item that it was to change.
        """
        with aws.errors():
            try:
                self._client.update_item(
                    TableName=self._table,
                    Key=items.key(task_id, items.TASK),
                    UpdateExpression="SET writer = :fence",
                    ConditionExpression="writer = :before",
                    ExpressionAttributeValues={
                        ":fence": {"B": secrets.token_bytes(8)},
                        ":before": {"B": note.writer},
                    },
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except ClientError as error:
                return False, _in_the_way(error)
        return True, {}

    def _lost(self, task_id: str, found: Item, expected_revision: int) -> SequentialError:
        """What a change raises that found another item in its place."""
        stored = _Stored(items.integer(found["revision"])) if self._is_alive(found) else None
        return lost(task_id, stored, expected_revision)

    def _item(self, task: Task) -> Item:
        """The item of a task, small enough for the table; what is not is in the bucket."""
        item = items.task_item(task)
        parts = [name for name in ("document", "state") if name in item]
        for name in sorted(parts, key=lambda name: items.value_size(item[name]), reverse=True):
            if items.item_size(task.id, item) > self._item_bytes:
                item[f"{name}_object"] = {"S": self._put_object(task, items.content(item.pop(name)))}
        return item

    def _put_object(self, task: Task, content: bytes) -> str:
        if self._bucket is None:
            raise StorageFullError(f"{len(content)} bytes do not fit an item of the table, and there is no bucket")
        return self._bucket.put(task, self._clock(), content)

    def _delete_objects(self, keys: tuple[str, ...]) -> None:
        if self._bucket is not None:
            self._bucket.delete(keys)

    # --- The code ---

    def _put_code(self, task: Task, code: str) -> Item:
        """Writes the item of the code; what the task's item has of it."""
        sort_key, until = f"code#{secrets.token_hex(8)}", items.code_until(task)
        item: Item = {"code": {"S": code}}
        noted: Item = {"code": {"S": sort_key}}
        if items.item_size(task.id, item) > ITEM_BYTES:  # far above the limit that a flow has
            raise StorageFullError("the code does not fit an item of the table")
        if until is not None:
            item[items.TTL_ATTRIBUTE] = noted["code_until"] = items.number(until)
        with aws.errors():
            self._client.put_item(TableName=self._table, Item={**items.key(task.id, sort_key), **item})
        return noted

    def _delete_code(self, task_id: str, sort_key: str | None) -> None:
        """Deletes the code of a task that is no more. What fails is left to the TTL: nobody finds that code."""
        if sort_key is not None:
            with contextlib.suppress(StorageError, StorageBusyError), aws.errors():
                self._client.delete_item(TableName=self._table, Key=items.key(task_id, sort_key))

    def _renewed_code(self, task: Task, note: Note) -> Item:
        """Lets the code outlive the task; what the task's item has of it."""
        if note.code is None:
            return {}
        until = items.code_until(task)
        if note.code_until is not None and (until is None or until - items.CODE_MARGIN_SECONDS > note.code_until):
            change = "REMOVE expires_at" if until is None else "SET expires_at = :until"
            condition = "attribute_exists(pk)" if until is None else "expires_at < :until"
            values = {} if until is None else {"ExpressionAttributeValues": {":until": items.number(until)}}
            with aws.errors():
                try:
                    self._client.update_item(
                        TableName=self._table,
                        Key=items.key(task.id, note.code),
                        UpdateExpression=change,
                        ConditionExpression=condition,
                        **values,
                    )
                except ClientError as error:
                    # Another call has renewed it for longer; or it went with its task, as the save will find out.
                    if aws.error_code(error) != "ConditionalCheckFailedException":
                        raise
        else:
            until = note.code_until
        return {} if until is None else {"code_until": items.number(until)}

    # --- Reading ---

    def _get(self, task_id: str, sort_key: str) -> Item | None:
        with aws.errors():
            key = items.key(task_id, sort_key)
            answer = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        found: Item | None = answer.get("Item")
        return found

    def _read(self, task_id: str, read: Callable[[Item], _T]) -> _T | None:
        """Reads something of a task, again if the task goes on meanwhile and takes with it what is needed."""
        writer = None
        for _ in range(_ATTEMPTS):
            item = self._get(task_id, items.TASK)
            if item is None or not self._is_alive(item):
                return None
            try:
                return read(item)
            except _MissingError:
                if item["writer"] == writer:
                    raise StorageError("a part of the task is missing, or the bucket refuses it") from None
                writer = item["writer"]
            except (KeyError, ValueError) as error:
                raise StorageFormatError("it holds an item that this version cannot read") from error
        raise StorageBusyError("the task changes faster than it can be read")

    def _listed(self, item: Item) -> Task:
        return items.task_of(item, self._part(item, "document"), None, Note.of(item))

    def _task(self, item: Item) -> Task:
        state = self._part(item, "state") if "state" in item or "state_object" in item else None
        return items.task_of(item, self._part(item, "document"), state, Note.of(item))

    def _code(self, item: Item) -> str | None:
        if "code" not in item:
            return None
        found = self._get(item["pk"]["S"], item["code"]["S"])
        if found is None:
            raise _MissingError
        return str(found["code"]["S"])

    def _part(self, item: Item, name: str) -> bytes:
        """The content of an attribute, or of the object that stands for it."""
        if f"{name}_object" not in item:
            return items.content(item[name])
        content = None if self._bucket is None else self._bucket.get(item[f"{name}_object"]["S"])
        if content is None:
            raise _MissingError
        return content

    def _is_alive(self, item: Item) -> bool:
        if "expires" in item and items.integer(item["expires"]) <= microseconds(self._clock()):
            return False
        return "revision" in item

    # --- The list ---

    def _index_entries(self, listed: str, before: bytes | None, *, page: int) -> Iterator[tuple[bytes, str]]:
        """Places and ids of the tasks of one part of the index, newest first."""
        condition = "listed = :listed"
        values: dict[str, Any] = {":listed": {"S": listed}}
        if before is not None:
            condition += " AND age < :before"
            values[":before"] = {"B": before}
        start: dict[str, Any] = {}
        while True:
            with aws.errors():
                answer = self._client.query(
                    TableName=self._table,
                    IndexName=items.INDEX,
                    KeyConditionExpression=condition,
                    ExpressionAttributeValues=values,
                    ScanIndexForward=False,
                    Limit=page,
                    **start,
                )
            for entry in answer["Items"]:
                yield items.content(entry["age"]), entry["pk"]["S"]
            if "LastEvaluatedKey" not in answer:
                return
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def _listed_tasks(self, entries: tuple[tuple[bytes, str], ...]) -> Iterator[Task]:
        """The tasks of index entries, in their order, but for those that have gone since."""
        found: dict[str, Item] = {}
        wanted: dict[str, Any] = {
            self._table: {
                "Keys": [items.key(task_id, items.TASK) for _, task_id in entries],
                "ConsistentRead": True,
                "ProjectionExpression": _LISTED,
            }
        }
        while wanted:
            with aws.errors():
                answer = self._client.batch_get_item(RequestItems=wanted)
            answered = answer["Responses"].get(self._table, [])
            wanted = answer.get("UnprocessedKeys")
            if wanted and not answered:
                raise StorageBusyError("BatchGetItem leaves all keys unprocessed")
            found |= {item["pk"]["S"]: item for item in answered}
        for position, task_id in entries:
            item = found.get(task_id, {})
            if self._is_alive(item) and items.content(item["age"]) == position:
                with contextlib.suppress(_MissingError):
                    yield items.task_of(item, self._part(item, "document"), None)


def _in_the_way(error: ClientError) -> Item:
    """The item on which a condition failed; empty if there is none.

    Raises:
        ClientError: it is another error.
    """
    if aws.error_code(error) != "ConditionalCheckFailedException":
        raise error
    response: Any = error.response
    found: Item = response.get("Item", {})
    return found


def _as_expected(task: Task, revision: int) -> tuple[str, dict[str, Any]]:
    """The condition that the stored task is the one that was loaded, and its values."""
    condition = _EXPECTED
    values: dict[str, Any] = {
        ":revision": items.number(revision),
        ":created_at": items.number(microseconds(task.created_at)),
    }
    if (note := _note(task)) is not None:
        # So that a write that is given up can be fenced off.
        condition += _OVER
        values[":before"] = {"B": note.writer}
    return condition, values


def _note(task: Task) -> Note | None:
    return task.storage_note if isinstance(task.storage_note, Note) else None


class _MissingError(Exception):
    """What an item points to is not there."""


@dataclass(frozen=True, slots=True)
class _Stored:
    revision: int
