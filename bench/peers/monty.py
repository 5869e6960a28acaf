"""pydantic-monty: a sandbox for Python in a process of its own, with snapshots.

A hop: `load_snapshot` of the bytes in a fresh session of a warm pool, `resume` with the answer, which runs to the
next call of `fetch`, and `dump`. The checkout of the session is left out, since a pool can have it ready; `hop with
its session` has it.
"""

from __future__ import annotations

import sys
import time
from importlib.metadata import version
from typing import Any

import pydantic_monty as monty
import zstandard

from bench.measure import repeated
from bench.worker import CannotError, Worker, serve
from bench.workloads import BY_KEY, Computing, Pausing, computing, pausing

_ZSTD_LEVEL = 3


class Monty(Worker):
    def __init__(self, pool: monty.Monty) -> None:
        self._pool = pool
        self._states: dict[str, bytes] = {}

    def versions(self) -> dict[str, str]:
        return {"pydantic-monty": version("pydantic-monty")}

    def prepare(self, workload: str) -> None:
        match BY_KEY.get(workload):
            case Pausing() as program:
                self._states[workload] = self.pause(program)
                for _ in range(5):
                    self._hop(workload, [], [], compressed=False)
            case Computing():
                self._compute(workload)
            case None:
                raise CannotError("is not one of its workloads")

    def measure(self, workload: str, rounds: int, seconds: float) -> dict[str, Any]:
        if isinstance(BY_KEY[workload], Computing):
            return {"times": {"compute": repeated(lambda: self._compute(workload), rounds, seconds)}}
        times: dict[str, list[float]] = {"hop": [], "hop with its session": [], "hop, compressed": []}
        began = time.perf_counter()
        for number in range(rounds):
            if number and time.perf_counter() - began > seconds:
                break
            self._hop(workload, times["hop"], times["hop with its session"], compressed=False)
            after = self._hop(workload, times["hop, compressed"], [], compressed=True)
        state = self._states[workload]
        return {
            "times": times,
            "sizes": {"state, raw": len(state), "state": len(_compress(state)), "state after": len(after)},
        }

    def _hop(self, workload: str, times: list[float], with_session: list[float], *, compressed: bool) -> bytes:
        state, answer = self._states[workload], pausing(workload).answer
        if compressed:
            state = _compress(state)
        began = time.perf_counter()
        with self._pool.checkout() as session:
            ready = time.perf_counter()
            if compressed:
                state = zstandard.ZstdDecompressor().decompress(state)
            paused = session.load_snapshot(state)
            assert isinstance(paused, monty.FunctionSnapshot)
            paused = paused.resume({"return_value": answer})
            assert isinstance(paused, monty.FunctionSnapshot)
            assert paused.args
            state = paused.dump()
            if compressed:
                state = _compress(state)
            ended = time.perf_counter()
            times.append(1e3 * (ended - ready))
        with_session.append(1e3 * (time.perf_counter() - began))
        return state

    def pause(self, program: Pausing) -> bytes:
        # Paused and gone on with in one session: the state is the same as after that many dumps.
        with self._pool.checkout(limits={"max_suspensions": 100_000}) as session:
            paused = session.feed_start(program.python)
            for _ in range(program.answered):
                assert isinstance(paused, monty.FunctionSnapshot)
                paused = paused.resume({"return_value": program.answer})
            assert isinstance(paused, monty.FunctionSnapshot)
            return paused.dump()

    def _compute(self, workload: str) -> None:
        program = computing(workload)
        with self._pool.checkout() as session:
            result = session.feed_run(program.python)
        assert result == program.result, result


def _compress(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(_ZSTD_LEVEL).compress(data)


if __name__ == "__main__":
    with monty.Monty() as started:
        worker = Monty(started)
        if sys.argv[1:] == ["first-pause"]:
            worker.pause(pausing("W1"))
            print("paused")
        else:
            serve(worker)
