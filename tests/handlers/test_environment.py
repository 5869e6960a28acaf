"""A setting that is missing or wrong stops a function at its start, and says which one it is."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import astuple
from datetime import timedelta
from pathlib import Path

import pytest

from sequential_core.errors import ConfigurationError, StorageError
from sequential_core.storage import aws


@pytest.fixture
def read(start):
    return start("environment").read


def test_settings(read):
    settings = read(
        {"SEQUENTIAL_STORAGE": "memory:", "SEQUENTIAL_TTL_SECONDS": "90.5", "SEQUENTIAL_RETAIN_SECONDS": "60"}
    )
    assert (settings.ttl, settings.retain) == (timedelta(seconds=90.5), timedelta(seconds=60))
    assert settings.tracing is False


@pytest.mark.parametrize("unset", [{}, {"SEQUENTIAL_TTL_SECONDS": "", "SEQUENTIAL_RETAIN_SECONDS": "0"}])
def test_defaults(read, unset):
    settings = read({"SEQUENTIAL_STORAGE": "memory:", **unset})
    assert (settings.ttl, settings.retain) == (timedelta(hours=2), None)


SCHEDULES = {
    "SEQUENTIAL_SCHEDULE_GROUP": "stack",
    "SEQUENTIAL_SCHEDULER_ROLE": "arn:aws:iam::123456789012:role/scheduler",
    "SEQUENTIAL_DRIVER_QUEUE_ARN": "arn:aws:sqs:us-east-1:123456789012:driver",
}


def test_whoever_schedules_knows_group_role_and_queue(read):
    base = {"SEQUENTIAL_STORAGE": "memory:", "SEQUENTIAL_DRIVER_QUEUE": "https://sqs.test/driver"}
    assert astuple(read({**base, **SCHEDULES}).queue._schedules) == tuple(SCHEDULES.values())
    assert read(base).queue._schedules is None
    assert read({**SCHEDULES, "SEQUENTIAL_STORAGE": "memory:"}).queue is None
    for missing in SCHEDULES:
        with pytest.raises(ConfigurationError, match="SEQUENTIAL_SCHEDULE_GROUP: it goes together with"):
            read({**base, **SCHEDULES, missing: ""})


def test_the_signing_key_is_read_once_and_only_if_there_is_one(read, moto_aws):
    assert read({"SEQUENTIAL_STORAGE": "memory:"}).signing_key() is None
    secrets = aws.client("secretsmanager")
    secret = secrets.create_secret(Name="key", SecretString="k" * 64)["ARN"]
    key = read({"SEQUENTIAL_STORAGE": "memory:", "SEQUENTIAL_SIGNING_KEY_SECRET": secret}).signing_key
    assert key() == b"k" * 64
    secrets.delete_secret(SecretId=secret)
    assert key() == b"k" * 64
    other = read({"SEQUENTIAL_STORAGE": "memory:", "SEQUENTIAL_SIGNING_KEY_SECRET": secret}).signing_key
    with pytest.raises(StorageError, match="GetSecretValue was refused"):
        other()


@pytest.mark.parametrize(("text", "tracing"), [("true", True), ("1", True), ("False", False), ("", False)])
def test_tracing(read, text, tracing):
    assert read({"SEQUENTIAL_STORAGE": "memory:", "POWERTOOLS_TRACE_ENABLED": text}).tracing is tracing


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SEQUENTIAL_STORAGE", ""),
        ("SEQUENTIAL_STORAGE", "tasks"),
        ("SEQUENTIAL_STORAGE", "dynamodb://tasks?color=red"),
        ("SEQUENTIAL_STORAGE", "dynamodb://tasks?region=eu-central-1&endpoint=here"),
        ("SEQUENTIAL_TTL_SECONDS", "two hours"),
        ("SEQUENTIAL_TTL_SECONDS", "-1"),
        ("SEQUENTIAL_TTL_SECONDS", "nan"),
        ("SEQUENTIAL_TTL_SECONDS", "inf"),
        ("SEQUENTIAL_RETAIN_SECONDS", "1e30"),
        ("POWERTOOLS_TRACE_ENABLED", "perhaps"),
        ("SEQUENTIAL_DRIVER_LOOPBACK", "127.0.0.1"),
        ("SEQUENTIAL_PUBLIC_URL", "tasks.example.com"),
    ],
)
@pytest.mark.parametrize("handler", ["api", "execute"])
def test_wrong_setting_is_named_at_the_start(start, handler, variable, value):
    with pytest.raises(ConfigurationError) as caught:
        start(handler, **{variable: value})
    assert caught.value.variable == variable
    assert str(caught.value).startswith(f"{variable}: ")


def test_region_that_is_missing_is_a_matter_of_the_storage(start, monkeypatch, tmp_path):
    for variable in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match=r"^SEQUENTIAL_STORAGE: .*region"):
        start("task", SEQUENTIAL_STORAGE="dynamodb://tasks")


def test_functions_without_http_import_nothing_of_it():
    code = (
        "import sys, handlers.execute, handlers.resume, handlers.task;"
        "unneeded = {'starlette', 'mangum', 'msgspec', 'asyncio', 'sqlite3', 'aws_xray_sdk'};"
        "print(sorted(unneeded & sys.modules.keys()))"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "SEQUENTIAL_STORAGE": "memory:", "PYTHONPATH": str(root)}
    environment.pop("POWERTOOLS_TRACE_ENABLED", None)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
