from __future__ import annotations

import asyncio
import importlib
import logging
import sys

import pytest


class Context:
    """What the runtime tells of a call."""

    function_name = "sequential-execute"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-central-1:123456789012:function:sequential-execute"
    aws_request_id = "8f3c8f0e-7a52-4a3e-9b0e-0d5f4c0c0f5e"


@pytest.fixture
def context():
    return Context()


def _forget():
    if "handlers.api" in sys.modules:
        sys.modules["handlers.api"].loop.close()
        asyncio.set_event_loop(None)
    for name in [name for name in sys.modules if name.partition(".")[0] == "handlers"]:
        del sys.modules[name]
    # powertools keeps its logger, with the standard output of the test before.
    for name in ("sequential", "sequential.http", "staging"):
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
        ):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setenv("SEQUENTIAL_STORAGE", "memory:")
        for variable, value in environment.items():
            monkeypatch.setenv(variable, value)
        return importlib.import_module(f"handlers.{name}")

    _forget()
    yield start
    _forget()


@pytest.fixture
def call(start, context):
    """Calls handlers that share one process."""

    def call(name, event, **environment):
        return start(name, **environment).handler(event, context)

    return call
