"""What a hostile server, posted code or a caller may try, and what it comes to."""

import gzip
import ssl
import time
from datetime import timedelta

import httpcore
import httpx
import pytest
from driver.programs import Driven, answer

from sequential_core.drive import Policy
from sequential_core.driver import Fetcher, Rules
from sequential_core.driver.addresses import transport
from sequential_core.model import PendingRequest, ValueAnswer

GET = PendingRequest(1, "http://api.test/")


def attempt(respond, request=GET, **policy):
    """What becomes of a request to a server that responds so."""
    with Fetcher(network=httpx.MockTransport(respond)) as fetcher:
        return fetcher.fetch(request, Policy(**policy))


class Chunks(httpx.SyncByteStream):
    """A body of many chunks, which counts those that were read.

    Args:
        first: of them; the rest is more and more of the same.
    """

    def __init__(self, first=b"", rest=b"x" * 1000, most=1000):
        self._first, self._rest, self._most = first, rest, most
        self.read = 0

    def __iter__(self):
        yield self._first
        for _ in range(self._most):
            self.read += 1
            yield self._rest


# --- Servers -----------------------------------------------------------------------------------------


def test_the_body_of_a_redirect_is_not_read():
    endless = Chunks()

    def respond(request):
        if request.url.path == "/":
            return httpx.Response(302, stream=endless, headers={"location": "/next"})
        return httpx.Response(200, stream=httpx.ByteStream(b"there"))

    assert attempt(respond).answer == ValueAnswer("there")
    assert endless.read == 0


class Slow(httpcore.NetworkBackend, httpcore.NetworkStream):
    """A server that lets half a second pass, on a clock of its own, before each piece of what it says.

    Args:
        says: the pieces; the last one for ever, up to a thousand times.
    """

    def __init__(self, monkeypatch, *says):
        self._says, self._now = list(says), time.monotonic()
        self.reads = 0
        monkeypatch.setattr(time, "monotonic", lambda: self._now)

    def connect_tcp(self, *_args, **_options):
        return self

    def read(self, max_bytes, timeout=None):
        self.reads += 1
        assert self.reads < 1000, "it is listened to for ever"
        if timeout < 0.5:
            raise httpcore.ReadTimeout
        self._now += 0.5
        return self._says.pop(0) if len(self._says) > 1 else self._says[0]

    def write(self, buffer, timeout=None):
        pass

    def close(self):
        pass

    def get_extra_info(self, info):
        return ("192.0.66.1", 80) if info == "server_addr" else None


@pytest.mark.parametrize(
    "says",
    [
        [b"HTTP/1.1 103 Early Hints\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"],
        [b"HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n", b"\r\n", b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"],
        [b"HTTP/1.1 200 OK\r\n\r\n", b"x"],
    ],
    ids=["early hints", "headers", "a redirect", "a body"],
)
def test_a_server_that_says_a_little_now_and_then_has_no_more_time_than_others(monkeypatch, says):
    slow = Slow(monkeypatch, *says)
    network = transport(
        Rules(), resolve=lambda _: ("192.0.66.1",), verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), network=slow
    )
    with Fetcher(network=network) as fetcher:
        given = fetcher.fetch(GET, Policy(timeout=timedelta(seconds=3)))
    assert given.answer.message == "GET http://api.test/: no response within 3 s"
    assert given.failed
    assert slow.reads <= 7


@pytest.mark.parametrize("charset", ["punycode", "idna", "unicode_escape", "raw_unicode_escape", "utf-7", "x" * 999])
def test_only_charsets_of_text_are_decoded(charset):
    """Two megabytes of punycode would take hours."""
    body = b"\\u0061+AGE-"

    def respond(_):
        content_type = f"text/plain; charset={charset}"
        return httpx.Response(200, stream=httpx.ByteStream(body), headers={"content-type": content_type})

    assert attempt(respond).answer == ValueAnswer("\\u0061+AGE-")


@pytest.mark.parametrize("charset", ["latin-1", "ISO-8859-1", '"windows-1252"'])
def test_the_usual_charsets_are_decoded(charset):
    def respond(_):
        content_type = f"text/plain; format=flowed; charset={charset}"
        return httpx.Response(200, stream=httpx.ByteStream(b"\xfc"), headers={"content-type": content_type})

    assert attempt(respond).answer == ValueAnswer("ü")


def test_a_content_type_of_many_semicolons_takes_no_time(monkeypatch):
    """The parser of e-mail takes 20 seconds of CPU for 90 KB of them."""
    monkeypatch.setattr("email.message._parseparam", None)
    content_type = 'text/plain; a="' + ";" * 90_000

    def respond(_):
        return httpx.Response(200, stream=httpx.ByteStream(b"x"), headers={"content-type": content_type})

    assert attempt(respond).answer == ValueAnswer("x")


def test_what_comes_behind_the_end_of_a_compressed_body_is_not_read():
    junk = Chunks(first=gzip.compress(b"there"))

    def respond(_):
        return httpx.Response(200, stream=junk, headers={"content-encoding": "gzip"})

    assert attempt(respond).answer == ValueAnswer("there")
    assert junk.read == 1


@pytest.mark.parametrize("digits", [9, 20, 5000])
def test_a_retry_after_of_no_time_is_as_none(digits):
    def respond(_):
        return answer(status=503, **{"retry-after": f"Mon, 01 Jan 2020 00:00:00 +{'9' * digits}"})

    given = attempt(respond)
    assert (given.status, given.retry_after) == (503, None)


# --- Callers -----------------------------------------------------------------------------------------


def test_a_backoff_of_a_century_that_is_doubled_often_is_one_of_the_longest():
    driven = Driven(lambda _: answer(status=503))
    policy = {"attempts": 20, "backoff": 36_525 * 86_400, "maxBackoff": 0.001}
    task = driven.run("try { await fetch('https://api.test/') } catch (e) { e.message }", policy)
    assert task.result == "GET https://api.test/: status 503 Service Unavailable (attempt 20)"
    assert len(driven.site.seen) == 20
