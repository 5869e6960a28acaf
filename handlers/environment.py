"""What all functions share: settings from the environment, the flow and the telemetry, built once at import.

A setting that is missing or wrong stops the function at its start, with a message that names the variable. The engine
and the storage's client are made ready here too: Lambda gives the start of a function more CPU than its calls, and
with SnapStart it happens once for each version.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from handlers.keys import SigningKey
from handlers.queue import Queue, Schedules, SqsDispatcher
from handlers.telemetry import Telemetry
from sequential_core.checks import check_duration
from sequential_core.driver.event_urls import check_public_url
from sequential_core.errors import ConfigurationError, InvalidRequestError, StorageError
from sequential_core.flow import DEFAULT_TTL, SequentialFlow
from sequential_core.hops import Dispatcher
from sequential_core.limits import KIB, Limits
from sequential_core.storage.base import RevisionedStorage
from sequential_core.storage.url import ENVIRONMENT_VARIABLE as STORAGE
from sequential_core.storage.url import storage_from_url
from sequential_core.vm import guest

TTL = "SEQUENTIAL_TTL_SECONDS"
RETAIN = "SEQUENTIAL_RETAIN_SECONDS"
TRACING = "POWERTOOLS_TRACE_ENABLED"
DRIVER_QUEUE = "SEQUENTIAL_DRIVER_QUEUE"
DRIVER_QUEUE_ARN = "SEQUENTIAL_DRIVER_QUEUE_ARN"
DEAD_LETTERS = "SEQUENTIAL_DRIVER_DEAD_LETTERS"
SCHEDULE_GROUP = "SEQUENTIAL_SCHEDULE_GROUP"
SCHEDULER_ROLE = "SEQUENTIAL_SCHEDULER_ROLE"
SIGNING_KEY_SECRET = "SEQUENTIAL_SIGNING_KEY_SECRET"  # noqa: S105  # the name of a variable that has the name of one
LOOPBACK = "SEQUENTIAL_DRIVER_LOOPBACK"
PUBLIC_URL = "SEQUENTIAL_PUBLIC_URL"

# A function's answer may have 6 MB. The oldest pending request is in it twice, and JSON in the body of an HTTP answer
# is escaped once more, so that a byte may become four.
_LIMITS = Limits(request_bytes=512 * KIB)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says.

    Attributes:
        storage: opened.
        ttl: of tasks that do not say theirs.
        retain: how long outcomes are kept, of tasks that do not say; None: not at all.
        tracing: whether X-Ray is on.
        queue: what drives tasks; None: tasks can not be driven.
        signing_key: of callbacks and URLs of events.
        public_url: by which callers reach the HTTP API; None: as a request has it.
        loopback: whether the driver may call this machine, which is for tests.
    """

    storage: RevisionedStorage
    ttl: timedelta
    retain: timedelta | None
    tracing: bool
    queue: Queue | None
    signing_key: SigningKey
    public_url: str | None
    loopback: bool


def read(environment: Mapping[str, str]) -> Settings:
    """The settings.

    Raises:
        ConfigurationError: one is missing or wrong.
    """
    url = environment.get(STORAGE, "")
    if not url:
        raise ConfigurationError(STORAGE, "it must name a storage, such as dynamodb://table?bucket=states")
    try:
        storage = storage_from_url(url)
    except (InvalidRequestError, StorageError) as error:
        raise ConfigurationError(STORAGE, error.problem) from error
    return Settings(
        storage=storage,
        ttl=_duration(environment, TTL) or DEFAULT_TTL,
        retain=_duration(environment, RETAIN),
        tracing=_flag(environment, TRACING),
        queue=_queue(environment),
        signing_key=SigningKey(environment.get(SIGNING_KEY_SECRET) or None),
        public_url=check_public_url(environment[PUBLIC_URL]) if environment.get(PUBLIC_URL) else None,
        loopback=_flag(environment, LOOPBACK),
    )


def _queue(environment: Mapping[str, str]) -> Queue | None:
    url = environment.get(DRIVER_QUEUE) or None
    together = [environment.get(name) or None for name in (SCHEDULE_GROUP, SCHEDULER_ROLE, DRIVER_QUEUE_ARN)]
    if url is None:
        return None
    group, role, queue = together
    if group is None or role is None or queue is None:
        if any(together):
            raise ConfigurationError(SCHEDULE_GROUP, f"it goes together with {SCHEDULER_ROLE} and {DRIVER_QUEUE_ARN}")
        schedules = None
    else:
        schedules = Schedules(group, role, queue)
    return Queue(url, schedules=schedules, dead_letters=environment.get(DEAD_LETTERS) or None)


def _duration(environment: Mapping[str, str], name: str) -> timedelta | None:
    """A number of seconds; None if there is none, or zero."""
    text = environment.get(name) or "0"
    try:
        seconds = float(text)
        return check_duration(name, seconds) if seconds else None
    except ValueError:  # InvalidRequestError is one
        raise ConfigurationError(name, f"it must be a number of seconds, 0 or more, not {text[:50]!r}") from None


def _flag(environment: Mapping[str, str], name: str) -> bool:
    text = environment.get(name) or "false"
    if text.lower() not in {"true", "false", "1", "0"}:
        raise ConfigurationError(name, f"it must be true or false, not {text[:50]!r}")
    return text.lower() in {"true", "1"}


settings = read(os.environ)
telemetry = Telemetry(tracing=settings.tracing)


def make_flow(dispatcher: Dispatcher | None = None) -> SequentialFlow:
    """A flow of these settings.

    Args:
        dispatcher: is told of driven tasks that a caller has changed; None: nobody is.
    """
    return SequentialFlow(
        settings.storage,
        limits=_LIMITS,
        ttl=settings.ttl,
        retain=settings.retain,
        observer=telemetry,
        dispatcher=dispatcher,
    )


#: Of callers: a task that one of them has changed is driven.
flow = make_flow(None if settings.queue is None else SqsDispatcher(settings.queue))
guest.current()

# What SnapStart restores goes on with the same random numbers; botocore spreads its retries with them.
with contextlib.suppress(ImportError):
    from snapshot_restore_py import register_after_restore  # type: ignore[import-untyped]

    register_after_restore(random.seed)

# What there is now stays; collections need not look at it.
gc.freeze()
gc.enable()
