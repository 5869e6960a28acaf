"""The driver: performs the requests, tool calls and timers of a task, as far as it gets.

*One change at a time.* Requests are performed in threads, at most eight at once; the task itself is changed by the
thread that calls `drive`, in one conditional save for all answers that are there by then. So a crash loses no more than
answers that were not saved; they are asked for again, with the same idempotency key.

*Claims.* Before a request is begun the task is claimed, so that no other driver begins it too; mostly that goes with
the hop before. A claim ends by itself. It is no lock: who saves on a revision that is over has lost, with or without.

*Conflicts.* A caller may change the task meanwhile. Then it is loaded anew, and the answers that are still wanted are
given to what it is now.
"""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from sequential_core.answers import check_answer
from sequential_core.drive import Drive, Exchange, Policy, Retry, deadline, next_due, shown_url
from sequential_core.driver.callbacks import call_back
from sequential_core.driver.fetcher import Attempt, Fetcher
from sequential_core.driver.retries import further_headers, idempotency_key, next_attempt
from sequential_core.driver.standing import Claimed, Ended, Standing, Waiting, Yielded
from sequential_core.driver.threads import Threads
from sequential_core.driver.tools import ToolContext, Tools
from sequential_core.errors import InvalidAnswerError, TaskConflictError
from sequential_core.flow import SequentialFlow
from sequential_core.model import ErrorDetail, ErrorKind, Status, Task
from sequential_core.pending import Answer, ErrorAnswer, PendingRequest, PendingTool

_AT_A_TIME = 8

# Of one task, with those that the code has aborted: these go on until they are answered or their time is over.
_MOST_BEGUN = 32

# How long a driver waits for the next thing to do before it leaves a task. To leave costs a save, and a message on AWS.
PATIENCE = timedelta(seconds=1)

# A claim lasts for the longest request that may be begun under it, and this.
_LEASE_MARGIN = timedelta(seconds=15)

# While requests are under way it is looked so often whether a caller has changed the task.
_LOOK_SECONDS = 0.5

# A hop and its save cost the same, whatever they deliver. So answers are waited for that may come along: as long as the
# last hop took, since nobody waits twice as long then, and not longer than this.
_MOST_GATHER_SECONDS = 0.05

# Of all drivers of the process.
_threads = Threads()

_logger = logging.getLogger("sequential.driver")

Performable = PendingRequest | PendingTool


class Listener(Protocol):
    """Is told what a driver does, on the thread that drives."""

    def began(self, request: Performable) -> None:
        """A request is sent, or a tool called; again, if it failed before."""

    def answered(self, request: Performable, answer: Answer, seconds: float) -> None:
        """The answer that the code gets, and how long the last attempt took."""

    def failed(self, request: Performable, problem: str, next_at: datetime) -> None:
        """An attempt failed, and is repeated then."""

    def resumed(self, task: Task) -> None:
        """A hop."""


class Driver:
    """Drives tasks of a flow, any number at once, each on the thread that calls.

    Args:
        flow: has the tasks. Not one with a dispatcher: a driver knows itself what comes next.
        fetcher: performs the requests; it decides who may be called. None: one that calls public addresses only.
        tools: answers calls of tools; None: those of the flow and of installed packages.
        signing_key: signs callbacks; None: none is made.
        lease: how long a claim lasts; None: as long as the requests of the task may take, and 15 seconds.
        patience: how long it waits for the next thing to do.
        most_timeout: no request is given longer, whatever its policy says; None: as that says.
        listener: is told of each step.
        chance: makes backoffs differ.
    """

    def __init__(
        self,
        flow: SequentialFlow,
        *,
        fetcher: Fetcher | None = None,
        tools: Tools | None = None,
        signing_key: bytes | None = None,
        lease: timedelta | None = None,
        patience: timedelta = PATIENCE,
        most_timeout: timedelta | None = None,
        listener: Listener | None = None,
        chance: random.Random | None = None,
    ) -> None:
        self.flow = flow
        self.fetcher = fetcher or Fetcher()
        self.tools = tools or Tools(flow.tools)
        self.signing_key = signing_key
        self.patience = patience
        self.listener = listener
        self.chance = chance or random.Random()  # it guards nothing
        self.stopping = False
        self._lease = lease
        self._most_timeout = most_timeout

    def drive(
        self,
        task_id: str,
        *,
        token: str | None = None,
        seconds: float = math.inf,
        gives_way: Callable[[], bool] = lambda: False,
        task: Task | None = None,
    ) -> Standing:
        """Drives a task as far as it gets.

        Args:
            task_id: which one.
            token: of its claim, if whoever calls was given it.
            seconds: for how long; a request is only begun if its timeout is over by then.
            gives_way: whether it is to begin nothing more, since others wait; it is asked again and again.
            task: as it was loaded a moment ago; None: it is loaded.

        Raises:
            StateError: the stored state cannot be resumed here.
            StorageError, RetryableError: the task could not be loaded or kept. It is as it was saved last.
        """
        return _Run(self, task_id, token or self.new_token(), seconds, gives_way).drive(task)

    @staticmethod
    def new_token() -> str:
        """A token for a claim."""
        return secrets.token_hex(8)

    def stop(self) -> None:
        """Lets every `drive` begin nothing more, and yield when what is under way has ended."""
        self.stopping = True

    def policy(self, drive: Drive) -> Policy:
        """The policy of a task, within what the driver allows."""
        if self._most_timeout is None or drive.policy.timeout <= self._most_timeout:
            return drive.policy
        return replace(drive.policy, timeout=self._most_timeout)

    def lease(self, drive: Drive) -> timedelta:
        """How long a claim of the task lasts."""
        return self._lease or self.policy(drive).timeout + _LEASE_MARGIN


@dataclass(frozen=True, slots=True)
class _Result:
    request: Performable
    attempt: Attempt


class _Run:
    """One call of `drive`."""

    def __init__(self, driver: Driver, task_id: str, token: str, seconds: float, gives_way: Callable[[], bool]) -> None:
        self._driver = driver
        self._flow = driver.flow
        self._keep = driver.flow.revisioned()
        self._id = task_id
        self._token = token
        self._until = time.monotonic() + seconds
        self._gives_way = gives_way
        self._results: queue.SimpleQueue[_Result] = queue.SimpleQueue()
        self._begun: set[int] = set()
        self._retries: dict[int, Retry] | None = None
        self._hop_seconds = 0.0
        self._created_at: datetime | None = None

    def drive(self, task: Task | None) -> Standing:
        task = task or self._keep.load(self._id)
        self._created_at = None if task is None else task.created_at
        if task is not None and task.drive is not None:
            if task.drive.is_claimed(self._flow.now()) and task.drive.claim != self._token:
                return Claimed(task)
            self._retries = {retry.request_id: retry for retry in task.drive.retries}
        while True:
            if task is None or task.drive is None:
                return Ended(task)
            try:
                step = self._step(task, task.drive)
            except TaskConflictError:
                found = self._look()
                task = found if isinstance(found, Task) else None
                if task is not None and task.drive is not None and self._is_anothers(task.drive):
                    return Claimed(task)
                continue
            if not isinstance(step, Task):
                return step
            task = step

    def _is_anothers(self, drive: Drive) -> bool:
        return drive.is_claimed(self._flow.now()) and drive.claim != self._token

    def _step(self, task: Task, drive: Drive) -> Task | Standing:
        """One change of the task, or how it is left."""
        now = self._flow.now()
        if task.status is not Status.PAUSED:
            return self._after_the_end(task, drive, now)
        assert task.paused_state is not None, "it is paused"
        if (limit := _passed_limit(task, drive, now)) is not None:
            return self._flow.hops.end(self._keep, task, limit, drive_as=self._mine_or_left)
        is_over = not self._under_way(task) and (self._is_stopping() or time.monotonic() >= self._until)
        if task.paused_state.wake_at is not None and task.paused_state.wake_at <= now:
            # Else a program whose timers are always due would never let go.
            return self._yield(task, drive) if is_over else self._hop(task, self._answers(task, drive, wait=0))
        due, under_way = self._due(task, now), len(self._under_way(task))
        places = min(_AT_A_TIME - under_way, _MOST_BEGUN - len(self._begun))
        if due and places > 0 and self._has_time(drive):
            if drive.claim != self._token or drive.due_at is None or drive.due_at < now + self._needed(drive):
                return self._put(task, self._mine)
            for request in due[:places]:
                self._begin(task, request, self._driver.policy(drive))
        elif due and places > 0 and not under_way:
            return self._yield(task, drive)
        wait = self._seconds_to_wait(task, drive, now)
        # Whoever comes next would not know how many that were aborted are still on their way.
        if is_over or (not self._begun and wait > self._driver.patience.total_seconds()):
            return self._leave(task, drive)
        answers = self._answers(task, drive, wait)
        # Nobody tells when a caller has changed the task.
        return self._hop(task, answers) if answers else self._look()

    def _needed(self, drive: Drive) -> timedelta:
        """How long a claim must last for a request to be begun under it."""
        timeout, lease = self._driver.policy(drive).timeout, self._driver.lease(drive)
        return timeout if timeout < lease else lease / 2

    # --- What is to be done ---

    def _due(self, task: Task, now: datetime) -> list[Performable]:
        """What can be performed now and is not yet, oldest first."""
        assert self._retries is not None, "the task is driven"
        return [
            request
            for request in task.performable
            if request.id not in self._begun
            and ((retry := self._retries.get(request.id)) is None or retry.next_at <= now)
        ]

    def _under_way(self, task: Task) -> set[int]:
        """What was begun and is still wanted: the code may have aborted some of it."""
        return self._begun & {request.id for request in task.performable}

    def _has_time(self, drive: Drive) -> bool:
        """Whether what is begun now is over in time."""
        left = self._until - time.monotonic()
        return not self._is_stopping() and left > self._driver.policy(drive).timeout.total_seconds()

    def _is_stopping(self) -> bool:
        return self._driver.stopping or self._gives_way()

    def _seconds_to_wait(self, task: Task, drive: Drive, now: datetime) -> float:
        """Until there is something to do besides what is under way: a timer, another attempt, the end of the task."""
        moments = [deadline(task, drive)]
        if task.paused_state is not None and task.paused_state.wake_at is not None:
            moments.append(task.paused_state.wake_at)
        pending = {request.id for request in task.performable} - self._begun
        # What is due already has no place: it waits for what is under way, and not for the time.
        retries = [retry for retry in (self._retries or {}).values() if retry.request_id in pending]
        moments += [retry.next_at for retry in retries if retry.next_at > now]
        return max((min(moments) - now).total_seconds(), 0.0)

    def _begin(self, task: Task, request: Performable, policy: Policy) -> None:
        self._begun.add(request.id)
        if self._driver.listener is not None:
            self._driver.listener.began(request)

        def perform() -> None:
            try:
                attempt = self._perform(task, request, policy)
            except Exception as error:  # whatever it is, the program must not wait for ever
                _logger.exception("a request failed")
                attempt = Attempt(ErrorAnswer(f"the request failed: {type(error).__name__}"), 0)
            self._results.put(_Result(request, attempt))

        _threads.run(perform)

    def _perform(self, task: Task, request: Performable, policy: Policy) -> Attempt:
        if isinstance(request, PendingRequest):
            return self._driver.fetcher.fetch(request, policy, further_headers(task, request))
        began = time.monotonic()
        answer = self._driver.tools.call(request, ToolContext(task.id, idempotency_key(task, request)))
        return Attempt(answer, time.monotonic() - began)

    def _answers(self, task: Task, drive: Drive, wait: float) -> list[_Result]:
        """What has come of the requests that are still pending, but for what is tried again.

        Args:
            wait: seconds for the first of them.
        """
        arrived: list[_Result] = []
        # What is under way is waited for, though the time is up.
        most = _LOOK_SECONDS if self._begun else max(min(self._until - time.monotonic(), _LOOK_SECONDS), 0)
        with contextlib.suppress(queue.Empty):
            arrived.append(self._results.get(timeout=min(wait, most)))
            until = time.monotonic() + min(wait, self._hop_seconds)
            while True:
                is_all = len(arrived) == len(self._begun)
                arrived.append(self._results.get(timeout=0 if is_all else max(until - time.monotonic(), 0)))
        for result in arrived:
            self._begun.discard(result.request.id)
        pending = {request.id for request in task.performable}
        wanted = [result for result in arrived if result.request.id in pending]
        return [result for result in wanted if not self._is_retried(task, drive, result)]

    def _is_retried(self, task: Task, drive: Drive, result: _Result) -> bool:
        """Whether a result is one of a request that is tried again; it is noted then."""
        assert self._retries is not None, "the task is driven"
        request, now = result.request, self._flow.now()
        if not isinstance(request, PendingRequest):
            return False
        attempts = self._attempts(request.id)
        policy = self._driver.policy(drive)
        next_at = next_attempt(policy, request, result.attempt, attempts, now, self._driver.chance)
        if next_at is None or next_at >= deadline(task, drive):
            return False
        self._retries[request.id] = Retry(request.id, attempts, next_at, result.attempt.problem)
        if self._driver.listener is not None:
            self._driver.listener.failed(request, result.attempt.problem, next_at)
        return True

    def _attempts(self, request_id: int) -> int:
        """How often the request was sent, the one that has just come back included."""
        before = (self._retries or {}).get(request_id)
        return 1 if before is None else before.attempts + 1

    # --- Changes ---

    def _hop(self, task: Task, results: list[_Result]) -> Task | Standing:
        """Gives the program what has come, and the timers that are due."""
        assert task.paused_state is not None, "it is paused"
        answers = {result.request.id: self._answer(result) for result in results}
        exchanges = tuple(self._exchange(task.paused_state.hops + 1, result) for result in results)
        listener = self._driver.listener
        if listener is not None:
            for result in results:
                listener.answered(result.request, answers[result.request.id], result.attempt.seconds)
        began = time.monotonic()
        try:
            after = self._flow.hops.advance(self._keep, task, answers, exchanges=exchanges, drive_as=self._mine_or_left)
        except TaskConflictError:
            # They are given to what the task is now, if it still wants them.
            for result in results:
                self._begun.add(result.request.id)
                self._results.put(result)
            raise
        self._hop_seconds = min(time.monotonic() - began, _MOST_GATHER_SECONDS)
        for result in results:
            (self._retries or {}).pop(result.request.id, None)
        if listener is not None:
            listener.resumed(after)
        return after

    def _answer(self, result: _Result) -> Answer:
        attempts, answer = self._attempts(result.request.id), result.attempt.answer
        try:
            check_answer(answer, self._flow.limits.answer_bytes)
        except InvalidAnswerError as error:
            return ErrorAnswer(f"the response cannot be taken: {error.problem}")
        if isinstance(answer, ErrorAnswer) and attempts > 1:
            return ErrorAnswer(f"{answer.message} (attempt {attempts})")
        return answer

    def _exchange(self, hop: int, result: _Result) -> Exchange:
        request, attempt = result.request, result.attempt
        shown = shown_url(request.url) if isinstance(request, PendingRequest) else f"tool:{request.name}"
        milliseconds = round(attempt.seconds * 1000)
        return Exchange(hop, shown, attempt.status, milliseconds, attempt.size_bytes, self._attempts(request.id))

    def _after_the_end(self, task: Task, drive: Drive, now: datetime) -> Task | Standing:
        callback = drive.callback
        if callback is None or callback.next_at is None:
            return Ended(task) if drive.due_at is None else self._leave(task, drive)
        if callback.next_at > now:
            return Waiting(task) if drive.claim is None else self._leave(task, drive)
        if drive.claim != self._token:
            return self._put(task, self._mine)
        if not self._has_time(drive):
            return self._yield(task, drive)
        policy, key = self._driver.policy(drive), self._driver.signing_key
        told = call_back(task, callback, self._driver.fetcher, policy, key, now)
        return self._put(replace(task, drive=replace(drive, callback=told)), self._mine_or_left)

    def _leave(self, task: Task, drive: Drive) -> Task | Standing:
        """Lets go of the task; raises a conflict if it has changed meanwhile, so that nothing is overlooked."""
        left = self._left(task, drive)
        return Waiting(task) if left == drive else self._put(task, self._left)

    def _yield(self, task: Task, drive: Drive) -> Task | Standing:
        """Leaves the task claimed, since there is more to do than there is time for.

        With what is known of failed attempts: they count, however often it goes from one driver to the next.
        """
        is_saved = drive.claim == self._token and self._noted(task, drive) == drive
        return Yielded(task, self._token) if is_saved else self._put(task, self._mine)

    def _put(self, task: Task, drive_as: Callable[[Task, Drive], Drive]) -> Task | Standing:
        return self._flow.hops.put(self._keep, task, task, drive_as=drive_as)

    def _look(self) -> Task | Standing:
        """The task as it is now. Another one with its id is not: it has requests of the same numbers."""
        found = self._keep.load(self._id)
        return Ended(None) if found is None or found.created_at != self._created_at else found

    # --- How the drive of a task is saved ---

    def _mine(self, task: Task, drive: Drive) -> Drive:
        """Claimed."""
        now = self._flow.now()
        return replace(self._noted(task, drive), claim=self._token, due_at=now + self._driver.lease(drive))

    def _left(self, task: Task, drive: Drive) -> Drive:
        """For whoever comes next."""
        noted = self._noted(task, drive)
        return replace(noted, claim=None, due_at=next_due(task, noted, self._flow.now()))

    def _mine_or_left(self, task: Task, drive: Drive) -> Drive:
        """Claimed if there is more to do now, else left, in the same save."""
        now, patience = self._flow.now(), self._driver.patience
        left = self._left(task, drive)
        is_near = left.due_at is not None and left.due_at <= now + patience
        return self._mine(task, drive) if is_near or self._under_way(task) else left

    def _noted(self, task: Task, drive: Drive) -> Drive:
        pending = set() if task.paused_state is None else set(task.paused_state.pending)
        known = (self._retries or {}).values()
        return replace(drive, retries=tuple(retry for retry in known if retry.request_id in pending))


def _passed_limit(task: Task, drive: Drive, now: datetime) -> ErrorDetail | None:
    """The limit of the policy that the task has passed, as its error."""
    assert task.paused_state is not None, "it is paused"
    policy, timers = drive.policy, task.paused_state.timers
    if now >= deadline(task, drive):
        seconds = policy.duration.total_seconds()
        return ErrorDetail(
            ErrorKind.DURATION_LIMIT, "LimitError", f"the task took longer than its duration of {seconds:g} s"
        )
    if task.paused_state.hops >= policy.hops:
        waiting = f"; {timers} timers still wait, is there a setInterval that is never cleared?" if timers else ""
        return ErrorDetail(
            ErrorKind.HOP_LIMIT, "LimitError", f"the task ran for its limit of {policy.hops} hops{waiting}"
        )
    return None
