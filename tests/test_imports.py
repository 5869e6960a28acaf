"""What a start imports. A module that crept in would cost every cold start, and no other test would notice."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import sequential_core
from sequential_core import driver, storage

ROOT = Path(__file__).parents[1]

# What the way from the import to the first pause does without, and who once brought it in or would.
NEEDLESS = {
    "asyncio": "the core is synchronous",
    "boto3": "only DynamoDBStorage needs a client, of botocore",
    "botocore": "the same",
    "click": "of the command line",
    "concurrent.futures": "of a driver",
    "cryptography": "of crypto.subtle's ciphers: 70 ms",
    "decimal": "no storage here",
    "email": "of HTTP clients",
    "http": "the same",
    "httpx": "of a driver: 60 ms",
    "idna": "of domain names that are not ASCII: 20 ms",
    "importlib.metadata": "wasmtime's version is in the name of a folder: 40 ms",
    "logging": "of the host's mistakes: 5 ms",
    "msgspec": "of the HTTP API",
    "pickle": "nothing is pickled",
    "random": "tempfile imports it",
    "sequential_core.driver": "who drives is another process, or comes later",
    "sequential_core.http": "the same",
    "sequential_core.storage.dynamodb": "another storage",
    "sequential_core.storage.sqlite": "another storage",
    "sequential_core.testing": "of tests",
    "sequential_core.typescript": "the code is JavaScript",
    "shutil": "tempfile imports it, and three compressions with it",
    "socket": "there is no network in a hop",
    "sqlite3": "another storage",
    "ssl": "of HTTP clients",
    "starlette": "of the HTTP API",
    "tempfile": "when a guest has been compiled: 4 ms",
    "traceback": "logging imports it",
    "uvicorn": "of the HTTP API",
    "zoneinfo": "of Temporal",
}

# Those that the functions for direct invocation do without. They need logging and botocore, which need much.
NEEDLESS_IN_LAMBDA = {
    "asyncio": "of the HTTP API: 20 ms",
    "aws_xray_sdk": "imported when tracing is on: 250 ms",
    "boto3": "botocore alone does: 60 ms",
    "cryptography": "a snapshot may not hold its random numbers either",
    "httpx": "of a driver",
    "mangum": "of the HTTP API",
    "msgspec": "the same",
    "s3transfer": "boto3 imports it",
    "sequential_core.http.app": "of the HTTP API",
    "sqlite3": "another storage",
    "starlette": "of the HTTP API",
}

FIRST_PAUSE = """
from sequential_core import MemoryStorage, SequentialFlow
assert SequentialFlow(MemoryStorage()).execute("await fetch('https://api.example.com/user/1')").status == "paused"
"""

SEEN = "import sys, json; print(json.dumps(sorted(sys.modules)))"


def modules_of(code: str, **environment: str) -> set[str]:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", f"{code}\n{SEEN}"]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **environment}
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_first_pause_imports_nothing_that_it_does_not_need():
    modules = modules_of(FIRST_PAUSE)  # the guest may have to be compiled, by the first of all tests
    modules = modules_of(FIRST_PAUSE)
    assert {name: NEEDLESS[name] for name in NEEDLESS.keys() & modules} == {}


def test_import_alone_loads_no_engine():
    modules = modules_of("import sequential_core; sequential_core.Status.PAUSED; sequential_core.MemoryStorage()")
    assert {"sequential_core.model", "sequential_core.storage.memory"} <= modules
    assert {"wasmtime", "ctypes", "sequential_core.flow", *NEEDLESS} & modules == set()


@pytest.mark.parametrize("handler", ["execute", "resume", "task"])
def test_function_without_http_imports_nothing_that_it_does_not_need(handler, monkeypatch):
    monkeypatch.delenv("POWERTOOLS_TRACE_ENABLED", raising=False)
    modules = modules_of(f"import handlers.{handler}", SEQUENTIAL_STORAGE="memory:", PYTHONPATH=str(ROOT))
    assert {name: NEEDLESS_IN_LAMBDA[name] for name in NEEDLESS_IN_LAMBDA.keys() & modules} == {}


def test_start_of_a_function_leaves_the_collector_at_work_and_nothing_for_it():
    code = "import gc, handlers.resume; print(gc.isenabled(), gc.get_freeze_count() > 10_000)"
    environment = {**os.environ, "SEQUENTIAL_STORAGE": "memory:", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    assert done.stdout == "True True\n"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"], ["ls", "--help"]])
def test_help_of_the_command_loads_no_engine(arguments):
    code = f"from sequential_core.cli import cli; cli({arguments}, standalone_mode=False)"
    assert {"wasmtime", "httpx", "sequential_core.flow", "sqlite3"} & modules_of(code) == set()


@pytest.mark.parametrize("name", sorted(NEEDLESS.keys() | NEEDLESS_IN_LAMBDA.keys()))
def test_the_names_above_are_names_of_modules(name):
    optional = {"boto3", "s3transfer", "aws_xray_sdk"}  # which may be installed
    assert name in optional or importlib.util.find_spec(name) is not None


@pytest.mark.parametrize("package", [sequential_core, storage, driver], ids=lambda package: package.__name__)
def test_each_public_name_is_there_and_listed(package):
    assert set(package.__all__) <= set(dir(package))
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        package.nothing  # noqa: B018


def test_threads_that_ask_for_the_first_time_at_once_all_get_the_same():
    code = """
import threading, sequential_core
names = [name for name in sequential_core.__all__ if name != "DynamoDBStorage"]
start, got = threading.Barrier(8), []
def ask():
    start.wait()
    got.append([id(getattr(sequential_core, name)) for name in names])
threads = [threading.Thread(target=ask) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert len(got) == 8 and all(each == got[0] for each in got)
"""
    assert "sequential_core.flow" in modules_of(code)


# --- What tells of it ----------------------------------------------------------------------------


@pytest.fixture
def imports(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    return importlib.import_module("imports")


TOLD = """\
import time: self [us] | cumulative | imported package
import time:       100 |        100 |   _io
import time:       300 |        400 | encodings
paused
import time:       250 |        250 |     first
import time:        50 |         50 |     second
import time:      1000 |       1300 |   inner
import time:       200 |       1500 | outer
"""


def test_imports_are_read_with_who_imported_them(imports):
    assert imports.parse(TOLD) == [
        imports.Import("_io", 0.1, 0.1, "encodings"),
        imports.Import("encodings", 0.3, 0.4, None),
        imports.Import("first", 0.25, 0.25, "inner"),
        imports.Import("second", 0.05, 0.05, "inner"),
        imports.Import("inner", 1.0, 1.3, "outer"),
        imports.Import("outer", 0.2, 1.5, None),
    ]


def test_table_begins_with_the_dearest(imports):
    slower = TOLD.replace("       50 |         50 |     second", "     7000 |       7000 |     second")
    found = imports.medians([imports.parse(TOLD), imports.parse(slower), imports.parse(slower)])
    assert [(each.module, each.own_ms) for each in found[:2]] == [("second", 7.0), ("inner", 1.0)]
    lines = imports.table(found, shown=2).splitlines()
    assert lines[1].split() == ["second", "7.00", "ms", "7.00", "ms", "inner"]
    assert lines[-1].split() == ["all", "6", "modules", "8.85", "ms"]
    assert len(lines) == 4


def test_real_start_is_read(imports):
    found = {each.module: each for each in imports.measured("import sequential_core.errors")}
    assert found["sequential_core.errors"].importer is None
    assert found["typing"].importer == "sequential_core"
