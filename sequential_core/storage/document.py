"""A task as our storages keep it: a JSON document, the state as bytes beside it, the code apart.

The code is written once, the state is never base64: a save costs what has changed.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sequential_core.errors import InvalidRequestError, StorageFormatError
from sequential_core.model import Task

_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def to_document(task: Task) -> str:
    """Everything but state and code, as JSON."""
    return json.dumps(task.to_dict(include_vm_state=False), separators=(",", ":"))


def from_document(document: str, state: bytes | None) -> Task:
    """The task of a document.

    Raises:
        StorageFormatError: it is not one of ours.
    """
    try:
        return replace(Task.from_dict(json.loads(document)), vm_state=state)
    except (ValueError, InvalidRequestError) as error:
        raise StorageFormatError("it holds a task that this version cannot read") from error


def microseconds(instant: datetime) -> int:
    """An instant as whole microseconds since 1970, exactly."""
    return (instant - _EPOCH) // timedelta(microseconds=1)


def encode_cursor(created_at: int, task_id: str) -> str:
    """A cursor behind a task, opaque to the caller."""
    return base64.urlsafe_b64encode(json.dumps([created_at, task_id]).encode()).decode()


def decode_cursor(cursor: str) -> tuple[int, str]:
    """The place of a cursor.

    Raises:
        InvalidRequestError: it is not one of ours.
    """
    try:
        parts: Any = json.loads(base64.urlsafe_b64decode(cursor))
        created_at, task_id = parts
    except (TypeError, ValueError, binascii.Error):
        parts = created_at = task_id = None
    if isinstance(created_at, bool) or not isinstance(created_at, int) or not isinstance(task_id, str):
        raise InvalidRequestError("cursor", "it is not a cursor of this storage")
    return created_at, task_id
