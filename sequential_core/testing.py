"""Runs programs in tests: a function answers their requests, their time is moved, and nothing is stored.

    from sequential_core.testing import Answers, response, run_program

    answers = Answers({"https://api.test/rate": response({"left": 0}, status=429)})
    run = run_program('(await fetch("https://api.test/rate")).status', answers, pause_everywhere=True)
    assert run.result == 429

    answers = Answers(tools={"add": lambda args: args["a"] + args["b"]}, events={"paid": After(3600, {"cents": 5})})
    run = run_program('await callTool("add", {a: 1, b: (await waitForEvent("paid")).cents})', answers)
    assert run.result == 6

A program goes on in a fresh machine after each of its pauses, as it would in production. With `pause_everywhere` it
does so before every job of its job queue, and its test shows that it means the same wherever it is cut.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, cast

from sequential_core.answers import check_answer, check_answer_kind
from sequential_core.errors import SequentialError
from sequential_core.limits import Limits
from sequential_core.model import ErrorDetail, Language, LogEntry, check_language
from sequential_core.pending import (
    BASE64,
    Answer,
    ErrorAnswer,
    Pending,
    PendingEvent,
    PendingRequest,
    PendingTool,
    ResponseAnswer,
    ValueAnswer,
)
from sequential_core.vm import guest as guests
from sequential_core.vm import program as programs

__all__ = [
    "After",
    "Answers",
    "EndlessProgramError",
    "ErrorAnswer",
    "MovedClock",
    "NEVER",
    "NOW",
    "PendingEvent",
    "PendingRequest",
    "PendingTool",
    "ProgramFailedError",
    "ResponseAnswer",
    "Run",
    "UnexpectedRequestError",
    "ValueAnswer",
    "in_turn",
    "response",
    "run_program",
]

_DEFAULT_LIMITS = Limits()
_MOST_PAUSES = 10_000

#: When the time of a test begins, if its clock says nothing else.
NOW = datetime(2030, 1, 1, tzinfo=UTC)


class MovedClock:
    """A clock that moves only when told."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, by: timedelta) -> None:
        self.now += by


class Never(Enum):
    """In place of an answer: the request is never answered."""

    NEVER = "never"


NEVER = Never.NEVER


@dataclass(frozen=True, slots=True)
class After:
    """An answer that comes so many seconds after the request, by the clock of the test.

    Attributes:
        seconds: how long it takes.
        answer: an answer, an exception (the request fails with its message), or else a JSON value.
    """

    seconds: float
    answer: Any


Reply = Answer | After | Never
#: Of a program that makes nothing but fetches, or of any.
Respond = Callable[[PendingRequest], Reply] | Callable[[Pending], Reply]


class UnexpectedRequestError(SequentialError, AssertionError):
    """The program made a request for which `Answers` have no answer."""

    def __init__(self, request: Pending) -> None:
        super().__init__(f"there is no answer for {request.label}")
        self.request = request


class EndlessProgramError(SequentialError, AssertionError):
    """The program waits for what never comes, or was paused too often."""

    def __init__(self, waits: programs.Suspended, pauses: int) -> None:
        what = [request.label for request in waits.requests] or ["timers"]
        super().__init__(f"after {pauses} pauses the program still waits for {', '.join(what)}")
        self.pauses = pauses


class ProgramFailedError(SequentialError, AssertionError):
    """The result of a program was asked for, and it has none."""

    def __init__(self, error: ErrorDetail) -> None:
        super().__init__(f"the program ended with {error}\n{error.stack}".rstrip())
        self.error = error


@dataclass(frozen=True, slots=True)
class Run:
    """What a program did from its beginning to its end.

    Attributes:
        outcome: how it ended.
        requests: all its calls of `fetch`, in order, but for those that it aborted before it was paused.
        tool_calls: those of `callTool`.
        event_waits: those of `waitForEvent`.
        logs: what it wrote to `console`.
        pauses: how often it was suspended. The cuts of `pause_everywhere` do not count.
        elapsed: how long it took, by its clock.
    """

    outcome: programs.Completed | programs.Failed
    requests: tuple[PendingRequest, ...]
    tool_calls: tuple[PendingTool, ...]
    event_waits: tuple[PendingEvent, ...]
    logs: tuple[LogEntry, ...]
    pauses: int
    elapsed: timedelta

    @property
    def result(self) -> Any:
        """The value of its final expression.

        Raises:
            ProgramFailedError: it ended with an error.
        """
        if isinstance(self.outcome, programs.Failed):
            raise ProgramFailedError(self.outcome.error)
        return self.outcome.result

    @property
    def error(self) -> ErrorDetail | None:
        """How it failed; None if it did not."""
        return self.outcome.error if isinstance(self.outcome, programs.Failed) else None

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(request.url for request in self.requests)

    @property
    def meaning(self) -> tuple[object, ...]:
        """What two runs of one program must agree on, however they are cut."""
        made = (self.requests, self.tool_calls, self.event_waits)
        return replace(self.outcome, logs=()), *made, self.logs, self.pauses, self.elapsed


@dataclass
class Answers:
    """Answers requests by a table, and remembers them.

    Attributes:
        table: by URL, or by method and URL ("POST https://api.test/"): an answer, an `After`, `NEVER`, an exception
            (the fetch fails with its message), a function of the request that gives one of these, or else a JSON value.
            A URL that ends in * stands for all that begin so; the longest that fits counts.
        tools: by the name of a tool, the same. A function gets the arguments of the call.
        events: by the name of an event, the same but for exceptions. A function gets the `PendingEvent`.
        requests, tool_calls, event_waits: those that were answered so far.
    """

    table: Mapping[str, Any] = field(default_factory=dict)
    tools: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    events: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    requests: list[PendingRequest] = field(default_factory=list)
    tool_calls: list[PendingTool] = field(default_factory=list, kw_only=True)
    event_waits: list[PendingEvent] = field(default_factory=list, kw_only=True)

    def __call__(self, request: Pending) -> Reply:
        try:
            match request:
                case PendingRequest():
                    self.requests.append(request)
                    return self._of_fetch(request)
                case PendingTool():
                    self.tool_calls.append(request)
                    return _reply(self.tools.get(request.name, in_turn()), request.args)
                case PendingEvent():
                    self.event_waits.append(request)
                    return _reply(self.events.get(request.name, in_turn()), request)
        except _NoneLeft:
            raise UnexpectedRequestError(request) from None

    def _of_fetch(self, request: PendingRequest) -> Reply:
        for key in (f"{request.method} {request.url}", request.url):
            if key in self.table:
                return _reply(self.table[key], request)
        names = (request.url, f"{request.method} {request.url}")
        fitting = [key for key in self.table if key.endswith("*") and any(name.startswith(key[:-1]) for name in names)]
        if not fitting:
            raise UnexpectedRequestError(request)
        return _reply(self.table[max(fitting, key=len)], request)


class _NoneLeft(Exception):
    """`in_turn` has no more."""


def _reply(given: Any, argument: Any) -> Reply:
    if callable(given):
        given = given(argument)
    return given if isinstance(given, After | Never) else _answer(given)


def _answer(given: Any) -> Answer:
    if isinstance(given, ValueAnswer | ResponseAnswer | ErrorAnswer):
        return given
    return ErrorAnswer(str(given)) if isinstance(given, Exception) else ValueAnswer(given)


def in_turn(*replies: Any) -> Callable[[Any], Any]:
    """For `Answers`: the first request gets the first of these, and so on; after the last one there is no answer."""
    left = iter(replies)

    def reply(argument: Any) -> Any:
        for each in left:
            return each(argument) if callable(each) else each
        raise _NoneLeft

    return reply


def response(
    body: Any = "",
    *,
    status: int = 200,
    status_text: str = "",
    headers: Mapping[str, str | list[str]] | None = None,
    url: str = "",
    redirected: bool = False,
) -> ResponseAnswer:
    """An answer that the code gets as a `Response`.

    Args:
        body: text, bytes, None, or what is to be sent as JSON, with a content type that says so.
    """
    fields = dict(headers or {})
    encoding = None
    if isinstance(body, bytes):
        body, encoding = base64.b64encode(body).decode(), BASE64
    elif body is not None and not isinstance(body, str):
        body = json.dumps(body)
        if all(name.lower() != "content-type" for name in fields):
            fields["content-type"] = "application/json"
    return ResponseAnswer(
        status=status,
        status_text=status_text,
        headers=fields,
        body=body,
        body_encoding=encoding,
        url=url,
        redirected=redirected,
    )


def run_program(
    code: str,
    respond: Respond | Mapping[str, Any],
    *,
    language: Language | str = Language.JAVASCRIPT,
    pause_everywhere: bool = False,
    one_machine: bool = False,
    seed: int | None = None,
    limits: Limits = _DEFAULT_LIMITS,
    clock: MovedClock | None = None,
    most_pauses: int = _MOST_PAUSES,
) -> Run:
    """Runs a program to its end.

    Time stands still while the code runs. When nothing can go on, the clock is moved to the next timer or answer.

    Args:
        code: the program.
        language: "javascript" or "typescript".
        respond: what answers a request of whichever kind; called once for each, in their order. A mapping stands for
            `Answers` of it.
        pause_everywhere: cut it before every job of its job queue, not only at its pauses.
        one_machine: do not cut it at all: its memory is never saved and restored.
        seed: of the order in which answers that are there are delivered, one at a time; oldest first if None.
        limits: of each hop.
        clock: its time; None: one that begins at `NOW`.
        most_pauses: the run is given up after so many.

    Raises:
        CodeError: the code does not parse, is too large, or is not text.
        InvalidAnswerError: an answer cannot be taken.
        UnexpectedRequestError: the table has no answer.
        EndlessProgramError: the program waits for what never comes, or was paused too often.
    """
    if isinstance(respond, Mapping):
        respond = Answers(respond)
    clock = clock or MovedClock()
    if check_language(language) is Language.TYPESCRIPT:
        from sequential_core import typescript  # which JavaScript does without

        code = typescript.strip(code, limits)
    program = programs.Program(guests.current(), limits, clock, pause_everywhere=pause_everywhere, uncut=one_machine)

    def go_on(paused: programs.Suspended, answers: dict[int, Answer]) -> programs.Outcome:
        if one_machine:
            return program.hop(lambda: program.settle(answers))
        return programs.resume(paused.state, answers, limits, clock, pause_everywhere=pause_everywhere)

    return _to_the_end(
        program.hop(lambda: program.begin(programs.encode_code(code, limits))),
        go_on,
        _Mail(respond, clock, limits, None if seed is None else random.Random(seed)),
        most_pauses,
    )


class _Mail:
    """The requests of a run, and the answers that are on their way."""

    def __init__(self, respond: Respond, clock: MovedClock, limits: Limits, order: random.Random | None) -> None:
        self.requests: dict[int, Pending] = {}
        self.clock = clock
        self._respond = respond
        self._limits = limits
        self._order = order
        self._coming: dict[int, tuple[datetime, Answer]] = {}

    def send(self, request: Pending) -> None:
        if request.id in self.requests:
            return
        self.requests[request.id] = request
        # Whoever wrote a function for fetches alone has a program that makes no others.
        reply = cast("Callable[[Pending], Reply]", self._respond)(request)
        if isinstance(reply, Never):
            return
        after, answer = (reply.seconds, _answer(reply.answer)) if isinstance(reply, After) else (0.0, reply)
        check_answer(answer, self._limits.answer_bytes)
        check_answer_kind(answer, request)
        self._coming[request.id] = self.clock() + timedelta(seconds=after), answer

    def receive(self, paused: programs.Suspended) -> dict[int, Answer] | None:
        """The next answer, or none if timers come first; moves the clock to it. None if nothing ever comes."""
        pending = {request.id for request in paused.requests}
        self._coming = {number: reply for number, reply in self._coming.items() if number in pending}
        times = [due for due, _ in self._coming.values()]
        if paused.timers is not None:
            times.append(paused.timers.wake_at)
        if not times:
            return None
        self.clock.now = max(self.clock.now, min(times))
        there = [number for number, (due, _) in sorted(self._coming.items()) if due <= self.clock.now]
        if not there:
            return {}
        number = there[0] if self._order is None else self._order.choice(there)
        return {number: self._coming.pop(number)[1]}


def _to_the_end(
    outcome: programs.Outcome,
    go_on: Callable[[programs.Suspended, dict[int, Answer]], programs.Outcome],
    mail: _Mail,
    most_pauses: int,
) -> Run:
    began, pauses, logs = mail.clock(), 0, list(outcome.logs)
    while isinstance(outcome, programs.Suspended):
        pauses += 1
        for request in outcome.requests:
            mail.send(request)
        answers = mail.receive(outcome)
        if answers is None or pauses > most_pauses:
            raise EndlessProgramError(outcome, pauses)
        outcome = go_on(outcome, answers)
        logs += outcome.logs
    made = [mail.requests[number] for number in sorted(mail.requests)]
    return Run(
        outcome,
        tuple(each for each in made if isinstance(each, PendingRequest)),
        tuple(each for each in made if isinstance(each, PendingTool)),
        tuple(each for each in made if isinstance(each, PendingEvent)),
        tuple(logs),
        pauses,
        mail.clock() - began,
    )
