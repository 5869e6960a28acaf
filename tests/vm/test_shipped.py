"""Guests that were compiled ahead of time, inside a package."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import version

import pytest
import wasmtime

from sequential_core.limits import Limits
from sequential_core.pending import ValueAnswer
from sequential_core.vm import build, cache, deltas, guest, runtime
from sequential_core.vm import program as programs

MODULE = bytes(wasmtime.wat2wasm('(module (func (export "answer") (result i32) i32.const 42))'))
SHA256 = "5e" * 32

TARGET = cache.host_target() or ""
OTHER = {"x86_64": "aarch64", "aarch64": "x86_64"}.get(platform.machine(), "x86_64") + "-unknown-linux-gnu"

pytestmark = pytest.mark.skipif(not TARGET, reason="guests are shipped for Linux only")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The cache's directory, which does not exist yet."""
    path = tmp_path / "cache"
    monkeypatch.setenv(cache.ENVIRONMENT_VARIABLE, str(path))
    return path


@pytest.fixture
def shipped(tmp_path):
    """Where a package has its guests, with the module compiled for this machine."""
    path = tmp_path / "shipped"
    path.mkdir()
    compiled = wasmtime.Module(wasmtime.Engine(runtime.config(TARGET)), MODULE).serialize()
    (path / cache.shipped_name(SHA256, TARGET)).write_bytes(compiled)
    return path


@pytest.fixture(scope="module")
def precompiled(tmp_path_factory):
    """A folder in which every guest is compiled for this machine, and the paths there."""
    path = tmp_path_factory.mktemp("precompiled")
    return path, build.precompile(TARGET, path)


def answer(module: wasmtime.Module) -> int:
    store = wasmtime.Store(runtime.engine())
    store.set_epoch_deadline(1000)
    function = wasmtime.Instance(store, module, []).exports(store)["answer"]
    assert isinstance(function, wasmtime.Func)
    return function(store)


# --- Loading -------------------------------------------------------------------------------------


def test_a_shipped_guest_is_loaded_and_the_cache_is_left_alone(shipped, place):
    assert answer(cache.compiled(b"not looked at", SHA256, shipped)) == 42
    assert not place.exists()


def test_its_name_says_guest_version_and_target():
    name = cache.shipped_name(SHA256, "aarch64-unknown-linux-gnu")
    assert name.startswith(f"{SHA256}-wasmtime{version('wasmtime')}-aarch64-unknown-linux-gnu-c")
    assert name.endswith(".cwasm")


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can give files away")
def test_it_may_belong_to_another_user_and_be_read_only_as_on_lambda(shipped, place):
    (path,) = shipped.iterdir()
    os.chown(path, 65534, 65534)
    os.chown(shipped, 65534, 65534)
    path.chmod(0o444)
    shipped.chmod(0o555)
    assert answer(cache.compiled(b"not looked at", SHA256, shipped)) == 42


@pytest.mark.parametrize(
    "name",
    [
        cache.shipped_name(SHA256, OTHER),
        cache.shipped_name("ab" * 32, TARGET),
        cache.shipped_name(SHA256, TARGET).replace("wasmtime", "wasmtime1"),
    ],
    ids=["another target", "another guest", "another wasmtime"],
)
def test_one_for_something_else_is_passed_over(shipped, place, name):
    (path,) = shipped.iterdir()
    path.rename(shipped / name)
    assert answer(cache.compiled(MODULE, SHA256, shipped)) == 42
    assert len(list(place.iterdir())) == 1


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: b"no code", lambda data: data[: len(data) // 2]])
def test_one_that_cannot_be_used_is_passed_over(shipped, place, damage):
    (path,) = shipped.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    assert answer(cache.compiled(MODULE, SHA256, shipped)) == 42
    assert len(list(place.iterdir())) == 1


def test_one_that_was_compiled_with_other_settings_is_passed_over(shipped, place):
    (path,) = shipped.iterdir()
    settings = wasmtime.Config()
    settings.target = TARGET  # and no interruption at the end of an epoch
    path.write_bytes(wasmtime.Module(wasmtime.Engine(settings), MODULE).serialize())
    assert answer(cache.compiled(MODULE, SHA256, shipped)) == 42
    assert len(list(place.iterdir())) == 1


def test_a_directory_in_its_place_is_passed_over(shipped, place):
    (path,) = shipped.iterdir()
    path.unlink()
    path.mkdir()
    assert answer(cache.compiled(MODULE, SHA256, shipped)) == 42


def test_a_guest_finds_what_was_shipped_beside_it(precompiled, tmp_path, place, monkeypatch):
    current = guest.CURRENT.read_text().strip()
    for path in (guest.DIRECTORY / f"{current}.wasm", *precompiled[1]):
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(guest, "DIRECTORY", tmp_path)
    assert guest.installed() == (current,)
    guest.load.cache_clear()
    try:
        loaded = guest.load(current)
    finally:
        guest.load.cache_clear()
    assert loaded.base == guest.current().base
    assert not place.exists()


# --- Compiling -----------------------------------------------------------------------------------


def test_every_guest_is_compiled_to_the_same_bytes_each_time(precompiled, tmp_path):
    contents = (guest.snapshot_program(), deltas.PROGRAM.read_bytes())
    programs = [hashlib.sha256(content).hexdigest() for content in contents]
    expected = [cache.shipped_name(sha256, TARGET) for sha256 in (*guest.installed(), *programs)]
    contents = []
    for folder, paths in (precompiled, (tmp_path, build.precompile(TARGET, tmp_path))):
        assert [path.name for path in paths] == expected
        assert sorted(folder.iterdir()) == sorted(paths)
        contents.append([path.read_bytes() for path in paths])
    assert contents[0] == contents[1]


def test_a_state_goes_on_in_a_guest_that_was_compiled_otherwise(precompiled, monkeypatch):
    """For any processor of its kind, and for this very one."""
    path = precompiled[1][guest.installed().index(guest.current().sha256)]
    general = runtime.linker().instantiate_pre(wasmtime.Module.deserialize_file(runtime.engine(), str(path)))
    own = guest.current().template
    code = "let n = 0; for (const _ of [1, 2, 3]) n += await fetch('https://a.example/') / 3; [n, 0.1 + n]"
    outcome = programs.start(code, Limits())
    for template in (general, own, general):
        monkeypatch.setattr(guest.current(), "template", template)
        assert isinstance(outcome, programs.Suspended)
        outcome = programs.resume(outcome.state, {outcome.requests[0].id: ValueAnswer(7)}, Limits())
    assert outcome == programs.Completed([7, 7.1], logs=outcome.logs)


def test_another_architecture_is_refused_with_what_to_do(tmp_path):
    """Asked for it, wasmtime would end the process."""
    with pytest.raises(build.BuildError, match=r"cannot compile for .*; run this with a Python of that machine"):
        build.precompile(OTHER, tmp_path)


def test_the_command_compiles_into_a_folder(tmp_path):
    command = [sys.executable, "-m", "sequential_core.vm.build", "--compile"]
    done = subprocess.run([*command, TARGET, tmp_path], capture_output=True, text=True, check=True)
    assert sorted(done.stdout.split()) == sorted(path.name for path in tmp_path.iterdir())
    refused = subprocess.run([*command, OTHER, tmp_path], capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("error: ")
