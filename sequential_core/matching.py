"""Which pending request an answer is for, and whether it was taken before.

A caller that does not hear back repeats its call. Then the answer must not be taken again, nor for another request:
a task remembers its latest answers (`Task.taken`), and here a repetition is told from a new answer.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace

from sequential_core.answers import check_answer_kind
from sequential_core.checks import check_idempotency_key
from sequential_core.errors import (
    IdempotencyKeyReusedError,
    InvalidAnswerError,
    StorageFormatError,
    TaskConflictError,
    TaskEndedError,
    TooManyEventsError,
    UnknownRequestError,
)
from sequential_core.limits import KIB
from sequential_core.model import Status, Task
from sequential_core.pending import Answer, KeptEvent, NoAnswer, Pending, RequestKind, TakenAnswer


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """What a caller of `resume` gave.

    Attributes:
        answer, digest: the answer, checked, and its digest.
        request_id: what it was said to be for; None: the oldest call of a fetch or a tool.
        revision: the pause that it was said to be for; None: whichever it is now.
        key: digest of the idempotency key, or None.
    """

    answer: Answer | NoAnswer
    digest: str
    request_id: int | None
    revision: int | None
    key: str | None

    @property
    def is_any_time(self) -> bool:
        """Whether the caller only asks for the timers that are due by now, at whichever pause that is."""
        return isinstance(self.answer, NoAnswer) and self.revision is None and self.key is None


# So many of the latest answers are remembered, for the caller who repeats one: 30 bytes each.
_REMEMBERED_ANSWERS = 32


def with_taken(task: Task, taken: TakenAnswer) -> Task:
    """The task with one answer more that it remembers."""
    return replace(task, taken=(*task.taken, taken)[-_REMEMBERED_ANSWERS:])


def key_digest(key: str) -> str:
    """Eight bytes, in hexadecimal, that tell a key from the few others of its task."""
    return hashlib.sha256(check_idempotency_key(key).encode()).hexdigest()[:16]


def was_taken(task: Task, given: GivenAnswer) -> bool:
    """Whether this very answer was taken before, so that the call is the repetition of an earlier one.

    Without a request id, only the key or the revision tells which request the caller meant: the oldest at that pause
    that was not a wait for an event.

    Raises:
        IdempotencyKeyReusedError: the key was given with another answer.
    """
    for taken in task.taken:
        same = taken.digest == given.digest and given.revision in (None, taken.revision)
        if given.key is not None and taken.key == given.key:
            if not same or given.request_id not in (None, taken.request_id):
                raise IdempotencyKeyReusedError(task.id)
            return True
        if not same:
            continue
        if given.request_id is not None and given.request_id == taken.request_id:
            return True
        if given.request_id is not None or given.revision is None or taken.is_event:
            continue
        if not _older_was_pending(task, taken):
            return True
    return False


def _older_was_pending(task: Task, taken: TakenAnswer) -> bool:
    """Whether an older request that needs no naming was pending too when that answer was taken."""
    pending = (request.id for request in _unnamed(task))
    later = (each.request_id for each in task.taken if each.revision > taken.revision and not each.is_event)
    return any(request_id < taken.request_id for request_id in (*pending, *later))


def _unnamed(task: Task) -> list[Pending]:
    """The pending requests of which the oldest is answered by whoever names none: events come when they come."""
    return [request for request in task.pending_requests if request.kind is not RequestKind.EVENT]


def choose_request(task: Task, given: GivenAnswer) -> Pending | None:
    """The pending request that an answer is for; None if there is no answer, and so only timers are to run.

    Raises:
        TaskEndedError, TaskConflictError, UnknownRequestError: see `SequentialFlow.resume`.
        InvalidAnswerError: there is no answer, and the task has no timer; or the request takes no such answer.
    """
    request_id, revision = given.request_id, given.revision
    if task.status is not Status.PAUSED:
        raise TaskEndedError(task.id, task.status)
    if revision is not None and revision != task.revision:
        raise TaskConflictError(task.id, f"it is at revision {task.revision}, not {revision}")
    pending, paused = {request.id: request for request in task.pending_requests}, task.paused_state
    if paused is None or not (pending or paused.timers):
        raise StorageFormatError(f"task {task.id!r} is paused and waits for nothing")
    if isinstance(given.answer, NoAnswer):
        if request_id is not None or not paused.timers:
            raise InvalidAnswerError("one of fetchResponse, response and error is needed, not none")
        return None
    chosen = next(iter(_unnamed(task)), None) if request_id is None else pending.get(request_id)
    if chosen is None:
        if request_id is not None and request_id <= paused.requests:
            raise TaskConflictError(task.id, f"request {request_id} is no longer pending")
        raise UnknownRequestError(task.id, request_id, tuple(pending))
    check_answer_kind(given.answer, chosen)
    return chosen


# What a task keeps of events that it does not wait for yet.
_KEPT_EVENTS = 100
_KEPT_EVENT_BYTES = 256 * KIB


def check_kept_events(task_id: str, kept: tuple[KeptEvent, ...]) -> None:
    """Lets pass what a task may keep.

    Raises:
        TooManyEventsError: they are too many, or too large together.
    """
    size = sum(len(json.dumps(event.to_dict())) for event in kept)
    if len(kept) > _KEPT_EVENTS or size > _KEPT_EVENT_BYTES:
        raise TooManyEventsError(task_id, _KEPT_EVENTS, _KEPT_EVENT_BYTES)
