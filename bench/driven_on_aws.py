"""Driven tasks with DynamoDB and SQS, as ministack plays them; `scripts/bench-aws drive` runs this.

The functions run in this process: what Lambda itself does, to read the queue and to delete what was dealt with, is
done here too, and does not count.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path += [str(ROOT), str(ROOT / "tests")]

import driven
from aws.emulators import Ministack, create_bucket, create_table, ministack
from on_aws import Capacity

from sequential_core import SequentialFlow
from sequential_core.model import Status
from sequential_core.storage.dynamodb import DynamoDBStorage

# As BatchSize in template.yaml.
BATCH = 10


class Context:
    """What the functions look at."""

    function_name = function_version = aws_request_id = log_stream_name = "bench"
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:bench"
    memory_limit_in_mb = 1024

    def get_remaining_time_in_millis(self) -> int:
        return 120_000


class Queue:
    """The driver's queue and function, in the place of Lambda."""

    def __init__(self, running: Ministack, table: str) -> None:
        self._sqs = running.client("sqs")
        self._url, dead = (self._sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("driver", "dead"))
        os.environ |= {
            **running.environment,
            "SEQUENTIAL_STORAGE": f"dynamodb://{table}?endpoint={running.url}",
            "SEQUENTIAL_DRIVER_QUEUE": self._url,
            "SEQUENTIAL_DRIVER_DEAD_LETTERS": dead,
            "SEQUENTIAL_DRIVER_LOOPBACK": "true",
        }
        self._nowhere = Path(os.devnull).open("w")  # noqa: SIM115  # for as long as the process: loggers keep it
        with self.quiet():
            self._function = importlib.import_module("handlers.driver")
            self.flow: SequentialFlow = importlib.import_module("handlers.environment").flow

    def quiet(self) -> contextlib.AbstractContextManager[object]:
        """The logs and metrics of the functions are made, and go nowhere."""
        return contextlib.redirect_stdout(self._nowhere)

    def drive(self, flow: SequentialFlow, ids: list[str]) -> float:
        """Drives tasks that are already in the queue; what Lambda has done for it, in CPU seconds."""
        others = 0.0
        while any(flow.get_task(task_id).status is Status.PAUSED for task_id in ids):
            others += self.take()
        return others

    def take(self) -> float:
        """Deals with a batch of messages; what Lambda has done for it, in CPU seconds."""
        began = time.process_time()
        messages = self._sqs.receive_message(
            QueueUrl=self._url, MaxNumberOfMessages=BATCH, WaitTimeSeconds=1, AttributeNames=["All"]
        ).get("Messages", [])
        event = {"Records": [_record(message) for message in messages]}
        called = ended = time.process_time()
        if messages:
            answer = self._function.handler(event, Context())
            assert answer == {"batchItemFailures": []}, answer
            ended = time.process_time()
        for message in messages:
            self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        return time.process_time() - ended + called - began


def units(queue: Queue, url: str) -> str:
    """What one task consumes: units of DynamoDB, as ministack counts them."""
    capacity = Capacity(queue.flow.revisioned()._client)
    rows = ["| a task makes | hops | write units | of the index | reads |", "|---|---|---|---|---|"]
    for program in driven.PROGRAMS:
        with capacity.of() as sums:
            task_id = queue.flow.execute(program.code.replace("URL", url), drive=True).id
            queue.take()
        drive = queue.flow.get_task(task_id).drive
        assert drive is not None
        hops = drive.history[-1].hop
        rows.append(f"| {program.name} | {hops} | {sums['write']:g} | {sums['index']:g} | {sums['read']:g} |")
    return "\n".join(rows)


def _record(message: dict[str, Any]) -> dict[str, Any]:
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"],
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:driver",
        "awsRegion": "us-east-1",
    }


def main() -> None:
    with ministack() as running:
        table = create_table(running.client("dynamodb"), "tasks")
        create_bucket(running.client("s3"), "states")
        queue = Queue(running, table)
        storage = DynamoDBStorage(table, region="us-east-1", endpoint=running.url)
        drives: driven.Drives = {
            "DynamoDB": (SequentialFlow(storage), driven.directly),
            "DynamoDB and SQS": (queue.flow, queue.drive),
        }
        with driven.local() as local, queue.quiet():
            table = driven.run({**local, **drives})
        with driven.Server() as server, queue.quiet():
            consumed = units(queue, server.url)
    print(f"{table}\n\n{consumed}")


if __name__ == "__main__":
    main()
