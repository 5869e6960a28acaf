"""What a program waits for, what answers it, and their JSON form; see `model` for how names are written."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sequential_core.checks import from_rfc3339, to_rfc3339


class RequestKind(StrEnum):
    """What a program waits for."""

    FETCH = "fetch"
    TOOL = "tool"
    EVENT = "event"
    TIMER = "timer"


#: What `body_encoding` says of a body that is bytes.
BASE64 = "base64"


@dataclass(frozen=True, slots=True)
class PendingRequest:
    """A call of `fetch` that waits for its answer.

    Attributes:
        id: counts the pending requests of the task, whichever their kind, from 1.
        url, method, headers, body: what to send; header names are in lower case, body is text, base64 or None.
        line, column: where the code called it; None if unknown. Not part of the JSON form.
        body_encoding: "base64" if the body is bytes in base64, None if it is text.
        redirect: what to do with a redirect: "follow", "error" or "manual" (give it as the response).
    """

    id: int
    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    line: int | None = None
    column: int | None = None
    body_encoding: str | None = None
    redirect: str = "follow"

    @property
    def kind(self) -> RequestKind:
        return RequestKind.FETCH

    @property
    def label(self) -> str:
        """What it waits for, in a line for people."""
        return f"{self.method} {self.url}"

    @property
    def content(self) -> bytes | None:
        """The body as the bytes to send; None if there is none."""
        if self.body is None:
            return None
        return base64.b64decode(self.body) if self.body_encoding == BASE64 else self.body.encode()

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "kind": self.kind.value,
            "url": self.url,
            "method": self.method,
            "headers": dict(self.headers),
            "body": self.body,
            "bodyEncoding": self.body_encoding,
            "redirect": self.redirect,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PendingRequest:
        return cls(
            id=data["id"],
            url=data["url"],
            method=data["method"],
            headers=data["headers"],
            body=data["body"],
            # Tasks that an earlier version stored have neither.
            body_encoding=data.get("bodyEncoding"),
            redirect=data.get("redirect", "follow"),
        )


@dataclass(frozen=True, slots=True)
class PendingTool:
    """A call of `callTool` that waits for what the tool gives.

    Attributes:
        id: counts the pending requests of the task, whichever their kind, from 1.
        name: of the tool: 1 to 128 characters from `A-Za-z0-9_.:-`.
        args: any JSON value.
        line, column: where the code called it; None if unknown. Not part of the JSON form.
    """

    id: int
    name: str
    args: Any
    line: int | None = None
    column: int | None = None

    @property
    def kind(self) -> RequestKind:
        return RequestKind.TOOL

    @property
    def label(self) -> str:
        """What it waits for, in a line for people."""
        return f"tool {self.name}"

    def to_dict(self) -> dict[str, Any]:
        return {"id": self.id, "kind": self.kind.value, "name": self.name, "args": self.args}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PendingTool:
        return cls(data["id"], data["name"], data["args"])


@dataclass(frozen=True, slots=True)
class PendingEvent:
    """A call of `waitForEvent` that waits for the event.

    Attributes:
        id: counts the pending requests of the task, whichever their kind, from 1.
        name: of the event: 1 to 128 characters from `A-Za-z0-9_.:-`. Several may wait for the same one.
        line, column: where the code called it; None if unknown. Not part of the JSON form.
    """

    id: int
    name: str
    line: int | None = None
    column: int | None = None

    @property
    def kind(self) -> RequestKind:
        return RequestKind.EVENT

    @property
    def label(self) -> str:
        """What it waits for, in a line for people."""
        return f"event {self.name}"

    def to_dict(self) -> dict[str, Any]:
        return {"id": self.id, "kind": self.kind.value, "name": self.name}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PendingEvent:
        return cls(data["id"], data["name"])


@dataclass(frozen=True, slots=True)
class KeptEvent:
    """An event that came before the code waits for it.

    Attributes:
        name: of the event.
        value: any JSON value.
    """

    name: str
    value: Any

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "value": self.value}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> KeptEvent:
        return cls(data["name"], data["value"])


#: What an answer settles.
Pending = PendingRequest | PendingTool | PendingEvent


@dataclass(frozen=True, slots=True)
class PendingTimer:
    """A timer that waits: `setTimeout`, `setInterval`, `sleep`, `AbortSignal.timeout`, or the timeout of an event.

    Attributes:
        id: what `setTimeout` returned.
        due_at: when its callback is to be called: at the first hop from then on.
    """

    id: int
    due_at: datetime

    @property
    def kind(self) -> RequestKind:
        return RequestKind.TIMER

    def to_dict(self) -> dict[str, Any]:
        return {"id": self.id, "kind": self.kind.value, "dueAt": to_rfc3339(self.due_at)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PendingTimer:
        return cls(data["id"], from_rfc3339(data["dueAt"]))


# --- Answers --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ValueAnswer:
    """A JSON value, delivered as it is."""

    value: Any


@dataclass(frozen=True, slots=True)
class ResponseAnswer:
    """A response, delivered as a standard `Response`.

    Attributes:
        headers: a value may be a list, as that of Set-Cookie has to be if there are several.
        body: text, bytes in base64, or None.
        body_encoding: "base64" if the body is that, None if it is text.
    """

    status: int = 200
    status_text: str = ""
    headers: Mapping[str, str | list[str]] = field(default_factory=dict)
    body: str | None = None
    url: str = ""
    redirected: bool = False
    body_encoding: str | None = None


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """A failed fetch or tool: the promise rejects with this message, in a `TypeError` or, of a tool, an `Error`."""

    message: str


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Time has passed, and no more: the timers that are due run."""


Answer = ValueAnswer | ResponseAnswer | ErrorAnswer


@dataclass(frozen=True, slots=True)
class TakenAnswer:
    """Remembers an answer that was taken, so that its repetition is known as one.

    Attributes:
        request_id: the request that it answered; 0 if the task was resumed for its timers, without an answer.
        revision: the pause that it was taken at.
        digest: of the answer, in hexadecimal.
        key: digest of the idempotency key that came with it, in hexadecimal; None if none came.
        is_event: whether that request was a wait for an event, which no answer means that does not name it.
    """

    request_id: int
    revision: int
    digest: str
    key: str | None = None
    is_event: bool = False

    def to_list(self) -> list[int | str]:
        """Such as [1, 1, digest], [1, 1, digest, key] or, of an event, [1, 1, digest, key or "", "event"]."""
        values: list[int | str] = [self.request_id, self.revision, self.digest]
        if self.is_event:
            return [*values, self.key or "", RequestKind.EVENT.value]
        return values if self.key is None else [*values, self.key]

    @classmethod
    def from_list(cls, values: Sequence[Any]) -> TakenAnswer:
        request_id, revision, digest, *more = values
        key, kind = [*more, None, None][: max(len(more), 2)]
        return cls(request_id, revision, digest, key or None, is_event=kind == RequestKind.EVENT)
