"""Makes the package of the Lambda functions: one folder, the same for all of them.

    scripts/build-lambda arm64|x86_64 FOLDER

It has the locked wheels of requirements/lambda.txt for that architecture, whatever this machine is, `sequential_core`
and `handlers`; every guest, and the stripper of types, is compiled ahead of time. Nothing is run for the other
architecture but wasmtime's compiler: its wheels compile for their own architecture only, so it runs under emulation
then, see scripts/foreign-python; or with the command in FOREIGN_PYTHON; or, if that is "none", both are left as they
are.

The result is kept in .cache/lambda/ under the digest of all that it is made from: SAM asks for it once for each
function, perhaps at the same time.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import platform
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".cache" / "lambda"
LOCK = ROOT / "requirements" / "lambda.txt"

# Names of an architecture: wheels' and wasmtime's, by that of Lambda; and its number in ELF files (e_machine).
MACHINES = {"arm64": "aarch64", "x86_64": "x86_64"}
ELF_MACHINES = {"arm64": 183, "x86_64": 62}

# Lambda's Python runtimes since 3.12 are Amazon Linux 2023, with glibc 2.34.
GLIBC_MINOR = 34

# Lambda allows 250 MB; less is less to load at a cold start. 15 MB are cryptography, loaded by the tasks that
# use crypto.subtle and by no others.
LIMIT_BYTES = 100_000_000

# What is made from the tree, besides the wheels.
PACKAGES = ("sequential_core", "handlers")

# What strips types from TypeScript.
STRIPPER = Path("sequential_core", "typescript", "stripper.wasm")

# The services whose descriptions botocore has to have, of 400.
SERVICES = ("dynamodb", "s3", "scheduler", "secretsmanager", "sqs")

# Where Lambda unpacks the package: what tracebacks are to say.
TASK_ROOT = "/var/task"

# Files get one date, so that the same content is the same archive: the earliest one that a zip file can hold.
EPOCH = 315_532_800


# The environment variable that names a command, or says "none".
FOREIGN_PYTHON = "FOREIGN_PYTHON"


class BuildError(Exception):
    """The package cannot be made; the message says what to do."""


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="scripts/build-lambda", description="Makes the package of the functions.")
    parser.add_argument("architecture", choices=sorted(MACHINES))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fresh", action="store_true", help="make it anew, whatever was made before")
    arguments = parser.parse_args()
    try:
        print(report(build(arguments.architecture, arguments.folder, fresh=arguments.fresh)))
    except BuildError as error:
        sys.exit(f"error: {error}")


def build(architecture: str, folder: Path, *, fresh: bool = False) -> Path:
    """Fills the folder; returns it.

    Raises:
        BuildError: a part cannot be had, or the package is not as it should be.
    """
    version = os.environ["LAMBDA_PYTHON"]
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _bake_guest()
        kind = f"{architecture}-python{version}-"
        kept = CACHE / f"{kind}{_digest(architecture, version)[:16]}"
        if fresh or not kept.is_dir():
            with tempfile.TemporaryDirectory(dir=CACHE, prefix="new-") as work:
                made = Path(work) / "package"
                _make(made, architecture, version)
                check(made, architecture, compiled=os.environ.get(FOREIGN_PYTHON) != "none")
                for old in CACHE.glob(f"{kind}*"):
                    shutil.rmtree(old)
                made.rename(kept)
        shutil.copytree(kept, folder, dirs_exist_ok=True)
    return folder


def _make(package: Path, architecture: str, version: str) -> None:
    _install_wheels(package, architecture, version)
    _prune(package)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, package / name, ignore=shutil.ignore_patterns("__pycache__", "*.cwasm"))
    _compile_guests(package, architecture)
    if sys.version.startswith(f"{version}."):
        _compile_modules(package)
    else:
        print(f"This machine has no Python {version}, so each cold start compiles the modules: half a second.")
    for path in sorted(package.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (EPOCH, EPOCH))


def _digest(architecture: str, version: str) -> str:
    """Of everything that a package is made from."""
    compiled = os.environ.get(FOREIGN_PYTHON) != "none"
    digest = hashlib.sha256(f"{architecture} {version} {sys.version} {GLIBC_MINOR} {compiled}".encode())
    for path in sorted((Path(__file__), LOCK, *_sources())):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT)} {len(content)} ".encode() + content)
    return digest.hexdigest()


def _sources() -> Iterator[Path]:
    for name in PACKAGES:
        for path in (ROOT / name).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path


def _install_wheels(package: Path, architecture: str, version: str) -> None:
    machine = MACHINES[architecture]
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC_MINOR, 16, -1)]
    tags = [f"--platform={tag}" for tag in (*platforms, f"manylinux2014_{machine}")]
    _pip(
        "install",
        "--require-hashes",
        "--no-deps",  # the lock file has them all
        "--only-binary=:all:",
        "--no-compile",
        "--implementation=cp",
        f"--python-version={version}",
        *tags,
        f"--target={package}",
        f"--requirement={LOCK}",
    )


def _pip(*arguments: str) -> None:
    # Warnings of pip about the machine's own configuration say nothing of the project.
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "--quiet", *arguments]
    _run(command, "the wheels cannot be installed")


def _run(command: list[str], failure: str, **environment: str) -> None:
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**_environment(), "PYTHONDONTWRITEBYTECODE": "1", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BuildError(f"{failure}:\n{done.stdout.strip()}\n{done.stderr.strip()}")


def _environment() -> dict[str, str]:
    """The environment, without what would lead a Python to other modules than those that are meant."""
    return {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME"}}


def _prune(package: Path) -> None:
    """Removes what the functions never use."""
    data = package / "botocore" / "data"
    for path in data.iterdir():
        if path.is_dir() and path.name not in SERVICES:
            shutil.rmtree(path)
    for pattern in ("botocore/data/*/*/examples-1.json*", "botocore/data/*/*/waiters-2.json*"):
        for path in package.glob(pattern):
            path.unlink()
    # zstandard's module for Python implementations that have no C interface.
    for path in package.glob("zstandard/_cffi.*.so"):
        path.unlink()
    for path in package.rglob("*.so"):
        path.write_bytes(stripped(path.read_bytes()))
    for path in (package / "bin", *package.glob("*-stubs"), *package.rglob("tests"), *package.rglob("test")):
        if path.is_dir():
            shutil.rmtree(path)
    # What is left of a wheel's description says to scanners which versions are here, and to `vm/cache.py`
    # that of wasmtime; the list of its files would no longer be true.
    for name in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json"):
        for path in package.glob(f"*.dist-info/{name}"):
            path.unlink()


def stripped(library: bytes) -> bytes:
    """A shared library (ELF, 64 bits) without what no process loads: information for debuggers, names of its insides.

    That is a fifth of the package, and more than nine tenths of zstandard's library on x86-64. What is loaded is named
    by the program headers, and comes first in the file; the sections' headers, at its end, are for linkers and
    debuggers. Compiled guests are ELF files too, but wasmtime reads their sections: they must stay whole.
    """
    (offset,) = struct.unpack_from("<Q", library, 0x20)
    size, count = struct.unpack_from("<HH", library, 0x36)
    end = offset + size * count
    for number in range(count):
        begin, _, _, length = struct.unpack_from("<4Q", library, offset + size * number + 8)
        end = max(end, begin + length)
    made = bytearray(library[:end])
    struct.pack_into("<Q", made, 0x28, 0)  # where the sections' headers are
    struct.pack_into("<HH", made, 0x3C, 0, 0)  # how many there are, and which of them has their names
    return bytes(made)


# --- Guests ---


def _bake_guest() -> None:
    """Builds the guest and the stripper of types from their npm packages, if the tree has none yet."""
    pinned = (ROOT / "sequential_core" / "vm" / "current.sha256").read_text().strip()
    guest = ROOT / "sequential_core" / "vm" / "guests" / f"{pinned}.wasm"
    if guest.is_file() and (ROOT / STRIPPER).is_file():
        return
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="new-") as work:
        lock = _locked(Path(work), "wasmtime", "zstandard")
        _pip("install", "--require-hashes", "--no-deps", f"--target={work}", f"--requirement={lock}")
        if shutil.which("npm") is None:
            node = ROOT / "requirements" / "node.txt"
            _pip("install", "--require-hashes", "--no-deps", f"--target={work}", f"--requirement={node}")
        command = [sys.executable, "-m", "sequential_core.vm.build"]
        _run(command, "the guest cannot be built", PYTHONPATH=f"{ROOT}{os.pathsep}{work}")


def _locked(folder: Path, *names: str) -> Path:
    """A lock file with these packages alone."""
    lines, kept = LOCK.read_text().split("\n"), []
    for name in names:
        begin = next(number for number, line in enumerate(lines) if line.startswith(f"{name}=="))
        end = next(number for number in range(begin, len(lines)) if not lines[number].endswith("\\"))
        kept += lines[begin : end + 1]
    path = folder / "locked.txt"
    path.write_text("\n".join(kept))
    return path


def _compile_guests(package: Path, architecture: str) -> None:
    machine = MACHINES[architecture]
    target = f"{machine}-unknown-linux-gnu"
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="new-") as work:
        # The package's own wasmtime compiles, if this machine can run it.
        libraries = package
        if (sys.platform, platform.machine()) == ("linux", machine):
            command = [sys.executable]
        elif {"arm64": "aarch64", "AMD64": "x86_64"}.get(platform.machine()) == machine:
            # Such as a Mac: another system's wheel of the same version for the same architecture.
            libraries = Path(work)
            lock = _locked(libraries, "wasmtime")
            _pip("install", "--require-hashes", "--no-deps", f"--target={work}", f"--requirement={lock}")
            command = [sys.executable]
        else:
            command = _foreign_python(machine)
            if not command:
                print("The guest is not compiled: each start of a function does that, in half a second.")
                return
        for builder, folder in (("vm.build", "vm/guests"), ("typescript.build", "typescript")):
            place = str(package / "sequential_core" / folder)
            _run(
                [*command, "-m", f"sequential_core.{builder}", "--compile", target, place],
                "the guest and the stripper of types cannot be compiled",
                PYTHONPATH=f"{ROOT}{os.pathsep}{libraries}",
            )
    # 2.8 MB that nothing reads beside the compiled form, which every processor of its kind runs. (Guests are read.)
    (package / STRIPPER).unlink()


def _foreign_python(machine: str) -> list[str]:
    """The command of a Python of that machine; empty if there is to be none."""
    if command := os.environ.get(FOREIGN_PYTHON):
        return [] if command == "none" else shlex.split(command)
    done = subprocess.run(
        [ROOT / "scripts" / "foreign-python", machine],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BuildError(
            f"{done.stderr.strip().removeprefix('error: ')}\n"
            f"This machine cannot compile the guest for {machine}. Deploy for its own architecture "
            "(--parameter-overrides Architecture=...), build on a machine of the other one, "
            f"or name a Python of the other one in {FOREIGN_PYTHON}; see docs/deploy.md, Build."
        )
    return [done.stdout.strip()]


# --- Modules ---


def _compile_modules(package: Path) -> None:
    """Writes the compiled form of every module beside it, without a look at the source when it is loaded.

    The files of a function cannot be written, so else each cold start would compile them again. They hold a hash of
    the source instead of its date, and nothing of this machine.
    """
    code = (
        "import compileall, py_compile, sys;"
        "mode = py_compile.PycInvalidationMode.UNCHECKED_HASH;"
        "done = compileall.compile_dir(sys.argv[1], quiet=1, force=True, invalidation_mode=mode, "
        "stripdir=sys.argv[1], prependdir=sys.argv[2]);"
        "sys.exit(not done)"
    )
    _run(
        [sys.executable, "-I", "-c", code, str(package), TASK_ROOT],
        "the modules cannot be compiled",
        PYTHONHASHSEED="0",
    )


# --- What must hold ---


def check(package: Path, architecture: str, *, compiled: bool = True) -> None:
    """Looks at a package.

    Raises:
        BuildError: it is too large, has code of another architecture, or a guest without its compiled form.
    """
    for path in sorted(package.rglob("*")):
        if path.is_file() and (machine := elf_machine(path)) not in (None, ELF_MACHINES[architecture]):
            raise BuildError(f"{path.relative_to(package)} is for another architecture (ELF machine {machine})")
    guests = package / "sequential_core" / "vm" / "guests"
    for guest in guests.glob("*.wasm"):
        if compiled and not list(guests.glob(f"{guest.stem}-*-{MACHINES[architecture]}-*.cwasm")):
            raise BuildError(f"the guest {guest.stem} is not compiled")
    stripper = (package / STRIPPER).parent
    if compiled and stripper.is_dir() and not list(stripper.glob(f"*-{MACHINES[architecture]}-*.cwasm")):
        raise BuildError("the stripper of types is not compiled")
    size = sum(size_of_parts(package).values())
    if size > LIMIT_BYTES:
        raise BuildError(f"it has {size:,} bytes unzipped, and may have {LIMIT_BYTES:,}\n{report(package)}")


def elf_machine(path: Path) -> int | None:
    """The architecture of an ELF file, by its number; None if it is not one."""
    with path.open("rb") as file:
        head = file.read(20)
    return int.from_bytes(head[18:20], "little") if head.startswith(b"\x7fELF") else None


def size_of_parts(package: Path) -> dict[str, int]:
    """Bytes of every file or folder at the top of the package, the largest first."""
    sizes = {
        path.name: path.stat().st_size
        if path.is_file()
        else sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
        for path in package.iterdir()
    }
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))


def report(package: Path) -> str:
    """The size of a package, and of its largest parts."""
    sizes = size_of_parts(package)
    lines = [f"{sum(sizes.values()) / 1e6:6.1f} MB unzipped, of {LIMIT_BYTES / 1e6:.0f} allowed"]
    lines += [f"{size / 1e6:6.1f}    {name}" for name, size in list(sizes.items())[:6]]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
