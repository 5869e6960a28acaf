from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import sys
from types import SimpleNamespace

import pytest
from aws.fixtures import aws_environment, moto_aws  # noqa: F401  # pytest finds fixtures by their names here

from sequential_core.storage import aws


class Context:
    """What the runtime tells of a call."""

    function_name = "sequential-execute"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-central-1:123456789012:function:sequential-execute"
    aws_request_id = "8f3c8f0e-7a52-4a3e-9b0e-0d5f4c0c0f5e"

    def __init__(self):
        self.remaining_milliseconds = 120_000

    def get_remaining_time_in_millis(self):
        return self.remaining_milliseconds


@pytest.fixture
def move():
    """Moves the time of a flow, and of the programs that it runs."""

    def move(flow, by):
        clock = flow._clock
        flow._clock = flow.hops._clock = flow.hops._guest_clock = lambda: clock() + by

    return move


@pytest.fixture
def context():
    return Context()


_LOGGERS = ("sequential", "sequential.http", "staging")


class _Output:
    """The standard output as it is when it is written to."""

    def write(self, text):
        sys.stdout.write(text)

    def flush(self):
        sys.stdout.flush()


def _forget():
    # Of a function that starts; one that does not start is not to leave it behind.
    gc.enable()
    gc.unfreeze()
    if "handlers.api" in sys.modules:
        sys.modules["handlers.api"].loop.close()
        asyncio.set_event_loop(None)
    for name in [name for name in sys.modules if name.partition(".")[0] == "handlers"]:
        del sys.modules[name]
    # powertools keeps its logger, with the standard output of the test before.
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        for mark in ("init", "powertools_handler"):
            vars(logger).pop(mark, None)


@pytest.fixture
def start(monkeypatch):
    """Imports a handler's module as a fresh process would, with the given environment beside the usual one."""

    def start(name, **environment):
        for variable in (
            "SEQUENTIAL_TTL_SECONDS",
            "SEQUENTIAL_RETAIN_SECONDS",
            "POWERTOOLS_TRACE_ENABLED",
            "POWERTOOLS_SERVICE_NAME",
            "SEQUENTIAL_DRIVER_QUEUE",
            "SEQUENTIAL_DRIVER_QUEUE_ARN",
            "SEQUENTIAL_DRIVER_DEAD_LETTERS",
            "SEQUENTIAL_DRIVER_LOOPBACK",
            "SEQUENTIAL_SCHEDULE_GROUP",
            "SEQUENTIAL_SCHEDULER_ROLE",
            "SEQUENTIAL_SIGNING_KEY_SECRET",
            "SEQUENTIAL_PUBLIC_URL",
        ):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setenv("SEQUENTIAL_STORAGE", "memory:")
        for variable, value in environment.items():
            monkeypatch.setenv(variable, value)
        module = importlib.import_module(f"handlers.{name}")
        # What a fixture has started writes to the standard output of the test, which pytest makes later.
        for logger in _LOGGERS:
            for handler in logging.getLogger(logger).handlers:
                handler.setStream(_Output())
        return module

    _forget()
    yield start
    _forget()


@pytest.fixture
def call(start, context):
    """Calls handlers that share one process."""

    def call(name, event, **environment):
        return start(name, **environment).handler(event, context)

    return call


@pytest.fixture
def queues(moto_aws):  # noqa: F811  # a fixture
    """The driver's queues, in moto: where they are, and what is sent to them, in the words of the calls."""
    sqs, account = aws.client("sqs"), "123456789012"
    made = SimpleNamespace(
        url=sqs.create_queue(QueueName="driver")["QueueUrl"],
        dead=sqs.create_queue(QueueName="dead-letters")["QueueUrl"],
        arn=f"arn:aws:sqs:us-east-1:{account}:driver",
        sent=[],
        postponed=[],
    )

    def sent(params, **_):
        made.sent.append(dict(params))

    def postponed(params, **_):
        made.postponed.append(params["VisibilityTimeout"])

    watched = {"SendMessage": sent, "ChangeMessageVisibility": postponed}
    for name, watch in watched.items():
        sqs.meta.events.register(f"provide-client-params.sqs.{name}", watch)
    yield made
    for name, watch in watched.items():
        sqs.meta.events.unregister(f"provide-client-params.sqs.{name}", watch)
