"""The path of a request, still percent-encoded, so that an id may have any character: `/tasks/a%2Fb/resume`.

An ASGI server gives the path as it came in `raw_path`, and decoded in `path`. Mangum gives only the decoded one: an
HTTP API of API Gateway decodes the path before anybody sees it. There the method and the end of a path tell what it
means: `POST /tasks/a/b/resume` resumes `a/b`, and `GET /tasks/a/resume` is the task `a/resume`. `POST
/tasks/a/events/cancel` sends an event, and cancels no task `a/events`; `DELETE /tasks/a/drive` takes `a` back, and
deletes no task `a/drive`.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from sequential_core.errors import InvalidTaskIdError
from sequential_core.model import check_event_name

_TASKS = "/tasks/"

# What follows the id, by the method. Of several ways to read a path it is the one with the shortest id.
_ENDS = {
    "POST": re.compile(r"/(?:events/[^/]+(?:/url)?|resume|cancel|drive)\Z"),
    "DELETE": re.compile(r"/drive\Z"),
}

_NOT_ENCODED = re.compile(r"%(?![0-9A-Fa-f]{2})")


def encoded_path(scope: Any) -> str:
    """The path of an ASGI scope, percent-encoded, with the scope's `root_path` before it."""
    raw: bytes | None = scope.get("raw_path")
    if raw is not None:
        return raw.decode("latin-1")
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    start = len(root) if path.startswith(root + _TASKS) else 0
    if not path.startswith(_TASKS, start):
        return path
    task_id, end = path[start + len(_TASKS) :], ""
    ends = _ENDS.get(scope["method"])
    if ends is not None and (found := ends.search(task_id)) is not None:
        task_id, end = task_id[: found.start()], quote(found[0], errors="replace")
    return f"{path[:start]}{_TASKS}{encode_id(task_id)}{end}"


def encode_id(task_id: str) -> str:
    """A task id as a segment of a path."""
    return quote(task_id, safe="", errors="replace")


def decode_id(segment: str) -> str:
    """The task id of a segment.

    Raises:
        InvalidTaskIdError: it is not UTF-8, percent-encoded.
    """
    text = _decoded(segment)
    if text is None:
        raise InvalidTaskIdError("in a path it must be UTF-8, percent-encoded")
    return text


def decode_name(segment: str) -> str:
    """The name of an event of a segment.

    Raises:
        InvalidRequestError: it is none.
    """
    return check_event_name(_decoded(segment))


def _decoded(segment: str) -> str | None:
    if _NOT_ENCODED.search(segment) is None:
        try:
            return unquote_to_bytes(segment.encode("latin-1")).decode()
        except ValueError:
            pass
    return None
