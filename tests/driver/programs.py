"""Drives programs over answers of our own, on a clock that is moved."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx

from sequential_core import MemoryStorage, SequentialFlow
from sequential_core.driver import Driver, Ended, Fetcher, Waiting
from sequential_core.model import Task
from sequential_core.testing import MovedClock

Respond = Callable[[httpx.Request], httpx.Response]


def answer(value: Any = None, status: int = 200, **headers: str) -> httpx.Response:
    """A response with a JSON body, as it would come from the network."""
    body = httpx.Response(status, json=value)
    return httpx.Response(status, stream=httpx.ByteStream(body.content), headers={**body.headers, **headers})


class Site:
    """What answers: it keeps the requests that it has seen.

    Args:
        respond: gives the response, or raises what a network raises.
    """

    def __init__(self, respond: Respond) -> None:
        self._respond = respond
        self.seen: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.seen.append(request)
        return self._respond(request)

    @property
    def paths(self) -> list[str]:
        return [request.url.path for request in self.seen]


def reply(value: Any = None, status: int = 200, **headers: str) -> Callable[[], httpx.Response]:
    """Makes such an answer each time."""
    return lambda: answer(value, status, **{name.replace("_", "-"): text for name, text in headers.items()})


def in_turn(*replies: Callable[[], httpx.Response] | Exception) -> Respond:
    """Gives one after the other; the last one for ever."""
    left = list(replies)

    def respond(_: httpx.Request) -> httpx.Response:
        chosen = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(chosen, Exception):
            raise chosen
        return chosen()

    return respond


class Driven:
    """A flow and a driver with a moved clock, over a site.

    Attributes:
        clock: moved by `run`, never by waiting.
    """

    def __init__(self, respond: Respond | None = None, *, storage: Any = None, **options: Any) -> None:
        self.clock = MovedClock()
        self.storage = MemoryStorage(clock=self.clock) if storage is None else storage
        self.site = Site(respond or (lambda _: answer()))
        self.flow = SequentialFlow(self.storage, clock=self.clock)
        self.driver = self.new_driver(**options)

    def new_driver(self, **options: Any) -> Driver:
        """One more driver of the same tasks."""
        fetcher = Fetcher(network=httpx.MockTransport(self.site), clock=self.clock)
        return Driver(
            self.flow, **{"fetcher": fetcher, "patience": timedelta(0), "chance": random.Random(1), **options}
        )

    def run(self, code: str, drive: Any = True, *, most_waits: int = 1000, **options: Any) -> Task:
        """Drives code to its end, moving the clock where it waits."""
        return self.go_on(self.flow.execute(code, drive=drive, **options), most_waits=most_waits)

    def go_on(self, task: Task, *, most_waits: int = 1000) -> Task:
        for _ in range(most_waits):
            standing = self.driver.drive(task.id)
            if isinstance(standing, Ended):
                return task if standing.task is None else standing.task
            assert isinstance(standing, Waiting), standing
            assert standing.task.drive is not None
            assert standing.task.drive.due_at is not None, "it waits for nothing that time brings"
            self.clock.advance(standing.task.drive.due_at - self.clock())
        raise AssertionError(f"still waiting after {most_waits} waits")
