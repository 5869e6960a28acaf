"""What it means that a task drives itself: how its requests are performed, and where that stands.

A task is *driven* if it has a `Drive`. Whoever performs its requests is a driver (`sequential_core/driver/`); these are
the values that a driver, the flow and the storages share. docs/driving.md has the rules.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, cast

from sequential_core.checks import check_duration, from_rfc3339, to_rfc3339
from sequential_core.errors import InvalidRequestError
from sequential_core.limits import MIB

if TYPE_CHECKING:
    from sequential_core.model import Task

AnswerKind = Literal["value", "response"]

#: How long driven tasks wait, and how long their outcome is kept, if their request does not say.
DRIVEN_TTL = timedelta(days=30)
DRIVEN_RETAIN = timedelta(days=1)

_HISTORY = 50
_LOG_ENTRIES = 20
_LOG_CHARACTERS = 500
_URL_CHARACTERS = 200

_MOST_ATTEMPTS = 20
_MOST_TIMEOUT = timedelta(minutes=10)
_MOST_HOPS = 1_000_000
_MOST_PATTERNS = 100
_MOST_RESPONSE_BYTES = 5 * MIB  # as text, or base64, it has to be an answer: `Limits.answer_bytes`

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")
# A host, or an IPv6 address in brackets; no user and no password, which no driver sends.
_CALLBACK = re.compile(r"https?://(?:[0-9A-Za-z._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:[/?][!-~]*)?")

#: A longer URL is none that is called back.
CALLBACK_CHARACTERS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How the requests of a task are performed.

    Attributes:
        answers: "value": the code gets the parsed JSON of a body if its content type is JSON, or else its text, and a
            status of 400 or more rejects. "response": the code gets a `Response`.
        attempts: of a request, the first one included.
        backoff: before the second attempt, twice as long before each further one; of each wait a random part, from
            half to all of it.
        max_backoff: no wait is longer; a Retry-After may be, up to a day.
        retry_statuses: responses with these are asked for again. 429 and 503 honour Retry-After.
        retry_methods: requests with other methods are sent once. Those that are not idempotent by themselves (RFC 9110,
            section 9.2.2) get an Idempotency-Key, the same for all attempts, unless the code has set one.
        timeout: for connecting, for each wait for data, and for the whole response.
        response_bytes: a longer body, after decompression, rejects.
        hops: a task that runs more often ends with an error.
        duration: a task that takes longer ends with an error.
        allow: host patterns; if there are any, no other host may be called.
        deny: host patterns; these hosts may not be called.
    """

    answers: AnswerKind = "value"
    attempts: int = 5
    backoff: timedelta = timedelta(seconds=1)
    max_backoff: timedelta = timedelta(minutes=5)
    retry_statuses: tuple[int, ...] = (408, 425, 429, 500, 502, 503, 504)
    retry_methods: tuple[str, ...] = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "POST", "PATCH")
    timeout: timedelta = timedelta(seconds=30)
    response_bytes: int = _MOST_RESPONSE_BYTES
    hops: int = 10_000
    duration: timedelta = timedelta(days=400)
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON form: what differs from the defaults. Durations are seconds."""
        given: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if value != each.default:
                given[_JSON_NAMES[each.name]] = value.total_seconds() if isinstance(value, timedelta) else value
        return {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Policy:
        """The policy of a JSON form, checked; what is left out, or null, is as it is by default.

        Raises:
            InvalidRequestError: a member is unknown or not of its kind.
        """
        if not given:
            return cls()  # most policies
        names = {json_name: name for name, json_name in _JSON_NAMES.items()}
        unknown = sorted(str(name) for name in given if name not in names)
        if unknown:
            known = ", ".join(sorted(names))
            raise InvalidRequestError("drive", f"unknown fields: {', '.join(unknown)[:200]}; known: {known}")
        return check_policy(cls(**{names[name]: value for name, value in given.items() if value is not None}))


_JSON_NAMES = {each.name: re.sub(r"_([a-z])", lambda found: found[1].upper(), each.name) for each in fields(Policy)}


def check_policy(policy: Policy) -> Policy:
    """The policy, with durations for seconds and tuples for lists.

    Raises:
        InvalidRequestError: a field is not of its kind.
    """
    if policy.answers not in ("value", "response"):
        raise InvalidRequestError("drive.answers", "it must be value or response")
    _check_whole("attempts", policy.attempts, 1, _MOST_ATTEMPTS)
    _check_whole("responseBytes", policy.response_bytes, 1, _MOST_RESPONSE_BYTES)
    _check_whole("hops", policy.hops, 1, _MOST_HOPS)
    statuses = _sequence("retryStatuses", policy.retry_statuses)
    for status in statuses:
        _check_whole("retryStatuses", status, 400, 599)
    methods = _sequence("retryMethods", policy.retry_methods)
    if not all(isinstance(method, str) and _TOKEN.fullmatch(method) for method in methods):
        raise InvalidRequestError("drive.retryMethods", "they must be names of methods")
    timeout = check_duration("drive.timeout", policy.timeout)
    if timeout > _MOST_TIMEOUT:
        raise InvalidRequestError("drive.timeout", f"it is at most {_MOST_TIMEOUT.total_seconds():g} seconds")
    return replace(
        policy,
        backoff=check_duration("drive.backoff", policy.backoff),
        max_backoff=check_duration("drive.maxBackoff", policy.max_backoff),
        retry_statuses=statuses,
        retry_methods=tuple(method.upper() for method in methods),
        timeout=timeout,
        duration=check_duration("drive.duration", policy.duration),
        allow=_patterns("allow", policy.allow),
        deny=_patterns("deny", policy.deny),
    )


def _check_whole(name: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidRequestError(f"drive.{name}", f"it must be a whole number from {least} to {most}")


def _sequence(name: str, value: object) -> tuple[Any, ...]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence) or len(value) > _MOST_PATTERNS:
        raise InvalidRequestError(f"drive.{name}", f"it must be a list of at most {_MOST_PATTERNS} values")
    return tuple(value)


def _patterns(name: str, value: object) -> tuple[str, ...]:
    patterns = _sequence(name, value)
    if patterns:
        from sequential_core.driver.rules import check_pattern  # most policies have none

        for pattern in patterns:
            check_pattern(pattern)
    return cast("tuple[str, ...]", patterns)


def read_policy(drive: object) -> Policy | None:
    """What the argument `drive` of `execute` asks for: True, a `Policy` or its JSON form; None and False: no driving.

    Raises:
        InvalidRequestError: it is none of these.
    """
    if drive is None or drive is False:
        return None
    if drive is True:
        return Policy()
    if isinstance(drive, Policy):
        return check_policy(drive)
    if isinstance(drive, Mapping):
        return Policy.from_dict(drive)
    raise InvalidRequestError("drive", "it must be true, false or an object")


# --- Where the driving of a task stands ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Retry:
    """A request that failed and is tried again.

    Attributes:
        attempts: how many have failed.
        next_at: when the next one is due.
        problem: of the last one.
    """

    request_id: int
    attempts: int
    next_at: datetime
    problem: str

    def to_dict(self) -> dict[str, Any]:
        return {
            "requestId": self.request_id,
            "attempts": self.attempts,
            "nextAt": to_rfc3339(self.next_at),
            "problem": self.problem,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Retry:
        return cls(data["requestId"], data["attempts"], from_rfc3339(data["nextAt"]), data["problem"])


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request as it was answered, for those who look at the task.

    Attributes:
        hop: the hop that took the answer; hops are counted from 1.
        url: without its query, and cut to 200 characters; "tool:" and its name if it was a tool.
        status: of the response; None if there was none.
        milliseconds: of the last attempt.
        size_bytes: of the body.
        attempts: how many it took.
    """

    hop: int
    url: str
    status: int | None
    milliseconds: int
    size_bytes: int
    attempts: int = 1

    def to_dict(self) -> dict[str, Any]:
        return {
            "hop": self.hop,
            "url": self.url,
            "status": self.status,
            "milliseconds": self.milliseconds,
            "bytes": self.size_bytes,
            "attempts": self.attempts,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Exchange:
        return cls(data["hop"], data["url"], data["status"], data["milliseconds"], data["bytes"], data["attempts"])


def shown_url(url: str) -> str:
    """A URL as a history has it: a query may hold secrets."""
    return url.partition("?")[0].partition("#")[0][:_URL_CHARACTERS]


@dataclass(frozen=True, slots=True)
class Callback:
    """Who is told the outcome of a task.

    Attributes:
        url: gets a POST with the JSON form of the task, signed.
        attempts: how often that was tried.
        next_at: when it is tried next; None while the task goes on, and once nothing is to be tried any more.
        delivered_at: when a server took it; None if none has.
        problem: of the last attempt that failed.
    """

    url: str
    attempts: int = 0
    next_at: datetime | None = None
    delivered_at: datetime | None = None
    problem: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "url": self.url,
            "attempts": self.attempts,
            "nextAt": None if self.next_at is None else to_rfc3339(self.next_at),
            "deliveredAt": None if self.delivered_at is None else to_rfc3339(self.delivered_at),
            "problem": self.problem,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Callback:
        return cls(
            url=data["url"],
            attempts=data["attempts"],
            next_at=None if data["nextAt"] is None else from_rfc3339(data["nextAt"]),
            delivered_at=None if data["deliveredAt"] is None else from_rfc3339(data["deliveredAt"]),
            problem=data["problem"],
        )


def check_callback_url(url: object) -> str:
    """The URL, if it may be one that is called back. Whether its address may be called is seen then.

    Raises:
        InvalidRequestError: it is no absolute http(s) URL of visible ASCII, up to 2,000 characters.
    """
    if not isinstance(url, str) or len(url) > CALLBACK_CHARACTERS or _CALLBACK.fullmatch(url) is None:
        raise InvalidRequestError("callbackUrl", "it must be an absolute http or https URL of up to 2,000 characters")
    return url


@dataclass(frozen=True, slots=True)
class Claim:
    """That a driver is at a task, or is on its way.

    Attributes:
        token: random; who has it may go on.
        until: from then on the claim is void.
    """

    token: str
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """The driving of a task.

    Attributes:
        policy: how its requests are performed.
        claim: token of the driver that is at it; None if none is.
        due_at: from then on a driver is to look at the task, whether or not it was claimed before; None: none needs to.
        retries: requests that failed and are tried again.
        history: the latest 50 requests that were answered, oldest first.
        log: the latest 20 entries of the console, over all hops, each cut to 500 characters.
        callback: who is told the outcome.
    """

    policy: Policy = field(default_factory=Policy)
    claim: str | None = None
    due_at: datetime | None = None
    retries: tuple[Retry, ...] = ()
    history: tuple[Exchange, ...] = ()
    log: tuple[tuple[str, str], ...] = ()
    callback: Callback | None = None

    @property
    def next_attempt_at(self) -> datetime | None:
        """When the first of the failed requests is tried again; None if there is none."""
        return min((retry.next_at for retry in self.retries), default=None)

    def is_claimed(self, now: datetime) -> bool:
        """Whether a driver is at the task."""
        return self.claim is not None and self.due_at is not None and self.due_at > now

    def to_dict(self) -> dict[str, Any]:
        return {
            "policy": self.policy.to_dict(),
            "claim": self.claim,
            "dueAt": None if self.due_at is None else to_rfc3339(self.due_at),
            "nextAttemptAt": None if self.next_attempt_at is None else to_rfc3339(self.next_attempt_at),
            "retries": [retry.to_dict() for retry in self.retries],
            "history": [exchange.to_dict() for exchange in self.history],
            "log": [{"level": level, "message": message} for level, message in self.log],
            "callback": None if self.callback is None else self.callback.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Drive:
        callback = data["callback"]
        return cls(
            policy=Policy.from_dict(data["policy"]),
            claim=data["claim"],
            due_at=None if data["dueAt"] is None else from_rfc3339(data["dueAt"]),
            retries=tuple(Retry.from_dict(each) for each in data["retries"]),
            history=tuple(Exchange.from_dict(each) for each in data["history"]),
            log=tuple((entry["level"], entry["message"]) for entry in data["log"]),
            callback=None if callback is None else Callback.from_dict(callback),
        )


def grown(drive: Drive, task: Task, exchanges: tuple[Exchange, ...] = ()) -> Drive:
    """The drive after a hop that left the task so: with what it logged, and without the retries of what is over."""
    pending = set() if task.paused_state is None else set(task.paused_state.pending)
    logged = tuple((entry.level, entry.message[:_LOG_CHARACTERS]) for entry in task.logs)
    callback = drive.callback
    if callback is not None and task.paused_state is None and callback.attempts == 0 and callback.delivered_at is None:
        callback = replace(callback, next_at=task.updated_at)
    return replace(
        drive,
        retries=tuple(retry for retry in drive.retries if retry.request_id in pending),
        history=(*drive.history, *exchanges)[-_HISTORY:],
        log=(*drive.log, *logged)[-_LOG_ENTRIES:],
        callback=callback,
    )


def next_due(task: Task, drive: Drive, now: datetime) -> datetime | None:
    """When a driver has something to do for a task that nobody is at; None: not before somebody else changes it."""
    paused = task.paused_state
    if paused is None:
        return None if drive.callback is None else drive.callback.next_at
    waiting = {retry.request_id: retry.next_at for retry in drive.retries}
    moments = [waiting.get(request.id, now) for request in task.performable]
    if paused.wake_at is not None:
        moments.append(paused.wake_at)
    due = max(min((*moments, deadline(task, drive))), now)
    return None if task.expires_at is not None and due >= task.expires_at else due


def deadline(task: Task, drive: Drive) -> datetime:
    """When the task has taken too long."""
    return task.created_at + drive.policy.duration
