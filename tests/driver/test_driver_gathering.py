"""Answers that come at nearly the same time are one hop, since a hop costs the same whatever it delivers."""

from __future__ import annotations

import threading

import httpx

from sequential_core import MemoryStorage, create_flow
from sequential_core.driver import Driver, Ended, Fetcher

MANY = "(await Promise.all(Array.from({ length: 48 }, (_, i) => fetch(`https://api.test/${i}`)))).length"


def test_requests_that_are_answered_together_take_a_hop_together():
    flow = create_flow(MemoryStorage())
    together = threading.Barrier(8)

    def answer(request):
        together.wait(10)  # eight at a time are performed, and none is answered before all are there
        return httpx.Response(200, stream=httpx.ByteStream(b"1"))

    task = flow.execute(MANY, drive=True)
    driver = Driver(flow, fetcher=Fetcher(network=httpx.MockTransport(answer)))
    standing = driver.drive(task.id)
    assert isinstance(standing, Ended)
    assert standing.task.result == 48
    hops = {exchange.hop for exchange in standing.task.drive.history}
    assert len(hops) < 24, "six would be the least, and one for each answer the most"
