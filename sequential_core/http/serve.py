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
from urllib.parse import urlsplit

import uvicorn

from sequential_core.driver import Driver, Fetcher, Rules, Worker
from sequential_core.driver.event_urls import check_public_url
from sequential_core.driver.keys import signing_key
from sequential_core.driver.tools import EVENT_URL_TOOL, event_url_tool
from sequential_core.errors import ConfigurationError, OperatorError
from sequential_core.flow import SequentialFlow
from sequential_core.http.app import create_app

# A hop may compute for 5 seconds, and then wait for the storage. One that is not done by then is not answered any more,
# but the process still waits until it is saved.
_GRACE_SECONDS = 10

# A request of a driven task that is not answered by then is sent again, by whoever drives the task next.
_WORKER_GRACE_SECONDS = 5

_BACKLOG = 2048

_logger = logging.getLogger("sequential.http")


def serve(
    storage: str | None,
    host: str,
    port: int,
    *,
    announce: Callable[[str], None],
    allow_remote: bool = False,
    rules: Rules | None = None,
    drive: bool = True,
    public_url: str | None = None,
) -> None:
    """Serves the API until SIGINT or SIGTERM, and drives the tasks that are to be driven.

    Args:
        storage: a storage URL; None for the default one.
        host: the address to listen on, or a name of one.
        port: 0 for any that is free.
        announce: is told the URL, once it can be reached.
        allow_remote: whether an address that other machines can reach is meant.
        rules: who may be called by driven tasks; None: public addresses.
        drive: whether tasks are driven here.
        public_url: by which callers reach the server; None: the one that is announced.

    Raises:
        OperatorError: it cannot listen there, or must not; or the public URL or the signing key is none.
        InvalidStorageURLError, StorageError: the storage cannot be used.
    """
    local = _is_loopback(host)
    if not local and not allow_remote:
        raise OperatorError(
            f"{host} can be reached from other machines, and there is no authentication:"
            " whoever reaches it runs code here and reads every task. If that is meant: --allow-remote"
        )
    public_url = None if public_url is None else check_public_url(public_url)
    driven = SequentialFlow(storage)
    driven.list_tasks(limit=1)  # what is wrong with the storage is told now, not to the first caller
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")  # on standard error
    key = _signing_key()
    hosts = {"localhost", "127.0.0.1", "::1", host.lower(), _host_of(public_url)} if local else None
    listener = _listen(host, port)
    address, at = listener.getsockname()[:2]
    where = f"http://{f'[{address}]' if ':' in address else address}:{at}"
    worker = None
    if drive:
        if key is not None:
            driven.tools[EVENT_URL_TOOL] = event_url_tool(driven, key=key, public_url=public_url or where)
        worker = Worker(Driver(driven, fetcher=Fetcher(rules), signing_key=key))
    flow = SequentialFlow(storage, dispatcher=worker)
    config = uvicorn.Config(
        create_app(flow, hosts=hosts, signing_key=key, public_url=public_url),
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
    announce(where)
    with listener, _termination_is_success(), _working(worker):
        uvicorn.Server(config).run(sockets=[listener])


@contextlib.contextmanager
def _working(worker: Worker | None) -> Iterator[None]:
    if worker is None:
        yield
        return
    worker.start()
    try:
        yield
    finally:
        worker.stop(_WORKER_GRACE_SECONDS)


def _host_of(url: str | None) -> str:
    """The host of a URL, as a Host header has it; empty if there is none."""
    return "" if url is None else (urlsplit(url).hostname or "")


def _signing_key() -> bytes | None:
    """The key; None if there is none and none can be made, as in a container that can write nowhere.

    Raises:
        ConfigurationError: there is something that is none.
    """
    try:
        return signing_key()
    except ConfigurationError:
        raise
    except OperatorError as error:
        _logger.warning("no callbacks are made, and no URLs of events: %s", error)
        return None


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
