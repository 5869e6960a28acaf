"""Guests with a larger image than the real ones, for what must not depend on its size."""

from __future__ import annotations

from unittest import mock

import wasmtime

from sequential_core.limits import Limits
from sequential_core.vm import bake, cache, heap, runtime, wasm
from sequential_core.vm import guest as guests
from sequential_core.vm.guest import SECTION, Guest
from sequential_core.vm.machine import Machine

# Functions, objects, strings and maps, of which some are taken away again, so that there are holes of many sizes. They
# hang on one global; the code may drop it, or parts of it.
_CODE = """
globalThis.ballast = [];
for (let i = 0; i < COUNT; i++) {
    const f = new Function('a', 'b', `const n${i} = [a, b, ${i}]; return () => n${i}.map(x => x + 'suffix${i}')`);
    const [map, bytes] = [new Map([[i, { i }]]), new Uint8Array(i % 700)];
    ballast.push({ i, f, ['key' + i]: 'value '.repeat(i % 40), map, bytes });
}
for (let i = 0; i < COUNT; i += 3) ballast[i] = null;
"""


def loaded(count: int) -> Guest:
    """The pinned guest with so many things more in its image, 2 KB each."""
    module = (guests.DIRECTORY / f"{guests.CURRENT.read_text().strip()}.wasm").read_bytes()
    small = Guest(module)
    manifest = small.manifest
    machine = Machine(small, Limits())
    with runtime.cpu_time(machine, 60):
        promise = machine.evaluate(_CODE.replace("COUNT", str(count)).encode())
        machine.run_jobs()
        assert machine.call("qjs_promise_state", promise) == 1
        machine.call("qjs_free_value", promise)
        machine.call("qjs_run_gc")
    memory = bytearray(machine.read(0, machine.memory_bytes))
    memory[: manifest.stack_end] = bytes(manifest.stack_end)
    garbage = heap.free_chunks(memory, manifest.heap_start) + heap.free_cells(memory, 0, manifest.arena_lists)
    heap.blank(memory, b"", garbage)
    larger = wasm.bake_memory(module, bytes(memory), bake.EXPORTS, SECTION, manifest.to_json())
    # Not into the user's cache of compiled guests.
    with mock.patch.object(cache, "compiled", lambda module, *_: wasmtime.Module(runtime.engine(), module)):
        return Guest(larger)
