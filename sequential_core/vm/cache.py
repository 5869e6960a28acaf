"""Compiled guests on disk: compiling takes half a second, loading a compiled guest a millisecond.

A compiled guest is native code that runs with the rights of the process. So it is only ever loaded from
the installed package itself, or from a directory that nobody else can write, nor rename on its way. Files appear
whole, by a rename, and are named after all that their content depends on.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import wasmtime

from sequential_core.errors import CacheDirectoryError
from sequential_core.vm import runtime

ENVIRONMENT_VARIABLE = "SEQUENTIAL_CACHE_DIR"

# Raised when `runtime.config` changes in a way that wasmtime itself does not notice.
_CONFIG_VERSION = 1


def directory() -> Path:
    """The user's cache directory: SEQUENTIAL_CACHE_DIR, or the system's place for such files."""
    if chosen := os.environ.get(ENVIRONMENT_VARIABLE):
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "sequential"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sequential"


def compiled(module: bytes | Path | Callable[[], bytes], sha256: str, shipped: Path | None = None) -> wasmtime.Module:
    """The compiled form of a guest: the one that was shipped, or else from the cache, or else made now.

    Where the cache cannot be written (a read-only file system, no home), compiles in memory.

    Args:
        module: the guest; or its file, or what reads it, which is done only if it has to be compiled.
        sha256: its name.
        shipped: where a package may carry compiled guests under the names of `shipped_name`. It is trusted as
            the package's own code is, whoever owns it: on AWS Lambda, another user than the function's. A file that
            this process cannot use is passed over.

    Raises:
        CacheDirectoryError: somebody else can write the cache directory, or one above it.
    """
    if shipped is not None and (found := _load_shipped(shipped, sha256)) is not None:
        return found
    try:
        place = directory().absolute()
        for folder in (*reversed(place.parents), place):  # `parents=True` would not give its mode to them
            if not folder.exists():
                folder.mkdir(mode=0o700, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        return _compile(module)
    place = check_private(place)
    path = place / f"{_key(sha256)}.cwasm"
    try:
        return _load(path)
    except CacheDirectoryError:
        raise
    except (OSError, wasmtime.WasmtimeError):
        pass  # not there, or not a compiled guest: it is made anew
    fresh = _compile(module)
    with contextlib.suppress(OSError):
        _write(path, fresh.serialize())
    return fresh


def _compile(module: bytes | Path | Callable[[], bytes]) -> wasmtime.Module:
    read = module.read_bytes if isinstance(module, Path) else module
    return wasmtime.Module(runtime.engine(), read() if callable(read) else read)


def check_private(place: Path) -> Path:
    """Refuses a directory that somebody else could write, or put another in the place of.

    Returns:
        The directory with its links resolved: what was checked is what must be used.

    Raises:
        CacheDirectoryError: `place` is not a directory of this user's with no write permission for
            others, or one above it is neither the user's nor root's, or writable by others
            without the sticky bit.
    """
    if not hasattr(os, "getuid"):  # Windows: profiles are private by their access lists
        return place
    user = os.getuid()
    parents = {*place.parents, *place.resolve().parents}
    place = place.resolve()
    own = place.stat()
    if not stat.S_ISDIR(own.st_mode):
        raise CacheDirectoryError(str(place), "it is not a directory")
    if own.st_uid != user:
        raise CacheDirectoryError(str(place), "it belongs to another user")
    if own.st_mode & 0o022:
        raise CacheDirectoryError(str(place), "others can write it")
    for parent in sorted(parents):
        info = parent.stat()
        if info.st_uid not in (0, user):
            raise CacheDirectoryError(str(place), f"{parent} belongs to another user")
        if info.st_mode & 0o022 and not info.st_mode & stat.S_ISVTX:
            raise CacheDirectoryError(str(place), f"others can write {parent}")
    return place


def shipped_name(sha256: str, target: str) -> str:
    """The file name of a guest that was compiled ahead of time for `target`, such as "aarch64-unknown-linux-gnu"."""
    return f"{sha256}-wasmtime{_wasmtime_version()}-{target}-c{_CONFIG_VERSION}.cwasm"


def host_target() -> str | None:
    """The target of this process; None if nothing is shipped for its kind."""
    return f"{platform.machine()}-unknown-linux-gnu" if sys.platform == "linux" else None


def _load_shipped(place: Path, sha256: str) -> wasmtime.Module | None:
    target = host_target()
    if target is None:
        return None
    path = place / shipped_name(sha256, target)
    if not path.is_file():
        return None
    try:
        return wasmtime.Module.deserialize_file(runtime.engine(), str(path))
    except wasmtime.WasmtimeError:  # such as a CPU without what it was compiled for
        return None


def _key(sha256: str) -> str:
    machine = f"{sys.platform}-{platform.machine()}".lower()
    return f"{sha256[:32]}-wasmtime{_wasmtime_version()}-{machine}-c{_CONFIG_VERSION}"


@functools.cache
def _wasmtime_version() -> str:
    # The name of the folder says it; importlib.metadata takes 40 ms to import.
    installed = list(Path(wasmtime.__file__).parent.parent.glob("wasmtime-*.dist-info"))
    if len(installed) == 1:
        return installed[0].stem.removeprefix("wasmtime-")
    from importlib.metadata import version

    return version("wasmtime")


def _load(path: Path) -> wasmtime.Module:
    # The directory is private; what is left is a file that was moved in with other rights.
    info = path.lstat()
    if not stat.S_ISREG(info.st_mode) or (hasattr(os, "getuid") and info.st_uid != os.getuid()):
        raise CacheDirectoryError(str(path.parent), f"{path.name} is not a file of this user's")
    if info.st_mode & 0o022 and hasattr(os, "getuid"):
        raise CacheDirectoryError(str(path.parent), f"others can write {path.name}")
    return wasmtime.Module.deserialize_file(runtime.engine(), str(path))


def _write(path: Path, data: bytes | bytearray) -> None:
    import tempfile  # 4 ms, when a guest was compiled

    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise
