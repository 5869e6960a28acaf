import threading

import httpx
import pytest
from http_server import running_server
from sequential_core.fetcher import Fetcher, run_to_end

from sequential_core import MemoryStorage, SequentialFlow
from sequential_core.model import ErrorAnswer, PendingRequest, ResponseAnswer, ValueAnswer


@pytest.fixture
def server():
    with running_server() as running:
        yield running


class Silent:
    def began(self, request):
        pass

    def answered(self, request, answer, seconds):
        pass

    def resumed(self, task):
        pass


def answering(body, header, value, *more):
    """A transport that gives the body as it would come from the network, not yet decoded."""
    headers = [(header, value), *more]
    return httpx.MockTransport(lambda _: httpx.Response(200, stream=httpx.ByteStream(body), headers=headers))


def fetch(server, path, *, answers="value", method="GET", headers=None, body=None, **options):
    with Fetcher(answers, **options) as fetcher:
        return fetcher.fetch(PendingRequest(1, f"{server.url}{path}", method, headers or {}, body))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/json/a", {"path": "a"}),
        ("/text", "Grüße"),
        ("/empty-json", None),
        ("/redirect/3", {"path": "redirected"}),
    ],
)
def test_a_value_is_the_json_or_the_text_of_the_body(server, path, value):
    assert fetch(server, path) == ValueAnswer(value)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/status/404", "status 404 Not Found"),
        ("/status/500", "status 500 Internal Server Error"),
        ("/invalid-json", "not the JSON"),
        ("/redirect/11", "more than 10 redirects"),
        ("/half", "complete message body"),
    ],
)
def test_what_is_no_value_is_an_error_that_names_the_request(server, path, problem):
    answer = fetch(server, path)
    assert isinstance(answer, ErrorAnswer)
    assert answer.message.startswith(f"GET {server.url}{path}: ")
    assert problem in answer.message


def test_a_response_has_status_headers_body_and_final_url(server):
    answer = fetch(server, "/redirect/2", answers="response")
    assert isinstance(answer, ResponseAnswer)
    assert (answer.status, answer.status_text, answer.redirected) == (200, "OK", True)
    assert answer.url == f"{server.url}/json/redirected"
    assert answer.body == '{"path": "redirected"}'
    assert answer.headers["content-type"] == "application/json; charset=utf-8"


def test_a_failing_status_is_a_response_when_responses_are_asked_for(server):
    answer = fetch(server, "/status/503", answers="response")
    assert isinstance(answer, ResponseAnswer)
    assert answer.status == 503


def test_the_values_of_a_repeated_header_stay_apart(server):
    assert fetch(server, "/cookies", answers="response").headers["set-cookie"] == ["a=1", "b=2"]


def test_method_headers_and_body_are_sent(server):
    answer = fetch(server, "/echo", method="POST", headers={"x-test": "é"}, body="ünï")
    assert answer == ValueAnswer({"method": "POST", "body": "ünï", "x": "é"})


def test_a_body_of_exactly_the_cap_is_taken_and_one_byte_more_is_not(server):
    assert fetch(server, "/large/1000", response_bytes=1000) == ValueAnswer("x" * 1000)
    assert "more than 1000 bytes" in fetch(server, "/large/1001", response_bytes=1000).message


def test_the_cap_counts_what_was_decompressed():
    import gzip

    bomb = gzip.compress(bytes(10_000_000))
    transport = httpx.MockTransport(
        lambda _: httpx.Response(200, stream=httpx.ByteStream(bomb), headers={"content-encoding": "gzip"})
    )
    with Fetcher(response_bytes=100_000, transport=transport) as fetcher:
        answer = fetcher.fetch(PendingRequest(1, "http://127.0.0.1/"))
    assert "more than 100000 bytes" in answer.message


@pytest.mark.parametrize("path", ["/hangs", "/drips"])
def test_a_server_that_does_not_finish_is_given_up(server, path):
    assert "no response within 0.3 s" in fetch(server, path, timeout_seconds=0.3).message


@pytest.mark.parametrize(
    "url",
    ["/relative", "ftp://127.0.0.1/", "http://", "http://127.0.0.1:99999/", "http://[::1", "", "file:///etc/passwd"],
)
def test_a_url_that_cannot_be_fetched_is_an_error(url):
    with Fetcher() as fetcher:
        assert isinstance(fetcher.fetch(PendingRequest(1, url)), ErrorAnswer)


def test_a_refused_connection_is_an_error():
    with running_server() as gone:
        url = gone.url
    with Fetcher() as fetcher:
        assert isinstance(fetcher.fetch(PendingRequest(1, url)), ErrorAnswer)


def test_a_program_is_run_to_its_end(server):
    flow = SequentialFlow(MemoryStorage())
    task = flow.execute(
        f"const all = await Promise.all([1, 2, 3].map((i) => fetch(`{server.url}/json/${{i}}`)));"
        f'let caught; try {{ await fetch("{server.url}/status/404") }} catch (e) {{ caught = e.name }}'
        "[all.map((each) => each.path), caught]"
    )
    with Fetcher() as fetcher:
        ended = run_to_end(flow, task, fetcher, Silent())
    assert ended.result == [["1", "2", "3"], "TypeError"]


def test_a_response_reaches_the_code_as_a_response(server):
    flow = SequentialFlow(MemoryStorage())
    task = flow.execute(f'const r = await fetch("{server.url}/json/a"); [r.ok, r.status, (await r.json()).path]')
    with Fetcher("response") as fetcher:
        assert run_to_end(flow, task, fetcher, Silent()).result == [True, 200, "a"]


def test_at_most_eight_requests_are_under_way_at_once():
    lock, now, most = threading.Lock(), 0, 0
    all_there = threading.Event()

    def handle(_):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
            if now == 8:
                all_there.set()
        all_there.wait(10)
        with lock:
            now -= 1
        return httpx.Response(200, stream=httpx.ByteStream(b"x"))

    flow = SequentialFlow(MemoryStorage())
    task = flow.execute("(await Promise.all([...Array(30).keys()].map((i) => fetch(`http://127.0.0.1/${i}`)))).length")
    with Fetcher(transport=httpx.MockTransport(handle)) as fetcher:
        assert run_to_end(flow, task, fetcher, Silent()).result == 30
    assert most == 8


def test_json_that_the_program_cannot_take_rejects_its_fetch(server):
    deep = "[" * 600 + "]" * 600
    transport = httpx.MockTransport(
        lambda _: httpx.Response(
            200, stream=httpx.ByteStream(deep.encode()), headers={"content-type": "application/json"}
        )
    )
    flow = SequentialFlow(MemoryStorage())
    task = flow.execute('try { await fetch("http://127.0.0.1/") } catch (e) { e.message }')
    with Fetcher(transport=transport) as fetcher:
        assert "nested too deeply" in run_to_end(flow, task, fetcher, Silent()).result


@pytest.mark.parametrize("charset", ["no-such-charset", "hex", "utf-8; x"])
def test_a_charset_that_is_none_is_taken_for_utf_8(charset):
    with Fetcher(transport=answering("ü".encode(), "content-type", f"text/plain; charset={charset}")) as fetcher:
        assert fetcher.fetch(PendingRequest(1, "http://127.0.0.1/")) == ValueAnswer("ü")


def test_an_encoding_that_was_not_asked_for_is_an_error():
    with Fetcher(transport=answering(b"x", "content-encoding", "zstd")) as fetcher:
        assert "encoded as zstd" in fetcher.fetch(PendingRequest(1, "http://127.0.0.1/")).message


def test_a_length_that_the_code_claims_is_not_sent(server):
    answer = fetch(server, "/echo", method="POST", headers={"content-length": "99"}, body="short")
    assert answer.value["body"] == "short"


def test_no_cookie_of_one_request_goes_with_the_next(server):
    with Fetcher() as fetcher:
        fetcher.fetch(PendingRequest(1, f"{server.url}/cookies"))
        fetcher.fetch(PendingRequest(2, f"{server.url}/json/a"))
    assert "Cookie" not in server.seen[1][2]


def test_whatever_a_fetch_raises_the_program_goes_on():
    def broken(_):
        raise LookupError

    flow = SequentialFlow(MemoryStorage())
    task = flow.execute('try { await fetch("http://127.0.0.1/") } catch (e) { e.message }')
    with Fetcher(transport=httpx.MockTransport(broken)) as fetcher:
        assert run_to_end(flow, task, fetcher, Silent()).result == "the request failed: LookupError"


def test_a_long_url_is_not_repeated_whole():
    with Fetcher() as fetcher:
        assert len(fetcher.fetch(PendingRequest(1, "http://127.0.0.1:1/" + "\x01" * 100_000)).message) < 1000


def test_a_compressed_body_is_decoded_and_one_that_is_cut_short_is_an_error():
    import gzip

    body = gzip.compress(b"whole " * 1000)
    with Fetcher(transport=answering(body, "content-encoding", "gzip")) as fetcher:
        assert fetcher.fetch(PendingRequest(1, "http://127.0.0.1/")) == ValueAnswer("whole " * 1000)
    with Fetcher(transport=answering(body[:-9], "content-encoding", "gzip")) as fetcher:
        assert "cut short" in fetcher.fetch(PendingRequest(1, "http://127.0.0.1/")).message


def test_a_response_has_the_very_bytes_that_came():
    with Fetcher("response", transport=answering(b"\xff\xfe\x00", "a", "1")) as fetcher:
        answer = fetcher.fetch(PendingRequest(1, "https://api.test/"))
    assert (answer.body, answer.body_encoding) == ("//4A", "base64")


def test_a_header_that_comes_several_times_is_a_list():
    with Fetcher("response", transport=answering(b"", "set-cookie", "a=1", ("Set-Cookie", "b=2"))) as fetcher:
        answer = fetcher.fetch(PendingRequest(1, "https://api.test/"))
    assert answer.headers == {"set-cookie": ["a=1", "b=2"]}


def test_a_body_of_bytes_is_sent_as_bytes():
    seen = []

    def receive(request):
        seen.append(request.read())
        return httpx.Response(200)

    with Fetcher(transport=httpx.MockTransport(receive)) as fetcher:
        fetcher.fetch(PendingRequest(1, "https://api.test/", "POST", body="AP8=", body_encoding="base64"))
    assert seen == [b"\x00\xff"]


def test_a_redirect_is_followed_given_or_refused_as_the_request_says(server):
    def get(redirect):
        with Fetcher("response") as fetcher:
            return fetcher.fetch(PendingRequest(1, f"{server.url}/redirect/1", redirect=redirect))

    assert (get("follow").status, get("follow").redirected) == (200, True)
    assert (get("manual").status, get("manual").redirected) == (302, False)
    assert isinstance(get("error"), ErrorAnswer)


def run(code, respond):
    """Runs a program to its end over a transport; returns the task."""
    with Fetcher(transport=httpx.MockTransport(respond)) as fetcher:
        flow = SequentialFlow(MemoryStorage())
        return run_to_end(flow, flow.execute(code), fetcher, Silent())


def test_timers_are_waited_for():
    task = run("const from = Date.now(); await sleep(20); await sleep(20); Date.now() - from >= 40", None)
    assert task.result is True


def test_a_request_that_was_aborted_is_not_waited_for():
    release = threading.Event()

    def respond(_):
        release.wait(10)
        return httpx.Response(200)

    try:
        task = run(
            "try { await fetch('https://api.test/', { signal: AbortSignal.timeout(20) }) } catch (e) { e.name }",
            respond,
        )
    finally:
        release.set()
    assert task.result == "TimeoutError"


def test_the_answer_of_a_request_that_was_aborted_meanwhile_is_dropped():
    aborted = threading.Event()

    def respond(request):
        if request.url.path == "/lost":
            aborted.wait(10)
            return httpx.Response(200, stream=httpx.ByteStream(b"lost"))
        aborted.set()
        return httpx.Response(200, stream=httpx.ByteStream(b"kept"))

    code = """
        const controller = new AbortController();
        const lost = fetch('https://api.test/lost', { signal: controller.signal }).catch((error) => error.name);
        await sleep(10);
        controller.abort();
        const kept = await fetch('https://api.test/kept');
        await sleep(50);
        [await lost, kept]
    """
    assert run(code, respond).result == ["AbortError", "kept"]
