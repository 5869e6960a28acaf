"""A task as an item of a DynamoDB table: attributes, sizes and keys, without a call.

pk, sk             the task's id; "task", or "code#..." for the item of the code
revision           counts the saves; an item without it is a tombstone
created_at         microseconds since 1970, as all instants but for the two below
expires            from then on the task does not exist; absent: it does not expire
expires_at         the same in seconds, rounded up, for the TTL of the table
document, state    see `packed`; or `document_object` and `state_object`, keys in the bucket. An earlier version wrote
                   the JSON of `document`, a string, which is read as before
code, code_until   sort key of the item of the code, and when that expires, in seconds
writer             random, other in each write
listed, age        hash and range key of the index
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any

from sequential_core.errors import StorageFormatError
from sequential_core.model import Task
from sequential_core.storage import packed
from sequential_core.storage.document import from_document, from_microseconds, microseconds, to_fields

INDEX = "by-status"
INDEX_KEYS = ("listed", "age")
TTL_ATTRIBUTE = "expires_at"

TASK = "task"

#: The index has each status in so many parts, since one partition of DynamoDB takes 1,000 writes a second.
PARTS = 8

#: What a hop may change. `pk`, `sk` and `code` stay.
CHANGING = (
    "revision",
    "created_at",
    "expires",
    TTL_ATTRIBUTE,
    "document",
    "document_object",
    "state",
    "state_object",
    "code_until",
    "writer",
    *INDEX_KEYS,
)

OBJECTS = ("document_object", "state_object")

#: How much longer the code is kept than its task, so that it is seldom renewed.
CODE_MARGIN_SECONDS = 24 * 60 * 60

Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Note:
    """What `load` remembers of an item for the `save` that follows.

    Attributes:
        code: the sort key of the code's item; None if the task has none.
        code_until: when that expires, in seconds; None if it does not.
        objects: keys of the objects that the item points to.
        writer: of the item.
    """

    code: str | None
    code_until: int | None
    objects: tuple[str, ...]
    writer: bytes

    @classmethod
    def of(cls, item: Item) -> Note:
        code, until = item.get("code"), item.get("code_until")
        return cls(
            code=None if code is None else code["S"],
            code_until=None if until is None else integer(until),
            objects=objects(item),
            writer=content(item["writer"]),
        )


def task_item(task: Task) -> Item:
    """What is kept of a task, however large, without the keys and the code."""
    position = age(microseconds(task.created_at), task.id)
    beside = packed.Beside(task.id, task.revision, task.created_at, task.expires_at)
    item = {
        "revision": number(task.revision),
        "created_at": number(microseconds(task.created_at)),
        "document": {"B": packed.pack(to_fields(task), beside)},
        "writer": {"B": secrets.token_bytes(8)},
        "listed": {"S": f"{task.status.value}#{position[-1] % PARTS}"},
        "age": {"B": position},
    }
    if task.expires_at is not None:
        item["expires"] = number(microseconds(task.expires_at))
        item[TTL_ATTRIBUTE] = number(seconds(microseconds(task.expires_at)))
    if task.vm_state is not None:
        item["state"] = {"B": task.vm_state}
    return item


def task_of(item: Item, document: bytes, state: bytes | None, note: Note | None = None) -> Task:
    """The task of an item; document and state may come from objects that it points to.

    Raises:
        StorageFormatError: it is not one of ours.
    """
    if document.startswith(b"{"):  # JSON, as an earlier version wrote it
        return from_document(document, state, note)
    try:
        expires = None if "expires" not in item else from_microseconds(integer(item["expires"]))
        created = from_microseconds(integer(item["created_at"]))
    except OverflowError as error:
        raise StorageFormatError("it holds an instant that this version cannot read") from error
    beside = packed.Beside(item["pk"]["S"], integer(item["revision"]), created, expires)
    return from_document(packed.unpack(document, beside), state, note)


def key(task_id: str, sort_key: str) -> Item:
    """The key of an item in the table."""
    return {"pk": {"S": task_id}, "sk": {"S": sort_key}}


def objects(item: Item) -> tuple[str, ...]:
    """Keys of the objects that an item points to."""
    return tuple(item[name]["S"] for name in OBJECTS if name in item)


def number(value: int) -> dict[str, str]:
    return {"N": str(value)}


def integer(value: dict[str, str]) -> int:
    return int(value["N"])


def content(value: dict[str, Any]) -> bytes:
    """The bytes of a string or of a binary value."""
    return value["S"].encode() if "S" in value else bytes(value["B"])


def seconds(instant: int) -> int:
    """Microseconds since 1970 as seconds, rounded up: nothing is deleted before its time."""
    return -(-instant // 1_000_000)


def code_until(task: Task) -> int | None:
    """When the code of a task is to expire, in seconds since 1970; None: it is not."""
    if task.expires_at is None:
        return None
    return seconds(microseconds(task.expires_at)) + CODE_MARGIN_SECONDS


def age(created_at: int, task_id: str) -> bytes:
    """The place of a task in the index: by creation, and in some order among those of one instant."""
    instant = min(max(created_at + (1 << 63), 0), (1 << 64) - 1)
    return instant.to_bytes(8, "big") + hashlib.blake2b(task_id.encode(), digest_size=16).digest()


def is_of(item: Item, writer: bytes) -> bool:
    """Whether that writer wrote the item."""
    return "writer" in item and content(item["writer"]) == writer


def value_size(value: dict[str, Any]) -> int:
    """What DynamoDB counts for a value: its developer guide, "Item sizes and formats"."""
    ((kind, inner),) = value.items()
    if kind == "N":
        return 1 + (len(inner.lstrip("-")) + 1) // 2
    return len(inner.encode() if isinstance(inner, str) else inner)


def item_size(task_id: str, item: Item) -> int:
    """What DynamoDB counts for an item, be its keys in it or not: names and values."""
    whole = {**key(task_id, TASK), **item}
    return sum(len(name) + value_size(value) for name, value in whole.items())
