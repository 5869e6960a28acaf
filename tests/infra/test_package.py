"""The package of the functions, as `sam build` makes it: for both architectures, on whichever this is."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from aws.emulators import missing, tool

from infra.templates import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
import build_lambda

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# A program that needs the whole package but a storage: imports what the functions import, and runs a task.
PROGRAM = """
import base64, json, sys, time
begun = time.perf_counter()
from handlers import api, execute, resume, task
imported = time.perf_counter() - begun
from sequential_core.vm import cache, guest
from sequential_core import MemoryStorage, SequentialFlow
from sequential_core.typescript import host
import sequential_core, wasmtime, zstandard, msgspec, botocore
flow = SequentialFlow(MemoryStorage())
paused = flow.execute("(await fetch('https://api.example.com/')).map(n => n * 2)", id="a")
if len(sys.argv) > 2:
    from dataclasses import replace
    other = replace(paused, id="b", vm_state=base64.b64decode(open(sys.argv[2]).read()))
    flow._storage.save(other)
typed = flow.execute("let typed: number = 6 as number; typed * 7", language="typescript")
done = flow.resume("b" if len(sys.argv) > 2 else "a", fetch_response=[1, 2])
event = json.load(open(sys.argv[1]))
answer = api.handler(event, type("Context", (), {"function_name": "f", "memory_limit_in_mb": 1,
    "invoked_function_arn": "arn", "aws_request_id": "1"}))
modules = (sequential_core, wasmtime, zstandard, msgspec, botocore, api)
print(json.dumps({
    "result": done.result,
    "typed": typed.result,
    "stripper": host.MODULE.exists(),
    "state": base64.b64encode(paused.vm_state).decode(),
    "paths": [module.__file__ for module in modules],
    "cached": [module.__cached__ for module in modules],
    "cache": cache._key(guest.current().sha256),
    "seconds": imported,
    "status": answer["statusCode"],
}))
"""


def foreign_machine() -> str:
    return {"x86_64": "aarch64", "aarch64": "x86_64"}[platform.machine()]


@functools.cache
def foreign_python() -> str:
    """A Python of the other architecture, which runs here under emulation."""
    done = subprocess.run(
        [ROOT / "scripts" / "foreign-python", foreign_machine()], capture_output=True, text=True, check=False
    )
    if done.returncode:
        missing(f"a Python for {foreign_machine()} ({done.stderr.strip()})")
    return done.stdout.strip()


def version_of(python: str | Path) -> str:
    done = subprocess.run(
        [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def build(architecture: str, folder: Path, *options: str, version: str | None = None) -> Path:
    """Makes a package; the version of Python is template.yaml's if not given."""
    environment = {name: value for name, value in os.environ.items() if name != "LAMBDA_PYTHON"}
    if version is not None:
        environment["LAMBDA_PYTHON"] = version
    if build_lambda.MACHINES[architecture] != platform.machine():
        foreign_python()
    done = subprocess.run(
        [ROOT / "scripts" / "build-lambda", *options, architecture, folder],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Makes a package once for all tests."""
    place = tmp_path_factory.mktemp("packages")

    @functools.cache
    def built(architecture: str, version: str | None = None) -> Path:
        return build(architecture, place / f"{architecture}-{version}", version=version)

    return built


@pytest.fixture(params=["arm64", "x86_64"])
def architecture(request):
    return request.param


@pytest.fixture
def package(built, architecture):
    return built(architecture)


def run(python: str | Path, package: Path, tmp_path: Path, *state: Path) -> dict:
    """Runs the program with nothing on its path but the package; its answer. A state is one to go on with."""
    program = f"import sys; sys.path.insert(0, {str(package)!r})\n" + PROGRAM
    done = subprocess.run(
        [python, "-I", "-S", "-B", "-c", program, ROOT / "events" / "api-http-v2-health.json", *state],
        env={
            "SEQUENTIAL_STORAGE": "memory:",
            "SEQUENTIAL_CACHE_DIR": str(tmp_path / "cache"),
            "POWERTOOLS_METRICS_DISABLED": "true",
            "PATH": os.environ["PATH"],
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_it_is_small(package):
    sizes = build_lambda.size_of_parts(package)
    assert sum(sizes.values()) < build_lambda.LIMIT_BYTES == 100_000_000
    assert sum(sizes.values()) == sum(path.stat().st_size for path in package.rglob("*") if path.is_file())


def test_all_machine_code_is_for_its_architecture(package, architecture):
    files = [path for path in package.rglob("*") if path.is_file()]
    machines = {path.name: build_lambda.elf_machine(path) for path in files}
    found = {name: machine for name, machine in machines.items() if machine is not None}
    assert set(found.values()) == {build_lambda.ELF_MACHINES[architecture]}
    assert {name.rpartition(".")[2] for name in found} == {"so", "cwasm"}
    assert not [path for path in files if ".so" in path.name and path.name not in found]


def test_every_guest_is_in_it_as_it_is_and_compiled(package, architecture):
    there = package / "sequential_core" / "vm" / "guests"
    guests = {path.stem for path in (ROOT / "sequential_core" / "vm" / "guests").glob("*.wasm")}
    assert {path.stem for path in there.glob("*.wasm")} == guests
    target = f"{build_lambda.MACHINES[architecture]}-unknown-linux-gnu"
    compiled = [path.name for path in there.glob("*.cwasm")]
    parts = [(there.parent / name).read_bytes() for name in ("snapshot.wat", "heap.wat")]
    contents = (b"(module\n%b%b)\n" % (*parts,), (there.parent / "deltas.wat").read_bytes())
    programs = {hashlib.sha256(content).hexdigest() for content in contents}
    assert sorted(name.partition("-")[0] for name in compiled) == sorted({*guests, *programs})
    assert all(target in name for name in compiled)


def test_the_stripper_of_types_is_in_it_compiled_and_with_its_licence(package, architecture):
    there = package / "sequential_core" / "typescript"
    (compiled,) = there.glob("*.cwasm")
    assert compiled.name.startswith((there / "stripper.sha256").read_text().strip())
    assert f"{build_lambda.MACHINES[architecture]}-unknown-linux-gnu" in compiled.name
    assert not list(there.glob("*.wasm"))
    assert (there / "stripper.LICENSE").is_file()


def test_the_compiled_guest_asks_nothing_of_the_processor_that_not_all_have(package):
    """Lambda does not say on which processor a function runs, or is restored from its snapshot."""
    for path in package.rglob("*.cwasm"):
        flags = path.read_bytes().partition(b"-unknown-linux")[2][:4000]
        wanted = [name for name in (b"has_avx", b"has_sse41", b"has_bmi2", b"has_lse", b"has_fp16") if name in flags]
        assert len(wanted) >= 2
        for name in wanted:  # a kind of value (2: yes or no) and the value follow the name
            assert flags[flags.index(name) + len(name) :].startswith(b"\x02\x00")


def test_it_has_nothing_that_is_not_used(package):
    services = [path.name for path in (package / "botocore" / "data").iterdir() if path.is_dir()]
    assert sorted(services) == ["dynamodb", "s3", "scheduler", "secretsmanager", "sqs"]
    top = {path.name for path in package.iterdir()}
    assert not top & {"bin", "boto3", "click", "pip", "rich", "setuptools", "uvicorn"}
    assert not {path.name for path in package.rglob("*")} & {"tests", "RECORD"}


def test_its_libraries_end_with_what_is_loaded_of_them_and_compiled_guests_are_whole(package):
    """By what the headers of each file say: where its sections are, and how many (0x28, 0x3c in ELF files)."""
    for path in package.rglob("*"):
        if path.suffix in (".so", ".cwasm"):
            content = path.read_bytes()
            sections = int.from_bytes(content[0x28:0x30], "little"), int.from_bytes(content[0x3C:0x3E], "little")
            assert (sections == (0, 0)) is (path.suffix == ".so"), path


def test_versions_of_its_parts_can_be_read(package):
    """By scanners, and by the cache of compiled guests."""
    names = {path.name.partition("-")[0] for path in package.glob("*.dist-info")}
    assert {"wasmtime", "botocore", "zstandard", "starlette"} <= names


def test_it_names_no_path_of_the_machine_that_made_it(package):
    for path in package.rglob("*.pyc"):
        assert str(ROOT).encode() not in path.read_bytes(), path


def test_a_file_of_another_architecture_ends_the_build(architecture, tmp_path):
    other = {"arm64": b"\x3e\x00", "x86_64": b"\xb7\x00"}[architecture]
    (tmp_path / "module.so").write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00" + other)
    with pytest.raises(build_lambda.BuildError, match=r"module\.so is for another architecture"):
        build_lambda.check(tmp_path, architecture)


def test_a_package_that_is_too_large_ends_the_build(tmp_path, monkeypatch):
    (tmp_path / "large").write_bytes(bytes(1001))
    monkeypatch.setattr(build_lambda, "LIMIT_BYTES", 1000)
    with pytest.raises(build_lambda.BuildError, match="1,001 bytes"):
        build_lambda.check(tmp_path, "arm64")


def test_a_guest_that_is_not_compiled_ends_the_build(tmp_path):
    guests = tmp_path / "sequential_core" / "vm" / "guests"
    guests.mkdir(parents=True)
    (guests / "0a.wasm").write_bytes(b"")
    (guests / "0a-wasmtime50-x86_64-unknown-linux-gnu-c1.cwasm").write_bytes(b"")
    build_lambda.check(tmp_path, "x86_64")
    with pytest.raises(build_lambda.BuildError, match="0a is not compiled"):
        build_lambda.check(tmp_path, "arm64")


def test_a_stripper_that_is_not_compiled_ends_the_build(tmp_path):
    (tmp_path / build_lambda.STRIPPER).parent.mkdir(parents=True)
    build_lambda.check(tmp_path, "arm64", compiled=False)
    with pytest.raises(build_lambda.BuildError, match="stripper of types is not compiled"):
        build_lambda.check(tmp_path, "arm64")


@pytest.fixture
def native(built):
    """The package of this machine's architecture, and a Python of the version that it is for."""
    python = tool("ministack").with_name("python")
    return python, built({"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()], version_of(python))


@pytest.fixture
def foreign(built):
    """The same of the other architecture. The version is the one that there is for it."""
    python = foreign_python()
    return python, built({"aarch64": "arm64", "x86_64": "x86_64"}[foreign_machine()], version_of(python))


@pytest.mark.parametrize("architecture", ["native", "foreign"])
def test_it_runs_alone_and_loads_its_compiled_guest(architecture, request, tmp_path):
    """With the other packages of this machine out of sight; and all its modules are compiled already."""
    python, package = request.getfixturevalue(architecture)
    answer = run(python, package, tmp_path)
    assert (answer["result"], answer["typed"], answer["status"]) == ([2, 4], 42, 200)
    assert not answer["stripper"]  # but compiled
    assert all(Path(path).is_relative_to(package) for path in answer["paths"])
    assert all(Path(path).is_file() for path in answer["cached"])
    assert (platform.machine() in answer["cache"]) is (architecture == "native")
    assert not (tmp_path / "cache").exists()


def test_a_task_goes_on_on_the_other_architecture(native, foreign, tmp_path):
    state = tmp_path / "state"
    for pausing, resuming in ((native, foreign), (foreign, native)):
        state.write_text(run(*pausing, tmp_path)["state"])
        assert run(*resuming, tmp_path, state)["result"] == [2, 4]


def test_the_same_sources_make_the_same_package(package, architecture, tmp_path):
    """So that a deployment without a change changes nothing."""
    again = build(architecture, tmp_path, "--fresh")
    before, after = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (package, again)
    )
    assert after == before
