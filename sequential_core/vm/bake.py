"""Baking: from the engine as published to a guest.

The engine is instantiated once and initialised, the prelude runs, and the memory that this leaves
becomes the module's data section. Clock and random bytes are fixed meanwhile, so that every
machine gets the same bytes. The addresses that the host needs later are found here and written into
the guest; each is verified, and a bake that cannot verify one fails.
"""

from __future__ import annotations

import wasmtime

from sequential_core.vm import heap, runtime, wasm
from sequential_core.vm.guest import SECTION, Manifest
from sequential_core.vm.machine import PRELUDE_NAME, SCRATCH_BYTES, GuestError, Instance

# The functions of the prelude that the host calls.
_FUNCTIONS = (
    "begin",
    "describe",
    "forget",
    "importError",
    "isPending",
    "rejected",
    "report",
    "result",
    "settle",
    "turn",
)

# Uses everything once.
_WARM = "warm"

_FULFILLED = 1

# Flag of qjs_compile: the prelude does not need its source. Its line tables stay, for 96 KB: without them its frames
# have no file name either, by which they are told from those of the code.
_STRIP_SOURCE = 1 << 4

# The linker of the engine's build put the C stack first: 1 MiB, growing down.
STACK_END = 1 << 20

# With it, recursion of functions ends as a RangeError before WebAssembly's own stack does: after 2,700 calls of a plain
# function, 1,300 of an async one.
ENGINE_STACK_BYTES = 640 << 10

# Every guest starts with this limit in its memory; a hop under the default limits changes nothing.
DEFAULT_ENGINE_MEMORY_BYTES = 62 << 20

EXPORTS = (
    "JS_Eval2",
    "memory",
    "qjs_call",
    "qjs_dup_value",
    "qjs_execute_pending_job",
    "qjs_free_cstring",
    "qjs_free_value",
    "qjs_get_array_buffer",
    "qjs_get_bool",
    "qjs_get_exception",
    "qjs_get_false",
    "qjs_get_prop_string",
    "qjs_get_string_len",
    "qjs_get_true",
    "qjs_is_array_buffer",
    "qjs_is_exception",
    "qjs_is_promise",
    "qjs_is_string",
    "qjs_new_array_buffer",
    "qjs_new_string",
    "qjs_promise_result",
    "qjs_promise_state",
    "qjs_run_gc",
    "qjs_set_memory_limit",
    "qjs_throw",
    "wasm_free",
    "wasm_malloc",
)

# Arenas of each size that a program finds empty.
FRESH_ARENAS = 2

# A larger image is mapped into new machines by wasmtime only if half of it is not zero, and else copied: 4 ms.
_MOST_IMAGE_BYTES = 16 << 20

_FIXED_NANOSECONDS = 1_700_000_000_000_000_000
_MASK64 = (1 << 64) - 1


class BakeError(Exception):
    """The engine is not what this module expects."""


def bake(engine_module: bytes, prelude: bytes, packages: dict[str, str]) -> bytes:
    """Returns the guest.

    Args:
        engine_module: `quickjs.wasm` of the npm package quickjs-wasi.
        prelude: the script of `bundle`.
        packages: the npm packages that go into the guest, and their versions.

    Raises:
        BakeError: the engine is not of the kind that this version knows.
    """
    if wasm.mutable_globals(engine_module) != 1:
        raise BakeError("the engine has mutable globals besides its stack pointer")
    # In an instance of its own: what the compiler used would stay in the image as free memory.
    compiled = _compile(_initialised(engine_module), prelude)
    instance = _initialised(engine_module)
    instance.call("qjs_set_max_stack_size", ENGINE_STACK_BYTES)
    instance.call("qjs_set_memory_limit", DEFAULT_ENGINE_MEMORY_BYTES)

    functions = _run_prelude(instance, compiled)
    instance.call("qjs_set_promise_rejection_handler", 1)
    instance.call("qjs_set_module_loader", 1)  # which refuses every import()
    undefined = instance.call("qjs_get_undefined")
    scratch = instance.put(bytes(SCRATCH_BYTES - 1))
    random_state = _find_random_state(instance)
    instance.run_jobs()
    instance.call("qjs_run_gc")
    arena_lists = heap.find_arena_lists(
        bytearray(instance.read(0, instance.memory_bytes)), instance.call("qjs_get_runtime_ptr")
    )
    _tidy(instance, arena_lists)

    if instance.memory_bytes > _MOST_IMAGE_BYTES:
        raise BakeError(f"the image has {instance.memory_bytes:,} bytes, and may have {_MOST_IMAGE_BYTES:,}")
    memory = bytearray(instance.read(0, instance.memory_bytes))
    memory[:STACK_END] = bytes(STACK_END)  # dead
    manifest = Manifest(
        stack_end=STACK_END,
        heap_start=heap.find_first_chunk(memory, STACK_END, scratch),
        arena_lists=arena_lists,
        random_state=random_state,
        scratch=scratch,
        context=instance.call("qjs_get_context_ptr"),
        undefined=undefined,
        functions=functions,
        packages=packages,
    )
    garbage = heap.free_chunks(memory, manifest.heap_start) + heap.free_cells(memory, 0, manifest.arena_lists)
    heap.blank(memory, b"", garbage)
    return wasm.bake_memory(engine_module, bytes(memory), EXPORTS, SECTION, manifest.to_json())


def _initialised(engine_module: bytes) -> Instance:
    store = wasmtime.Store(runtime.engine())
    store.set_epoch_deadline(1_000_000)
    module = wasmtime.Module(runtime.engine(), engine_module)
    raw = _fixed_host().instantiate(store, module)
    pointer = raw.exports(store)["__stack_pointer"]
    if not isinstance(pointer, wasmtime.Global) or pointer.value(store) != STACK_END:
        raise BakeError("the engine's stack is not where it was")
    instance = Instance(store, raw)
    instance.call("_initialize")
    if instance.call("qjs_init") != 0:
        raise BakeError("the engine did not start")
    return instance


def _fixed_host() -> wasmtime.Linker:
    """Host functions under which every bake is the same."""
    linker = wasmtime.Linker(runtime.engine())
    i32, i64 = wasmtime.ValType.i32(), wasmtime.ValType.i64()

    def fill(caller: wasmtime.Caller, at: int, data: bytes) -> int:
        memory = caller["memory"]
        assert isinstance(memory, wasmtime.Memory)
        memory.write(caller, data, at)
        return 0

    def clock(caller: wasmtime.Caller, _clock: int, _precision: int, at: int) -> int:
        return fill(caller, at, _FIXED_NANOSECONDS.to_bytes(8, "little"))

    def random(caller: wasmtime.Caller, at: int, length: int) -> int:
        return fill(caller, at, (b"sequential" * (length // 10 + 1))[:length])

    def define(module: str, name: str, parameters: list[wasmtime.ValType], function: object) -> None:
        kind = wasmtime.FuncType(parameters, [i32])
        linker.define_func(module, name, kind, function, access_caller=True)  # type: ignore[arg-type]  # any callable

    wasi, ebadf = "wasi_snapshot_preview1", 8
    define(wasi, "clock_time_get", [i32, i64, i32], clock)
    define(wasi, "random_get", [i32, i32], random)
    define(wasi, "fd_close", [i32], lambda *_: ebadf)
    define(wasi, "fd_fdstat_get", [i32, i32], lambda *_: ebadf)
    define(wasi, "fd_seek", [i32, i64, i32, i32], lambda *_: ebadf)
    define(wasi, "fd_write", [i32, i32, i32, i32], lambda *_: ebadf)
    for name, count in (
        ("host_call", 5),
        ("host_get_timezone_offset", 2),
        ("host_interrupt", 0),
        ("host_module_normalize", 2),
        ("host_module_load", 2),
    ):
        define("env", name, [i32] * count, lambda *_: 0)
    linker.define_func("env", "host_promise_rejection", wasmtime.FuncType([i32] * 3, []), lambda *_: None)
    return linker


def _compile(instance: Instance, code: bytes) -> bytes:
    """The bytecode of a script, without its source, which would be half of the image."""
    at, name, length_at = instance.put(code), instance.put(PRELUDE_NAME.encode()), instance.put(bytes(3))
    compiled = instance.call("qjs_compile", at, len(code), name, 0, _STRIP_SOURCE, length_at)
    if compiled == 0:
        raise GuestError(instance.call("qjs_get_exception"))
    return instance.read(compiled, compiled + instance.word(length_at))


def _run_prelude(instance: Instance, compiled: bytes) -> dict[str, int]:
    """Evaluates the prelude; returns handles of the functions that the host calls."""
    try:
        return _prelude_functions(instance, compiled)
    except GuestError as error:
        at = instance.call("qjs_get_string", error.handle)
        raise BakeError(f"the prelude failed: {_c_string(instance, at)}") from None


def _c_string(instance: Instance, at: int) -> str:
    return instance.read(at, instance.memory_bytes).partition(b"\0")[0].decode(errors="replace")


def _prelude_functions(instance: Instance, compiled: bytes) -> dict[str, int]:
    at = instance.put(compiled)
    setup = instance.checked(instance.call("qjs_eval_bytecode", at, len(compiled)))
    instance.call("wasm_free", at)
    name = instance.put(b"host")
    host = instance.checked(instance.call("qjs_new_host_function", name, 4, 7))
    arguments = instance.put(host.to_bytes(4, "little"))
    exported = instance.checked(instance.call("qjs_call", setup, instance.call("qjs_get_undefined"), 1, arguments))
    functions = {}
    for key in (*_FUNCTIONS, _WARM):
        at = instance.put(key.encode())
        functions[key] = instance.checked(instance.call("qjs_get_prop_string", exported, at))
        instance.call("wasm_free", at)
    warm = functions.pop(_WARM)
    done = instance.checked(instance.call("qjs_call", warm, instance.call("qjs_get_undefined"), 0, arguments))
    instance.run_jobs()
    if instance.call("qjs_promise_state", done) != _FULFILLED:
        raise GuestError(instance.call("qjs_promise_result", done))
    for at in (name, arguments):
        instance.call("wasm_free", at)
    for handle in (setup, host, exported, warm, done):
        instance.call("qjs_free_value", handle)
    return functions


def _eval(instance: Instance, code: bytes) -> int:
    at, name = instance.put(code), instance.put(PRELUDE_NAME.encode())
    handle = instance.call("qjs_eval", at, len(code), name, 0)
    instance.call("wasm_free", at)
    instance.call("wasm_free", name)
    return instance.checked(handle)


def _tidy(instance: Instance, arena_lists: int) -> None:
    """Fills the holes that the prelude left in the arenas, and gives each size arenas of its own for what comes.

    What a program makes is then side by side: fewer runs in its states, and fewer pages to look at. And the links of
    the free cells in its first arenas are those of the image.
    """
    context = instance.call("qjs_get_context_ptr")
    memory = instance.read(0, instance.memory_bytes)
    free = heap.count_free_cells(memory, arena_lists)
    for size, holes in zip(heap.CELL_BYTES, free, strict=True):
        wanted = size - heap.CELL_HEADER_BYTES
        for _ in range(holes):
            instance.call("js_malloc", context, wanted)
        cells = [instance.call("js_malloc", context, wanted) for _ in range(heap.cells_in_arena(size) * FRESH_ARENAS)]
        # One cell stays in each, or it would be given back. The others go, the last one first: the first is next.
        kept = cells[:: heap.cells_in_arena(size)]
        for cell in sorted(set(cells) - set(kept), reverse=True):
            instance.call("js_free", context, cell)


def _find_random_state(instance: Instance) -> int:
    """Finds the eight bytes behind `Math.random`: an xorshift64* generator.

    They are the only aligned word that one call of `Math.random` takes one step further.
    """
    before = instance.read(STACK_END, instance.memory_bytes)
    instance.call("qjs_free_value", _eval(instance, b"Math.random()"))
    after = instance.read(STACK_END, STACK_END + len(before))
    found = [
        STACK_END + at
        for at in range(0, len(before), 8)
        if before[at : at + 8] != after[at : at + 8]
        and _xorshift(int.from_bytes(before[at : at + 8], "little")) == int.from_bytes(after[at : at + 8], "little")
    ]
    if len(found) != 1:
        raise BakeError(f"{len(found)} words look like the state of Math.random")
    return found[0]


def _xorshift(x: int) -> int:
    x ^= x >> 12
    x ^= x << 25 & _MASK64
    x ^= x >> 27
    return x
