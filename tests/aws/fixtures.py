"""Fixtures with AWS in them; a folder's conftest.py imports those that its tests use."""

from __future__ import annotations

import itertools
import threading

import pytest
from moto import mock_aws
from moto.core.botocore_stubber import BotocoreStubber

from aws import emulators
from aws.faults import FaultProxy

_numbers = itertools.count(1)


@pytest.fixture
def aws_environment(monkeypatch):
    """The environment of whoever calls the emulators, with nothing of the machine's own for AWS."""
    for name, value in emulators.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def shared_ministack():
    """One for all tests of this process. It deletes what has expired, and fires schedules, within a second."""
    with emulators.ministack(ttl_sweep_seconds=1, schedule_sweep_seconds=0.5) as running:
        yield running


@pytest.fixture
def ministack(shared_ministack, aws_environment):
    return shared_ministack


@pytest.fixture
def table(ministack):
    """The name of a new table in ministack."""
    return emulators.create_table(ministack.client("dynamodb"), f"tasks-{next(_numbers)}")


@pytest.fixture
def bucket(ministack):
    """The name of a new bucket in ministack."""
    return emulators.create_bucket(ministack.client("s3"), f"states-{next(_numbers)}")


@pytest.fixture(scope="session")
def shared_proxy(shared_ministack):
    # One, since the storage keeps its clients by their address.
    with FaultProxy(shared_ministack.url) as running:
        yield running


@pytest.fixture
def proxy(shared_proxy, ministack):
    """In front of ministack, to let things go wrong."""
    yield shared_proxy
    shared_proxy.release()
    shared_proxy.clear()


@pytest.fixture
def moto_aws(aws_environment, monkeypatch):
    """moto in the place of AWS, empty: for clients without an endpoint.

    It gets one call at a time. A write of its DynamoDB looks at the item and then writes it, with nothing in between to
    keep another thread out; DynamoDB itself makes one write of an item at a time.
    """
    lock, process = threading.RLock(), BotocoreStubber.process_request

    def one_at_a_time(*arguments):
        with lock:
            return process(*arguments)

    monkeypatch.setattr(BotocoreStubber, "process_request", one_at_a_time)
    with mock_aws():
        yield
