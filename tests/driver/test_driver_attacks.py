"""What a hostile server, posted code or a caller may try, and what it comes to."""

import gzip
import ssl
import threading
import time
from datetime import timedelta

import httpcore
import httpx
import pytest
from driver.programs import Driven, answer

from sequential_core import MemoryStorage, SequentialFlow
from sequential_core.drive import Policy
from sequential_core.driver import Driver, Fetcher, Rules, Worker
from sequential_core.driver.addresses import transport
from sequential_core.errors import InvalidRequestError, TooManyEventsError
from sequential_core.pending import PendingRequest, ValueAnswer

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
    """Of punycode 200 KB took six seconds, and more takes more than its share."""
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


# --- Posted code -------------------------------------------------------------------------------------


def test_code_that_aborts_its_requests_has_not_more_than_32_on_their_way():
    """What it has aborted goes on until its time is over, each on a thread and a connection."""
    lock, now, most, may_answer = threading.Lock(), 0, 0, threading.Event()

    def respond(request):
        nonlocal now, most
        if request.url.path == "/answers":
            may_answer.set()
            return answer()
        with lock:
            now += 1
            most = max(most, now)
        may_answer.wait(1)
        with lock:
            now -= 1
        return answer()

    code = """
        for (let i = 0; i < 40; i++) {
          const abort = new AbortController();
          fetch('https://api.test/hangs', { signal: abort.signal }).catch(() => {});
          await callTool('pass');
          abort.abort();
        }
        await fetch('https://api.test/answers');
    """
    driven = Driven(respond)
    driven.flow.tool("pass")(lambda _: None)
    task = driven.run(code)
    assert task.status == "completed"
    assert 8 < most <= 32


def test_an_attempt_that_is_due_and_has_no_place_is_waited_for_without_looking_all_the_time(monkeypatch):
    attempts, done = 0, threading.Event()
    driven = Driven()

    def respond(request):
        nonlocal attempts
        if request.url.path == "/0" and attempts == 0:
            attempts += 1
            return answer(status=503)
        if request.url.path == "/8":  # it has got the place
            driven.clock.advance(timedelta(seconds=10))
            done.wait(0.8)  # longer than a driver waits without a look
            done.set()
        elif request.url.path != "/0":
            done.wait(10)
        return answer()

    driven.site.__init__(respond)
    looks, load = 0, driven.storage.load

    def count(task_id):
        nonlocal looks
        looks += 1
        return load(task_id)

    monkeypatch.setattr(driven.storage, "load", count)
    task = driven.run("(await Promise.all([...Array(9).keys()].map((i) => fetch(`https://api.test/${i}`)))).length")
    assert task.result == 9
    assert looks < 50


def test_a_task_that_always_has_something_to_do_gives_way_to_one_that_waits():
    flow = SequentialFlow(MemoryStorage())
    called = threading.Event()
    flow.tool("called")(lambda _: called.set())
    busy = flow.execute("for (;;) await new Promise((go) => setTimeout(go, 5))", drive=True)
    worker = Worker(Driver(flow), at_a_time=1, ask_seconds=0.01, turn_seconds=0.05)
    worker.start()
    try:
        flow.execute("await callTool('called')", drive=True)
        assert called.wait(10)
        assert flow.get_task(busy.id).status == "paused"
    finally:
        worker.stop()


# --- Callers -----------------------------------------------------------------------------------------


def test_a_backoff_of_a_century_that_is_doubled_often_is_one_of_the_longest():
    driven = Driven(lambda _: answer(status=503))
    policy = {"attempts": 20, "backoff": 36_525 * 86_400, "maxBackoff": 0.001}
    task = driven.run("try { await fetch('https://api.test/') } catch (e) { e.message }", policy)
    assert task.result == "GET https://api.test/: status 503 Service Unavailable (attempt 20)"
    assert len(driven.site.seen) == 20


def test_events_for_waits_that_time_out_as_they_come_are_kept_up_to_the_limit():
    driven = Driven()
    code = "for (let i = 0; i < 9; i++) try { await waitForEvent('a' + i, { timeout: 1 }) } catch {}"
    task = driven.flow.execute(code)
    driven.clock.advance(timedelta(seconds=1))
    task = driven.flow.send_event(task.id, "a0", "x" * 200_000)
    driven.clock.advance(timedelta(seconds=1))
    with pytest.raises(TooManyEventsError):
        driven.flow.send_event(task.id, "a1", "x" * 200_000)
    assert driven.flow.get_task(task.id) == task


def test_the_answer_of_a_deleted_task_is_not_given_to_a_later_one_with_its_id():
    driven = Driven()

    def respond(request):
        if request.url.path == "/first":
            driven.flow.delete_task("same")
            driven.clock.advance(timedelta(seconds=1))
            driven.flow.execute("await fetch('https://api.test/second')", id="same", drive=True)
        return answer(request.url.path)

    driven.site.__init__(respond)
    driven.flow.execute("await fetch('https://api.test/first')", id="same", drive=True)
    driven.driver.drive("same")
    task = driven.go_on(driven.flow.get_task("same"))
    assert task.result == "/second"


def test_a_pattern_of_characters_that_idna_drops_is_not_kept():
    with pytest.raises(InvalidRequestError, match="too long"):
        Rules(allow=(f"a{chr(0xAD) * 1000}.example.com",))
