"""Performs pending requests over HTTP, for programs that run a task to its end themselves."""

from __future__ import annotations

import base64
import json
import queue
import threading
import time
import zlib
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import httpx

from sequential_core.errors import InvalidAnswerError
from sequential_core.flow import SequentialFlow
from sequential_core.limits import MIB
from sequential_core.model import BASE64, Answer, ErrorAnswer, PendingRequest, ResponseAnswer, Status, Task, ValueAnswer

AnswerKind = Literal["value", "response"]

DEFAULT_TIMEOUT_SECONDS = 30.0
DEFAULT_RESPONSE_BYTES = 5 * MIB

_MAX_REDIRECTS = 10
_AT_A_TIME = 8

# The clock may be set while a timer is waited for, so it is looked at from time to time.
_MOST_SECONDS = 60.0


# What would contradict the body that is sent, or how it is.
_OURS = frozenset({"accept-encoding", "connection", "content-length", "host", "transfer-encoding", "upgrade"})

_SHOWN_LENGTH = 200


class Listener(Protocol):
    """Is told what `run_to_end` does, on the thread that called it."""

    def began(self, request: PendingRequest) -> None: ...

    def answered(self, request: PendingRequest, answer: Answer, seconds: float) -> None: ...

    def resumed(self, task: Task) -> None: ...


class _TooLarge(Exception):
    pass


class _TooSlow(Exception):
    pass


class Fetcher:
    """Turns a pending request into its answer. What goes wrong on the way is an answer too, an error.

    Args:
        answers: "value": the code gets the parsed JSON of the body if its content type is JSON, or else its
            text, and a status of 400 or more rejects. "response": the code gets a `Response`.
        timeout_seconds: for connecting, for each wait for data, and for the whole response.
        response_bytes: a longer body, after decompression, is an error.
        transport: in place of the network.
    """

    def __init__(
        self,
        answers: AnswerKind = "value",
        *,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        response_bytes: int = DEFAULT_RESPONSE_BYTES,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._answers = answers
        self._timeout_seconds = timeout_seconds
        self._response_bytes = response_bytes
        self._client = httpx.Client(
            timeout=timeout_seconds,
            follow_redirects=True,
            max_redirects=_MAX_REDIRECTS,
            headers={"user-agent": "sequential"},
            # A program that is cut must mean the same as one that is not, so nothing is kept between its requests.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def fetch(self, request: PendingRequest) -> Answer:
        """Sends the request, from whichever thread, and gives the answer."""
        what = f"{request.method[:_SHOWN_LENGTH]} {request.url[:_SHOWN_LENGTH]}"
        try:
            headers = {name: value.encode("latin-1") for name, value in request.headers.items() if name not in _OURS}
            headers["accept-encoding"] = b"gzip"
            with self._client.stream(
                request.method,
                request.url,
                headers=headers,  # type: ignore[arg-type]  # bytes are fine
                content=request.content,
                follow_redirects=request.redirect == "follow",
            ) as response:
                if request.redirect == "error" and response.has_redirect_location:
                    return ErrorAnswer(f"{what}: it is redirected")
                content = self._read(response)
                return self._answer(what, response, content)
        except _TooLarge:
            return ErrorAnswer(f"{what}: the response has more than {self._response_bytes} bytes")
        except (httpx.TimeoutException, _TooSlow):
            return ErrorAnswer(f"{what}: no response within {self._timeout_seconds:g} s")
        except httpx.TooManyRedirects:
            return ErrorAnswer(f"{what}: more than {_MAX_REDIRECTS} redirects")
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ValueError, zlib.error) as error:
            return ErrorAnswer(f"{what}: {str(error)[:_SHOWN_LENGTH] or type(error).__name__}")

    def _read(self, response: httpx.Response) -> bytes:
        # httpx bounds each wait; a server that sends a byte a second is bounded here.
        deadline = time.monotonic() + self._timeout_seconds
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip", "x-gzip"):
            raise ValueError(f"the response is encoded as {encoding}")
        # httpx would decompress each chunk whole, whatever becomes of it.
        gzip = None if encoding == "identity" else zlib.decompressobj(wbits=31)
        content = bytearray()
        for chunk in response.iter_raw():
            room = self._response_bytes + 1 - len(content)
            content += chunk if gzip is None else gzip.decompress(chunk, room)
            if len(content) > self._response_bytes:
                raise _TooLarge
            if time.monotonic() > deadline:
                raise _TooSlow
        if gzip is not None and content and not gzip.eof:
            raise ValueError("the compressed response is cut short")
        return bytes(content)

    def _answer(self, what: str, response: httpx.Response, content: bytes) -> Answer:
        if self._answers == "response":
            headers: dict[str, list[str]] = {}
            for name, value in response.headers.raw:
                headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
            body, encoding = _as_text(content)
            return ResponseAnswer(
                status=response.status_code,
                status_text=response.reason_phrase,
                headers={name: values[0] if len(values) == 1 else values for name, values in headers.items()},
                body=body,
                body_encoding=encoding,
                url=str(response.url),
                redirected=bool(response.history),
            )
        text = _decoded(content, response.charset_encoding)
        if response.is_error:
            return ErrorAnswer(f"{what}: status {response.status_code} {response.reason_phrase}".rstrip())
        media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type == "application/json" or media_type.endswith("+json"):
            if not text:
                return ValueAnswer(None)
            try:
                return ValueAnswer(json.loads(text))
            except (ValueError, RecursionError):
                return ErrorAnswer(f"{what}: the body is not the JSON that its content type promises")
        return ValueAnswer(text)


def _as_text(content: bytes) -> tuple[str, str | None]:
    """The body of a response, and its encoding: the code's `Response` has the very bytes that came."""
    try:
        return content.decode(), None
    except UnicodeDecodeError:
        return base64.b64encode(content).decode(), BASE64


def _decoded(content: bytes, charset: str | None) -> str:
    try:
        return content.decode(charset or "utf-8", errors="replace").removeprefix("\ufeff")
    except (LookupError, ValueError):  # no such charset, or one that is none
        return content.decode(errors="replace").removeprefix("\ufeff")


def run_to_end(flow: SequentialFlow, task: Task, fetcher: Fetcher, listener: Listener) -> Task:
    """Performs the pending requests of a task, up to eight at a time, and waits for its timers, until it ends.

    An exception, KeyboardInterrupt too, leaves the stored task at its last pause. What was fetched
    and not yet taken is fetched again by the next run.

    Args:
        flow: the flow that has the task.
        task: as it stands.
        fetcher: performs the requests.
        listener: is told of each step.

    Returns:
        The task, completed or error.
    """
    answered: queue.SimpleQueue[tuple[PendingRequest, Answer, float]] = queue.SimpleQueue()
    places = threading.BoundedSemaphore(_AT_A_TIME)

    def perform(request: PendingRequest) -> None:
        with places:
            began = time.monotonic()
            try:
                answer = fetcher.fetch(request)
            except Exception as error:  # noqa: BLE001  # whatever it is, the program must not wait for ever
                answer = ErrorAnswer(f"the request failed: {type(error).__name__}")
        answered.put((request, answer, time.monotonic() - began))

    begun: set[int] = set()
    while task.status is Status.PAUSED:
        for request in task.fetch_requests:
            if request.id not in begun:
                begun.add(request.id)
                listener.began(request)
                # A daemon: when the run is broken off, nobody waits for a slow server.
                threading.Thread(target=perform, args=(request,), daemon=True).start()
        wait = flow.seconds_to_wake(task)
        try:
            request, answer, seconds = answered.get(timeout=None if wait is None else min(wait, _MOST_SECONDS))
        except queue.Empty:
            before, task = task, flow.resume(task.id)
            if task.revision == before.revision:
                continue  # the clock says that it is not quite time
        else:
            if all(request.id != pending.id for pending in task.fetch_requests):
                continue  # it was aborted meanwhile
            listener.answered(request, answer, seconds)
            try:
                task = _resume(flow, task.id, request.id, answer)
            except InvalidAnswerError as error:
                task = _resume(flow, task.id, request.id, ErrorAnswer(f"the response cannot be taken: {error.problem}"))
        listener.resumed(task)
    return task


def _resume(flow: SequentialFlow, task_id: str, request_id: int, answer: Answer) -> Task:
    given: dict[str, Any]
    match answer:
        case ValueAnswer(value):
            given = {"fetch_response": value}
        case ResponseAnswer():
            given = {"response": answer}
        case ErrorAnswer(message):
            given = {"error": message}
    return flow.resume(task_id, request_id=request_id, **given)
