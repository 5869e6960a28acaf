"""A proxy in front of ministack that goes wrong when told to, in the ways that a network and a service do.

    with FaultProxy(ministack.url) as proxy:
        proxy.inject("UpdateItem", DROP_ANSWER)          # once
        proxy.inject("GetItem", PASS)                    # the first, and then all others:
        proxy.inject("GetItem", refuse("ThrottlingException"), times=ALWAYS)
        storage = DynamoDBStorage("tasks", endpoint=proxy.url)

Operations have AWS's names: of DynamoDB the one in X-Amz-Target, of S3 that of method and path. The Host header is
handed on as it came, so a signature stays valid.

Callers that get no answer wait for it as long as they do; those of this process need not, see `giving_up_at_once`.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from unittest import mock
from urllib.parse import urlsplit

ALWAYS = 1 << 62

_S3_OBJECT = {"GET": "GetObject", "PUT": "PutObject", "DELETE": "DeleteObject", "HEAD": "HeadObject"}
_S3_BUCKET = {"GET": "ListObjectsV2", "PUT": "CreateBucket", "DELETE": "DeleteBucket", "HEAD": "HeadBucket"}

#: Statuses of errors that are not 400.
_STATUSES = {
    "InternalServerError": 500,
    "InternalError": 500,
    "ServiceUnavailable": 503,
    "SlowDown": 503,
    "AccessDenied": 403,
    "NoSuchKey": 404,
    "NoSuchBucket": 404,
}

# Headers that are about one connection, and not about the message.
_HOP_BY_HOP = {"connection", "expect", "keep-alive", "transfer-encoding", "content-length"}


@dataclass(frozen=True)
class Fault:
    """What goes wrong with a request.

    Attributes:
        forwards: whether the service gets the request: "no", "yes", or "late", when `release` is called.
        answers: what the caller gets: the "whole" answer, a "reset" connection, "nothing" until it gives up, half of
            the answer and then the end ("cut"), or the error of this code.
        status: of the error; None: the usual one.
    """

    forwards: str
    answers: str
    status: int | None = None


#: Nothing goes wrong.
PASS = Fault("yes", "whole")
#: The connection breaks before the service has the request.
DROP_REQUEST = Fault("no", "reset")
#: The request goes nowhere, and nothing says so.
HANG = Fault("no", "nothing")
#: The service does what was asked, and the connection breaks before the answer.
DROP_ANSWER = Fault("yes", "reset")
#: The service does what was asked, and the answer does not come.
HANG_AFTERWARDS = Fault("yes", "nothing")
#: The service does what was asked, and half of the answer comes.
CUT_ANSWER = Fault("yes", "cut")
#: Nothing comes, and the service gets the request after the caller has given up: at `release`.
LATE = Fault("late", "nothing")


def refuse(code: str, status: int | None = None) -> Fault:
    """The service refuses the request, with an error of AWS's."""
    return Fault("no", code, status)


def refuse_afterwards(code: str, status: int | None = None) -> Fault:
    """The service does what was asked, and says that it failed."""
    return Fault("yes", code, status)


class FaultProxy:
    """Forwards to one server; see the module.

    Attributes:
        url: where it is.
        seen: how many requests of each operation came.
        forwarded: how many of them the server has answered.
    """

    def __init__(self, upstream: str) -> None:
        address = urlsplit(upstream)
        assert address.hostname
        assert address.port
        self._upstream = (address.hostname, address.port)
        self._lock = threading.Lock()
        self._faults: dict[str, list[Fault]] = {}
        self._standing: dict[str, Fault] = {}
        self._released = threading.Event()
        self._ended = threading.Event()
        self._late = 0
        self._silent_to: set[tuple[str, int]] = set()
        self._none_late = threading.Condition(self._lock)
        self.seen: Counter[str] = Counter()
        self.forwarded: Counter[str] = Counter()
        self._server = _Server(("127.0.0.1", 0), _handler_of(self))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def inject(self, operation: str, fault: Fault, times: int = 1) -> None:
        """Lets the next so many requests of an operation go wrong, after those that were told before."""
        with self._lock:
            if times == ALWAYS:
                self._standing[operation] = fault
            else:
                self._faults.setdefault(operation, []).extend([fault] * times)

    def clear(self) -> None:
        """Everything works again, and nothing was seen."""
        with self._lock:
            self._faults.clear()
            self._standing.clear()
            self.seen.clear()
            self.forwarded.clear()

    def release(self) -> None:
        """Hands the late requests on, and waits until the server has answered them."""
        self._released.set()
        with self._none_late:
            assert self._none_late.wait_for(lambda: self._late == 0, timeout=30)
        self._released.clear()

    def close(self) -> None:
        self._ended.set()
        self._released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def giving_up_at_once(self) -> Iterator[None]:
        """Lets callers in this process run into their timeout as soon as it is certain that no answer will come.

        So their timeout can be long, and a slow machine is not taken for a fault.
        """
        receive = socket.socket.recv_into

        # What answers are read through, by whoever reads them with http.client.
        def recv_into(connection: socket.socket, *arguments: Any) -> int:
            patience = connection.gettimeout()
            if patience and _peer(connection) == self._server.server_address:
                deadline, own = time.monotonic() + patience, connection.getsockname()
                while not select.select([connection], [], [], 0.002)[0]:
                    if own in self._silent_to or time.monotonic() > deadline:
                        raise TimeoutError("timed out")
            return receive(connection, *arguments)

        with mock.patch.object(socket.socket, "recv_into", recv_into):
            yield

    # --- For the handlers ---

    def _choose(self, operation: str) -> Fault | None:
        with self._lock:
            self.seen[operation] += 1
            if waiting := self._faults.get(operation):
                fault: Fault | None = waiting.pop(0)
            else:
                fault = self._standing.get(operation)
            self._late += fault is not None and fault.forwards == "late"
            return fault

    def _await_release(self) -> None:
        self._released.wait()

    def _done_late(self) -> None:
        with self._none_late:
            self._late -= 1
            self._none_late.notify_all()

    def _done(self, operation: str) -> None:
        with self._lock:
            self.forwarded[operation] += 1


def _peer(connection: socket.socket) -> object:
    try:
        return connection.getpeername()
    except OSError:
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a thread may wait for a caller that never goes
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that breaks is what this server is for."""


def _handler_of(proxy: FaultProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Without it a small answer waits for the caller's acknowledgement of its headers, 40 ms.
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            self._upstream = http.client.HTTPConnection(*proxy._upstream, timeout=60)

        def finish(self) -> None:
            self._upstream.close()
            proxy._silent_to.discard(self.client_address)
            with contextlib.suppress(OSError):
                super().finish()

        def log_message(self, *_: object) -> None:
            pass

        def _serve(self) -> None:
            body = self._body()
            operation = self._operation()
            fault = proxy._choose(operation)
            if fault is None or fault is PASS:
                self._answer(*self._forward(operation, body))
                return
            answer = self._forward(operation, body) if fault.forwards == "yes" else None
            if fault.answers == "nothing":
                # What comes late is the same to the caller.
                proxy._silent_to.add(self.client_address)
            if fault.forwards == "late":
                proxy._await_release()
                try:
                    if not proxy._ended.is_set():
                        self._forward(operation, body)
                finally:
                    proxy._done_late()
            self.close_connection = fault.answers in {"reset", "nothing", "cut"}
            if fault.answers == "reset":
                self._reset()
            elif fault.answers == "nothing":
                self._wait_for_the_caller_to_go()
            elif fault.answers == "cut":
                assert answer is not None
                status, headers, content = answer
                self._answer(status, headers, content, sent=len(content) // 2)
            else:
                self._refuse(fault)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815  # http.server's names

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                chunks = []
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    chunks.append(self.rfile.read(size))
                    self.rfile.readline()
                while self.rfile.readline().strip():
                    pass
                return b"".join(chunks)
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _operation(self) -> str:
            if target := self.headers.get("X-Amz-Target"):
                return target.rpartition(".")[2]
            parts = urlsplit(self.path).path.strip("/").split("/", 1)
            return (_S3_OBJECT if len(parts) == 2 else _S3_BUCKET).get(self.command, self.command)

        def _forward(self, operation: str, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            self._upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    self._upstream.putheader(name, value)
            self._upstream.putheader("Content-Length", str(len(body)))
            self._upstream.endheaders(body)
            response = self._upstream.getresponse()
            content = response.read()
            proxy._done(operation)
            return response.status, response.getheaders(), content

        def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes, sent: int | None = None) -> None:
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, value)
            has_no_body = self.command == "HEAD" or status in {204, 304}
            length = {name.lower(): value for name, value in headers}.get("content-length", "0")
            if status != 204:
                self.send_header("Content-Length", length if has_no_body else str(len(content)))
            self.end_headers()
            if not has_no_body:
                self.wfile.write(content[:sent])

        def _refuse(self, fault: Fault) -> None:
            code, message = fault.answers, "injected by a test"
            status = fault.status or _STATUSES.get(code, 400)
            if "X-Amz-Target" in self.headers:
                kind = "application/x-amz-json-1.0"
                name = f"com.amazonaws.dynamodb.v20120810#{code}"
                content = json.dumps({"__type": name, "message": message}).encode()
            else:
                kind = "application/xml"
                content = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
            self._answer(status, [("Content-Type", kind)], content)

        def _reset(self) -> None:
            # To linger for no time is to send RST in place of FIN.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # socket.close() would wait for the files that were made of it, and the server says goodbye before that.
            os.close(self.connection.detach())

        def _wait_for_the_caller_to_go(self) -> None:
            while not proxy._ended.is_set():
                readable, _, _ = select.select([self.connection], [], [], 0.05)
                if readable and not self._more():
                    return

        def _more(self) -> bool:
            try:
                return bool(self.connection.recv(1 << 16))
            except OSError:
                return False

    return Handler
