"""What all functions share: settings from the environment, the flow and the telemetry, built once at import.

A setting that is missing or wrong stops the function at its start, with a message that names the variable. The engine
and the storage's client are made ready here too: Lambda gives the start of a function more CPU than its calls, and
with SnapStart it happens once for each version.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from handlers.telemetry import Telemetry
from sequential_core.checks import check_duration
from sequential_core.errors import ConfigurationError, InvalidRequestError, StorageError
from sequential_core.flow import DEFAULT_TTL, SequentialFlow
from sequential_core.limits import KIB, Limits
from sequential_core.storage.base import RevisionedStorage
from sequential_core.storage.url import ENVIRONMENT_VARIABLE as STORAGE
from sequential_core.storage.url import storage_from_url
from sequential_core.vm import guest

TTL = "SEQUENTIAL_TTL_SECONDS"
RETAIN = "SEQUENTIAL_RETAIN_SECONDS"
TRACING = "POWERTOOLS_TRACE_ENABLED"

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
    """

    storage: RevisionedStorage
    ttl: timedelta
    retain: timedelta | None
    tracing: bool


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
    )


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


_settings = read(os.environ)
telemetry = Telemetry(tracing=_settings.tracing)
flow = SequentialFlow(_settings.storage, limits=_LIMITS, ttl=_settings.ttl, retain=_settings.retain, observer=telemetry)
guest.current()

# What SnapStart restores goes on with the same random numbers; botocore spreads its retries with them.
with contextlib.suppress(ImportError):
    from snapshot_restore_py import register_after_restore  # type: ignore[import-untyped]

    register_after_restore(random.seed)
