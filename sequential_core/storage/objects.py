"""What outgrows an item of DynamoDB, in S3.

An object is written before the item that points to it, and never changed: its key has the task, the
revision and the hash of its content. Who loses a race, or dies between the two, leaves an object that nothing points
to; the bucket's lifecycle rules remove it. An object must outlive its task: so its key begins with a class of
lifetime, and each class has its rule.
"""

from __future__ import annotations

import contextlib
import hashlib
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from sequential_core.errors import StorageError, StorageFormatError
from sequential_core.model import Task
from sequential_core.storage import aws

#: Days; objects below `days-7/` expire after 8 days, and so on. Below `keep/` they do not.
LIFETIMES = (7, 30, 90, 365)
KEEP = "keep"

# A state of 16 MiB takes longer than an item.
_READ_SECONDS = 5.0

# What is deleted was replaced by a save that is done: nobody is to wait for it for long.
_DELETE = {"attempts": 1, "read_seconds": 1.0}


class Bucket:
    """The objects of tasks in one bucket.

    Args:
        name: the bucket's.
        region, endpoint, attempts: see `aws.client`.
    """

    def __init__(self, name: str, *, region: str | None, endpoint: str | None, attempts: int) -> None:
        self._name = name
        self._options: dict[str, Any] = {
            "region": region,
            "endpoint": endpoint,
            "attempts": attempts,
            "read_seconds": _READ_SECONDS,
        }

    @property
    def _client(self) -> Any:
        # Most tasks never need it, and making it takes 50 ms.
        return aws.client("s3", **self._options)

    def put(self, task: Task, now: datetime, content: bytes) -> str:
        """Keeps the content for a task; its key.

        Raises:
            StorageError, StorageBusyError: it could not be kept.
        """
        key = object_key(task, now, content)
        with aws.errors():
            self._client.put_object(Bucket=self._name, Key=key, Body=content)
        return key

    def get(self, key: str) -> bytes | None:
        """The content of a key, or None if there is no such object, or the bucket does not say whether there is.

        Raises:
            StorageFormatError: it is not the content that was put there.
            StorageError, StorageBusyError: it could not be read.
        """
        with aws.errors():
            try:
                answer = self._client.get_object(Bucket=self._name, Key=key)
            except ClientError as error:
                # Who may not list a bucket gets AccessDenied for what is not there.
                if aws.error_code(error) in {"NoSuchKey", "AccessDenied"}:
                    return None
                raise
            content: bytes = answer["Body"].read()
        if hashlib.sha256(content).hexdigest() != key.rpartition("-")[2]:
            raise StorageFormatError("an object has other content than was put there")
        return content

    def delete(self, keys: tuple[str, ...]) -> None:
        """Deletes objects that nothing points to any more; what fails is left to the lifecycle rules."""
        for key in keys:
            with contextlib.suppress(BotoCoreError, ClientError, StorageError):
                aws.client("s3", **{**self._options, **_DELETE}).delete_object(Bucket=self._name, Key=key)


def object_key(task: Task, now: datetime, content: bytes) -> str:
    """Where content of a task goes: `<lifetime>/<task>/<revision>-<SHA-256 of the content>`."""
    owner = hashlib.sha256(f"{task.created_at.isoformat()} {task.id}".encode()).hexdigest()[:32]
    return f"{_lifetime(task, now)}/{owner}/{task.revision}-{hashlib.sha256(content).hexdigest()}"


def _lifetime(task: Task, now: datetime) -> str:
    if task.expires_at is not None:
        for days in LIFETIMES:
            if task.expires_at - now <= timedelta(days=days):
                return f"days-{days}"
    return KEEP
