import gzip
from datetime import timedelta

import httpx
import pytest
from http_server import running_server

from sequential_core.drive import Policy
from sequential_core.driver import Fetcher, Rules
from sequential_core.pending import ErrorAnswer, PendingRequest, ResponseAnswer, ValueAnswer


@pytest.fixture
def server():
    with running_server() as running:
        yield running


def answering(body, header, value, *more):
    """A transport that gives the body as it would come from the network, not yet decoded."""
    headers = [(header, value), *more]
    return httpx.MockTransport(lambda _: httpx.Response(200, stream=httpx.ByteStream(body), headers=headers))


def attempt(request, *, network=None, **policy):
    """What becomes of a request, on a network of this machine or one in its place."""
    with Fetcher(Rules(loopback=True), network=network) as fetcher:
        return fetcher.fetch(request, Policy(**policy))


def fetch(server, path, *, method="GET", headers=None, body=None, **policy):
    return attempt(PendingRequest(1, f"{server.url}{path}", method, headers or {}, body), **policy).answer


def receive(network, **policy):
    """The answer that a network gives."""
    return attempt(PendingRequest(1, "http://api.test/"), network=network, **policy).answer


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
    bomb = gzip.compress(bytes(10_000_000))
    answer = receive(answering(bomb, "content-encoding", "gzip"), response_bytes=100_000)
    assert "more than 100000 bytes" in answer.message


@pytest.mark.parametrize("path", ["/hangs", "/drips"])
def test_a_server_that_does_not_finish_is_given_up(server, path):
    assert "no response within 0.3 s" in fetch(server, path, timeout=timedelta(seconds=0.3)).message


@pytest.mark.parametrize(
    "url",
    ["/relative", "ftp://127.0.0.1/", "http://", "http://127.0.0.1:99999/", "http://[::1", "", "file:///etc/passwd"],
)
def test_a_url_that_cannot_be_fetched_is_an_error_that_no_other_attempt_mends(url):
    done = attempt(PendingRequest(1, url))
    assert isinstance(done.answer, ErrorAnswer)
    assert not done.failed


def test_a_refused_connection_is_an_error_that_may_pass():
    with running_server() as gone:
        url = gone.url
    done = attempt(PendingRequest(1, url))
    assert isinstance(done.answer, ErrorAnswer)
    assert done.failed


def test_without_leave_this_machine_is_not_called(server):
    with Fetcher() as fetcher:
        done = fetcher.fetch(PendingRequest(1, f"{server.url}/json/a"))
    assert isinstance(done.answer, ErrorAnswer)
    assert not done.failed
    assert server.seen == []


@pytest.mark.parametrize("charset", ["no-such-charset", "hex", "utf-8; x"])
def test_a_charset_that_is_none_is_taken_for_utf_8(charset):
    network = answering("ü".encode(), "content-type", f"text/plain; charset={charset}")
    assert receive(network) == ValueAnswer("ü")


def test_an_encoding_that_was_not_asked_for_is_an_error():
    assert "encoded as zstd" in receive(answering(b"x", "content-encoding", "zstd")).message


def test_a_length_that_the_code_claims_is_not_sent(server):
    answer = fetch(server, "/echo", method="POST", headers={"content-length": "99"}, body="short")
    assert answer.value["body"] == "short"


def test_no_cookie_of_one_request_goes_with_the_next(server):
    with Fetcher(Rules(loopback=True)) as fetcher:
        fetcher.fetch(PendingRequest(1, f"{server.url}/cookies"))
        fetcher.fetch(PendingRequest(2, f"{server.url}/json/a"))
    assert "Cookie" not in server.seen[1][2]


def test_a_long_url_is_not_repeated_whole():
    assert len(attempt(PendingRequest(1, "http://127.0.0.1:1/" + "\x01" * 100_000)).answer.message) < 1000


def test_a_compressed_body_is_decoded_and_one_that_is_cut_short_is_an_error():
    body = gzip.compress(b"whole " * 1000)
    assert receive(answering(body, "content-encoding", "gzip")) == ValueAnswer("whole " * 1000)
    assert "cut short" in receive(answering(body[:-9], "content-encoding", "gzip")).message


def test_a_response_has_the_very_bytes_that_came():
    answer = receive(answering(b"\xff\xfe\x00", "a", "1"), answers="response")
    assert (answer.body, answer.body_encoding) == ("//4A", "base64")


def test_a_header_that_comes_several_times_is_a_list():
    network = answering(b"", "set-cookie", "a=1", ("Set-Cookie", "b=2"))
    assert receive(network, answers="response").headers == {"set-cookie": ["a=1", "b=2"]}


def test_a_body_of_bytes_is_sent_as_bytes():
    seen = []

    def take(request):
        seen.append(request.read())
        return httpx.Response(200)

    request = PendingRequest(1, "https://api.test/", "POST", body="AP8=", body_encoding="base64")
    attempt(request, network=httpx.MockTransport(take))
    assert seen == [b"\x00\xff"]


def test_a_redirect_is_followed_given_or_refused_as_the_request_says(server):
    def get(redirect):
        return attempt(PendingRequest(1, f"{server.url}/redirect/1", redirect=redirect), answers="response").answer

    assert (get("follow").status, get("follow").redirected) == (200, True)
    assert (get("manual").status, get("manual").redirected) == (302, False)
    assert isinstance(get("error"), ErrorAnswer)


def test_an_attempt_tells_status_and_size_and_when_to_come_back(server):
    done = attempt(PendingRequest(1, f"{server.url}/status/503"))
    assert (done.status, done.size_bytes, done.retry_after) == (503, len(b'{"problem": true}'), None)
    network = answering(b"later", "retry-after", "7")
    assert attempt(PendingRequest(1, "http://api.test/"), network=network).retry_after == timedelta(seconds=7)
