"""AWS on this machine: ministack in `.venv-emulators`, which `scripts/setup-emulators` makes. No Docker, no account.

What was found of ministack 1.5.33, by reading and by measuring (2 shared cores, Python 3.13):

*Order.* One event loop handles a request of DynamoDB from beginning to end before the next. So conditional writes are
atomic (of 32 threads that race one wins, 32 counters lose nothing) and every read is consistent, of an index too:
an index that lags must be thought, it cannot be seen here.

*Conditions.* ReturnValuesOnConditionCheckFailure gives the item that is in the way; a refused write has no units.

*Sizes.* An item of 409,600 bytes is taken, one of 409,601 is a ValidationException.

*Units.* ReturnConsumedCapacity is right for writes: 1 for each KB of the larger of the old and the new item, and the
share of each index, which is nothing while what the index has stays the same. It is wrong for reads: 1 if consistent
and 0.5 if not, whatever the size. Who counts read units must count them from the size.

*TTL.* A sweep each 60 s deletes what has expired by the machine's clock; until then it is seen, as on AWS. No setting
changes that, so `ttl_sweep_seconds` shortens that thread's sleep.

*S3.* Lifecycle rules are kept and never applied. What is not there is NoSuchKey, whether or not one may list.

*SQS.* Delays, visibility, receive counts and the move to a dead-letter queue are right: a message whose last receipt is
over is moved when the queue is next read, with its time of sending. Order is that of sending, always, and nothing
comes twice by itself: a message that comes late, early or again must be sent so.

*Queues of Lambda.* What is sent is read within moments, what was delayed within a second after its time. Partial
failures are taken as reported, a failure of the function leaves the whole batch for its visibility timeout; concurrency
is as MaximumConcurrency says, and each call that is under way has a process of its own. The function's role needs no
permission to read. MaximumConcurrency from a parameter of a CloudFormation template is text, on which all reading of
queues fails, of every function: it has to be set again in a call of its own, see tests/infra/.

*EventBridge Scheduler.* An at() schedule fires up to 10 s late, where AWS says a minute; with ActionAfterCompletion
DELETE it is gone then, and its name free. A name in use is a ConflictException. The role is not looked at, neither
whether it may be passed nor what it may do, nor is the policy of the queue; and no time is too late or past. No setting
changes how often it looks: `schedule_sweep_seconds` shortens that thread's sleep. With AUTH=true every schedule is
taken for one of the group "default", whatever its group: a policy for another allows nothing.

*Secrets Manager.* A secret that CloudFormation makes has punctuation in it though ExcludePunctuation says no. A
reference to it (Ref) is its name and not its ARN, which its attribute Id is.

*Signatures and permissions* are not checked unless AUTH=true.

*Speed.* Ready 0.6 s after its start. 300 UpdateItem a second by one thread, 500 by 16, 560 by four processes.

*Ports.* Everything listens on 127.0.0.1 and on free ports, so that any number run side by side. It would open 8883
on all interfaces for IoT, which is turned off.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, Self

import botocore.session
import pytest
import yaml
from botocore.config import Config

ROOT = Path(__file__).parents[2]
VENV = ROOT / ".venv-emulators"

REGION = "us-east-1"

#: Environment variables for whoever calls the emulators, and never reaches AWS by mistake.
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_PROXY": "127.0.0.1,localhost",
}

# Of the machine's own environment a child gets only these.
_INHERITED = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT")

# It is the sleep of two threads that is shortened, and nothing of the emulator's own code that is changed.
_LAUNCH = """
import sys, threading, time
sleep = time.sleep
sweeps = {"dynamodb-ttl-reaper": float(sys.argv.pop(1)), "evb-scheduler-ticker": float(sys.argv.pop(1))}
def shortened(seconds):
    sleep(sweeps.get(threading.current_thread().name, seconds))
time.sleep = shortened
from ministack.app import main
main()
"""


def missing(part: str) -> NoReturn:
    """Ends a test whose part is missing: it fails in CI, and is skipped elsewhere."""
    if os.environ.get("CI"):
        pytest.fail(f"{part} is missing", pytrace=False)
    pytest.skip(f"{part} is missing")


def tool(name: str) -> Path:
    """A command of `.venv-emulators`, such as "sam"."""
    found = VENV / "bin" / name
    if not (VENV / ".stamp").exists() or not found.exists():
        missing(f"{name} of .venv-emulators, which scripts/setup-emulators makes,")
    return found


class Leash:
    """Processes that end with this one, however it ends: also when it is killed.

    They form a process group with a shell that waits for the end of a pipe which only this process holds.
    """

    def __init__(self) -> None:
        self._keeper = subprocess.Popen(
            ["/bin/sh", "-c", "cat >/dev/null; kill -s KILL 0"], stdin=subprocess.PIPE, process_group=0
        )
        self._processes: list[subprocess.Popen[Any]] = []

    def start(self, command: list[str | Path], **options: Any) -> subprocess.Popen[Any]:
        """Starts a process in the group; the options are Popen's."""
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=self._keeper.pid, **options)
        self._processes.append(process)
        return process

    def end(self, grace_seconds: float = 5) -> None:
        """Asks the processes to end, waits, and ends what is left of the group."""
        for process in self._processes:
            process.terminate()
        deadline = time.monotonic() + grace_seconds
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0, deadline - time.monotonic()))
        # The keeper is not waited for before this, so that nobody else can have got its number.
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: the latter if only zombies are left
            os.killpg(self._keeper.pid, signal.SIGKILL)
        with self._keeper:
            pass
        for process in self._processes:
            process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def family(pid: int) -> set[int]:
    """A process and all that come from it."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name, in brackets, may have spaces in it.
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def listening(pid: int) -> set[tuple[str, int]]:
    """Addresses and ports on which a process listens, or one that comes from it. On Linux."""
    if not Path("/proc/net/tcp").exists():
        missing("/proc")
    inodes = set()
    for member in family(pid):
        for descriptor in Path(f"/proc/{member}/fd").glob("*"):
            with contextlib.suppress(OSError):
                inodes.add(str(descriptor.readlink()))
    found = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            is_bound = state == "0A" or table.startswith("udp")
            if is_bound and f"socket:[{rest[5]}]" in inodes:
                address, port = local.split(":")
                words = bytes.fromhex(address)
                # The kernel prints the words of an address as numbers of this machine.
                words = b"".join(
                    words[i : i + 4][::-1] if sys.byteorder == "little" else words[i : i + 4]
                    for i in range(0, len(words), 4)
                )
                found.add((str(ipaddress.ip_address(words)), int(port, 16)))
    return found


class Ministack:
    """A running ministack.

    Attributes:
        url: where all its services are.
        log: the file with its output.
        pid: of its process.
        start_seconds: how long its start took.
    """

    def __init__(self, url: str, log: Path, pid: int, start_seconds: float) -> None:
        self.url = url
        self.log = log
        self.pid = pid
        self.start_seconds = start_seconds
        self._clients: dict[str, Any] = {}

    def client(self, service: str, **options: Any) -> Any:
        """A client of botocore's; `options` are those of its Config."""
        if options:
            return client(service, self.url, **options)
        if service not in self._clients:
            self._clients[service] = client(service, self.url)
        return self._clients[service]

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that lead the clients of another process here."""
        return {**ENVIRONMENT, "AWS_ENDPOINT_URL": self.url}


@functools.cache
def _session() -> botocore.session.Session:
    # One for all clients: it keeps what it reads of a service, which takes 0.2 s. It is made when it is needed, since
    # moto gets hold of what is made after its import only.
    return botocore.session.Session()


def client(service: str, url: str | None, **options: Any) -> Any:
    """A client that calls a URL in place of AWS, does not repeat a call, and waits a minute for its answer.

    Args:
        service: such as "dynamodb".
        url: None for AWS's own, which moto stands for.
        options: of botocore's Config.
    """
    usual: dict[str, Any] = {
        "retries": {"total_max_attempts": 1},
        "max_pool_connections": 64,
        "s3": {"addressing_style": "path"},
    }
    config = Config(**{**usual, **options})
    return _session().create_client(
        service,
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id=ENVIRONMENT["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
        config=config,
    )


@contextlib.contextmanager
def ministack(
    *, ttl_sweep_seconds: float = 60, schedule_sweep_seconds: float = 10, **settings: str
) -> Iterator[Ministack]:
    """Runs ministack for a while; what it holds goes with it.

    Args:
        ttl_sweep_seconds: how often it deletes what has expired.
        schedule_sweep_seconds: how often it looks for schedules that are to fire.
        settings: more environment variables for it.
    """
    python = tool("ministack").with_name("python")
    with tempfile.TemporaryDirectory(prefix="ministack-") as folder:
        for _ in range(3):
            with Leash() as leash:
                sweeps = (str(ttl_sweep_seconds), str(schedule_sweep_seconds))
                running = _start(leash, python, Path(folder), sweeps, settings)
                if running is not None:
                    yield running
                    return
        log = (Path(folder) / "log").read_text()
        pytest.fail(f"ministack did not start:\n{log[-4000:]}", pytrace=False)


def _start(
    leash: Leash, python: Path, folder: Path, sweeps: tuple[str, ...], settings: dict[str, str]
) -> Ministack | None:
    """None if it ended at once: somebody may have taken its port."""
    port, log = free_port(), folder / "log"
    environment = {
        **{name: os.environ[name] for name in _INHERITED if name in os.environ},
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "STATE_DIR": str(folder / "state"),
        "S3_DATA_DIR": str(folder / "s3"),
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_REGION": REGION,
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        # Lambda functions run in its own processes, in its own Python, and not in containers.
        "LAMBDA_EXECUTOR": "local",
        "DOCKER_HOST": f"unix://{folder}/no-docker.sock",
        **settings,
    }
    begun = time.monotonic()
    with log.open("wb") as output:
        process = leash.start(
            [python, "-c", _LAUNCH, *sweeps],
            env=environment,
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    while process.poll() is None and time.monotonic() - begun < 60:
        with contextlib.suppress(OSError), _direct.open(f"{url}/_ministack/ready", timeout=5):
            return Ministack(url, log, process.pid, time.monotonic() - begun)
        time.sleep(0.02)
    return None


# Whatever proxy the machine has is not for what runs on it.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


# --- What the stack has ---------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """Reads the short forms of CloudFormation, such as !Ref, as None: no value that is used here has one."""


_Loader.add_multi_constructor("!", lambda _loader, _suffix, _node: None)


@functools.cache
def resource(name: str) -> dict[str, Any]:
    """The properties of a resource of template.yaml."""
    template = yaml.load((ROOT / "template.yaml").read_text(), Loader=_Loader)  # a SafeLoader
    properties: dict[str, Any] = template["Resources"][name]["Properties"]
    return properties


def create_table(dynamodb: Any, name: str) -> str:
    """Makes a table as template.yaml has it; its name."""
    table = resource("TaskTable")
    fields = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
    dynamodb.create_table(TableName=name, **{field: table[field] for field in fields})
    dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=table["TimeToLiveSpecification"])
    return name


def create_bucket(s3: Any, name: str) -> str:
    """Makes a bucket with the lifecycle rules of template.yaml; its name."""
    s3.create_bucket(Bucket=name)
    rules = [
        {
            "ID": rule["Id"],
            "Status": rule["Status"],
            "Filter": {"Prefix": rule["Prefix"]},
            "Expiration": {"Days": rule["ExpirationInDays"]},
        }
        for rule in resource("StateBucket")["LifecycleConfiguration"]["Rules"]
        if "ExpirationInDays" in rule
    ]
    s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": rules})
    return name
