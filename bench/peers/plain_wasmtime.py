"""The engine of ours, quickjs-wasi's module, in wasmtime as it comes: without our epochs and limits."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import wasmtime

from bench.measure import repeated
from bench.worker import CannotError, Worker, serve
from bench.workloads import BY_KEY, Computing, computing

_MODULE = Path(__file__).parents[1] / "node_modules" / "quickjs-wasi" / "quickjs.wasm"

# As much C stack as the engine itself takes for granted.
_STACK_BYTES = 1 << 20


class PlainWasmtime(Worker):
    def __init__(self) -> None:
        settings = wasmtime.Config()
        settings.max_wasm_stack = _STACK_BYTES
        self._engine = wasmtime.Engine(settings)
        self._module = wasmtime.Module(self._engine, _MODULE.read_bytes())
        self._linker = wasmtime.Linker(self._engine)
        self._linker.define_wasi()
        for needed in self._module.imports:
            if needed.module == "env":  # calls of the host, which no program here makes
                self._linker.define_func("env", str(needed.name), needed.type, lambda *_: 0)

    def versions(self) -> dict[str, str]:
        return {"wasmtime": version("wasmtime")}

    def prepare(self, workload: str) -> None:
        if not isinstance(BY_KEY.get(workload), Computing):
            raise CannotError("takes no snapshots")
        self._compute(workload)

    def measure(self, workload: str, rounds: int, seconds: float) -> dict[str, Any]:
        return {"times": {"compute": repeated(lambda: self._compute(workload), rounds, seconds)}}

    def _compute(self, workload: str) -> None:
        program = computing(workload)
        store = wasmtime.Store(self._engine)
        store.set_wasi(wasmtime.WasiConfig())
        exports = self._linker.instantiate(store, self._module).exports(store)
        memory = exports["memory"]
        assert isinstance(memory, wasmtime.Memory)

        def call(name: str, *arguments: int) -> Any:
            function = exports[name]
            assert isinstance(function, wasmtime.Func)
            return function(store, *arguments)

        def put(text: bytes) -> int:
            at: int = call("wasm_malloc", len(text) + 1)
            memory.write(store, text + b"\0", at)
            return at

        call("_initialize")
        assert call("qjs_init") == 0
        code = program.javascript.encode()
        value = call("qjs_eval", put(code), len(code), put(b"task.js"), 0)
        result = call("qjs_get_float64", value)
        assert result == program.result, result


if __name__ == "__main__":
    serve(PlainWasmtime())
