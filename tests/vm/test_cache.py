"""Compiled guests on disk."""

from __future__ import annotations

import os
import tempfile
from importlib.metadata import version
from pathlib import Path

import pytest
import wasmtime

from sequential_core.errors import CacheDirectoryError
from sequential_core.vm import cache, runtime

MODULE = bytes(wasmtime.wat2wasm('(module (func (export "answer") (result i32) i32.const 42))'))
SHA256 = "5e" * 32

needs_owners = pytest.mark.skipif(not hasattr(os, "getuid"), reason="the system has no owners of files")
needs_root = pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can give files away")


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A cache directory that does not exist yet."""
    path = tmp_path / "above" / "cache"
    monkeypatch.setenv(cache.ENVIRONMENT_VARIABLE, str(path))
    return path


@pytest.fixture
def filled(place) -> Path:
    """The one file of a cache that has been used."""
    cache.compiled(MODULE, SHA256)
    (path,) = place.iterdir()
    return path


def works(module: wasmtime.Module) -> bool:
    store = wasmtime.Store(runtime.engine())
    store.set_epoch_deadline(1000)
    answer = wasmtime.Instance(store, module, []).exports(store)["answer"]
    assert isinstance(answer, wasmtime.Func)
    return answer(store) == 42


# --- What it is for ------------------------------------------------------------------------------


def test_the_second_time_it_is_loaded(place, filled, monkeypatch):
    loaded = []
    deserialize = wasmtime.Module.deserialize_file
    monkeypatch.setattr(
        wasmtime.Module, "deserialize_file", lambda *args: loaded.append(args[-1]) or deserialize(*args)
    )
    inode = filled.stat().st_ino
    assert works(cache.compiled(b"not looked at", SHA256))
    assert loaded == [str(filled)]
    assert filled.stat().st_ino == inode


@needs_owners
def test_directory_and_file_are_the_users_alone(place, filled):
    assert place.stat().st_mode & 0o777 == 0o700
    assert filled.stat().st_mode & 0o077 == 0


def test_the_file_appears_whole(place, monkeypatch):
    """It is complete before it gets its name, and nothing else is left behind."""
    seen = []
    replace = os.replace

    def observed(source, target):
        assert not Path(target).exists()
        seen.append(Path(source).read_bytes())
        replace(source, target)

    monkeypatch.setattr(os, "replace", observed)
    cache.compiled(MODULE, SHA256)
    (path,) = place.iterdir()
    assert seen == [path.read_bytes()]


def test_a_file_that_cannot_be_finished_leaves_nothing_behind(place, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert works(cache.compiled(MODULE, SHA256))
    assert list(place.iterdir()) == []


def test_the_name_has_all_that_the_content_depends_on(filled):
    assert SHA256[:32] in filled.name
    assert f"-wasmtime{version('wasmtime')}-" in filled.name
    assert os.uname().machine.lower() in filled.name


def test_a_file_is_read_only_if_it_has_to_be_compiled(place, tmp_path):
    file = tmp_path / "module.wasm"
    file.write_bytes(MODULE)
    assert works(cache.compiled(file, SHA256))
    file.unlink()
    assert works(cache.compiled(file, SHA256))
    with pytest.raises(FileNotFoundError):
        cache.compiled(file, "6f" * 32)


def test_another_guest_another_file(place, filled):
    cache.compiled(MODULE, "6f" * 32)
    assert len(list(place.iterdir())) == 2


def test_another_wasmtime_another_file(place, filled, monkeypatch):
    monkeypatch.setattr(cache, "_wasmtime_version", lambda: "51.0.0")
    cache.compiled(MODULE, SHA256)
    assert len(list(place.iterdir())) == 2


@pytest.mark.parametrize("damage", [b"", b"\x7fELF", bytes(5000)], ids=["empty", "cut", "zeros"])
def test_a_file_that_is_no_compiled_guest_is_replaced(filled, damage):
    whole = filled.read_bytes()
    filled.write_bytes(damage)
    assert works(cache.compiled(MODULE, SHA256))
    assert len(filled.read_bytes()) == len(whole)
    assert works(cache.compiled(b"not looked at", SHA256))


# --- Where there is no place ---------------------------------------------------------------------


def test_a_place_that_cannot_be_made_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv(cache.ENVIRONMENT_VARIABLE, str(tmp_path / "file" / "cache"))
    assert works(cache.compiled(MODULE, SHA256))


def test_no_home_is_done_without(monkeypatch):
    def homeless(*_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv(cache.ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert works(cache.compiled(MODULE, SHA256))


def test_a_read_only_place_is_done_without(place, monkeypatch):
    def read_only(*_, **__):
        raise OSError(30, "Read-only file system")

    place.mkdir(mode=0o700, parents=True)
    monkeypatch.setattr(tempfile, "mkstemp", read_only)
    assert works(cache.compiled(MODULE, SHA256))
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(("variable", "below"), [("XDG_CACHE_HOME", "sequential"), ("HOME", ".cache/sequential")])
@pytest.mark.skipif(os.uname().sysname == "Darwin", reason="macOS has a place of its own")
def test_the_usual_place(variable, below, tmp_path, monkeypatch):
    for name in (cache.ENVIRONMENT_VARIABLE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    assert cache.directory() == tmp_path / below


# --- What others could write ---------------------------------------------------------------------


@needs_owners
@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777, 0o1777])
def test_a_directory_that_others_can_write_is_refused(place, filled, mode):
    place.chmod(mode)
    with pytest.raises(CacheDirectoryError, match="others can write it"):
        cache.compiled(MODULE, SHA256)


@needs_owners
@pytest.mark.parametrize("mode", [0o770, 0o777])
def test_a_directory_that_others_can_replace_is_refused(place, filled, mode):
    place.parent.chmod(mode)
    with pytest.raises(CacheDirectoryError, match="above"):
        cache.compiled(MODULE, SHA256)


@needs_owners
def test_the_sticky_bit_keeps_others_from_replacing_it(place, filled):
    place.parent.chmod(0o1777)
    assert works(cache.compiled(MODULE, SHA256))


@needs_owners
@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_file_that_others_can_write_is_refused(filled, mode):
    filled.chmod(mode)
    with pytest.raises(CacheDirectoryError, match=filled.name):
        cache.compiled(MODULE, SHA256)


@needs_owners
def test_a_symbolic_link_in_the_place_of_the_file_is_refused(filled, tmp_path):
    filled.rename(tmp_path / "elsewhere")
    filled.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CacheDirectoryError, match=filled.name):
        cache.compiled(MODULE, SHA256)


@needs_owners
def test_a_directory_in_the_place_of_the_file_is_refused(filled):
    filled.unlink()
    filled.mkdir()
    with pytest.raises(CacheDirectoryError):
        cache.compiled(MODULE, SHA256)


@needs_root
@pytest.mark.parametrize("what", ["file", "directory", "parent"])
def test_what_belongs_to_another_user_is_refused(place, filled, what):
    os.chown({"file": filled, "directory": place, "parent": place.parent}[what], 12345, -1)
    with pytest.raises(CacheDirectoryError):
        cache.compiled(MODULE, SHA256)


@needs_owners
def test_a_link_to_a_private_directory_is_followed(place, tmp_path, monkeypatch):
    place.mkdir(mode=0o700, parents=True)
    link = tmp_path / "link"
    link.symlink_to(place)
    monkeypatch.setenv(cache.ENVIRONMENT_VARIABLE, str(link))
    assert works(cache.compiled(MODULE, SHA256))
    assert len(list(place.iterdir())) == 1


@needs_owners
def test_a_link_that_others_can_replace_is_refused(place, tmp_path, monkeypatch):
    place.mkdir(mode=0o700, parents=True)
    exposed = tmp_path / "open"
    exposed.mkdir()
    (exposed / "link").symlink_to(place)
    exposed.chmod(0o777)
    monkeypatch.setenv(cache.ENVIRONMENT_VARIABLE, str(exposed / "link"))
    with pytest.raises(CacheDirectoryError):
        cache.compiled(MODULE, SHA256)
