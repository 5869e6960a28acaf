"""What a hostile server, posted code or a caller may try, and what it comes to."""

import httpx

from sequential_core.drive import Policy
from sequential_core.driver import Fetcher
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
