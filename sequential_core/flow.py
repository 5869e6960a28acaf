"""The flow: joins the engine and a storage into tasks that can be executed, resumed, read and deleted.

    SequentialFlow.execute(code)          # on the class: with the default storage
    create_flow(storage).execute(code)    # on an instance: with its own

Every change of a stored task is one conditional save, on the revision that was loaded. That is all that
exactly-once needs: a hop runs on a copy, and only the first to save it counts.
"""

from __future__ import annotations

import hashlib
import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

from sequential_core.answers import UNSET, answer_digest, check_answer, make_answer
from sequential_core.checks import MAX_ID_LENGTH, check_duration, check_idempotency_key, check_task_id
from sequential_core.errors import (
    CallerError,
    CodeSyntaxError,
    IdempotencyKeyReusedError,
    InvalidRequestError,
    StateCorruptedError,
    StorageFormatError,
    TaskConflictError,
    TaskExistsError,
    TaskNotFoundError,
)
from sequential_core.limits import Limits
from sequential_core.matching import GivenAnswer, choose_request, key_digest, was_taken
from sequential_core.model import (
    TRANSITIONS,
    Answer,
    Language,
    NoAnswer,
    PausedState,
    ResponseAnswer,
    Status,
    TakenAnswer,
    Task,
    check_language,
)
from sequential_core.storage.base import Clock, RevisionedStorage, Storage, TaskPage, system_clock
from sequential_core.storage.plain import PlainStorage
from sequential_core.storage.url import default_url, shared_storage
from sequential_core.vm import program as programs

DEFAULT_TTL = timedelta(hours=2)

#: A task that was executed or resumed with an idempotency key keeps its outcome for so long at least.
IDEMPOTENCY_WINDOW = timedelta(days=1)

# The name space of the ids that come of idempotency keys: the one of DNS names, and "idempotency.sequential".
_KEYS = uuid.UUID("d0131841-7b7d-5ef2-855a-a59e4d05a02d")

# So many of the latest answers are remembered, for the caller who repeats one: 30 bytes each.
_REMEMBERED_ANSWERS = 32

_P = ParamSpec("_P")
_R = TypeVar("_R")


class HopObserver(Protocol):
    """Is told of the hops of a flow, for logs and metrics. It must not raise."""

    def hop_ended(self, task: Task, seconds: float) -> None:
        """A hop took so long, with the save; `task` is how it left the task."""

    def conflicted(self, task_id: str) -> None:
        """An answer came too late: the pause that it was for is over."""


class _EitherWay(Generic[_P, _R]):
    """A method that can be called on the class too, where it works with the default storage."""

    def __init__(self, function: Callable[Concatenate[SequentialFlow, _P], _R]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, flow: SequentialFlow | None, owner: type[SequentialFlow]) -> Callable[_P, _R]:
        return MethodType(self._function, owner() if flow is None else flow)


class SequentialFlow:
    """Executes and resumes tasks.

    Args:
        storage: where tasks wait: a storage, a URL, or None for `default_storage`.
        limits: what each hop may use.
        ttl: how long a pause is kept, of tasks that do not say; a duration or seconds.
        retain: how long an outcome is, of tasks that do not say; None: not at all.
        observer: is told of every hop.
        clock: says what time it is, also in the programs.
        pause_everywhere: for tests: programs are cut before every job, and go on in a fresh machine; see
            `sequential_core.testing`.
    """

    #: The storage of calls that name none: a storage or a URL. None stands for SEQUENTIAL_STORAGE, or else a
    #: SQLite file in the user's data directory.
    default_storage: Storage | RevisionedStorage | str | None = None

    def __init__(
        self,
        storage: Storage | RevisionedStorage | str | None = None,
        *,
        limits: Limits | None = None,
        ttl: timedelta | float = DEFAULT_TTL,
        retain: timedelta | float | None = None,
        observer: HopObserver | None = None,
        clock: Clock = system_clock,
        pause_everywhere: bool = False,
    ) -> None:
        self._storage = storage
        self._limits = limits or Limits()
        self._ttl = check_duration("ttl", ttl)
        self._retain = None if retain is None else check_duration("retain", retain)
        self._observer = observer
        self._clock = clock
        self._pause_everywhere = pause_everywhere
        # The system's time reaches the guest without a detour through Python.
        self._guest_clock = None if clock is system_clock else clock

    @_EitherWay
    def execute(
        self,
        code: str | Mapping[str, Any],
        *,
        id: str | None = None,  # noqa: A002  # the field's name
        name: str | None = None,
        storage: Storage | RevisionedStorage | str | None = None,
        ttl: timedelta | float | None = None,
        retain: timedelta | float | None = None,
        idempotency_key: str | None = None,
        language: Language | str | None = None,
    ) -> Task:
        """Runs code until it needs an answer or ends. It is stored only if it pauses, or `retain` is given.

        Calling it again with the id and the code of a stored task runs nothing, and gives that task.

        Args:
            code: the code, or the whole request as one mapping with the JSON names.
            id: 1 to 256 characters, no control characters; made if None.
            name: a label, up to 256 characters.
            storage: in place of the flow's.
            ttl: how long each pause is kept; a duration or seconds. None: as the flow has it, or else two hours.
            retain: how long the outcome is kept. None: as the flow has it, or else not at all.
            idempotency_key: 1 to 255 visible ASCII characters. A call that repeats it, with the same code, gives
                the task as it now stands. The outcome is kept for a day at least. If `id` is None it comes of the key.
            language: what the code is written in: "javascript", which None stands for, or "typescript". The same code
                in another language is other code.

        Returns:
            The task: paused, completed or error.

        Raises:
            CodeError: the code does not parse, is too large, or is not text; or it is TypeScript that is more than
                JavaScript with types, or is too complex.
            TaskExistsError: the id is in use, for other code.
            IdempotencyKeyReusedError: the key is, for other code.
            InvalidRequestError: an argument is not of its kind.
            StorageError, RetryableError: the task could not be kept.
        """
        if isinstance(code, Mapping):
            if any(argument is not None for argument in (id, name, ttl, retain, idempotency_key, language)):
                raise InvalidRequestError("request", "give it as one mapping or as arguments, not as both")
            request = _request(code, required="code", known=_EXECUTE_FIELDS)
            return self.execute(storage=storage, **request)
        if idempotency_key is not None:
            check_idempotency_key(idempotency_key)
        made = uuid.uuid4() if idempotency_key is None else uuid.uuid5(_KEYS, idempotency_key)
        task_id = str(made) if id is None else check_task_id(id)
        if name is not None and not (isinstance(name, str) and len(name) <= MAX_ID_LENGTH):
            raise InvalidRequestError("name", f"it must be a string of at most {MAX_ID_LENGTH} characters")
        written_in = Language.JAVASCRIPT if language is None else check_language(language)
        keep = self._revisioned(storage)
        now = self._clock()
        task = Task(
            id=task_id,
            name=name,
            status=Status.PAUSED,
            revision=0,
            created_at=now,
            updated_at=now,
            expires_at=None,
            ttl=self._ttl if ttl is None else check_duration("ttl", ttl),
            retain=self._retain if retain is None else check_duration("retain", retain),
            language=written_in,
            code_sha256=hashlib.sha256(programs.encode_code(code, self._limits)).hexdigest(),
            code=code,
        )
        if idempotency_key is not None:
            task = _kept_for_the_window(task)
        reused = TaskExistsError if id is not None else IdempotencyKeyReusedError
        looked_up = id is not None or idempotency_key is not None
        if looked_up and (stored := keep.load(task_id)) is not None:
            return _same_task(stored, task, reused)
        began = time.perf_counter()
        task = self._after(task, self._start(code, written_in), previous=None)
        if task.expires_at is not None:
            try:
                keep.save(task, expected_revision=0)
            except TaskExistsError:
                # Somebody else was quicker, perhaps with the same code.
                if (stored := keep.load(task_id)) is None:
                    raise
                return _same_task(stored, task, reused)
        if self._observer is not None:
            self._observer.hop_ended(task, time.perf_counter() - began)
        return task

    @_EitherWay
    def resume(
        self,
        id: str | Mapping[str, Any],  # noqa: A002  # the field's name
        *,
        fetch_response: Any = UNSET,
        response: Mapping[str, Any] | ResponseAnswer | None = None,
        error: str | None = None,
        request_id: int | None = None,
        revision: int | None = None,
        storage: Storage | RevisionedStorage | str | None = None,
        idempotency_key: str | None = None,
    ) -> Task:
        """Answers one pending request and runs the task until it needs another answer, or ends.

        Without an answer only the timers that are due run. If none is, or the task has ended, nothing does, and it is
        given as it stands: its `paused_state.wake_at` says when to come back. Timers that are due run before an answer
        is delivered, too. They may abort its request; then the answer is taken, and comes to nothing.

        Of two calls that resume the same pause one wins. Repeating an answer that was taken (the same
        request, the same answer) runs nothing, and gives the task as it now stands.

        Args:
            id: the task, or the whole request as one mapping with the JSON names.
            fetch_response: any JSON value; the code gets it as it is.
            response: `{status, statusText, headers, body}`, or a `ResponseAnswer`; the code gets a `Response`.
            error: a message; the code's promise rejects with a `TypeError`.
            request_id: which pending request; the oldest if None.
            revision: the pause that the caller saw; None: whichever it is now.
            storage: in place of the flow's.
            idempotency_key: 1 to 255 visible ASCII characters. A call that repeats it, with the same answer, gives
                the task as it now stands, also when it has ended: the outcome is kept for a day at least. It is
                remembered among the latest 32 answers of the task.

        Returns:
            The task: paused, completed or error.

        Raises:
            TaskNotFoundError: there is no such task, or it has expired.
            TaskConflictError: the pause is over: another answer was taken, or the revision is another.
            UnknownRequestError: the task never made that request.
            IdempotencyKeyReusedError: the key came before, with another answer or for another request.
            InvalidAnswerError: no answer, though the task has no timer; several kinds of answer, or not JSON.
            StateError: the stored state cannot be resumed here; see its subclasses.
            StorageError, RetryableError: the task could not be loaded or kept.
        """
        if isinstance(id, Mapping):
            others = (response, error, request_id, revision, idempotency_key)
            if fetch_response is not UNSET or any(argument is not None for argument in others):
                raise InvalidRequestError("request", "give it as one mapping or as arguments, not as both")
            return self.resume(storage=storage, **_request(id, required="id", known=_RESUME_FIELDS))
        task_id = check_task_id(id)
        _check_number("requestId", request_id)
        _check_number("revision", revision)
        key = None if idempotency_key is None else key_digest(idempotency_key)
        answer = check_answer(make_answer(fetch_response, response, error), self._limits.answer_bytes)
        given = GivenAnswer(answer, answer_digest(answer), request_id, revision, key)
        keep = self._revisioned(storage)
        stored = keep.load(task_id)
        if stored is None:
            raise TaskNotFoundError(task_id)
        if was_taken(stored, given):
            return stored
        try:
            chosen = choose_request(stored, given)
            if chosen is None and self.seconds_to_wake(stored) != 0:
                return stored
            return self._hop(keep, stored, chosen, given)
        except TaskConflictError:
            # This very answer may have been taken: from a call that was quicker, or an attempt of this one.
            if (stored := keep.load(task_id)) is None or not (was_taken(stored, given) or given.is_any_time):
                if self._observer is not None:
                    self._observer.conflicted(task_id)
                raise
            return stored

    @_EitherWay
    def get_task(self, id: str, *, storage: Storage | RevisionedStorage | str | None = None) -> Task:  # noqa: A002
        """The stored task.

        Raises:
            TaskNotFoundError: there is none, it has ended without `retain`, or it has expired.
        """
        task = self._revisioned(storage).load(check_task_id(id))
        if task is None:
            raise TaskNotFoundError(id)
        return task

    @_EitherWay
    def delete_task(
        self,
        id: str,  # noqa: A002  # the field's name
        *,
        revision: int | None = None,
        storage: Storage | RevisionedStorage | str | None = None,
    ) -> None:
        """Forgets a task, whatever its status.

        Args:
            id: the task.
            revision: only if it is at this one; None: whichever it is at.
            storage: in place of the flow's.

        Raises:
            TaskNotFoundError: there is none.
            TaskConflictError: it is at another revision.
        """
        check_task_id(id)
        _check_number("revision", revision)
        keep = self._revisioned(storage)
        if revision is None:
            keep.delete(id)
            return
        stored = keep.load(id)
        if stored is None:
            raise TaskNotFoundError(id)
        if stored.revision != revision:
            raise TaskConflictError(id, f"it is at revision {stored.revision}, not {revision}")
        keep.delete(id, expected=stored)

    @_EitherWay
    def list_tasks(
        self,
        *,
        status: Status | str | None = None,
        limit: int = 100,
        cursor: str | None = None,
        storage: Storage | RevisionedStorage | str | None = None,
    ) -> TaskPage:
        """The stored tasks, newest first, without their states.

        Raises:
            InvalidRequestError: an argument is not of its kind, or the storage cannot list.
        """
        try:
            wanted = None if status is None else Status(status)
        except ValueError:
            raise InvalidRequestError("status", f"it must be one of {', '.join(Status)}") from None
        return self._revisioned(storage).list(status=wanted, limit=limit, cursor=cursor)

    @_EitherWay
    def seconds_to_wake(self, task: Task) -> float | None:
        """How long it is until the first timer of a task is due, 0 if it is; None if the task has none."""
        paused = task.paused_state
        if paused is None or paused.wake_at is None:
            return None
        return max((paused.wake_at - self._clock()).total_seconds(), 0.0)

    def _start(self, code: str, language: Language) -> programs.Outcome:
        if language is Language.JAVASCRIPT:
            return self._start_javascript(code)
        from sequential_core import typescript  # which JavaScript does without

        javascript = typescript.strip(code, self._limits)
        try:
            return self._start_javascript(javascript)
        except CodeSyntaxError as error:
            raise typescript.named(error, code) from None

    def _start_javascript(self, code: str) -> programs.Outcome:
        return programs.start(code, self._limits, self._guest_clock, pause_everywhere=self._pause_everywhere)

    def _hop(self, keep: RevisionedStorage, stored: Task, request_id: int | None, given: GivenAnswer) -> Task:
        if stored.vm_state is None:
            raise StorageFormatError(f"task {stored.id!r} is paused and has no state")
        began = time.perf_counter()
        answers: dict[int, Answer] = {}
        if request_id is not None and not isinstance(given.answer, NoAnswer):
            answers[request_id] = given.answer
        try:
            outcome = programs.resume(
                stored.vm_state, answers, self._limits, self._guest_clock, pause_everywhere=self._pause_everywhere
            )
        except KeyError:
            raise StateCorruptedError(f"request {request_id} is not pending in it") from None
        task = stored
        if not given.is_any_time:
            taken = (*stored.taken, TakenAnswer(request_id or 0, stored.revision, given.digest, given.key))
            task = replace(stored, taken=taken[-_REMEMBERED_ANSWERS:])
        if given.key is not None:
            task = _kept_for_the_window(task)
        task = self._after(task, outcome, previous=stored.status)
        try:
            if task.expires_at is None:
                keep.delete(stored.id, expected=stored)
            else:
                keep.save(task, expected_revision=stored.revision)
        except TaskNotFoundError as error:
            raise TaskConflictError(stored.id, "it has ended, was deleted or has expired meanwhile") from error
        if self._observer is not None:
            self._observer.hop_ended(task, time.perf_counter() - began)
        return task

    def _after(self, task: Task, outcome: programs.Outcome, previous: Status | None) -> Task:
        """The task as a hop leaves it. It is to be stored if it has an `expires_at`."""
        now, before = self._clock(), task.paused_state
        task = replace(
            task,
            result=None,
            fetch_requests=(),
            timers=(),
            vm_state=None,
            paused_state=None,
            logs=outcome.logs,
            revision=task.revision + 1,
            updated_at=now,
            expires_at=None if task.retain is None else now + task.retain,
        )
        match outcome:
            case programs.Suspended(state, requests, timers):
                made = [request.id for request in requests] + ([] if before is None else [before.requests])
                wake_at = None if timers is None else timers.wake_at
                task = replace(
                    task,
                    status=Status.PAUSED,
                    vm_state=state,
                    fetch_requests=requests,
                    timers=() if timers is None else timers.soonest,
                    # Whoever waits for a timer must find the task when it is due.
                    expires_at=max(now, wake_at or now) + task.ttl,
                    paused_state=PausedState(
                        line=requests[0].line if requests else None,
                        column=requests[0].column if requests else None,
                        hops=task.revision,
                        requests=max(made, default=0),
                        pending=tuple(request.id for request in requests),
                        state_bytes=len(state),
                        timers=0 if timers is None else timers.count,
                        wake_at=wake_at,
                    ),
                )
            case programs.Completed(result):
                task = replace(task, status=Status.COMPLETED, result=result)
            case programs.Failed(error):
                task = replace(task, status=Status.ERROR, error_detail=error)
        assert task.status in TRANSITIONS[previous], "a hop follows the table"
        return task

    def _revisioned(self, storage: Storage | RevisionedStorage | str | None) -> RevisionedStorage:
        chosen = storage if storage is not None else self._storage
        if chosen is None:
            chosen = type(self).default_storage
        if chosen is None:
            chosen = default_url()
        if isinstance(chosen, str):
            return shared_storage(chosen)
        if isinstance(chosen, RevisionedStorage):
            return chosen
        if isinstance(chosen, Storage):
            return PlainStorage(chosen, clock=self._clock)
        raise InvalidRequestError("storage", f"a {type(chosen).__name__} has not save, load and delete")


def create_flow(
    storage: Storage | RevisionedStorage | str | None = None,
    *,
    limits: Limits | None = None,
    ttl: timedelta | float = DEFAULT_TTL,
    retain: timedelta | float | None = None,
    observer: HopObserver | None = None,
    clock: Clock = system_clock,
) -> SequentialFlow:
    """A flow with its own storage (an object, a URL, or None for the default one), limits and defaults."""
    return SequentialFlow(storage, limits=limits, ttl=ttl, retain=retain, observer=observer, clock=clock)


_EXECUTE_FIELDS = {"code", "id", "name", "ttl", "retain", "idempotencyKey", "language"}
_RESUME_FIELDS = {"id", "fetchResponse", "response", "error", "requestId", "revision", "idempotencyKey"}

_SNAKE = re.compile(r"(?<=[a-z])[A-Z]")


def _request(given: Mapping[str, Any], required: str, known: set[str]) -> dict[str, Any]:
    """The arguments of a request in its JSON form."""
    unknown = sorted(str(name) for name in given if name not in known)
    if unknown:
        raise InvalidRequestError("request", f"unknown fields: {', '.join(unknown)[:200]}")
    if required not in given or isinstance(given[required], Mapping):
        raise InvalidRequestError(required, "it is needed, as a string")
    return {_SNAKE.sub(lambda found: f"_{found[0].lower()}", name): value for name, value in given.items()}


def _check_number(field: str, value: object) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 1 << 53):
        raise InvalidRequestError(field, "it must be a whole number from 1 to 2**53 - 1")


def _kept_for_the_window(task: Task) -> Task:
    return replace(task, retain=max(IDEMPOTENCY_WINDOW, task.retain or IDEMPOTENCY_WINDOW))


def _same_task(stored: Task, new: Task, reused: Callable[[str], CallerError]) -> Task:
    if (stored.code_sha256, stored.language) != (new.code_sha256, new.language):
        raise reused(stored.id)
    return stored
