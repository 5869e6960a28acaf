"""What changes a stored task: a hop, or an end that comes from outside. Each is one conditional save.

Everything runs on a copy, and only the first to save it counts: that is all that exactly-once needs. `SequentialFlow`
calls this for callers, a driver for itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from sequential_core.drive import Claim, Drive, Exchange, grown, next_due
from sequential_core.errors import (
    CodeSyntaxError,
    StateCorruptedError,
    StorageFormatError,
    TaskConflictError,
    TaskNotFoundError,
)
from sequential_core.limits import Limits
from sequential_core.matching import check_kept_events
from sequential_core.model import TRANSITIONS, ErrorDetail, Language, PausedState, Status, Task
from sequential_core.pending import Answer, KeptEvent, PendingEvent, PendingRequest, PendingTool, ValueAnswer
from sequential_core.storage.base import Clock, RevisionedStorage, system_clock
from sequential_core.vm import program as programs

# So much CPU time is left to the last event that was kept, whatever those before it took.
_LEAST_CPU_SECONDS = 0.01


class HopObserver(Protocol):
    """Is told of the hops of a flow, for logs and metrics. It must not raise."""

    def hop_ended(self, task: Task, seconds: float) -> None:
        """A hop took so long, with the save; `task` is how it left the task."""

    def conflicted(self, task_id: str) -> None:
        """An answer came too late: the pause that it was for is over."""


class Dispatcher(Protocol):
    """Lets a driver begin when a caller has changed a driven task. What it raises reaches that caller."""

    def prepare(self, task_id: str) -> Claim | None:
        """Before a save after which a driver has something to do.

        Whatever becomes of this process from now on, somebody has to look at the task some time later. The save may
        still fail.

        Returns:
            The claim to save, for the driver that `dispatch` will call; None: whoever comes first.
        """

    def dispatch(self, task: Task) -> None:
        """After the save: a driver is to begin at once, or at `task.drive.due_at` if nobody has claimed it."""


#: How the drive of a task is to be saved by a driver, which claims the task or leaves it.
DriveAs = Callable[[Task, Drive], Drive]


@dataclass(frozen=True, slots=True)
class Run:
    """What a run of the engine made of a task: how it ended, and the events that nobody has waited for."""

    outcome: programs.Outcome
    kept: tuple[KeptEvent, ...]


class Hops:
    """Changes of stored tasks.

    Args:
        limits: what each hop may use.
        clock: says what time it is, also in the programs.
        pause_everywhere: for tests, see `SequentialFlow`.
        observer: is told of every hop.
        dispatcher: is told of driven tasks that a caller has changed; None: drivers find them.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        clock: Clock = system_clock,
        pause_everywhere: bool = False,
        observer: HopObserver | None = None,
        dispatcher: Dispatcher | None = None,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._pause_everywhere = pause_everywhere
        self._observer = observer
        self._dispatcher = dispatcher
        # The system's time reaches the guest without a detour through Python.
        self._guest_clock = None if clock is system_clock else clock

    def create(self, keep: RevisionedStorage, task: Task, code: str) -> Task:
        """Runs a task from its beginning, and stores it if it pauses or its outcome is to be kept.

        Raises:
            CodeError: see `SequentialFlow.execute`.
            TaskExistsError: its id is in use.
            StorageError, RetryableError: it could not be kept.
        """
        began = time.perf_counter()
        after = self._after(task, Run(self._start(code, task.language), ()), previous=None)
        return self._save(keep, after, None, None, began)

    def advance(
        self,
        keep: RevisionedStorage,
        stored: Task,
        answers: Mapping[int, Answer],
        *,
        changed: Task | None = None,
        exchanges: tuple[Exchange, ...] = (),
        drive_as: DriveAs | None = None,
    ) -> Task:
        """Runs a task with some answers, timers that are due, and the events that were kept for it.

        Args:
            keep: where the task is.
            stored: as it was loaded.
            answers: by the id of a pending request; delivered in this order, after the timers that are due.
            changed: the task with what is to be saved besides; None: nothing is.
            exchanges: for the history of a driven task.
            drive_as: how a driver leaves it; None: a caller does this.

        Raises:
            TaskConflictError: somebody else has changed it meanwhile.
            TooManyEventsError: with an event that was sent now, it would keep more than it may.
            StateError: the stored state cannot be resumed here.
            StorageError, RetryableError: it could not be kept; the stored one is as before.
        """
        began = time.perf_counter()
        task = stored if changed is None else changed
        run = self._resume(task, answers)
        if len(run.kept) > len(stored.kept_events):
            # An event for a wait that has timed out in this very hop, which nobody has waited for after all.
            check_kept_events(task.id, run.kept)
        return self._save(keep, self._after(task, run, stored.status, exchanges), stored, drive_as, began)

    def end(
        self, keep: RevisionedStorage, stored: Task, error: ErrorDetail, *, drive_as: DriveAs | None = None
    ) -> Task:
        """Ends a paused task with an error that is not of its code.

        Raises:
            TaskConflictError: somebody else has changed it meanwhile.
        """
        ended = self._after(stored, Run(programs.Failed(error, ()), ()), stored.status)
        return self._save(keep, ended, stored, drive_as, None)

    def put(self, keep: RevisionedStorage, stored: Task, changed: Task, *, drive_as: DriveAs | None = None) -> Task:
        """Saves what has changed of a task without a hop.

        Raises:
            TaskConflictError: somebody else has changed it meanwhile.
        """
        task = replace(changed, revision=stored.revision + 1, updated_at=self._clock())
        return self._save(keep, task, stored, drive_as, None)

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

    def _resume(self, task: Task, answers: Mapping[int, Answer]) -> Run:
        """Runs the program, again and again while it waits for an event that was kept. It is one hop."""
        if task.vm_state is None:
            raise StorageFormatError(f"task {task.id!r} is paused and has no state")
        state, limits = task.vm_state, self._limits
        events, kept = _matched(task.event_waits, task.kept_events)
        given = {**answers, **{number: ValueAnswer(event.value) for number, event in events.items()}}
        logs: list[Any] = []
        while True:
            began = time.thread_time()
            try:
                outcome = programs.resume(
                    state, given, limits, self._guest_clock, pause_everywhere=self._pause_everywhere
                )
            except KeyError as error:
                raise StateCorruptedError(f"request {error.args[0]} is not pending in it") from None
            logs += outcome.logs
            if not isinstance(outcome, programs.Suspended):
                return Run(replace(outcome, logs=tuple(logs)), kept)
            # A wait that timed out just before its event came has left the event to the next.
            kept = (*(events[number] for number in outcome.passed_over if number in events), *kept)
            waiting = tuple(request for request in outcome.requests if isinstance(request, PendingEvent))
            events, kept = _matched(waiting, kept)
            if not events:
                return Run(replace(outcome, logs=tuple(logs)), kept)
            given = {number: ValueAnswer(event.value) for number, event in events.items()}
            state = outcome.state
            written = sum(len(entry.message.encode(errors="replace")) for entry in outcome.logs)
            limits = replace(
                limits,
                cpu_seconds=max(limits.cpu_seconds - (time.thread_time() - began), _LEAST_CPU_SECONDS),
                log_bytes=max(limits.log_bytes - written, 1),
            )

    def _after(self, task: Task, run: Run, previous: Status | None, exchanges: tuple[Exchange, ...] = ()) -> Task:
        """The task as a hop leaves it. It is to be stored if it has an `expires_at`."""
        now, before, outcome = self._clock(), task.paused_state, run.outcome
        hops = 1 if before is None else before.hops + 1
        task = replace(
            task,
            result=None,
            fetch_requests=(),
            tool_calls=(),
            event_waits=(),
            timers=(),
            kept_events=(),
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
                    fetch_requests=tuple(each for each in requests if isinstance(each, PendingRequest)),
                    tool_calls=tuple(each for each in requests if isinstance(each, PendingTool)),
                    event_waits=tuple(each for each in requests if isinstance(each, PendingEvent)),
                    timers=() if timers is None else timers.soonest,
                    kept_events=run.kept,
                    # Whoever waits for a timer must find the task when it is due.
                    expires_at=max(now, wake_at or now) + task.ttl,
                    paused_state=PausedState(
                        line=requests[0].line if requests else None,
                        column=requests[0].column if requests else None,
                        hops=hops,
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
        if task.drive is not None:
            task = replace(task, drive=grown(task.drive, task, exchanges))
        return task

    def _save(
        self,
        keep: RevisionedStorage,
        task: Task,
        stored: Task | None,
        drive_as: DriveAs | None,
        began: float | None,
    ) -> Task:
        """Saves a task in the place of the stored one, or deletes that; then lets a driver begin, if one is needed."""
        drive, to_dispatch = task.drive, False
        if drive is not None and drive_as is not None:
            task = replace(task, drive=drive_as(task, drive))
        elif drive is not None:
            task, to_dispatch = self._for_drivers(task, drive)
        try:
            if stored is None:
                if task.expires_at is not None:
                    task = replace(task, storage_note=keep.save(task, expected_revision=0))
            elif task.expires_at is None:
                keep.delete(stored.id, expected=stored)
            else:
                task = replace(task, storage_note=keep.save(task, expected_revision=stored.revision))
        except TaskNotFoundError as error:
            raise TaskConflictError(task.id, "it has ended, was deleted or has expired meanwhile") from error
        if began is not None and self._observer is not None:
            self._observer.hop_ended(task, time.perf_counter() - began)
        if to_dispatch and self._dispatcher is not None:
            self._dispatcher.dispatch(task)
        return task

    def _for_drivers(self, task: Task, drive: Drive) -> tuple[Task, bool]:
        """The task as a caller saves it, and whether a driver is to be called."""
        now = self._clock()
        if drive.is_claimed(now) and task.paused_state is not None:
            return task, False  # its driver meets a conflict at its next save, and looks at the task anew
        due_at = next_due(task, drive, now)
        claim = None
        if due_at is not None and self._dispatcher is not None:
            claim = self._dispatcher.prepare(task.id)
        if claim is not None and due_at is not None and due_at <= now:
            drive = replace(drive, claim=claim.token, due_at=claim.until)
        else:
            drive = replace(drive, claim=None, due_at=due_at)
        return replace(task, drive=drive), due_at is not None


def _matched(
    waiting: tuple[PendingEvent, ...], kept: tuple[KeptEvent, ...]
) -> tuple[dict[int, KeptEvent], tuple[KeptEvent, ...]]:
    """Which kept event goes to which wait, oldest to oldest, and those that stay."""
    left, chosen = list(kept), {}
    for wait in waiting:
        event = next((event for event in left if event.name == wait.name), None)
        if event is not None:
            left.remove(event)
            chosen[wait.id] = event
    return chosen, tuple(left)
