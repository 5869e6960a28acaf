"""Reading and writing modules."""

from __future__ import annotations

import pytest
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st

from sequential_core.vm import wasm

GLOBALS = """
(module
  (global (mut i32) (i32.const 1035))  ;; its operand has the byte that ends an expression, 0x0b
  (global i64 (i64.const 11))
  (global (mut f64) (f64.const {f64}))
  (global f32 (f32.const {f32})))
"""


def module(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


def decoded_signed(data: bytes) -> int:
    """WebAssembly core specification, 5.2.2."""
    value = sum((byte & 0x7F) << 7 * position for position, byte in enumerate(data))
    return value - (1 << 7 * len(data)) if data[-1] & 0x40 else value


@given(st.integers(0, 2**64), st.binary(max_size=4), st.binary(max_size=4))
def test_an_unsigned_number_is_read_where_it_stands(value, before, behind):
    data = wasm.encode_unsigned(value)
    assert wasm.unsigned(before + data + behind, len(before)) == (value, len(before) + len(data))


@pytest.mark.parametrize(("value", "data"), [(0, b"\0"), (127, b"\x7f"), (128, b"\x80\1"), (624485, b"\xe5\x8e\x26")])
def test_unsigned_numbers_are_as_short_as_can_be(value, data):
    assert wasm.encode_unsigned(value) == data


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_signed_number_is_written_as_specified(value):
    assert decoded_signed(wasm.encode_signed(value)) == value


@pytest.mark.parametrize(
    ("value", "data"), [(63, b"\x3f"), (64, b"\xc0\0"), (-64, b"\x40"), (-123456, b"\xc0\xbb\x78")]
)
def test_signed_numbers_are_as_short_as_can_be(value, data):
    assert wasm.encode_signed(value) == data


@pytest.mark.parametrize(("f64", "f32"), [("1", "2"), ("0x1.b0b0b0b0b0b0bp+1", "0x1.0b0b0cp+1")])
def test_mutable_globals_are_counted(f64, f32):
    assert wasm.mutable_globals(module(GLOBALS.format(f64=f64, f32=f32))) == 2


def test_a_module_without_globals_has_none_that_change():
    assert wasm.mutable_globals(module("(module)")) == 0


ENGINE = wasmtime.Engine()

ORIGINAL = """
(module
  (memory (export "memory") 1)
  (data (i32.const 0) "original")
  (func $spoil (i32.store8 (i32.const 5) (i32.const 99)))
  (func (export "kept") (result i32) (i32.load8_u (i32.const 65536)))
  (func (export "dropped"))
  (start $spoil))
"""


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(0, 2 * 65536 - 200), st.binary(min_size=1, max_size=200)), max_size=6))
def test_a_baked_module_begins_with_the_image(patches):
    image = bytearray(2 * 65536)
    for at, patch in patches:
        image[at : at + len(patch)] = patch
    baked = wasm.bake_memory(module(ORIGINAL), bytes(image), ["memory", "kept"], "note", b"content")
    store = wasmtime.Store(ENGINE)
    exports = wasmtime.Instance(store, wasmtime.Module(ENGINE, baked), []).exports(store)
    assert set(exports) == {"memory", "kept"}
    memory, kept = exports["memory"], exports["kept"]
    assert isinstance(memory, wasmtime.Memory)
    assert isinstance(kept, wasmtime.Func)
    assert memory.read(store) == image
    assert kept(store) == image[65536]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (b"", []),
        (b"\1", [(0, b"\1")]),
        (bytes(64) + b"\1\2", [(0, bytes(64) + b"\1\2")]),
        (bytes(65) + b"\1", [(1, bytes(64) + b"\1")]),
        (b"\1" + bytes(64) + b"\2", [(0, b"\1" + bytes(64) + b"\2")]),
        (b"\1" + bytes(65) + b"\2", [(0, b"\1"), (2, bytes(64) + b"\2")]),
        (b"\1" + bytes(300) + b"\2\0\3", [(0, b"\1"), (237, bytes(64) + b"\2\0\3")]),
    ],
)
def test_segments_go_on_over_up_to_64_zeros(image, expected):
    """The bytes of the pinned guest hang on it."""
    assert [(found.start(), found.group()) for found in wasm._SEGMENT.finditer(image + bytes(1000))] == expected


def test_a_custom_section_is_read_back():
    baked = wasm.bake_memory(module(ORIGINAL), bytes(65536), [], "note", b"content")
    assert wasm.custom_section(baked, "note") == b"content"
    assert wasm.custom_section(baked, "not") is None
    assert wasm.custom_section(module(ORIGINAL), "note") is None


def test_a_custom_section_is_read_of_a_file_too(tmp_path):
    baked = wasm.bake_memory(module(ORIGINAL), bytes(wasm.PAGE_BYTES), {"memory"}, "note", b"content")
    file = tmp_path / "module.wasm"
    file.write_bytes(baked)
    assert wasm.custom_section(file, "note") == b"content"
    assert wasm.custom_section(file, "not") is None
    file.write_bytes(baked[:8])  # a module with no section
    assert wasm.custom_section(file, "note") is None
