"""`sequential serve`: the HTTP API on this machine, by uvicorn, in one process.

There is no authentication. So it listens on a loopback address only, unless told otherwise, and there it knows only the
names of such addresses: a web page that has its own name point here is refused.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

import uvicorn

from sequential_core.errors import OperatorError
from sequential_core.flow import SequentialFlow
from sequential_core.http.app import create_app

# A hop may compute for 5 seconds, and then wait for the storage. One that is not done by then is not answered any more,
# but the process still waits until it is saved.
_GRACE_SECONDS = 10

_BACKLOG = 2048


def serve(
    storage: str | None, host: str, port: int, *, announce: Callable[[str], None], allow_remote: bool = False
) -> None:
    """Serves the API until SIGINT or SIGTERM.

    Args:
        storage: a storage URL; None for the default one.
        host: the address to listen on, or a name of one.
        port: 0 for any that is free.
        announce: is told the URL, once it can be reached.
        allow_remote: whether an address that other machines can reach is meant.

    Raises:
        OperatorError: it cannot listen there, or must not.
        InvalidStorageURLError, StorageError: the storage cannot be used.
    """
    local = _is_loopback(host)
    if not local and not allow_remote:
        raise OperatorError(
            f"{host} can be reached from other machines, and there is no authentication:"
            " whoever reaches it runs code here and reads every task. If that is meant: --allow-remote"
        )
    flow = SequentialFlow(storage)
    flow.list_tasks(limit=1)  # what is wrong with the storage is told now, not to the first caller
    hosts = {"localhost", "127.0.0.1", "::1", host.lower()} if local else None
    listener = _listen(host, port)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")  # on standard error
    config = uvicorn.Config(
        create_app(flow, hosts=hosts),
        http="h11",  # what is installed besides uvicorn must not change how a request is read
        ws="none",
        loop="asyncio",
        lifespan="off",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    address, at = listener.getsockname()[:2]
    where = f"[{address}]" if ":" in address else address
    announce(f"http://{where}:{at}")
    with listener, _termination_is_success():
        uvicorn.Server(config).run(sockets=[listener])


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # another name, which may come to mean another address


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":  # elsewhere it would let two servers share a port
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
        except BaseException:
            listener.close()
            raise
    except (OSError, OverflowError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise OperatorError(f"cannot listen on {host}, port {port}: {reason}") from error
    return listener


@contextlib.contextmanager
def _termination_is_success() -> Iterator[None]:
    """Lets SIGTERM, after which uvicorn has ended in order, be exit code 0; SIGINT stays an interruption."""

    def leave(_number: int, _frame: FrameType | None) -> NoReturn:
        sys.exit(0)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
