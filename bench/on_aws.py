"""What a pause costs on AWS, and what a cold start takes. Prints Markdown; asserts nothing.

    scripts/bench-aws

Units are those that ministack reports for each call (`ReturnConsumedCapacity`). It reports 1 for any consistent read; a
read unit is 4 KB, so that for reads the size of the item is shown too. Cold starts are of the package that `sam build`
makes, in fresh processes under the Lambda Runtime Interface Emulator, from process start to the response to a
resume, with ministack as DynamoDB.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path += [str(ROOT), str(ROOT / "tests")]

from aws.emulators import VENV, create_bucket, create_table, ministack
from aws.lambda_emulator import LambdaEmulator

from bench.workloads import REFERENCE
from sequential_core import SequentialFlow
from sequential_core.storage import items
from sequential_core.storage.dynamodb import DynamoDBStorage

USER, POSTS = {"id": 1, "name": "Alice"}, [{"id": 101}, {"id": 102}]

STARTS = 15

#: US dollars for a million, us-east-1, list prices without the free tier and without data transfer: DynamoDB on
#: demand since 1 November 2024; HTTP API, Lambda on arm64 and Step Functions as of November 2025.
WRITE_UNITS, READ_UNITS = 0.625, 0.125
HTTP_REQUESTS, LAMBDA_REQUESTS = 1.00, 0.20
LAMBDA_GB_SECONDS = 13.3334
STEP_FUNCTIONS, DURABLE_FUNCTIONS = 25.0, 8.0

# What a warm call of a function is billed for: a hop of 2 ms, two calls of DynamoDB and the runtime's own.
BILLED_SECONDS, MEMORY_GB = 0.020, 1.0


class Capacity:
    """Units that a client's calls consume."""

    def __init__(self, client: Any) -> None:
        self.calls: list[tuple[str, float, float]] = []
        client.meta.events.register("provide-client-params.dynamodb", self._ask)
        client.meta.events.register("after-call.dynamodb", self._note)

    def _ask(self, params: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {**params, "ReturnConsumedCapacity": "INDEXES"}

    def _note(self, parsed: dict[str, Any], model: Any, **_: Any) -> None:
        units = parsed["ConsumedCapacity"]
        index = sum(part["CapacityUnits"] for part in units.get("GlobalSecondaryIndexes", {}).values())
        self.calls.append((model.name, units["CapacityUnits"] - index, index))

    @contextmanager
    def of(self) -> Iterator[dict[str, float]]:
        """Sums up the calls within, as write, index and read units."""
        del self.calls[:]
        sums: dict[str, float] = defaultdict(float)
        yield sums
        for name, units, index in self.calls:
            sums["read" if name == "GetItem" else "write"] += units
            sums["index"] += index


def units(url: str, table: str) -> None:
    print("| the reference program | write units | of the index | read units | item |")
    print("|---|---|---|---|---|")
    for padding in (0, 100_000, 250_000):
        storage = DynamoDBStorage(table, region="us-east-1", endpoint=url)
        capacity = Capacity(storage._client)
        flow = SequentialFlow(storage)
        code = f"{REFERENCE} // {'x' * padding}"

        def show(what: str, task_id: str, sums: dict[str, float], storage: Any = storage) -> None:
            size = items.item_size(task_id, storage._get(task_id, items.TASK))
            print(f"| {what} | {sums['write']:g} | {sums['index']:g} | {sums['read']:g} | {size:,} bytes |")

        with capacity.of() as sums:
            task = flow.execute(code)
        show(f"to the first pause, {len(code):,} bytes of code", task.id, sums)
        with capacity.of() as sums:
            flow.resume(task.id, fetch_response=USER)
        show("from pause to pause", task.id, sums)
        with capacity.of() as sums:
            flow.resume(task.id, fetch_response=POSTS)
        show("to the end", task.id, sums)


def costs() -> None:
    table = WRITE_UNITS + READ_UNITS
    function = LAMBDA_REQUESTS + BILLED_SECONDS * MEMORY_GB * LAMBDA_GB_SECONDS
    print("\n| a million pauses, in US dollars | |")
    print("|---|---|")
    print(f"| DynamoDB, 1 write unit and 1 read unit | {table:.2f} |")
    print(f"| Lambda, {1000 * BILLED_SECONDS:.0f} ms of {MEMORY_GB:g} GB | {function:.2f} |")
    print(f"| HTTP API | {HTTP_REQUESTS:.2f} |")
    print(f"| **together**, by direct invocation / by HTTP | {table + function:.2f} / "
          f"{table + function + HTTP_REQUESTS:.2f} |")  # fmt: skip
    print(f"| AWS Step Functions, a standard transition | {STEP_FUNCTIONS:.2f} |")
    print(f"| Lambda durable functions, an operation, without its data | {DURABLE_FUNCTIONS:.2f} |")


# What Lambda's own runtime brings besides Python.
RUNTIME = ("awslambdaric", "runtime_client*", "simplejson", "snapshot_restore_py*")


def build(folder: str) -> dict[str, Any]:
    """Makes the package of the functions; how the emulator runs it, with nothing else to import."""
    (libraries,) = (VENV / "lib").glob("python3.*/site-packages")
    version = libraries.parent.name.removeprefix("python")
    architecture = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
    command = [ROOT / "scripts/build-lambda", architecture, folder]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "LAMBDA_PYTHON": version})
    for name in RUNTIME:
        for path in libraries.glob(name):
            if path.is_dir():
                shutil.copytree(path, Path(folder) / path.name, dirs_exist_ok=True)
            else:
                shutil.copy(path, folder)
    return {"folder": Path(folder), "python": (VENV / "bin/python").resolve()}


def cold_starts(url: str, table: str, bucket: str, package: dict[str, Any]) -> None:
    storage = DynamoDBStorage(table, region="us-east-1", endpoint=url)
    environment = {"SEQUENTIAL_STORAGE": f"dynamodb://{table}?bucket={bucket}&endpoint={url}"}
    seconds: dict[str, list[float]] = {"resume": [], "api": []}
    for _ in range(STARTS):
        for name, times in seconds.items():
            task = SequentialFlow(storage).execute(REFERENCE)
            with LambdaEmulator(f"handlers.{name}.handler", environment, **package) as function:
                done = function.invoke(event(name, task.id))
            assert "paused" in str(done.payload), done
            times.append(done.seconds)
    print(f"\n| process start to the response to a resume, {STARTS} processes | median | p95 |")
    print("|---|---|---|")
    for name, times in seconds.items():
        print(f"| handlers.{name} | {1e3 * statistics.median(times):.0f} ms "
              f"| {1e3 * statistics.quantiles(times, n=20)[18]:.0f} ms |")  # fmt: skip
    for name in seconds:
        task = SequentialFlow(storage).execute(REFERENCE)
        options = ("-X", "importtime")
        with LambdaEmulator(f"handlers.{name}.handler", environment, options=options, **package) as function:
            function.invoke(event(name, task.id))
            shares(name, function.output())


def event(name: str, task_id: str) -> dict[str, Any]:
    if name == "resume":
        return {"id": task_id, "fetchResponse": USER}
    path = f"/tasks/{task_id}/resume"
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "application/json"},
        "requestContext": {"http": {"method": "POST", "path": path, "sourceIp": "192.0.2.1"}},
        "body": '{"fetchResponse": {"id": 1, "name": "Alice"}}',
        "isBase64Encoded": False,
    }


_LINE = re.compile(r"import time: +(\d+) \| +\d+ \| +([\w.]+)")


def shares(name: str, output: str) -> None:
    """Which packages the imports of a cold start are."""
    own: dict[str, int] = defaultdict(int)
    for line in output.splitlines():
        if found := _LINE.search(line):
            package = found[2].partition(".")[0]
            is_own = {package, package.lstrip("_")} & sys.stdlib_module_names
            own["Python's own" if is_own else package] += int(found[1])
    largest = sorted(own.items(), key=lambda pair: -pair[1])
    total = sum(own.values())
    print(f"\n| imports of handlers.{name}, {total / 1000:.0f} ms as -X importtime measures | ms | share |")
    print("|---|---|---|")
    for package, microseconds in largest[:12]:
        print(f"| {package} | {microseconds / 1000:.1f} | {100 * microseconds / total:.0f}% |")


def main() -> None:
    with ministack() as running, tempfile.TemporaryDirectory() as folder:
        table = create_table(running.client("dynamodb"), "tasks")
        bucket = create_bucket(running.client("s3"), "states")
        units(running.url, table)
        costs()
        cold_starts(running.url, table, bucket, build(folder))


if __name__ == "__main__":
    main()
