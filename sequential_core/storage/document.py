"""A task as our storages keep it: a JSON document, the state as bytes beside it, the code apart.

The code is written once, the state is never base64: a save costs what has changed.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sequential_core.errors import InvalidRequestError, StorageFormatError
from sequential_core.model import Task
from sequential_core.pending import Pending, PendingEvent, PendingRequest, PendingTool

_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


# The parts of a drive that drivers do not need.
_SHOWN = ("history", "log")
_MOST_SHOWN_BYTES = 1 << 20


def to_document(task: Task) -> str:
    """Everything but state and code, as JSON."""
    return json.dumps(to_fields(task), separators=(",", ":"))


def to_fields(task: Task) -> dict[str, Any]:
    """The same, not yet written."""
    document = task.to_dict(include_vm_state=False)
    del document["fetchRequest"], document["error"]  # the document says them elsewhere
    for name in ("toolCalls", "eventWaits", "keptEvents", "drive"):
        if not document[name]:
            del document[name]  # most tasks have none
    if document.get("drive") is not None:
        document["drive"] = _packed(document["drive"])
    document["positions"] = [[request.line, request.column] for request in _by_kind(task)]
    return document


def from_document(document: str | bytes | dict[str, Any], state: bytes | None, note: Any = None) -> Task:
    """The task of a document or of its fields; `note` is its `storage_note`.

    Raises:
        StorageFormatError: it is not one of ours.
    """
    try:
        data = document if isinstance(document, dict) else json.loads(document)
        if isinstance(data, dict) and data.get("drive") is not None:
            data = {**data, "drive": _unpacked(data["drive"])}
        task = Task.from_dict(data)
        placed = [
            replace(request, line=line, column=column)
            for request, (line, column) in zip(_by_kind(task), data["positions"], strict=True)
        ]
        return replace(
            task,
            vm_state=state,
            fetch_requests=tuple(each for each in placed if isinstance(each, PendingRequest)),
            tool_calls=tuple(each for each in placed if isinstance(each, PendingTool)),
            event_waits=tuple(each for each in placed if isinstance(each, PendingEvent)),
            storage_note=note,
        )
    except (KeyError, TypeError, ValueError, InvalidRequestError, zlib.error) as error:
        raise StorageFormatError("it holds a task that this version cannot read") from error


def _packed(drive: dict[str, Any]) -> dict[str, Any]:
    """The JSON form of a drive with what is there only to be looked at compressed: it is written at every hop.

    Fifty requests have 5 KB of JSON, and 0.5 KB when compressed.
    """
    shown = {name: drive[name] for name in _SHOWN if drive[name]}
    packed = {name: value for name, value in drive.items() if name not in _SHOWN}
    if shown:
        content = json.dumps(shown, separators=(",", ":")).encode("ascii")
        packed["shown"] = base64.b64encode(zlib.compress(content)).decode("ascii")
    return packed


def _unpacked(drive: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {name: [] for name in _SHOWN}
    if "shown" in drive:
        # Not more than a drive has: a document may come from elsewhere.
        content = zlib.decompressobj().decompress(base64.b64decode(drive["shown"]), _MOST_SHOWN_BYTES)
        shown |= json.loads(content)
    return {**drive, **shown}


def _by_kind(task: Task) -> tuple[Pending, ...]:
    """The pending requests in the order of their positions. Fetches come first: earlier versions had no others."""
    return (*task.fetch_requests, *task.tool_calls, *task.event_waits)


def microseconds(instant: datetime) -> int:
    """An instant as whole microseconds since 1970, exactly."""
    return (instant - _EPOCH) // timedelta(microseconds=1)


def from_microseconds(microseconds: int) -> datetime:
    """The instant that is so many microseconds after 1970.

    Raises:
        OverflowError: no datetime can say it.
    """
    return _EPOCH + timedelta(microseconds=microseconds)


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


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
    except (TypeError, ValueError, RecursionError, binascii.Error):
        parts = created_at = task_id = None
    whole = isinstance(created_at, int) and not isinstance(created_at, bool)
    if not whole or abs(created_at) >= 1 << 63 or not isinstance(task_id, str) or not _is_text(task_id):
        raise InvalidRequestError("cursor", "it is not a cursor of this storage")
    return created_at, task_id
