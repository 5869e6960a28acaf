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
from dataclasses import dataclass
from itertools import groupby

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sequential_core.driver.event_urls import check_public_url
from sequential_core.flow import SequentialFlow
from sequential_core.http import problems
from sequential_core.http.bodies import MAX_BODY_BYTES
from sequential_core.http.calls import Call, Operation, Reply, Takes
from sequential_core.http.headers import check_json
from sequential_core.http.operations import OPERATIONS
from sequential_core.http.paths import decode_id, decode_name, encoded_path
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


@dataclass(frozen=True, slots=True)
class _Service:
    """What the operations work with."""

    flow: SequentialFlow
    signing_key: Callable[[], bytes | None]
    public_url: str | None
    threads: ThreadPoolExecutor


def create_app(
    flow: SequentialFlow,
    *,
    hosts: Collection[str] | None = None,
    signing_key: bytes | Callable[[], bytes | None] | None = None,
    public_url: str | None = None,
) -> Starlette:
    """The HTTP API of a flow.

    Args:
        flow: runs the tasks. Driven tasks are driven by others; its dispatcher tells them.
        hosts: names by which the server is known. A request whose Host header has none of them is refused, so that a
            web page cannot reach a server on this machine by a name of its own (DNS rebinding). None: any name.
        signing_key: of URLs that take an event, or what gives it when it is needed. None: there are no such URLs.
        public_url: by which callers reach this API, for such URLs. None: as the request has it that asks for one.

    Raises:
        ConfigurationError: the public URL is none.
    """
    service = _Service(
        flow,
        signing_key if callable(signing_key) else lambda: signing_key,
        None if public_url is None else check_public_url(public_url),
        ThreadPoolExecutor(_THREADS_PER_CORE * (os.cpu_count() or 1), "sequential-http"),
    )
    by_path = groupby(OPERATIONS, lambda operation: operation.path)
    app = Starlette(
        routes=[Route(path, _Resource(operations, service)) for path, operations in by_path],
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

    def __init__(self, operations: Iterable[Operation], service: _Service) -> None:
        self._operations = {operation.method: operation for operation in operations}
        if "GET" in self._operations:
            self._operations["HEAD"] = self._operations["GET"]
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        operation = self._operations.get(scope["method"])
        if operation is None:
            raise MethodNotAllowedError(sorted(self._operations))
        scope[_OPERATION] = operation.id
        headers, parameters = Headers(scope=scope), scope["path_params"]
        call = Call(
            flow=self._service.flow,
            task_id=decode_id(parameters["id"]) if "id" in parameters else "",
            query=scope["query_string"],
            headers=headers,
            body=await _body_for(operation.takes, headers, receive),
            name=decode_name(parameters["name"]) if "name" in parameters else "",
            token=parameters.get("token", ""),
            signing_key=self._service.signing_key,
            public_url=self._service.public_url or _url_of(scope, headers),
        )
        reply = await self._in_thread(lambda: operation.run(call))
        await _send(reply, scope, receive, send)

    async def _in_thread(self, run: Callable[[], Reply]) -> Reply:
        """Runs it to its end, also if nobody waits for it any more.

        Not Starlette's `run_in_threadpool`: its first call imports a part of anyio that takes 10 ms.
        """
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._service.threads, context.run, run)


def _url_of(scope: Scope, headers: Headers) -> str:
    """By which URL the request has come, without what is below `root_path`."""
    host = headers.get("host")
    if host is None:
        address, port = scope.get("server") or ("localhost", None)
        host = address if port is None else f"{address}:{port}"
    return f"{scope.get('scheme', 'http')}://{host}{scope.get('root_path', '')}"


async def _body_for(takes: Takes, headers: Headers, receive: Receive) -> bytes:
    """The body, if the operation takes one and it is JSON.

    Raises:
        MediaTypeError: it is not.
        BodyTooLargeError, ClientDisconnect: see `_body`.
    """
    if takes is Takes.NO_BODY:
        return b""
    # A browser says with every POST from which page it is. A foreign page must not get by without asking us first, as
    # it must for JSON; see `check_json`.
    if takes is Takes.BODY or "content-type" in headers or "origin" in headers:
        check_json(headers)
        return await _body(headers, receive)
    if body := await _body(headers, receive):
        check_json(headers)
    return body


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
