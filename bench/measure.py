"""How the benchmark measures: in rounds, the sides in turn, so that a noisy machine is as unkind to each of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

_T = TypeVar("_T")


@dataclass(frozen=True)
class Summary:
    """What many times come to, in their unit.

    Attributes:
        count: how many they were.
    """

    median: float
    p95: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary:
        if len(values) < 2:
            return cls(values[0], values[0], len(values))
        # Inclusive: of few values no percentile lies beyond the largest.
        return cls(statistics.median(values), statistics.quantiles(values, n=20, method="inclusive")[18], len(values))


@dataclass
class Measured:
    """What a side said of a workload, all rounds together.

    Attributes:
        times: milliseconds, by what took them.
        sizes: bytes, by what has them; the last round's.
        rates: so many a second, by what they are.
        why_not: why there is nothing, or not all; None: there is all.
    """

    times: dict[str, list[float]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    rates: dict[str, list[float]] = field(default_factory=dict)
    why_not: str | None = None

    def add(self, answer: dict[str, Any]) -> None:
        """Adds what a worker answered, see `worker`."""
        for what, times in answer.get("times", {}).items():
            self.times.setdefault(what, []).extend(times)
        for what, rates in answer.get("rates", {}).items():
            self.rates.setdefault(what, []).extend(rates)
        self.sizes |= answer.get("sizes", {})


def timed(function: Callable[[], object]) -> float:
    """How long it takes, in milliseconds."""
    began = time.perf_counter()
    function()
    return 1e3 * (time.perf_counter() - began)


def repeated(function: Callable[[], object], rounds: int, seconds: float) -> list[float]:
    """Its times in milliseconds: as many as asked for, or fewer when `seconds` are over; at least one."""
    began = time.perf_counter()
    times = [timed(function)]
    while len(times) < rounds and time.perf_counter() - began < seconds:
        times.append(timed(function))
    return times


def in_turn(sides: Sequence[_T], rounds: int) -> Iterator[_T]:
    """Whose turn it is: each of them once a round, and each round begins with another one."""
    for number in range(rounds if sides else 0):
        first = number % len(sides)
        yield from (*sides[first:], *sides[:first])
