"""The worker: drives the tasks of a storage in the background of a process, as `sequential serve` does.

What there is to do is in the storage, `drive.due_at` of each task, and nowhere else. So a worker that starts finds what
one that ended has left, timers included, and any number of workers may share a storage.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable

from sequential_core.drive import Claim
from sequential_core.driver.driver import Driver
from sequential_core.driver.running import let_go
from sequential_core.driver.standing import Yielded
from sequential_core.errors import RetryableError, StorageError
from sequential_core.model import Task

# How many tasks are driven at once. Mostly they wait for servers.
_AT_A_TIME = 32

# How often a storage is asked what is due.
_ASK_SECONDS = 0.25

# A task that cannot be driven, as after an upgrade of the guest, is tried again after so long.
_AFTER_FAILURE_SECONDS = 30.0

_logger = logging.getLogger("sequential.driver")


class Worker:
    """Drives what is due, until it is stopped. It is a `Dispatcher` too, for the flow of the callers in its process.

    Args:
        driver: drives one task.
        at_a_time: how many tasks are driven at once.
        ask_seconds: how often the storage is asked what is due, unless `dispatch` tells of it.
        clock: counts seconds, for waits between failures.
    """

    def __init__(
        self,
        driver: Driver,
        *,
        at_a_time: int = _AT_A_TIME,
        ask_seconds: float = _ASK_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._driver = driver
        self._at_a_time = at_a_time
        self._ask_seconds = ask_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._driven: dict[str, str] = {}  # ids to tokens
        self._not_before: dict[str, float] = {}
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

    def dispatch(self, task: Task) -> None:  # noqa: ARG002  # the interface
        """Looks at what is due now."""
        self._wake.set()

    def _work(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                self._begin_what_is_due()
            except (StorageError, RetryableError):
                _logger.exception("the storage cannot be asked what is due")
                self._wake.wait(_AFTER_FAILURE_SECONDS)
            self._wake.wait(self._ask_seconds)

    def _begin_what_is_due(self) -> None:
        now, flow = self._clock(), self._driver.flow
        with self._lock:
            self._not_before = {task_id: at for task_id, at in self._not_before.items() if at > now}
            busy = self._driven.keys() | self._not_before.keys()
            free = self._at_a_time - len(self._driven)
        if free <= 0:
            return
        for task_id in flow.revisioned().due(flow.now(), limit=free + len(busy)):
            if task_id not in busy and free > 0:
                free -= 1
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
            standing = self._driver.drive(task_id, token=token)
            if isinstance(standing, Yielded):
                let_go(self._driver.flow, task_id, token)
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
