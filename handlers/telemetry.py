"""Logs, metrics and traces of the functions, by way of powertools: numbers and names, never code, bodies or state."""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections.abc import Callable
from typing import Any

from aws_lambda_powertools.logging import Logger, utils
from aws_lambda_powertools.metrics import Metrics, MetricUnit

from sequential_core.model import Status, Task

Handler = Callable[[Any, Any], Any]

_OUTCOMES = {Status.PAUSED: "Paused", Status.COMPLETED: "Completed", Status.ERROR: "Failed"}

_NAMESPACE = "Sequential"

#: Names the service in logs and metrics; the template gives it the name of the stack.
SERVICE = "POWERTOOLS_SERVICE_NAME"

# The parent of the core's loggers, which write what the operator is to know.
_CORE = "sequential"


class Telemetry:
    """Observes a flow, see `HopObserver`.

    Metrics, in the embedded metric format: Hops, Paused, Completed, Failed, Conflicts and ColdStart are counts,
    HopMilliseconds and StateBytes are of each hop. Of the messages that drive tasks: Drives, FailedDrives and
    DeadLetters are counts, LateMilliseconds is how long one could have been read before it was.

    It may be called from several threads.

    Args:
        tracing: whether calls are traced with X-Ray, whose SDK takes 250 ms to import.
    """

    def __init__(self, *, tracing: bool = False) -> None:
        self._service = os.environ.get(SERVICE) or "sequential"
        self.logger = Logger(service=self._service)
        logging.getLogger(_CORE)  # has to be there to be configured
        utils.copy_config_to_registered_loggers(self.logger, include={_CORE})
        self._metrics = Metrics(namespace=_NAMESPACE, service=self._service)
        self._tracing = tracing
        self._cold = True
        # Metrics of powertools looks at what it has before it adds to it.
        self._lock = threading.Lock()

    def hop_ended(self, task: Task, seconds: float) -> None:
        milliseconds = round(seconds * 1000, 3)
        self._count("Hops")
        self._count(_OUTCOMES[task.status])
        self._add("HopMilliseconds", MetricUnit.Milliseconds, milliseconds)
        facts: dict[str, Any] = {
            "task_id": task.id,
            "revision": task.revision,
            "status": task.status.value,
            "hop_milliseconds": milliseconds,
        }
        if task.paused_state is not None:
            facts["state_bytes"] = task.paused_state.state_bytes
            self._add("StateBytes", MetricUnit.Bytes, task.paused_state.state_bytes)
        if task.error_detail is not None:
            facts["error_kind"] = task.error_detail.kind.value
        self.logger.info("hop", extra=facts)

    def conflicted(self, task_id: str) -> None:
        self._count("Conflicts")
        self.logger.info("conflict", extra={"task_id": task_id})

    def drive_began(self, late_seconds: float) -> None:
        """A message was read, so long after it could have been."""
        self._count("Drives")
        self._add("LateMilliseconds", MetricUnit.Milliseconds, round(late_seconds * 1000))

    def drive_failed(self, task_id: str, problem: str, times_received: int) -> None:
        """A message could not be dealt with, and comes again; `problem` is for the operator."""
        self._count("FailedDrives")
        facts = {"task_id": task_id, "error": problem, "times_received": times_received}
        self.logger.warning("a task could not be driven", extra=facts)

    def dead_letter(self, task_id: str, outcome: str) -> None:
        """A message was given up; `outcome` is what became of its task."""
        self._count("DeadLetters")
        self.logger.error("a message was given up", extra={"task_id": task_id, "outcome": outcome})

    def observed(self, handler: Handler) -> Handler:
        """The handler with the facts of its call in the logs, and its metrics written at its end."""

        @functools.wraps(handler)
        def flushing(event: Any, context: Any) -> Any:
            if self._cold:
                self._cold = False
                self._count("ColdStart")
            try:
                return handler(event, context)
            finally:
                with self._lock:
                    if self._metrics.metric_set:
                        self._metrics.flush_metrics()

        with_facts: Handler = self.logger.inject_lambda_context(log_event=False, clear_state=True)(flushing)
        if not self._tracing:
            return with_facts
        from aws_lambda_powertools.tracing import Tracer

        traced: Handler = Tracer(service=self._service).capture_lambda_handler(
            capture_response=False, capture_error=False
        )(with_facts)
        return traced

    def _count(self, name: str) -> None:
        self._add(name, MetricUnit.Count, 1)

    def _add(self, name: str, unit: MetricUnit, value: float) -> None:
        with self._lock:
            self._metrics.add_metric(name, unit, value)
