"""The flow: joins the engine and a storage into tasks that can be executed, resumed, read and deleted.

    SequentialFlow.execute(code)          # on the class: with the default storage
    create_flow(storage).execute(code)    # on an instance: with its own

Every change of a stored task is one conditional save, on the revision that was loaded. That is all that
exactly-once needs: a hop runs on a copy, and only the first to save it counts.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from sequential_core.answers import UNSET, answer_digest, check_answer, make_answer
from sequential_core.checks import MAX_ID_LENGTH, check_duration, check_idempotency_key, check_retain, check_task_id
from sequential_core.drive import (
    DRIVEN_RETAIN,
    DRIVEN_TTL,
    Callback,
    Drive,
    Policy,
    check_callback_url,
    read_policy,
)
from sequential_core.errors import (
    CallerError,
    IdempotencyKeyReusedError,
    InvalidRequestError,
    TaskConflictError,
    TaskEndedError,
    TaskExistsError,
    TaskNotFoundError,
)
from sequential_core.hops import Dispatcher, HopObserver, Hops
from sequential_core.limits import Limits
from sequential_core.matching import (
    GivenAnswer,
    check_kept_events,
    choose_request,
    key_digest,
    was_taken,
    with_taken,
)
from sequential_core.model import ErrorDetail, ErrorKind, Language, Status, Task, check_event_name, check_language
from sequential_core.pending import (
    Answer,
    KeptEvent,
    NoAnswer,
    Pending,
    PendingEvent,
    ResponseAnswer,
    TakenAnswer,
    ValueAnswer,
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

# A change that is bound to no revision is tried so often, if others change the task meanwhile.
_ATTEMPTS = 10

AnyStorage = Storage | RevisionedStorage | str | None

_P = ParamSpec("_P")
_R = TypeVar("_R")


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
        dispatcher: lets a driver begin when a caller has changed a driven task; None: drivers find such tasks.
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
        dispatcher: Dispatcher | None = None,
        clock: Clock = system_clock,
        pause_everywhere: bool = False,
    ) -> None:
        self._storage = storage
        self.limits = limits or Limits()
        #: Answers the calls of tools in driven tasks, by their names; `tool` adds one.
        self.tools: dict[str, Callable[..., Any]] = {}
        self._ttl = check_duration("ttl", ttl)
        self._retain = None if retain is None else check_duration("retain", retain)
        self._observer = observer
        self._clock = clock
        self.hops = Hops(
            self.limits, clock=clock, pause_everywhere=pause_everywhere, observer=observer, dispatcher=dispatcher
        )

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
        drive: bool | Policy | Mapping[str, Any] | None = None,
        callback_url: str | None = None,
    ) -> Task:
        """Runs code until it needs an answer or ends. It is stored only if it pauses, or `retain` is given.

        Calling it again with the id and the code of a stored task runs nothing, and gives that task.

        Args:
            code: the code, or the whole request as one mapping with the JSON names.
            id: 1 to 256 characters, no control characters; made if None.
            name: a label, up to 256 characters.
            storage: in place of the flow's.
            ttl: how long each pause is kept; a duration or seconds. None: as the flow has it, or else two hours.
            retain: how long the outcome is kept, 0: not at all. None: as the flow has it, or else not at all.
            idempotency_key: 1 to 255 visible ASCII characters. A call that repeats it, with the same code, gives
                the task as it now stands. The outcome is kept for a day at least. If `id` is None it comes of the key.
            language: what the code is written in: "javascript", which None stands for, or "typescript". The same code
                in another language is other code.
            drive: True, a `Policy` or its JSON form: a driver performs the requests, see docs/driving.md. Such a task
                waits for 30 days and keeps its outcome for one, if `ttl` and `retain` do not say. None: the caller
                does.
            callback_url: of a driven task: gets the outcome, see `Callback`.

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
            given = (id, name, ttl, retain, idempotency_key, language, drive, callback_url)
            if any(argument is not None for argument in given):
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
        driven = _drive(drive, callback_url)
        if driven is not None:
            ttl = DRIVEN_TTL if ttl is None else ttl
            retain = (self._retain or DRIVEN_RETAIN) if retain is None else retain
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
            retain=self._retain if retain is None else check_retain(retain),
            language=written_in,
            code_sha256=hashlib.sha256(programs.encode_code(code, self.limits)).hexdigest(),
            code=code,
            drive=driven,
        )
        if idempotency_key is not None:
            task = _kept_for_the_window(task)
        reused = TaskExistsError if id is not None else IdempotencyKeyReusedError
        looked_up = id is not None or idempotency_key is not None
        if looked_up and (stored := keep.load(task_id)) is not None:
            return _same_task(stored, task, reused)
        try:
            return self.hops.create(keep, task, code)
        except TaskExistsError:
            # Somebody else was quicker, perhaps with the same code.
            if (stored := keep.load(task_id)) is None:
                raise
            return _same_task(stored, task, reused)

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
            fetch_response: any JSON value; the code gets it as it is, from a fetch, a tool or an event.
            response: `{status, statusText, headers, body}`, or a `ResponseAnswer`; the code gets a `Response`. For a
                fetch.
            error: a message; the code's promise rejects with a `TypeError`, or of a tool an `Error`. Not for an event.
            request_id: which pending request of whichever kind; None: the oldest call of a fetch or a tool.
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
            InvalidAnswerError: no answer, though the task has no timer; several kinds of answer, one that the request
                does not take, or not JSON.
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
        answer = check_answer(make_answer(fetch_response, response, error), self.limits.answer_bytes)
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
            return self._answer(keep, stored, chosen, given)
        except TaskConflictError:
            # This very answer may have been taken: from a call that was quicker, or an attempt of this one.
            if (stored := keep.load(task_id)) is None or not (was_taken(stored, given) or given.is_any_time):
                if self._observer is not None:
                    self._observer.conflicted(task_id)
                raise
            return stored

    @_EitherWay
    def send_event(
        self,
        id: str,  # noqa: A002  # the field's name
        name: str,
        value: Any = None,
        *,
        idempotency_key: str | None = None,
        created_at: datetime | None = None,
        storage: Storage | RevisionedStorage | str | None = None,
    ) -> Task:
        """Gives a task an event, which its code gets of `waitForEvent(name)`.

        If it waits for that one, it runs until it needs an answer, or ends. If not, the event is kept until it does.

        Args:
            id: the task.
            name: 1 to 128 letters, digits and "_.:-".
            value: any JSON value.
            idempotency_key: a call that repeats it, with the same event, gives the task as it now stands. Without one
                each call is an event of its own.
            created_at: only if the task was created at that instant, and is no other that has its id now.
            storage: in place of the flow's.

        Raises:
            TaskNotFoundError: there is no such task.
            TaskEndedError: it has ended.
            TooManyEventsError: it keeps as many events as it may.
            IdempotencyKeyReusedError: the key came before, with another event.
            InvalidRequestError: the name is none. InvalidAnswerError: the value is not JSON.
        """
        check_event_name(name)
        check_answer(ValueAnswer(value), self.limits.answer_bytes)
        key = None if idempotency_key is None else key_digest(idempotency_key)
        digest = answer_digest(ValueAnswer([name, value]))

        def change(keep: RevisionedStorage, stored: Task) -> Task:
            if created_at not in (None, stored.created_at):
                raise TaskNotFoundError(id)
            taken = next((each for each in stored.taken if key is not None and each.key == key), None)
            if taken is not None:
                if taken.digest != digest:
                    raise IdempotencyKeyReusedError(id)
                return stored
            if stored.status is not Status.PAUSED:
                raise TaskEndedError(id, stored.status)
            kept = (*stored.kept_events, KeptEvent(name, value))
            changed = replace(stored, kept_events=kept)
            if key is not None:
                changed = _kept_for_the_window(with_taken(changed, TakenAnswer(0, stored.revision, digest, key)))
            if any(wait.name == name for wait in stored.event_waits):
                return self.hops.advance(keep, stored, {}, changed=changed)
            check_kept_events(id, kept)
            return self.hops.put(keep, stored, changed)

        return self._changed(storage, id, change)

    @_EitherWay
    def cancel_task(
        self,
        id: str,  # noqa: A002  # the field's name
        *,
        revision: int | None = None,
        storage: Storage | RevisionedStorage | str | None = None,
    ) -> Task:
        """Ends a paused task with an error of the kind "cancelled". One that was cancelled before stays as it is.

        Args:
            id: the task.
            revision: only if it is at this one; None: whichever it is at.
            storage: in place of the flow's.

        Raises:
            TaskNotFoundError: there is no such task.
            TaskConflictError: it is at another revision.
            TaskEndedError: it has ended otherwise.
        """

        def change(keep: RevisionedStorage, stored: Task) -> Task:
            if stored.error_detail is not None and stored.error_detail.kind is ErrorKind.CANCELLED:
                return stored
            if stored.status is not Status.PAUSED:
                raise TaskEndedError(id, stored.status)
            return self.hops.end(
                keep, stored, ErrorDetail(ErrorKind.CANCELLED, "CancelledError", "the task was cancelled")
            )

        return self._changed(storage, id, change, revision)

    @_EitherWay
    def fail_task(
        self,
        id: str,  # noqa: A002  # the field's name
        error: ErrorDetail,
        *,
        revision: int | None = None,
        storage: Storage | RevisionedStorage | str | None = None,
    ) -> Task:
        """Ends a paused task with an error that whoever runs it has found.

        Args:
            id: the task.
            error: why it ends.
            revision: only if it is at this one; None: whichever it is at.
            storage: in place of the flow's.

        Raises:
            TaskNotFoundError: there is no such task.
            TaskConflictError: it is at another revision.
            TaskEndedError: it has ended.
        """

        def change(keep: RevisionedStorage, stored: Task) -> Task:
            if stored.status is not Status.PAUSED:
                raise TaskEndedError(id, stored.status)
            return self.hops.end(keep, stored, error)

        return self._changed(storage, id, change, revision)

    @_EitherWay
    def drive_task(
        self,
        id: str,  # noqa: A002  # the field's name
        drive: bool | Policy | Mapping[str, Any] = True,
        *,
        callback_url: str | None = None,
        retain: timedelta | float | None = None,
        revision: int | None = None,
        storage: Storage | RevisionedStorage | str | None = None,
    ) -> Task:
        """Hands a paused task to a driver, or back to its caller.

        Args:
            id: the task.
            drive: as in `execute`; False: nobody drives it any more. A driver that is at it finishes what it has begun,
                and what it brings is not taken.
            callback_url: gets the outcome; None: as it was.
            retain: how long the outcome is kept, 0: not at all. None: as it was; a day if the task was not driven, and
                its outcome was not to be kept.
            revision: only if the task is at this one; None: whichever it is at.
            storage: in place of the flow's.

        Raises:
            TaskNotFoundError: there is no such task.
            TaskConflictError: it is at another revision.
            TaskEndedError: it has ended.
            InvalidRequestError: an argument is not of its kind.
        """
        wanted = _drive(drive, callback_url)
        kept = None if retain is None else check_retain(retain)

        def change(keep: RevisionedStorage, stored: Task) -> Task:
            if stored.status is not Status.PAUSED:
                raise TaskEndedError(id, stored.status)
            if wanted is None:
                return stored if stored.drive is None else self.hops.put(keep, stored, replace(stored, drive=None))
            if stored.drive is not None:
                callback = wanted.callback or stored.drive.callback
                changed = replace(stored, drive=replace(stored.drive, policy=wanted.policy, callback=callback))
            else:
                changed = replace(stored, drive=wanted, retain=stored.retain or DRIVEN_RETAIN)
            return self.hops.put(keep, stored, changed if retain is None else replace(changed, retain=kept))

        return self._changed(storage, id, change, revision)

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

    def _changed(
        self,
        storage: AnyStorage,
        task_id: str,
        change: Callable[[RevisionedStorage, Task], Task],
        revision: int | None = None,
    ) -> Task:
        """Changes a task: at a revision; or whichever it is at, until nobody is in between.

        Raises:
            TaskNotFoundError: there is no such task.
            TaskConflictError: it is at another revision, or changes faster than it can be changed.
        """
        _check_number("revision", revision)
        keep = self._revisioned(storage)
        for _ in range(_ATTEMPTS):
            stored = keep.load(check_task_id(task_id))
            if stored is None:
                raise TaskNotFoundError(task_id)
            if revision not in (None, stored.revision):
                raise TaskConflictError(task_id, f"it is at revision {stored.revision}, not {revision}")
            try:
                return change(keep, stored)
            except TaskEndedError:  # which no further look changes
                raise
            except TaskConflictError:
                if revision is not None:
                    raise
        raise TaskConflictError(task_id, "it changes all the time")

    def tool(self, function: Callable[..., Any] | str) -> Any:
        """Registers a host tool, which `callTool` of driven tasks calls: `@flow.tool` or `@flow.tool("name")`.

        The function gets the arguments of the code, any JSON value, and a `ToolContext` if it needs a second argument.
        It returns a JSON value, or raises a `ToolError`, whose message the code's promise rejects with.
        """
        if isinstance(function, str):
            name = check_event_name(function)

            def register(function: Callable[..., Any]) -> Callable[..., Any]:
                self.tools[name] = function
                return function

            return register
        self.tools[check_event_name(function.__name__)] = function
        return function

    def now(self) -> datetime:
        """What time it is for the flow and its programs."""
        return self._clock()

    def revisioned(self) -> RevisionedStorage:
        """The storage of the flow, as one that compares revisions."""
        return self._revisioned(None)

    def _answer(self, keep: RevisionedStorage, stored: Task, chosen: Pending | None, given: GivenAnswer) -> Task:
        answers: dict[int, Answer] = {}
        if chosen is not None and not isinstance(given.answer, NoAnswer):
            answers[chosen.id] = given.answer
        changed = stored
        if not given.is_any_time:
            taken = TakenAnswer(
                0 if chosen is None else chosen.id,
                stored.revision,
                given.digest,
                given.key,
                is_event=isinstance(chosen, PendingEvent),
            )
            changed = with_taken(stored, taken)
        if given.key is not None:
            changed = _kept_for_the_window(changed)
        return self.hops.advance(keep, stored, answers, changed=changed)

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
        raise InvalidRequestError(
            "storage", f"an object with save, load and delete is needed, not {type(chosen).__name__}"
        )


def create_flow(
    storage: Storage | RevisionedStorage | str | None = None,
    *,
    limits: Limits | None = None,
    ttl: timedelta | float = DEFAULT_TTL,
    retain: timedelta | float | None = None,
    observer: HopObserver | None = None,
    dispatcher: Dispatcher | None = None,
    clock: Clock = system_clock,
) -> SequentialFlow:
    """A flow with its own storage (an object, a URL, or None for the default one), limits and defaults."""
    return SequentialFlow(
        storage, limits=limits, ttl=ttl, retain=retain, observer=observer, dispatcher=dispatcher, clock=clock
    )


_EXECUTE_FIELDS = {
    "code",
    "id",
    "name",
    "ttl",
    "retain",
    "idempotencyKey",
    "language",
    "drive",
    "callbackUrl",
}
_RESUME_FIELDS = {"id", "fetchResponse", "response", "error", "requestId", "revision", "idempotencyKey"}

_SNAKE = re.compile(r"(?<=[a-z])[A-Z]")


def _request(given: Mapping[str, Any], required: str, known: set[str]) -> dict[str, Any]:
    """The arguments of a request in its JSON form."""
    unknown = sorted(str(name) for name in given if name not in known)
    if unknown:
        raise InvalidRequestError(
            "request", f"unknown fields: {', '.join(unknown)[:200]}; known: {', '.join(sorted(known))}"
        )
    if required not in given or isinstance(given[required], Mapping):
        raise InvalidRequestError(required, "it is needed, as a string")
    return {_SNAKE.sub(lambda found: f"_{found[0].lower()}", name): value for name, value in given.items()}


def _check_number(field: str, value: object) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 1 << 53):
        raise InvalidRequestError(field, "it must be a whole number from 1 to 2**53 - 1")


def _drive(drive: bool | Policy | Mapping[str, Any] | None, callback_url: str | None) -> Drive | None:
    policy = read_policy(drive)
    if policy is None:
        if callback_url is not None:
            raise InvalidRequestError("callbackUrl", "only a driven task calls back")
        return None
    callback = None if callback_url is None else Callback(check_callback_url(callback_url))
    return Drive(policy=policy, callback=callback)


def _kept_for_the_window(task: Task) -> Task:
    return replace(task, retain=max(IDEMPOTENCY_WINDOW, task.retain or IDEMPOTENCY_WINDOW))


def _same_task(stored: Task, new: Task, reused: Callable[[str], CallerError]) -> Task:
    if (stored.code_sha256, stored.language) != (new.code_sha256, new.language):
        raise reused(stored.id)
    return stored
