"""What is taken from below wasmtime's public interface: a new version of wasmtime is noticed here."""

from __future__ import annotations

import ctypes
import threading

import pytest
import wasmtime

from sequential_core.vm import native, runtime

MODULE = """
(module
  (memory (export "memory") 1)
  (data (i32.const 8) "hello")
  (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)
  (func (export "zero") (result i32) i32.const 0)
  (func (export "put") (param i32) (i32.store8 (i32.const 8) (local.get 0)))
  (func (export "long") (param i32) (result i64) (i64.sub (i64.const -4294967296) (i64.extend_i32_s (local.get 0))))
  (func (export "float") (param f64))
  (func (export "pair") (result i32 i32) i32.const 0 i32.const 0)
  (func (export "crash") (result i32) unreachable)
  (func $deep (export "deep") (result i32) (i32.add (i32.const 1) (call $deep)))
  (func (export "spin") (param i32) (result i32)
    (loop $again
      (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
      (br_if $again (local.get 0)))
    i32.const 7)
  (func (export "forever") (result i32) (loop $again br $again) i32.const 0))
"""


@pytest.fixture(scope="module")
def module() -> wasmtime.Module:
    return wasmtime.Module(runtime.engine(), MODULE)


@pytest.fixture
def store() -> wasmtime.Store:
    store = wasmtime.Store(runtime.engine())
    store.set_epoch_deadline(1_000_000)
    return store


@pytest.fixture
def exports(store, module) -> native.Exports:
    return native.Exports(store, wasmtime.Instance(store, module, []))


@pytest.mark.parametrize(
    ("a", "b", "total"),
    [(1, 2, 3), (-5, 2, -3), (2**31 - 1, 1, -(2**31)), (2**32 - 1, 0, -1), (0xFFFF_FFFF, 2, 1)],
)
def test_integers_go_in_of_any_sign_and_come_out_signed(exports, a, b, total):
    assert exports.call("add", a, b) == total


def test_a_function_without_parameters(exports):
    assert exports.call("zero") == 0


def test_a_function_without_result_gives_zero(exports, store):
    assert exports.call("put", ord("j")) == 0
    assert bytes(exports.memory().read(store, 8, 13)) == b"jello"


def test_a_long_result_comes_out_whole(exports):
    assert exports.call("long", 1) == -(2**32) - 1


@pytest.mark.parametrize("name", ["float", "pair"])
def test_a_function_of_another_kind_is_a_lookup_error(exports, name):
    with pytest.raises(LookupError, match="another kind"):
        exports.call(name, *[0] * (name == "float"))


def test_a_call_may_be_made_while_another_is_under_way(store):
    """The arguments of all calls go through one place."""
    module = wasmtime.Module(
        runtime.engine(),
        """(module
          (import "host" "ask" (func $ask (param i32) (result i32)))
          (memory (export "memory") 1)
          (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)
          (func (export "outer") (param i32 i32) (result i32)
            (i32.add (call $ask (local.get 1)) (i32.mul (local.get 0) (i32.const 100)))))""",
    )
    kind = wasmtime.FuncType([wasmtime.ValType.i32()], [wasmtime.ValType.i32()])
    ask = wasmtime.Func(store, kind, lambda number: exports.call("add", number, 5))
    exports = native.Exports(store, wasmtime.Instance(store, module, [ask]))
    assert exports.call("outer", 3, 20) == 325


def test_the_memory_is_the_guests(exports, store):
    memory = exports.memory()
    assert memory.data_len(store) == exports.memory_bytes == 65536
    assert bytes(memory.read(store, 8, 13)) == ctypes.string_at(exports.address + 8, 5) == b"hello"


def test_functions_can_be_called_again_after_the_memory_grew(exports, store):
    exports.memory().grow(store, 1)
    assert exports.memory().data_len(store) == exports.memory_bytes == 2 * 65536
    assert exports.call("add", 1, 1) == 2


@pytest.mark.parametrize("name", ["none", "", "ad", "add\0"])
def test_an_unknown_export_is_a_lookup_error(exports, name):
    with pytest.raises(LookupError):
        exports.call(name)


@pytest.mark.parametrize("arguments", [(), (1,), (1, 2, 3)])
def test_a_wrong_number_of_arguments_is_an_error(exports, arguments):
    with pytest.raises(TypeError, match="add takes 2 arguments"):
        exports.call("add", *arguments)


@pytest.mark.parametrize(
    ("name", "code"),
    [("crash", wasmtime.TrapCode.UNREACHABLE), ("deep", wasmtime.TrapCode.STACK_OVERFLOW)],
)
def test_a_trap_says_its_code_and_leaves_the_instance_usable(exports, name, code):
    with pytest.raises(wasmtime.Trap) as caught:
        exports.call(name)
    assert caught.value.trap_code is code
    assert exports.call("add", 2, 2) == 4


def test_a_call_ends_when_the_callback_says_so(exports, store):
    callback = native.epoch_callback(lambda: True)
    native.interrupt_with(store, callback)
    runtime.engine().increment_epoch()
    with pytest.raises(wasmtime.WasmtimeError, match="interrupted"):
        exports.call("forever")


@pytest.fixture
def ticking():
    """Advances the epoch until the test ends."""
    ended = threading.Event()

    def tick() -> None:
        while not ended.wait(0.001):
            runtime.engine().increment_epoch()

    thread = threading.Thread(target=tick)
    thread.start()
    yield
    ended.set()
    thread.join()


@pytest.mark.usefixtures("ticking")
def test_a_call_goes_on_until_the_callback_says_no(exports, store):
    asked = []
    callback = native.epoch_callback(lambda: asked.append(None) or len(asked) == 5)
    native.interrupt_with(store, callback)
    with pytest.raises(wasmtime.WasmtimeError, match="interrupted"):
        exports.call("forever")
    assert len(asked) == 5


def test_a_call_that_was_asked_returns_its_result(exports, store):
    asked = []
    callback = native.epoch_callback(lambda: bool(asked.append(None)))
    native.interrupt_with(store, callback)
    runtime.engine().increment_epoch()
    assert exports.call("spin", 1000) == 7
    assert len(asked) >= 1
