"""The worker: drives the tasks of a storage in the background of a process, as `sequential serve` does.

What there is to do is in the storage, `drive.due_at` of each task, and nowhere else. So a worker that starts finds what
one that ended has left, timers included, and any number of workers may share a storage.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from sequential_core.drive import Claim
from sequential_core.driver.driver import Driver
from sequential_core.driver.running import let_go
from sequential_core.driver.standing import Yielded
from sequential_core.model import Task
from sequential_core.storage.base import RevisionedStorage

# How many tasks are driven at once. Mostly they wait for servers.
_AT_A_TIME = 32

# A task that always has something to do is driven for so long while others wait; then it is their turn.
_TURN_SECONDS = 10.0

# How often a storage is asked what is due: one with an index, and one that walks all tasks, as DynamoDB does. What this
# process itself has left or was told of is known without asking.
_ASK_SECONDS = 0.25
_ASK_SECONDS_WITHOUT_INDEX = 60.0

# A task that cannot be driven, as after an upgrade of the guest, is tried again after so long.
_AFTER_FAILURE_SECONDS = 30.0

_logger = logging.getLogger("sequential.driver")


class Worker:
    """Drives what is due, until it is stopped. It is a `Dispatcher` too, for the flow of the callers in its process.

    Args:
        driver: drives one task.
        at_a_time: how many tasks are driven at once.
        ask_seconds: how often the storage is asked what is due; None: four times a second if it has an index of that,
            or else once a minute.
        turn_seconds: how long a task is driven at least, when others wait and as many as may be are driven.
        clock: counts seconds, for waits between failures.
    """

    def __init__(
        self,
        driver: Driver,
        *,
        at_a_time: int = _AT_A_TIME,
        ask_seconds: float | None = None,
        turn_seconds: float = _TURN_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._driver = driver
        self._at_a_time = at_a_time
        self._ask_seconds = _usual_ask_seconds(driver) if ask_seconds is None else ask_seconds
        self._turn_seconds = turn_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._driven: dict[str, str] = {}  # ids to tokens
        self._not_before: dict[str, float] = {}
        # What is due before the storage is asked again.
        self._known: dict[str, datetime] = {}
        self._wake = threading.Event()
        self._idle = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="sequential-worker", daemon=True)

    def start(self) -> None:
        """Begins, in a thread of its own."""
        self._thread.start()

    def stop(self, grace_seconds: float = 10.0) -> None:
        """Begins nothing more, waits a while for what is under way, and lets go of the rest."""
        self._stopping = True
        self._driver.stop()
        self._wake.set()
        self._thread.join()
        with self._lock:
            if not self._driven:
                self._idle.set()
        self._idle.wait(grace_seconds)
        with self._lock:
            left = dict(self._driven)
        for task_id, token in left.items():
            let_go(self._driver.flow, task_id, token)

    def prepare(self, task_id: str) -> Claim | None:  # noqa: ARG002  # the interface
        """Nothing: the storage says what is due."""
        return None

    def dispatch(self, task: Task) -> None:
        """Drives the task when it is due."""
        self._note(task)
        self._wake.set()

    def _note(self, task: Task | None) -> None:
        """Keeps in mind when a task is due, if that is before the storage is asked for it."""
        if task is None or task.drive is None or task.drive.due_at is None:
            return
        if task.drive.due_at <= self._driver.flow.now() + timedelta(seconds=self._ask_seconds):
            with self._lock:
                # Whoever is told of it last may have looked first; to look early does no harm.
                self._known[task.id] = min(task.drive.due_at, self._known.get(task.id, task.drive.due_at))

    def _work(self) -> None:
        ask_at = self._clock()
        while not self._stopping:
            self._wake.clear()
            if self._clock() >= ask_at:
                ask_at = self._clock() + self._ask()
            self._begin_what_is_due()
            self._wake.wait(max(min(ask_at - self._clock(), self._seconds_to_known()), 0))

    def _ask(self) -> float:
        """Asks the storage what is due, and says in how many seconds it is to be asked again."""
        flow = self._driver.flow
        with self._lock:
            busy = len(self._driven) + len(self._not_before)
        try:
            due = flow.revisioned().due(flow.now(), limit=self._at_a_time + busy)
        except Exception:  # whatever it is, the worker must go on
            _logger.exception("the storage cannot be asked what is due")
            return _AFTER_FAILURE_SECONDS
        with self._lock:
            for task_id in due:
                if task_id not in self._driven:
                    self._known.setdefault(task_id, flow.now())
        return self._ask_seconds

    def _seconds_to_known(self) -> float:
        """Until the first known task is due; for ever if none can be begun before another has ended."""
        with self._lock:
            waiting = [at for task_id, at in self._known.items() if self._is_free(task_id)]
            if not waiting or len(self._driven) >= self._at_a_time:
                return math.inf
        return (min(waiting) - self._driver.flow.now()).total_seconds()

    def _is_free(self, task_id: str) -> bool:
        return task_id not in self._driven and task_id not in self._not_before

    def _is_waited_for(self) -> bool:
        """Whether a task is due that cannot be begun before another one is left."""
        now = self._driver.flow.now()
        with self._lock:
            is_full = len(self._driven) >= self._at_a_time
            return is_full and any(at <= now and self._is_free(task_id) for task_id, at in self._known.items())

    def _begin_what_is_due(self) -> None:
        now = self._driver.flow.now()
        with self._lock:
            passed = self._clock()
            self._not_before = {task_id: at for task_id, at in self._not_before.items() if at > passed}
            due = sorted((at, task_id) for task_id, at in self._known.items() if at <= now and self._is_free(task_id))
            chosen = [task_id for _, task_id in due[: self._at_a_time - len(self._driven)]]
            for task_id in chosen:
                del self._known[task_id]
        for task_id in chosen:
            self._begin(task_id)

    def _begin(self, task_id: str) -> None:
        token = self._driver.new_token()
        with self._lock:
            self._driven[task_id] = token
            self._idle.clear()
        # A daemon: a server that is slow to answer does not keep the process.
        threading.Thread(target=self._drive, args=(task_id, token), daemon=True).start()

    def _drive(self, task_id: str, token: str) -> None:
        try:
            until = self._clock() + self._turn_seconds
            standing = self._driver.drive(
                task_id, token=token, gives_way=lambda: self._clock() >= until and self._is_waited_for()
            )
            if isinstance(standing, Yielded):
                let_go(self._driver.flow, task_id, token)
            self._note(standing.task)
        except Exception:
            _logger.exception("task %s cannot be driven", task_id)
            with self._lock:
                self._not_before[task_id] = self._clock() + _AFTER_FAILURE_SECONDS
            with contextlib.suppress(Exception):
                let_go(self._driver.flow, task_id, token)
        finally:
            with self._lock:
                del self._driven[task_id]
                if not self._driven:
                    self._idle.set()
            self._wake.set()


def _usual_ask_seconds(driver: Driver) -> float:
    has_index = type(driver.flow.revisioned()).due is not RevisionedStorage.due
    return _ASK_SECONDS if has_index else _ASK_SECONDS_WITHOUT_INDEX
