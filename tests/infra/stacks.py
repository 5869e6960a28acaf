"""`sam build && sam deploy` to ministack, with its IAM enforced, and the service that stands there then.

What ministack 1.5.33 has not, and what is done about it:

- Some properties of what CloudFormation makes: TTL, recovery and encryption of a table, lifecycle rules, owner and
  encryption of a bucket, throttling and CORS of an HTTP API are accepted, and not kept. cfn-lint and test_template.py
  look at them in the files; here the services get the first and the fourth in calls of their own.
- Snapshots. A version with SnapStart is marked so, and its functions are imported when it is published, with the hooks
  around a snapshot; but no process is restored from one.
- Architectures and Python versions. Functions run in its own Python on this machine, so the package is built for that.
- TLS. It speaks HTTP here, so the policies of bucket and queues refuse everything: shown of the bucket, and then taken
  off.
- `errorType`. A function's exception is always "Runtime.HandlerError"; tests/aws/ has the runtime's own answer.
- Alarms with metric math, and `sam delete`, which wants a template's address to be Amazon's: so each alarm has one
  metric, and stacks are deleted with CloudFormation's own call.
- Access logs, X-Ray and the states of alarms are configured and do nothing.
- Concurrency of a queue's function, from a parameter: text, on which all reading of queues stands still.
- RecursiveLoop is not kept; only loops of invocations are found, none that goes by way of a queue.
- Groups of schedules. IAM takes every schedule for one of the group "default", so the driver's role gets that too.
- PassRole, and what Lambda and the Scheduler may do with the roles that they are given, are not looked at.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from aws.emulators import ENVIRONMENT, REGION, Ministack, tool
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from infra.templates import ROOT

NATIVE = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]


def sam(*arguments: str | Path, folder: Path, **environment: str) -> str:
    """Runs sam; its output."""
    done = subprocess.run(
        [tool("sam"), *arguments],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "SAM_CLI_TELEMETRY": "0",
            "PIP_CACHE_DIR": os.environ.get("PIP_CACHE_DIR", str(Path.home() / ".cache" / "pip")),
            **{name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "PYENV_"))},
            **ENVIRONMENT,
            **environment,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SamError(done.stdout + done.stderr)
    return done.stdout + done.stderr


class SamError(Exception):
    """sam failed; the message is what it printed."""


@dataclass(frozen=True)
class Stack:
    """A stack that was deployed."""

    name: str
    cloud: Ministack
    outputs: dict[str, str]

    def invoke(self, function: str, event: Any) -> dict[str, Any]:
        """Invokes a function by its alias; its answer.

        Raises:
            FunctionError: it failed.
        """
        answer = self.cloud.client("lambda", read_timeout=60).invoke(
            FunctionName=self.outputs[f"{function}FunctionArn"], Payload=json.dumps(event).encode()
        )
        result = json.loads(answer["Payload"].read())
        if "FunctionError" in answer:
            raise FunctionError(result["errorMessage"])
        return result

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        caller: Credentials | None = None,
        headers: dict[str, str] | None = None,
        stage: str | None = None,
    ) -> httpx.Response:
        """Sends a request to the API, signed by the caller if there is one.

        ministack knows the API by its host, as AWS does; or, for a stage and for what it serves itself (/health),
        by a path.
        """
        content = b"" if body is None else json.dumps(body).encode()
        sent = dict(headers or {})
        if stage is None:
            sent["host"] = f"{self.outputs['ApiId']}.execute-api.localhost:{self.cloud.url.rpartition(':')[2]}"
        else:
            path = f"/_aws/execute-api/{self.outputs['ApiId']}/{stage}{path}"
        if body is not None:
            sent["content-type"] = "application/json"
        signed = AWSRequest(method, f"{self.cloud.url}{path}", sent, content)
        if caller is not None:
            SigV4Auth(caller, "execute-api", REGION).add_auth(signed)
        return httpx.request(
            method, signed.url, headers=dict(signed.headers.items()), content=content, timeout=60, trust_env=False
        )

    def configuration(self, function: str) -> dict[str, Any]:
        return self.cloud.client("lambda").get_function_configuration(
            FunctionName=self.outputs[f"{function}FunctionArn"]
        )


class FunctionError(Exception):
    """A function failed."""


def wait(cloud: Ministack, name: str, done: str) -> None:
    """Waits for the end of an operation, and fails if it is another than `done`."""
    formation, deadline = cloud.client("cloudformation"), time.monotonic() + 120
    while (status := formation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]).endswith("_IN_PROGRESS"):
        assert time.monotonic() < deadline, status
        time.sleep(0.2)
    if status != done:
        events = formation.describe_stack_events(StackName=name)["StackEvents"]
        pytest.fail(f"{status}: {[event.get('ResourceStatusReason') for event in events]}")


def let_queues_be_read(cloud: Ministack) -> None:
    """Makes numbers of the concurrencies that are text, after each deployment of any stack."""
    functions = cloud.client("lambda")
    for source in functions.list_event_source_mappings()["EventSourceMappings"]:
        functions.update_event_source_mapping(UUID=source["UUID"], ScalingConfig=source["ScalingConfig"])


def let_tasks_be_driven(cloud: Ministack, stack: Stack) -> None:
    """Puts right what keeps the driver of a stack from its work here, and lets it call this machine."""
    functions, queues, iam = cloud.client("lambda"), cloud.client("sqs"), cloud.client("iam")
    for queue in ("DriverQueueUrl", "DriverDeadLettersUrl"):
        queues.set_queue_attributes(QueueUrl=stack.outputs[queue], Attributes={"Policy": ""})
    for function in ("Execute", "Resume", "Task", "Api"):
        functions.get_waiter("function_active_v2").wait(FunctionName=stack.outputs[f"{function}FunctionArn"])
    made = stack.configuration("Driver")
    statement = {
        "Effect": "Allow",
        "Action": "scheduler:CreateSchedule",
        "Resource": f"arn:aws:scheduler:{REGION}:000000000000:schedule/default/*",
    }
    iam.put_role_policy(
        RoleName=made["Role"].rpartition("/")[2],
        PolicyName="wakes-here",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )
    name, environment = made["FunctionName"], made["Environment"]["Variables"]
    functions.update_function_configuration(
        FunctionName=name, Environment={"Variables": {**environment, "SEQUENTIAL_DRIVER_LOOPBACK": "true"}}
    )
    functions.get_waiter("function_updated_v2").wait(FunctionName=name)
    version = functions.publish_version(FunctionName=name)["Version"]
    functions.update_alias(FunctionName=name, Name="live", FunctionVersion=version)
    functions.get_waiter("function_active_v2").wait(FunctionName=f"{name}:live")


def describe(cloud: Ministack, name: str) -> Stack:
    (made,) = cloud.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    return Stack(name, cloud, {output["OutputKey"]: output["OutputValue"] for output in made["Outputs"]})


def make_user(cloud: Ministack, statement: dict[str, Any] | None = None) -> Credentials:
    """A user of the account who may do what the statement says."""
    iam, name = cloud.client("iam"), f"user-{uuid.uuid4()}"
    iam.create_user(UserName=name)
    if statement is not None:
        document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]}
        iam.put_user_policy(UserName=name, PolicyName="calls", PolicyDocument=json.dumps(document))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return Credentials(key["AccessKeyId"], key["SecretAccessKey"])
