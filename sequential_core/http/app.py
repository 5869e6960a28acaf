"""The ASGI application: routes, bodies, threads, and a problem document for whatever goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import json
import os
import re
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sequential_core.flow import SequentialFlow
from sequential_core.http import problems
from sequential_core.http.bodies import MAX_BODY_BYTES
from sequential_core.http.headers import check_json
from sequential_core.http.operations import OPERATIONS, Call, Operation, Reply
from sequential_core.http.paths import decode_id, encoded_path
from sequential_core.http.problems import (
    BodyTooLargeError,
    MethodNotAllowedError,
    UnknownRouteError,
    UntrustedHostError,
)

# A hop computes, and lets others compute beside it; at its end it waits for the storage. So there is one for each core,
# and one that waits beside it; more of them would only take each other's CPU time, which is limited for each hop.
_THREADS_PER_CORE = 2

# Where an operation leaves its name in the scope, for the log.
_OPERATION = "sequential.operation"

# RFC 9110, section 7.2: a name or an address, in brackets if it is IPv6; a port may follow.
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^:\[\]]+))(?::[0-9]*)?")


def create_app(flow: SequentialFlow, *, hosts: Collection[str] | None = None) -> Starlette:
    """The HTTP API of a flow.

    Args:
        flow: runs the tasks.
        hosts: names by which the server is known. A request whose Host header has none of them is refused, so that a
            web page cannot reach a server on this machine by a name of its own (DNS rebinding). None: any name.
    """
    threads = ThreadPoolExecutor(_THREADS_PER_CORE * (os.cpu_count() or 1), "sequential-http")
    by_path = groupby(OPERATIONS, lambda operation: operation.path)
    app = Starlette(
        routes=[Route(path, _Resource(operations, flow, threads)) for path, operations in by_path],
        middleware=[Middleware(_Boundary, hosts=hosts)],
    )
    app.router.redirect_slashes = False
    app.router.default = functools.partial(_nothing_here, app.router)
    return app


async def _nothing_here(router: Router, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        raise UnknownRouteError
    await router.not_found(scope, receive, send)  # closes a WebSocket


class _Boundary:
    """Stands around everything: nothing but what the table of problems says leaves it."""

    def __init__(self, app: ASGIApp, hosts: Collection[str] | None) -> None:
        self._app = app
        self._hosts = None if hosts is None else frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        inner: Scope = {**scope}
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = True
            try:
                await send(message)
            except OSError:  # which is what a server raises when the caller is gone: ASGI 2.4
                raise ClientDisconnect from None

        try:
            self._check_host(scope)
            inner["path"] = encoded_path(scope)
            await self._app(inner, receive, watch)
        except ClientDisconnect:
            return  # there is nobody to tell
        except Exception as error:
            if started:
                raise
            with contextlib.suppress(OSError):
                await _send(_refusal(error, inner), scope, receive, send)

    def _check_host(self, scope: Scope) -> None:
        if self._hosts is None:
            return
        given = Headers(scope=scope).getlist("host")
        host = _HOST.fullmatch(given[0].lower()) if len(given) == 1 else None
        if host is None or (host[1] or host[2]) not in self._hosts:
            raise UntrustedHostError


def _refusal(error: Exception, scope: Scope) -> Reply:
    told = problems.report(error, scope.get(_OPERATION, "no operation"))
    return Reply(
        told["status"],
        json.dumps(told, separators=(",", ":")).encode("ascii"),
        {"Content-Type": problems.MEDIA_TYPE, **problems.headers(error)},
    )


async def _send(reply: Reply, scope: Scope, receive: Receive, send: Send) -> None:
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **reply.headers}
    response = Response(reply.content, reply.status, headers, None if reply.content is None else "application/json")
    if scope["method"] == "HEAD":
        response.body = b""  # and Content-Length stays: RFC 9110, section 9.3.2
    await response(scope, receive, send)


class _Resource:
    """What is at one path: its operations, by their methods."""

    def __init__(self, operations: Iterable[Operation], flow: SequentialFlow, threads: ThreadPoolExecutor) -> None:
        self._operations = {operation.method: operation for operation in operations}
        if "GET" in self._operations:
            self._operations["HEAD"] = self._operations["GET"]
        self._flow = flow
        self._threads = threads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        operation = self._operations.get(scope["method"])
        if operation is None:
            raise MethodNotAllowedError(sorted(self._operations))
        scope[_OPERATION] = operation.id
        headers = Headers(scope=scope)
        segment = scope["path_params"].get("id")
        body = b""
        if operation.takes_body:
            check_json(headers)
            body = await _body(headers, receive)
        call = Call(
            flow=self._flow,
            task_id="" if segment is None else decode_id(segment),
            query=scope["query_string"],
            headers=headers,
            body=body,
        )
        reply = await self._in_thread(lambda: operation.run(call))
        await _send(reply, scope, receive, send)

    async def _in_thread(self, run: Callable[[], Reply]) -> Reply:
        """Runs it to its end, also if nobody waits for it any more.

        Not Starlette's `run_in_threadpool`: its first call imports a part of anyio that takes 10 ms.
        """
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads, context.run, run)


async def _body(headers: Headers, receive: Receive) -> bytes:
    """The body, of which no more is kept than is allowed, whatever Content-Length says.

    Raises:
        BodyTooLargeError: it is too large, or says that it will be.
        ClientDisconnect: it does not come to its end.
    """
    announced = headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and (len(announced) > 9 or int(announced) > MAX_BODY_BYTES):
        raise BodyTooLargeError(MAX_BODY_BYTES)
    chunks: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
        size += len(chunks[-1])
        if size > MAX_BODY_BYTES:
            raise BodyTooLargeError(MAX_BODY_BYTES)
    return b"".join(chunks)
