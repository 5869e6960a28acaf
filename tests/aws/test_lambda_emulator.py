"""A handler under the Lambda emulator is what it is in Lambda, as far as tests need it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest

from aws.emulators import family, listening
from aws.lambda_emulator import MAX_EVENT_BYTES, LambdaEmulator
from aws.test_emulators import is_running, wait_for

pytestmark = pytest.mark.once  # the emulators have a Python of their own

HANDLER = """
import json, os, sys, time

print("imported", file=sys.stderr)

def handler(event, context):
    match event.get("do"):
        case "raise":
            raise LookupError("there is none")
        case "exit":
            os._exit(3)
        case "sleep":
            time.sleep(event["seconds"])
        case "measure":
            print(json.dumps({"_aws": {"Timestamp": 1}, "Hops": 1}))
        case "large":
            return "x" * event["bytes"]
    return {"pid": os.getpid(), "variable": os.environ.get("VARIABLE"), "function": context.function_name}
"""


@pytest.fixture
def start(tmp_path):
    (tmp_path / "app.py").write_text(textwrap.dedent(HANDLER))
    (tmp_path / "broken.py").write_text("raise ValueError('VARIABLE: missing')")
    started = []

    def call(handler="app.handler", environment=None, **options):
        started.append(LambdaEmulator(handler, environment, folder=tmp_path, **options))
        return started[-1]

    yield call
    for each in started:
        each.close()


def test_a_handler_runs_with_its_environment(start):
    function = start(environment={"VARIABLE": "value"})
    first = function.invoke({})
    assert first.error is None
    assert (first.payload["variable"], first.payload["function"]) == ("value", "app")
    assert first.logs == ["imported"]
    assert function.first_response_seconds == first.seconds
    second = function.invoke({})
    assert second.payload == first.payload
    assert second.logs == []
    assert function.first_response_seconds == first.seconds


def test_each_emulator_has_a_process_of_its_own(start):
    assert start().invoke({}).payload["pid"] != start().invoke({}).payload["pid"]


def test_metrics_are_found_among_the_logs(start):
    assert start().invoke({"do": "measure"}).metrics == [{"_aws": {"Timestamp": 1}, "Hops": 1}]


def test_an_exception_is_a_payload_and_the_process_goes_on(start):
    function = start()
    pid = function.invoke({}).payload["pid"]
    failed = function.invoke({"do": "raise"})
    assert failed.error == "LookupError"
    assert failed.payload["errorMessage"] == "there is none"
    assert "[ERROR] LookupError: there is none" in failed.logs
    assert function.invoke({}).payload["pid"] == pid


def test_a_module_that_fails_tells_why(start):
    failed = start("broken.handler").invoke({})
    assert (failed.error, failed.payload["errorMessage"]) == ("ValueError", "VARIABLE: missing")


def test_a_process_that_ends_is_replaced(start):
    function = start()
    pid = function.invoke({}).payload["pid"]
    assert function.invoke({"do": "exit"}).error == "Runtime.ExitError"
    assert function.invoke({}).payload["pid"] != pid


def test_a_handler_that_takes_too_long_is_ended(start):
    function = start(timeout_seconds=1)
    assert function.invoke({"do": "sleep", "seconds": 30}).error == "Sandbox.Timedout"
    assert function.invoke({}).error is None


def test_sizes_are_limited_as_in_lambda(start):
    function = start()
    fitting = MAX_EVENT_BYTES - len(json.dumps(""))
    assert len(function.invoke({"do": "large", "bytes": fitting}).payload) == fitting
    assert function.invoke({"do": "large", "bytes": fitting + 101}).error == "Function.ResponseSizeTooLarge"
    event = {"padding": ""}
    event["padding"] = "x" * (MAX_EVENT_BYTES - len(json.dumps(event)))
    assert function.invoke(event).error is None
    event["padding"] += "x"
    with pytest.raises(ValueError, match="Lambda takes"):
        function.invoke(event)


def test_it_listens_on_127_0_0_1_only_and_leaves_nothing_running(start):
    function = start()
    pid = function.invoke({}).payload["pid"]
    emulator = function._process.pid
    assert pid in family(emulator)
    addresses = listening(emulator)
    assert len(addresses) == 2
    assert {address for address, _ in addresses} == {"127.0.0.1"}
    function.close()
    assert not is_running(emulator)
    wait_for(lambda: not is_running(pid))


def test_it_ends_with_the_process_that_started_it_when_that_is_killed(start, tmp_path):
    start()  # so that the test ends here if a part is missing
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom aws.lambda_emulator import LambdaEmulator\n"
        "function = LambdaEmulator('app.handler', folder=Path(sys.argv[1]))\n"
        "print(function.invoke({}).payload['pid'], function._folder.name, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    pid, folder = process.stdout.split()
    wait_for(lambda: not is_running(int(pid)))
    subprocess.run(["rm", "-r", folder], check=True)
