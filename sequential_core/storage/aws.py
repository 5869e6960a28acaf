"""Clients of AWS, made once in a process, and what their errors mean.

The clients are botocore's, which are the ones that `boto3.client` gives: without boto3 the start of a process is
60 ms shorter.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004  # botocore's own
    HTTPClientError,
    IncompleteReadError,
)

from sequential_core.errors import StorageBusyError, StorageError

#: How long one attempt of a call may take, and how many there are. With the pauses between them a call ends within
#: 12 s, so that a save that failed can still be looked into within the 29 s of an API Gateway.
CONNECT_SECONDS = 1.0
READ_SECONDS = 2.0
ATTEMPTS = 3

# As many connections are kept as threads are likely to call at once.
_CONNECTIONS = 64

_BUSY = frozenset(
    {
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestTimeout",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionConflictException",
    }
)

_clients: dict[tuple[Any, ...], Any] = {}
_lock = threading.Lock()


def client(
    service: str,
    *,
    region: str | None = None,
    endpoint: str | None = None,
    read_seconds: float = READ_SECONDS,
    attempts: int = ATTEMPTS,
) -> Any:
    """The client of a service, shared by all who ask for the same in this process.

    Args:
        service: such as "dynamodb".
        region: None: AWS_REGION, or what the AWS configuration says.
        endpoint: a URL in place of the service's own.
        read_seconds: how long to wait for the bytes of an answer.
        attempts: of one call, the first among them.

    Raises:
        StorageError: there is no region, or the endpoint is no URL.
    """
    # botocore itself looks only at AWS_DEFAULT_REGION.
    region = region or os.environ.get("AWS_REGION")
    # A client must not be shared with the other side of a fork.
    key = (os.getpid(), service, region, endpoint, read_seconds, attempts)
    with _lock:
        if key not in _clients:
            config = Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=read_seconds,
                retries={"mode": "standard", "total_max_attempts": attempts},
                max_pool_connections=_CONNECTIONS,
                tcp_keepalive=True,
                # A quarter of the CPU time of a call, and more than a hop takes: to put together anew, each time, who
                # calls; and to check what this package has written.
                user_agent="sequential",
                parameter_validation=False,
            )
            with errors():
                try:
                    made = botocore.session.Session().create_client(
                        service, region_name=region, endpoint_url=endpoint, config=config
                    )
                except ValueError as error:
                    raise StorageError("the endpoint is not a URL") from error
            made.meta.events.register(f"after-call.{service}", _refuse_half)
            _clients[key] = made
        return _clients[key]


def _refuse_half(http_response: Any, model: Any, **_: Any) -> None:
    """Refuses an answer that was cut short: botocore takes it for one with nothing in it, as if there were no item."""
    if model.has_streaming_output:
        return  # whoever reads it is told
    announced = http_response.headers.get("content-length")
    if announced is not None and int(announced) != len(http_response.content):
        raise IncompleteReadError(actual_bytes=len(http_response.content), expected_bytes=int(announced))


def error_code(error: ClientError) -> str:
    """The code of an error, such as "ThrottlingException"."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _is_transient(error: ClientError) -> bool:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return error_code(error) in _BUSY or status >= 500 or status == 429


@contextmanager
def errors() -> Iterator[None]:
    """Translates the errors of a call.

    Raises:
        StorageBusyError: throttling, no connection, no answer in time, or a fault of the service's: what a write
            did is not known then.
        StorageError: the call was refused, and will be again.
    """
    try:
        yield
    except ClientError as error:
        code = error_code(error)
        if _is_transient(error):
            raise StorageBusyError(f"{error.operation_name}: {code}") from error
        raise StorageError(f"{error.operation_name} was refused: {code}") from error
    except (ConnectionError, HTTPClientError, IncompleteReadError) as error:
        raise StorageBusyError("no answer in time") from error
    except BotoCoreError as error:
        raise StorageError(f"the call cannot be made: {error}") from error
