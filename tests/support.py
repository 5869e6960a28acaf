"""Runs a program to its end, answering its requests, with and without cutting it at every pause."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

from sequential_core.limits import Limits
from sequential_core.model import LogEntry
from sequential_core.pending import Answer, ErrorAnswer, PendingRequest, ValueAnswer
from sequential_core.testing import NOW, MovedClock
from sequential_core.vm import guest as guests
from sequential_core.vm import program as programs

Respond = Callable[[PendingRequest], Answer]
DEFAULT = Limits()

Hop = Callable[[programs.Suspended, dict[int, Answer]], programs.Outcome]


@dataclass(frozen=True)
class Run:
    """What a program did from its beginning to its end.

    Attributes:
        outcome: how it ended.
        paths: of all its requests, in the order of their ids.
        logs: of all its hops.
        pauses: how often it was suspended.
    """

    outcome: programs.Completed | programs.Failed
    paths: tuple[str, ...]
    logs: tuple[LogEntry, ...]
    pauses: int

    @property
    def result(self) -> Any:
        assert isinstance(self.outcome, programs.Completed), self.outcome
        return self.outcome.result

    @property
    def meaning(self) -> tuple[object, ...]:
        """Everything but the logs of the last hop, which `logs` has: what two runs must agree on."""
        ended = self.outcome.result if isinstance(self.outcome, programs.Completed) else self.outcome.error
        return type(self.outcome), ended, self.paths, self.logs, self.pauses


# `fetch` takes absolute URLs only. Here they are what stands behind this.
ORIGIN = "http://a/"

# What the programs of `check_program` call.
_ASK = f"const ask = (path) => fetch('{ORIGIN}' + path); "


def path(request: PendingRequest) -> str:
    """What stands behind `ORIGIN`, as the code wrote it."""
    assert request.url.startswith(ORIGIN)
    return unquote(request.url.removeprefix(ORIGIN))


def echo(request: PendingRequest) -> Answer:
    """Answers with the path."""
    return ValueAnswer(path(request))


def number(request: PendingRequest) -> Answer:
    """Answers with the path as a number."""
    return ValueAnswer(int(path(request)))


def refuse_bad(request: PendingRequest) -> Answer:
    """Fails the requests whose path begins with "bad", with that as the message."""
    return ErrorAnswer(path(request)) if path(request).startswith("bad") else echo(request)


def run_uncut(code: str, respond: Respond = echo, *, seed: int | None = None, limits: Limits = DEFAULT) -> Run:
    """Runs a program in one machine, of which no snapshot is taken.

    Args:
        respond: the answer to a request.
        seed: of the order in which pending requests are answered, one at a time; oldest first if None.
    """
    program = programs.Program(guests.current(), limits, uncut=True)
    first = program.hop(lambda: program.begin(programs.encode_code(code, limits)))
    return _to_the_end(first, lambda _paused, answers: program.hop(lambda: program.settle(answers)), respond, seed)


def run_cut(code: str, respond: Respond = echo, *, seed: int | None = None, limits: Limits = DEFAULT) -> Run:
    """Runs a program that is encoded at every pause and goes on in a fresh machine."""
    first = programs.start(code, limits)
    return _to_the_end(first, lambda paused, answers: programs.resume(paused.state, answers, limits), respond, seed)


def _to_the_end(outcome: programs.Outcome, hop: Hop, respond: Respond, seed: int | None) -> Run:
    order = None if seed is None else random.Random(seed)
    paths: dict[int, str] = {}
    logs = list(outcome.logs)
    pauses = 0
    while isinstance(outcome, programs.Suspended):
        pauses += 1
        paths.update((request.id, path(request)) for request in outcome.requests)
        request = order.choice(outcome.requests) if order else outcome.requests[0]
        outcome = hop(outcome, {request.id: respond(request)})
        logs += outcome.logs
    return Run(outcome, tuple(paths[key] for key in sorted(paths)), tuple(logs), pauses)


def suspended(code: str, limits: Limits = DEFAULT) -> programs.Suspended:
    """The first pause of a program, which must have one."""
    outcome = programs.start(code, limits)
    assert isinstance(outcome, programs.Suspended), outcome
    return outcome


def completed(code: str, limits: Limits = DEFAULT) -> Any:
    """The result of a program, which must complete without a pause."""
    outcome = programs.start(code, limits)
    assert isinstance(outcome, programs.Completed), outcome
    return outcome.result


def failed(code: str, limits: Limits = DEFAULT) -> programs.Failed:
    """How a program fails, which must do so without a pause."""
    outcome = programs.start(code, limits)
    assert isinstance(outcome, programs.Failed), outcome
    return outcome


def answered(code: str, *answers: Answer, limits: Limits = DEFAULT) -> programs.Outcome:
    """Where a program stands after its oldest request was answered, as often as there are answers."""
    outcome = programs.start(code, limits)
    for answer in answers:
        assert isinstance(outcome, programs.Suspended), outcome
        outcome = programs.resume(outcome.state, {outcome.requests[0].id: answer}, limits)
    return outcome


class Clocked:
    """A program whose clock the test moves; each hop runs in a fresh machine."""

    def __init__(self, code: str) -> None:
        self.clock = MovedClock()
        self.outcome = programs.start(code, clock=self.clock)
        self.logs = [entry.message for entry in self.outcome.logs]

    def resume(self, answers: dict[int, Answer] | None = None, *, after: float = 0) -> list[str]:
        """Resumes it so many milliseconds later; returns what was logged."""
        self.clock.advance(timedelta(milliseconds=after))
        self.outcome = programs.resume(self.outcome.state, answers or {}, clock=self.clock)
        return [entry.message for entry in self.outcome.logs]

    @property
    def wakes_after(self) -> float:
        """Milliseconds from the beginning of the test to when the first timer is due."""
        return (self.outcome.timers.wake_at - NOW) / timedelta(milliseconds=1)

    @property
    def result(self) -> Any:
        assert isinstance(self.outcome, programs.Completed), self.outcome
        return self.outcome.result


def check_program(code: str, expected: Any, respond: Respond = echo, seed: int | None = None) -> None:
    """Asserts that a program pauses, means the same cut and uncut, and gives the expected result.

    Args:
        code: calls `ask(path)`, which fetches what stands behind `ORIGIN`.
    """
    code = _ASK + code
    uncut, cut = run_uncut(code, respond, seed=seed), run_cut(code, respond, seed=seed)
    assert cut.pauses > 0
    assert cut.meaning == uncut.meaning
    assert json.dumps(cut.result) == json.dumps(expected)  # unlike ==, tells True from 1 and sees the order of keys
