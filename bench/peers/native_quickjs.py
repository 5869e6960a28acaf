"""quickjs-ng as native code, in this process: the engine of ours without WebAssembly, sandbox and snapshots."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import quickjs

from bench.measure import repeated
from bench.worker import CannotError, Worker, serve
from bench.workloads import BY_KEY, Computing, computing


class NativeQuickjs(Worker):
    def versions(self) -> dict[str, str]:
        return {"quickjs-ng": version("quickjs-ng")}

    def prepare(self, workload: str) -> None:
        if not isinstance(BY_KEY.get(workload), Computing):
            raise CannotError("it has no snapshots")
        self._compute(workload)

    def measure(self, workload: str, rounds: int, seconds: float) -> dict[str, Any]:
        return {"times": {"compute": repeated(lambda: self._compute(workload), rounds, seconds)}}

    def _compute(self, workload: str) -> None:
        program = computing(workload)
        result = quickjs.Context().eval(program.javascript)
        assert result == program.result, result


if __name__ == "__main__":
    serve(NativeQuickjs())
