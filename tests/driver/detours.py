"""A network for tests: addresses of the internet lead to servers on 127.0.0.1, and every other one into a trap."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import httpcore


class Trap:
    """A listener that must see no connection. The kernel takes connections, so none is missed."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.port = self._socket.getsockname()[1]

    def is_empty(self) -> bool:
        try:
            connection, _ = self._socket.accept()
        except BlockingIOError:
            return True
        connection.close()
        return False

    def close(self) -> None:
        self._socket.close()


class _Handler(BaseHTTPRequestHandler):
    server: Site
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.seen.append((self.path, self.headers["host"]))
        if self.path.startswith("/to/"):
            self._send(302, b"", {"Location": unquote(self.path.removeprefix("/to/"), "latin-1")})
        elif self.path == "/close":
            self._send(200, b"hello", {"Connection": "close"})
        elif self.path == "/half":
            self._send(200, b"hello", {"Content-Length": "10", "Connection": "close"})
        elif self.path == "/hangs":
            self.server.release.wait(30)
            self.close_connection = True
        else:
            self._send(200, b"hello", {})

    def _send(self, status, body, headers):
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = headers.get("Connection") == "close"

    def handle(self):
        with contextlib.suppress(OSError):
            super().handle()

    def log_message(self, *_):
        pass


class Site(ThreadingHTTPServer):
    """Says hello, and redirects /to/... there. Remembers the path and Host header of each request."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[tuple[str, str]] = []
        self.release = threading.Event()
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, *_):
        pass  # a client that turns away


@contextlib.contextmanager
def running_site(context: ssl.SSLContext | None = None) -> Iterator[Site]:
    site = Site(context)
    thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        site.release.set()
        site.shutdown()
        site.server_close()
        thread.join()


class Stream(httpcore.NetworkStream):
    """A connection that says it is to another address than it is."""

    def __init__(self, stream: httpcore.NetworkStream, peer: tuple[str, int] | OSError | None) -> None:
        self._stream = stream
        self._peer = peer
        self.closed = False

    def read(self, max_bytes, timeout=None):
        return self._stream.read(max_bytes, timeout)

    def write(self, buffer, timeout=None):
        self._stream.write(buffer, timeout)

    def close(self):
        self.closed = True
        self._stream.close()

    def start_tls(self, ssl_context, server_hostname=None, timeout=None):
        return Stream(self._stream.start_tls(ssl_context, server_hostname, timeout), self._peer)

    def get_extra_info(self, info):
        if info != "server_addr":
            return self._stream.get_extra_info(info)
        if isinstance(self._peer, OSError):
            raise self._peer
        return self._peer


class Detour(httpcore.NetworkBackend):
    """Connects the addresses in `sites` to these ports of 127.0.0.1, and all others to the trap.

    Attributes:
        calls: the addresses and ports that were to be connected to.
        unreachable: addresses that do not answer.
        peer: what connections say that they are connected to, or raise, in place of the address that was wanted.
        streams: what was connected.
    """

    def __init__(self, trap: Trap, sites: dict[str, int]) -> None:
        self._trap = trap
        self._sites = sites
        self._lock = threading.Lock()
        self.calls: list[tuple[str, int]] = []
        self.timeouts: list[float | None] = []
        self.unreachable: set[str] = set()
        self.peer: tuple[str, int] | OSError | str | None = "wanted"
        self.streams: list[Stream] = []

    def connect_tcp(self, host, port, timeout=None, local_address=None, socket_options=None):
        with self._lock:
            self.calls.append((host, port))
            self.timeouts.append(timeout)
        if host in self.unreachable:
            raise httpcore.ConnectTimeout("timed out")
        real = httpcore.SyncBackend().connect_tcp("127.0.0.1", self._sites.get(host, self._trap.port), timeout)
        stream = Stream(real, (host, port) if self.peer == "wanted" else self.peer)
        with self._lock:
            self.streams.append(stream)
        return stream
