"""Performs a pending request over HTTP, once."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Self

import httpx

from sequential_core.drive import AnswerKind, Policy
from sequential_core.driver.addresses import DEADLINE, transport
from sequential_core.driver.rules import Guard, RefusedError, Rules
from sequential_core.pending import BASE64, Answer, ErrorAnswer, PendingRequest, ResponseAnswer, ValueAnswer
from sequential_core.storage.base import Clock, system_clock

_MAX_REDIRECTS = 10

# What would contradict the body that is sent, or how it is.
_OURS = frozenset({"accept-encoding", "connection", "content-length", "host", "transfer-encoding", "upgrade"})

_SHOWN_LENGTH = 200

_MOST_CONTENT_TYPE = 1000

_CHARSET = re.compile(r';\s*charset="?([0-9a-z_-]+)', re.IGNORECASE)

# Those that web pages may be in (Encoding standard, 4.2), and other tables. Python knows others that are none of text,
# or that take minutes for some megabytes: punycode, idna. And it remembers each name that it does not know.
_ENCODING = re.compile(
    r"utf-?(8|16|16-?[lb]e)|(us-)?ascii|latin-?1|iso-?8859-[0-9]{1,2}|(windows-|cp)[0-9]{3,4}|koi8-[ru]|macintosh"
    r"|shift[_-]jis|sjis|euc-?(jp|kr)|iso-2022-jp|gbk|gb2312|gb18030|big5(-hkscs)?|tis-620",
    re.IGNORECASE,
)

# The key of the policy of a task, in what goes with its requests through redirects.
_POLICY = "sequential.policy"

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of a request that was sent once.

    Attributes:
        answer: what the code gets, if it is not tried again.
        seconds: how long it took.
        status: of the response; None if there was none.
        size_bytes: of the body, decompressed.
        failed: nothing came of it that another attempt could not better: no response, or half of one.
        retry_after: what the response said of it.
    """

    answer: Answer
    seconds: float
    status: int | None = None
    size_bytes: int = 0
    failed: bool = False
    retry_after: timedelta | None = None

    @property
    def problem(self) -> str:
        """In a few words, for a history."""
        if isinstance(self.answer, ErrorAnswer):
            return self.answer.message[:_SHOWN_LENGTH]
        return f"status {self.status}"


class _TooLarge(Exception):
    pass


class _TooSlow(Exception):
    pass


class _Policed(httpx.BaseTransport):
    """Checks the hosts that the policy of a task allows, of every request and redirect, before the operator's rules.

    What such a policy allows is only the operator's to allow: so it is looked at as names, and lifts nothing.
    """

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self._inner = inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        policy: Policy = request.extensions[_POLICY]
        if policy.allow or policy.deny:
            port = request.url.port or _PORTS.get(request.url.scheme, 0)
            Guard(Rules(policy.allow, policy.deny, frozenset({port}))).host(request.url.host, port)
        return self._inner.handle_request(request)

    def close(self) -> None:
        self._inner.close()


class Fetcher:
    """Turns a pending request into an attempt to answer it. What goes wrong on the way is in the attempt too.

    Args:
        rules: who may be called; None: public addresses.
        network: in place of the network.
        clock: says what time it is, for a Retry-After that is a date.
    """

    def __init__(
        self, rules: Rules | None = None, *, network: httpx.BaseTransport | None = None, clock: Clock = system_clock
    ) -> None:
        self._clock = clock
        self._client = httpx.Client(
            follow_redirects=False,  # `_send` does
            headers={"user-agent": "sequential"},
            # A program that is cut must mean the same as one that is not, so nothing is kept between its requests.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            transport=_Policed(network or transport(rules or Rules())),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes what connections there are."""
        self._client.close()

    def fetch(
        self, request: PendingRequest, policy: Policy | None = None, headers: Mapping[str, str] | None = None
    ) -> Attempt:
        """Sends a request, from whichever thread.

        Args:
            request: what the code asks for.
            policy: of its task; None: the default one.
            headers: to be sent besides.
        """
        policy, began = policy or Policy(), time.monotonic()
        what = f"{request.method[:_SHOWN_LENGTH]} {request.url[:_SHOWN_LENGTH]}"
        seconds = policy.timeout.total_seconds()

        def attempt(answer: Answer | str, **more: object) -> Attempt:
            given = ErrorAnswer(f"{what}: {answer}") if isinstance(answer, str) else answer
            return Attempt(given, time.monotonic() - began, **more)  # type: ignore[arg-type]  # those of Attempt

        try:
            sent = {**request.headers, **(headers or {})}
            encoded = {name: value.encode("latin-1") for name, value in sent.items() if name.lower() not in _OURS}
            encoded["accept-encoding"] = b"gzip"
            first = self._client.build_request(
                request.method,
                request.url,
                headers=encoded,  # type: ignore[arg-type]  # bytes are fine
                content=request.content,
                timeout=seconds,
                extensions={_POLICY: policy, DEADLINE: began + seconds},
            )
            response, redirected = self._send(first, follows=request.redirect == "follow")
            with contextlib.closing(response):
                if request.redirect == "error" and response.has_redirect_location:
                    return attempt("it is redirected", status=response.status_code)
                status, retry_after = response.status_code, self._retry_after(response)
                content = _read(response, policy.response_bytes, began + seconds)
                answer = _answer(what, response, content, policy.answers, redirected=redirected)
                return attempt(answer, status=status, size_bytes=len(content), retry_after=retry_after)
        except RefusedError as error:
            return attempt(str(error))
        except _TooLarge:
            return attempt(f"the response has more than {policy.response_bytes} bytes")
        except (httpx.TimeoutException, _TooSlow):
            return attempt(f"no response within {seconds:g} s", failed=True)
        except httpx.TooManyRedirects:
            return attempt(f"more than {_MAX_REDIRECTS} redirects")
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ValueError, zlib.error) as error:
            told = str(error)[:_SHOWN_LENGTH] or type(error).__name__
            return attempt(told, failed=isinstance(error, (httpx.NetworkError, httpx.RemoteProtocolError)))

    def _send(self, request: httpx.Request, *, follows: bool) -> tuple[httpx.Response, bool]:
        """The response, its body not yet read, and whether it was redirected.

        httpx would read the body of each redirect, decompressed and without a bound, though nobody looks at it.
        """
        for redirects in range(_MAX_REDIRECTS + 1):
            response = self._client.send(request, stream=True)
            if not follows or response.next_request is None:
                return response, redirects > 0
            response.close()
            if time.monotonic() > request.extensions[DEADLINE]:
                raise _TooSlow
            request = response.next_request
        raise httpx.TooManyRedirects("", request=request)

    def _retry_after(self, response: httpx.Response) -> timedelta | None:
        """What Retry-After asks for: seconds or a date (RFC 9110, section 10.2.3); None if it says neither."""
        text = response.headers.get("retry-after", "").strip()
        if text.isascii() and text.isdigit():
            return timedelta(seconds=min(int(text[:10]), 10**9))
        try:
            at = parsedate_to_datetime(text[:_SHOWN_LENGTH])
        except (ValueError, OverflowError):  # an offset can have more digits than any time
            return None
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
        return max(at - self._clock(), timedelta(0))


def _read(response: httpx.Response, most_bytes: int, deadline: float) -> bytes:
    """The whole body, decompressed. httpx bounds each wait; a server that sends a byte a second is bounded here."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        raise ValueError(f"the response is encoded as {encoding}")
    # httpx would decompress each chunk whole, whatever becomes of it.
    gzip = None if encoding == "identity" else zlib.decompressobj(wbits=31)
    content = bytearray()
    for chunk in response.iter_raw():
        if gzip is not None and gzip.eof:
            break  # more would be kept, and is nothing
        room = most_bytes + 1 - len(content)
        content += chunk if gzip is None else gzip.decompress(chunk, room)
        if len(content) > most_bytes:
            raise _TooLarge
        if time.monotonic() > deadline:
            raise _TooSlow
    if gzip is not None and content and not gzip.eof:
        raise ValueError("the compressed response is cut short")
    return bytes(content)


def _answer(what: str, response: httpx.Response, content: bytes, kind: AnswerKind, *, redirected: bool) -> Answer:
    if kind == "response":
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
            redirected=redirected,
        )
    if response.is_error:
        return ErrorAnswer(f"{what}: status {response.status_code} {response.reason_phrase}".rstrip())
    content_type = response.headers.get("content-type", "")[:_MOST_CONTENT_TYPE]
    text = _decoded(content, content_type)
    media_type = content_type.partition(";")[0].strip().lower()
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


def _decoded(content: bytes, content_type: str) -> str:
    named = _CHARSET.search(content_type)
    charset = "utf-8" if named is None or _ENCODING.fullmatch(named[1]) is None else named[1]
    try:
        return content.decode(charset, errors="replace").removeprefix("\ufeff")
    except LookupError:  # no such charset
        return content.decode(errors="replace").removeprefix("\ufeff")
