"""A handler as Lambda runs it: the Runtime Interface Emulator of the aws-sam-cli wheel, and awslambdaric.

What was found of it (aws-sam-cli 1.167, awslambdaric 4.2):

*Start.* The emulator listens 10 ms after its start, and starts the runtime when the first event comes. So the time of
the first invocation is the one from process start to the first response, and nothing else is in it.

*Failures* come with status 200, as a payload with `errorType`, `errorMessage` and `stackTrace`, like those of Lambda
but for its header X-Amz-Function-Error: a result that has the same two keys cannot be told from them. A runtime that
ends is replaced at the next event.

*Sizes.* A response of more than 6 MiB and 100 bytes is Function.ResponseSizeTooLarge, as on AWS. An event of more
than 6 MiB is not refused, and cut at about 10 MB: `invoke` refuses it, as Lambda does.

*Addresses.* By default it listens on all interfaces; here on two free ports of 127.0.0.1.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

from aws.emulators import ENVIRONMENT, REGION, ROOT, Leash, free_port, missing, tool

#: What Lambda takes and gives in a synchronous invocation: its page of quotas says 6 MB.
MAX_EVENT_BYTES = 6 * 1024 * 1024

_MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}

# Lines of the emulator's own among those of the function.
_OWN_LINES = ("START RequestId: ", "END RequestId: ", "REPORT RequestId: ")


def emulator() -> Path:
    """The Runtime Interface Emulator for this machine."""
    machine = _MACHINES.get(platform.machine().lower())
    if sys.platform != "linux" or machine is None:
        missing("a Lambda Runtime Interface Emulator for this machine")
    libraries = tool("sam").parents[1] / "lib"
    found = next(libraries.glob(f"python3.*/site-packages/samcli/local/rapid/aws-lambda-rie-{machine}"), None)
    if found is None:
        missing("the Lambda Runtime Interface Emulator in aws-sam-cli")
    return found


@dataclass(frozen=True)
class Invocation:
    """What became of an event.

    Attributes:
        payload: the result, or what Lambda gives in its place if the function failed.
        logs: what the function wrote, a string for each line.
        seconds: how long it took.
    """

    payload: Any
    logs: list[str]
    seconds: float

    @property
    def error(self) -> str | None:
        """The `errorType` if the function failed."""
        failed = isinstance(self.payload, dict) and {"errorType", "errorMessage"} <= self.payload.keys()
        return self.payload["errorType"] if failed else None

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The metrics among the logs, in CloudWatch's embedded format."""
        return [json.loads(line) for line in self.logs if line.startswith("{") and '"_aws"' in line]


class LambdaEmulator:
    """One execution environment of a function: a fresh process of Python, started by its first event.

    Args:
        handler: such as "handlers.api.handler".
        environment: variables of the function, beside those that Lambda sets and dummy credentials.
        folder: where the code is.
        timeout_seconds, memory_mb: of the function. The emulator holds it to the first only.
        python: the interpreter.
        options: of the interpreter, such as "-X importtime".

    Attributes:
        first_response_seconds: from the start of the runtime's process to the response to the first event.
    """

    def __init__(
        self,
        handler: str,
        environment: Mapping[str, str] | None = None,
        *,
        folder: Path = ROOT,
        timeout_seconds: int = 60,
        memory_mb: int = 1024,
        python: str | Path = sys.executable,
        options: tuple[str, ...] = (),
    ) -> None:
        self.first_response_seconds: float | None = None
        self._timeout_seconds = timeout_seconds
        program = emulator()  # first, since it may end the test
        self._port = free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="lambda-")
        self._output = Path(self._folder.name) / "output"
        self._read = 0
        function = handler.removeprefix("handlers.").removesuffix(".handler")
        variables = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": self._folder.name,
            "TMPDIR": self._folder.name,
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            **ENVIRONMENT,
            "AWS_REGION": REGION,
            "AWS_LAMBDA_FUNCTION_NAME": function,
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout_seconds),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory_mb),
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function}",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "LAMBDA_TASK_ROOT": str(folder),
            **(environment or {}),
        }
        command = [
            program,
            *("--runtime-interface-emulator-address", f"127.0.0.1:{self._port}"),
            *("--runtime-api-address", f"127.0.0.1:{free_port()}"),
            *("--log-level", "error"),
            *(python, *options, "-m", "awslambdaric", handler),
        ]
        self._leash = Leash()
        try:
            with self._output.open("wb") as output:
                self._process = self._leash.start(
                    command, cwd=folder, env=variables, stdout=output, stderr=subprocess.STDOUT
                )
            self._wait_for_the_port()
        except BaseException:
            self.close()
            raise

    def invoke(self, event: Any) -> Invocation:
        """Sends an event and waits for what becomes of it.

        Raises:
            ValueError: Lambda would not take the event, since it is too large.
        """
        body = json.dumps(event).encode()
        if len(body) > MAX_EVENT_BYTES:
            raise ValueError(f"an event of {len(body)} bytes; Lambda takes {MAX_EVENT_BYTES}")
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=self._timeout_seconds + 30)
        begun = time.perf_counter()
        with contextlib.closing(connection):
            connection.request("POST", "/2015-03-31/functions/function/invocations", body)
            answer = connection.getresponse().read()
        seconds = time.perf_counter() - begun
        if self.first_response_seconds is None:
            self.first_response_seconds = seconds
        try:
            payload = json.loads(answer) if answer else None
        except ValueError:
            # Of a function that takes too long the emulator says so in plain text.
            payload = {"errorType": "Sandbox.Timedout", "errorMessage": answer.decode()}
        return Invocation(payload, self._new_logs(), seconds)

    def output(self) -> str:
        """Everything that the function and the emulator wrote so far."""
        return self._output.read_text(errors="replace")

    def close(self) -> None:
        """Ends the emulator, and with it the runtime."""
        self._leash.end()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait_for_the_port(self) -> None:
        deadline = time.monotonic() + 30
        while self._process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", self._port)):
                return
            time.sleep(0.005)
        pytest.fail(f"the Lambda emulator did not start:\n{self.output()}", pytrace=False)

    def _new_logs(self) -> list[str]:
        # The last line may come after the response.
        deadline = time.monotonic() + 1
        while b"\nREPORT RequestId: " not in (new := self._output.read_bytes()[self._read :]):
            if time.monotonic() > deadline:
                break
            time.sleep(0.005)
        self._read += len(new)
        return [line for line in new.decode(errors="replace").splitlines() if not line.startswith(_OWN_LINES)]
