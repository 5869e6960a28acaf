"""A small HTTP server on 127.0.0.1 for tests, which also misbehaves."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.seen_at.setdefault(self.path, []).append(time.monotonic())
        self.server.seen.append((self.command, self.path, dict(self.headers), self._body()))
        match self.path.strip("/").split("/"):
            case ["json", *rest]:
                self._send(200, json.dumps({"path": "/".join(rest)}).encode(), "application/json; charset=utf-8")
            case ["text"]:
                self._send(200, "Grüße".encode("latin-1"), "text/plain; charset=latin-1")
            case ["status", status]:
                self._send(int(status), b'{"problem": true}', "application/json")
            case ["invalid-json"]:
                self._send(200, b"{", "application/json")
            case ["empty-json"]:
                self._send(200, b"", "application/json")
            case ["large", size]:
                self._send(200, b"x" * int(size), "text/plain")
            case ["redirect", count]:
                left = int(count) - 1
                self._send(302, b"", "text/plain", location=f"/redirect/{left}" if left else "/json/redirected")
            case ["cookies"]:
                self.send_response(200)
                self.send_header("Set-Cookie", "a=1")
                self.send_header("Set-Cookie", "b=2")
                self.send_header("Content-Length", "0")
                self.end_headers()
            case ["echo"]:
                body = {"method": self.command, "body": self.server.seen[-1][3], "x": self.headers.get("x-test")}
                self._send(200, json.dumps(body).encode(), "application/json")
            case ["half"]:
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b"half")
                self.close_connection = True
            case ["half-once"]:
                if len(self.server.seen_at[self.path]) > 1:
                    self._send(200, b'{"path": "whole"}', "application/json")
                    return
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.close_connection = True
            case ["resets"]:
                # A connection that is closed so is reset.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True
            case ["later", seconds]:
                if len(self.server.seen_at[self.path]) > 1:
                    self._send(200, b'{"path": "in time"}', "application/json")
                else:
                    self._send(429, b"{}", "application/json", **{"Retry-After": seconds})
            case ["endless"]:
                self.send_response(200)
                self.send_header("Content-Length", str(1 << 30))
                self.end_headers()
                while not self.server.release.is_set():
                    self.wfile.write(bytes(1 << 16))
            case ["charset"]:
                self._send(200, "Grüße".encode("latin-1"), "text/plain; charset=utf-8")
            case ["hangs"]:
                self.server.release.wait(30)
                self.close_connection = True
            case ["drips"]:
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                while not self.server.release.wait(0.05):
                    self.wfile.write(b".")
                    self.wfile.flush()
            case _:
                self._send(404, b"{}", "application/json")

    do_POST = do_PUT = do_DELETE = do_PATCH = do_GET  # noqa: N815

    def _body(self) -> str:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()

    def _send(self, status: int, body: bytes, content_type: str, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def handle(self):
        with contextlib.suppress(ConnectionError):
            super().handle()

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    """Remembers the requests that it saw, and when by their paths; `release` ends those that hang."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[tuple[str, str, dict[str, str], str]] = []
        self.seen_at: dict[str, list[float]] = {}
        self.release = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextlib.contextmanager
def running_server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.release.set()
        server.shutdown()
        server.server_close()
        thread.join()
