"""Who may be called: the guard between posted code and the network that the driver stands in.

Posted code chooses the URLs, and with its own DNS also the addresses behind the names. So a URL is judged twice.
As it is written, in the transport, which httpx asks for every request and for every redirect: scheme, credentials,
host and port. And where it leads, in the network backend of httpcore, which no connection gets around: the name is
looked up once, every address that comes back is checked, and the connection is made to one of these addresses, not to
the name. A name that means something else a moment later has no second chance.
"""

from __future__ import annotations

import contextlib
import ipaddress
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import httpcore
import httpx

from sequential_core.driver.reserved import Address
from sequential_core.driver.rules import Guard, Host, RefusedError, Rules, check_pattern

__all__ = ["RefusedError", "Resolve", "Rules", "check_pattern", "look_up", "transport"]

Resolve = Callable[[str], Iterable[str]]

_MOST_CONNECTIONS = 100
_IDLE_SECONDS = 5.0

# A lookup that hangs keeps its thread until the system gives up, so there are only so many.
_LOOKUPS_AT_A_TIME = 32

# A name can have hundreds of addresses that do not answer; all are checked, these are tried.
_ADDRESSES_TRIED = 4

# In the extensions of a request: when it is over, redirects and the whole response included, in `time.monotonic()`.
# The timeouts of httpx bound each wait, and a server that says a little now and then would never come to one.
DEADLINE = "sequential.deadline"

# What is written in one piece; the time is looked at between two.
_PIECE_BYTES = 64 * 1024

_DEFAULT_PORTS = {"http": 80, "https": 443}

# The same for a name that is not there and for one that is private: else the code could ask for the names inside.
_NO_ADDRESS = "the host is not known, or has no address that may be called"


def look_up(name: str) -> tuple[str, ...]:
    """The addresses of a name, as the system resolves it.

    Raises:
        OSError: `socket.gaierror`, if it has none or they cannot be had now.
    """
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


class _Network(httpcore.NetworkBackend):
    """Connects to checked addresses only."""

    def __init__(self, guard: Guard, resolve: Resolve, network: httpcore.NetworkBackend) -> None:
        self._guard = guard
        self._resolve = resolve
        self._network = network
        self._lookups = threading.BoundedSemaphore(_LOOKUPS_AT_A_TIME)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connects to the host, within the timeout, the lookup and all addresses that are tried included.

        Raises:
            RefusedError: it may not be called.
            httpcore.ConnectError, httpcore.ConnectTimeout: it cannot be reached.
        """
        deadline = _Deadline(timeout)
        addresses = self._checked(self._guard.host(host, port), port, deadline)[:_ADDRESSES_TRIED]
        failure: Exception | None = None
        for index, address in enumerate(addresses):
            # One that never answers must leave time for the others.
            share = deadline.left(1 / (len(addresses) - index))
            try:
                stream = self._network.connect_tcp(str(address), port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
                continue
            _check_peer(stream, address)
            return _Stream(stream)
        assert failure is not None
        raise failure

    def connect_unix_socket(
        self,
        path: str,  # noqa: ARG002  # as httpcore calls it, and so the next two
        timeout: float | None = None,  # noqa: ARG002
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        raise RefusedError("a socket of this machine may not be called")

    def _checked(self, host: Host, port: int, deadline: _Deadline) -> list[Address]:
        """All addresses of a host, at least one. If one of them may not be called, none may."""
        try:
            found = self._looked_up(host, deadline) if isinstance(host, str) else (str(host),)
            addresses = [ipaddress.ip_address(address) for address in found]
        except socket.gaierror as error:
            if error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", None)):
                raise RefusedError(_NO_ADDRESS) from None
            raise httpcore.ConnectError("the host cannot be looked up") from error
        except OSError as error:
            raise httpcore.ConnectError("the host cannot be looked up") from error
        except ValueError:  # no address at all
            raise RefusedError(_NO_ADDRESS) from None
        if not addresses or not all(self._guard.admits(address, host, port) for address in addresses):
            raise RefusedError(_NO_ADDRESS)
        return addresses

    def _looked_up(self, name: str, deadline: _Deadline) -> Iterable[str]:
        # `getaddrinfo` takes no timeout and cannot be stopped. So it has a thread, which is left alone when time is up.
        if not self._lookups.acquire(timeout=deadline.left()):
            raise httpcore.ConnectTimeout("the host is not looked up in time")
        answers: queue.SimpleQueue[tuple[str, ...] | Exception] = queue.SimpleQueue()

        def look() -> None:
            try:
                answers.put(tuple(self._resolve(name)))
            except Exception as error:  # noqa: BLE001  # raised again where the answer is waited for
                answers.put(error)
            finally:
                self._lookups.release()

        try:
            # A daemon: the end of the process does not wait for a slow name server.
            threading.Thread(target=look, daemon=True).start()
        except RuntimeError as error:
            self._lookups.release()
            raise httpcore.ConnectError("the host cannot be looked up: there are too many threads") from error
        try:
            answer = answers.get(timeout=deadline.left())
        except queue.Empty:
            raise httpcore.ConnectTimeout("the host is not looked up in time") from None
        if isinstance(answer, Exception):
            raise answer
        return answer


class _Timeout(float):
    """A timeout of one wait that knows when all is over: httpcore hands it through to the stream as it is."""

    end: float

    @classmethod
    def until(cls, end: float) -> _Timeout:
        timeout = cls(max(end - time.monotonic(), 0))
        timeout.end = end
        return timeout


def _left(timeout: float | None, late: type[httpcore.TimeoutException]) -> float | None:
    if not isinstance(timeout, _Timeout):
        return timeout
    seconds = timeout.end - time.monotonic()
    if seconds <= 0:
        raise late("timed out")
    return seconds


class _Stream(httpcore.NetworkStream):
    """A connection on which no wait is longer than its request may take."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _PIECE_BYTES):
            self._stream.write(buffer[start : start + _PIECE_BYTES], _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Deadline:
    def __init__(self, seconds: float | None) -> None:
        if isinstance(seconds, _Timeout):
            self._end: float | None = seconds.end
        else:
            self._end = None if seconds is None else time.monotonic() + seconds

    def left(self, share: float = 1.0) -> float | None:
        """A share of the seconds that are left; None if there is no end.

        Raises:
            httpcore.ConnectTimeout: none are.
        """
        if self._end is None:
            return None
        seconds = self._end - time.monotonic()
        if seconds <= 0:
            raise httpcore.ConnectTimeout("timed out")
        return seconds * share


def _check_peer(stream: httpcore.NetworkStream, address: Address) -> None:
    """Sees that what connected did not look for an address, or for a proxy, of its own."""
    try:
        peer = stream.get_extra_info("server_addr")
    except OSError as error:
        stream.close()
        raise httpcore.ConnectError("the connection is gone already") from error
    if not peer or ipaddress.ip_address(peer[0]) != address:
        stream.close()
        raise RefusedError(_NO_ADDRESS)


def transport(
    rules: Rules,
    *,
    resolve: Resolve = look_up,
    verify: ssl.SSLContext | None = None,
    network: httpcore.NetworkBackend | None = None,
) -> httpx.BaseTransport:
    """A transport for `httpx.Client` that calls only who may be called. Any number of threads may use it.

    No proxy is ever used, whatever the environment says: it would connect to what nobody checked.

    Args:
        rules: who may be called.
        resolve: gives the addresses of a name. It may take its time, the timeout for connecting ends the wait.
        verify: in place of the certificates that httpx trusts.
        network: connects to the checked addresses, in place of sockets. It must not look anything up.

    Returns:
        The transport, whose requests raise `RefusedError` for what may not be called, and else what those of
        `httpx.HTTPTransport` do.
    """
    guard = Guard(rules)
    return _Transport(
        guard,
        httpcore.ConnectionPool(
            ssl_context=verify or httpx.create_ssl_context(),
            max_connections=_MOST_CONNECTIONS,
            keepalive_expiry=_IDLE_SECONDS,
            network_backend=_Network(guard, resolve, network or httpcore.SyncBackend()),
        ),
    )


class _Transport(httpx.BaseTransport):
    # `httpx.HTTPTransport` has such a pool, but takes no network backend.

    def __init__(self, guard: Guard, pool: httpcore.ConnectionPool) -> None:
        self._guard = guard
        self._pool = pool

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        if url.scheme not in _DEFAULT_PORTS:
            raise RefusedError("only http and https URLs may be called")
        if url.userinfo:
            raise RefusedError("a URL with a user or password may not be called")
        # A server that has many hosts would answer for another one than the one that was checked.
        if request.headers.get("host") != url.netloc.decode("ascii"):
            raise RefusedError("the Host header is not the host of the URL")
        port = _DEFAULT_PORTS[url.scheme] if url.port is None else url.port
        host = self._guard.host(url.raw_host.decode("ascii"), port)
        assert isinstance(request.stream, httpx.SyncByteStream)
        timeouts = request.extensions.get("timeout", {})
        if (end := request.extensions.get(DEADLINE)) is not None:
            timeouts = dict.fromkeys(("connect", "read", "write", "pool"), _Timeout.until(end))
        with _translated():
            response = self._pool.handle_request(
                httpcore.Request(
                    method=request.method,
                    url=httpcore.URL(scheme=url.scheme, host=str(host), port=port, target=url.raw_path),
                    headers=request.headers.raw,
                    content=request.stream,
                    # Not the others: they can name another host for TLS, or another target.
                    extensions={"timeout": timeouts},
                )
            )
        return httpx.Response(
            status_code=response.status,
            headers=response.headers,
            stream=_Body(response),
            extensions=response.extensions,
        )

    def close(self) -> None:
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        with _translated():
            yield from self._response.iter_stream()

    def close(self) -> None:
        self._response.close()


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Raises the errors of httpcore as those of httpx, which have the same names."""
    try:
        yield
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
        translated: type[httpx.TransportError] = getattr(httpx, type(error).__name__)
        raise translated(str(error)) from error
