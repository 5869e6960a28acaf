"""The bake, and the guest that it gives."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest
import wasmtime

from sequential_core.errors import GuestNotFoundError
from sequential_core.vm import build, cache, wasm
from sequential_core.vm import guest as guests
from sequential_core.vm.bake import EXPORTS, BakeError, bake

BAKE = """
import hashlib, sys, tempfile
from pathlib import Path
from sequential_core.vm import build

with tempfile.TemporaryDirectory() as folder:
    print(hashlib.sha256(build._bake_packages(Path(folder))).hexdigest())
"""


@pytest.mark.slow
@pytest.mark.skipif(build.npm_command() is None, reason="npm fetches the engine")
def test_two_bakes_in_separate_processes_give_the_pinned_guest():
    pinned = guests.CURRENT.read_text().strip()
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", BAKE], capture_output=True, text=True, timeout=100, check=True)
        assert done.stdout.strip() == pinned


ENGINE = """
(module
  (memory (export "memory") 1)
  (global (export "__stack_pointer") (mut i32) (i32.const {stack}))
  {more}
  (func (export "_initialize"))
  (func (export "qjs_init") (result i32) i32.const {init}))
"""


@pytest.mark.parametrize(
    ("stack", "more", "init", "problem"),
    [
        (1 << 20, "(global (mut i32) (i32.const 0))", 0, "mutable globals"),
        (1 << 19, "", 0, "stack is not where it was"),
        (1 << 20, "", 1, "did not start"),
    ],
    ids=["state outside the memory", "another stack", "failing to start"],
)
def test_an_engine_of_another_kind_is_refused(stack, more, init, problem):
    engine = wasmtime.wat2wasm(ENGINE.format(stack=stack, more=more, init=init))
    with pytest.raises(BakeError, match=problem):
        bake(bytes(engine), b"", {})


def test_the_guest_is_named_after_its_content():
    guest = guests.current()
    data = (guests.DIRECTORY / f"{guest.sha256}.wasm").read_bytes()
    assert hashlib.sha256(data).hexdigest() == guest.sha256 == guests.CURRENT.read_text().strip()
    assert build.is_built()


def test_the_guest_says_what_went_into_it():
    guest = guests.current()
    module = (guests.DIRECTORY / f"{guest.sha256}.wasm").read_bytes()
    content = wasm.custom_section(module, guests.SECTION)
    assert content is not None
    assert guests.Manifest.from_json(content) == guest.manifest
    assert guest.manifest.to_json() == content
    assert guest.manifest.packages["quickjs-wasi"] == "3.6.2"


def test_the_guest_exports_what_is_called_and_nothing_else():
    data = (guests.DIRECTORY / f"{guests.current().sha256}.wasm").read_bytes()
    body = dict(wasm.sections(data))[7]
    count, at = wasm.unsigned(body, 0)
    names = []
    for _ in range(count):
        size, at = wasm.unsigned(body, at)
        names.append(body[at : at + size].decode())
        _, at = wasm.unsigned(body, at + size + 1)
    assert sorted(names) == sorted(EXPORTS)


def test_an_installed_guest_that_is_another_than_its_name_says_is_not_compiled(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.ENVIRONMENT_VARIABLE, str(tmp_path / "cache"))
    data = bytearray((guests.DIRECTORY / f"{guests.current().sha256}.wasm").read_bytes())
    data[len(data) // 2] ^= 1
    file = tmp_path / f"{'5e' * 32}.wasm"
    file.write_bytes(data)
    with pytest.raises(GuestNotFoundError):
        guests.Guest(file)
