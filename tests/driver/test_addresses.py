from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from urllib.parse import quote

import httpcore
import httpx
import pytest
from detours import Detour, Trap, running_site
from hostile_urls import ANSWERS, HOSTILE, PUBLIC, PUBLIC_6, URLS

from sequential_core.driver import addresses
from sequential_core.driver.addresses import RefusedError, Rules, look_up, transport
from sequential_core.driver.fetcher import Fetcher
from sequential_core.pending import ErrorAnswer, PendingRequest, ValueAnswer

DEFAULT = Rules()
NO_ADDRESS = "the host is not known, or has no address that may be called"

# To read the certificates that are trusted takes 30 ms, which the tests in clear do not need.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

REFUSED = (RefusedError, httpx.InvalidURL)

# The last is what httpx says of a Location that it cannot read.
REDIRECT_REFUSED = (*REFUSED, httpx.RemoteProtocolError)

by_reason = pytest.mark.parametrize("hostile", HOSTILE, ids=lambda hostile: f"{hostile.why}: {hostile.url[:60]}")


@pytest.fixture
def trap():
    trap = Trap()
    yield trap
    trap.close()


@pytest.fixture(scope="module")
def shared_site():
    with running_site() as site:
        yield site


@pytest.fixture
def site(shared_site):
    shared_site.seen.clear()
    return shared_site


@pytest.fixture
def detour(trap, site):
    """The two public addresses are the site, all others the trap."""
    return Detour(trap, {PUBLIC: site.server_port, PUBLIC_6: site.server_port})


class Dns:
    """Answers with what it has: for each name the answers of one lookup after another, the last for all later ones.

    Args:
        others: the answer for all other names.
    """

    def __init__(self, *, others=None, **answers):
        self._others = others
        self._answers = {name.replace("_", "."): list(several) for name, several in answers.items()}
        self.asked = []

    def __call__(self, name):
        self.asked.append(name)
        several = self._answers.get(name, [self._others])
        answer = several.pop(0) if len(several) > 1 else several[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def client(detour, dns=None, rules=DEFAULT, **options):
    """A client in the network of the detour, in which each name is the site if no DNS says otherwise."""
    guard = transport(rules, resolve=dns or (lambda _: (PUBLIC,)), verify=NO_TLS, network=detour)
    return httpx.Client(transport=guard, follow_redirects=True, timeout=10, **options)


# --- What is hostile ---------------------------------------------------------------------------


def test_the_corpus_has_more_than_a_hundred_and_fifty_distinct_entries():
    assert len({(hostile.url, hostile.answers) for hostile in HOSTILE}) == len(HOSTILE) > 150


@by_reason
def test_nothing_hostile_connects(hostile, trap, detour):
    with client(detour, lambda _: hostile.answers or ()) as calls, pytest.raises(REFUSED):
        calls.get(hostile.url)
    assert detour.calls == []
    assert trap.is_empty()


@by_reason
def test_a_redirect_to_something_hostile_does_not_connect(hostile, trap, site, detour):
    dns = Dns(start_example_net=[(PUBLIC,)], others=hostile.answers or ())
    with client(detour, dns) as calls, pytest.raises(REDIRECT_REFUSED):
        calls.get(f"http://start.example.net/to/{quote(hostile.url.encode(), safe='')}")
    assert [path[:4] for path, _ in site.seen] == ["/to/"]
    assert detour.calls == [(PUBLIC, 80)]
    assert trap.is_empty()


@pytest.mark.parametrize("hostile", URLS, ids=lambda hostile: f"{hostile.why}: {hostile.url[:60]}")
def test_what_a_url_shows_is_refused_without_a_lookup(hostile, detour):
    # Even if a name server said that 0x7f.1 was a public address.
    asked = []
    with client(detour, lambda name: asked.append(name) or (PUBLIC,)) as calls, pytest.raises(REFUSED):
        calls.get(hostile.url)
    assert asked == []


@pytest.mark.parametrize("hostile", ANSWERS, ids=lambda hostile: f"{hostile.why}: {hostile.url[:60]}")
def test_the_same_names_connect_when_their_address_is_public(hostile, site, detour):
    # So that it is the answer that is refused above, and not something else.
    with client(detour) as calls:
        assert calls.get(hostile.url.replace("https:", "http:")).text == "hello"
    assert detour.calls == [(PUBLIC, 80)]


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.0.0.1.", "127.1", "2130706433", "017700000001", "0x7f.1", "localhost", "localhost."),
        *("0", "0.0.0.0", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),
    ],
)
def test_the_listeners_of_this_machine_are_not_reached_through_real_sockets(host, trap):
    # The trap is where these lead on Linux, and nothing stands in for the network or the name service.
    rules = Rules(ports=frozenset({trap.port}))
    with httpx.Client(transport=transport(rules, verify=NO_TLS)) as calls, pytest.raises(REFUSED):
        calls.get(f"http://{host}:{trap.port}/")
    assert trap.is_empty()


def test_the_trap_catches_what_is_not_guarded(trap):
    # The tests of this file rest on it.
    with contextlib.closing(socket.create_connection(("127.0.0.1", trap.port))):
        assert not trap.is_empty()
    assert trap.is_empty()


@pytest.mark.parametrize("target", ["http://169.254.169.254/", "http://[::ffff:a9fe:a9fe]/", "http://10.0.0.1/"])
def test_a_loopback_server_that_is_allowed_cannot_redirect_to_the_metadata_service(target, site):
    guard = transport(Rules(loopback=True), verify=NO_TLS)
    url = f"http://127.0.0.1:{site.server_port}/to/{quote(target, safe='')}"
    with httpx.Client(transport=guard, follow_redirects=True, timeout=10) as calls, pytest.raises(RefusedError):
        calls.get(url)
    assert len(site.seen) == 1


def test_a_redirect_is_checked_however_late_it_comes(site, detour):
    inner = "http://169.254.169.254/"
    for _ in range(3):
        inner = f"http://start.example.net/to/{quote(inner, safe='')}"
    with client(detour) as calls, pytest.raises(RefusedError, match=NO_ADDRESS):
        calls.get(inner)
    assert len(site.seen) == 3


# --- One lookup, one check, one connection -----------------------------------------------------


def test_the_connection_is_made_to_the_address_that_was_checked(site, detour):
    dns = Dns(rebinds_example_com=[(PUBLIC,), ("127.0.0.1",)])
    with client(detour, dns) as calls:
        assert calls.get("http://rebinds.example.com/").text == "hello"
    assert dns.asked == ["rebinds.example.com"]
    assert detour.calls == [(PUBLIC, 80)]
    assert site.seen == [("/", "rebinds.example.com")]


def test_a_name_that_is_bound_anew_is_checked_anew(trap, site, detour):
    dns = Dns(rebinds_example_com=[(PUBLIC,), ("169.254.169.254",)])
    with client(detour, dns) as calls:
        calls.get("http://rebinds.example.com/close")
        with pytest.raises(RefusedError, match=NO_ADDRESS):
            calls.get("http://rebinds.example.com/")
    assert len(site.seen) == 1
    assert trap.is_empty()


def test_a_redirect_to_the_same_name_at_another_port_is_looked_up_and_checked(trap, site, detour):
    dns = Dns(rebinds_example_com=[(PUBLIC,), ("127.0.0.1",)])
    with client(detour, dns) as calls, pytest.raises(RefusedError, match=NO_ADDRESS):
        calls.get(f"http://rebinds.example.com/to/{quote('https://rebinds.example.com/', safe='')}")
    assert dns.asked == ["rebinds.example.com"] * 2
    assert trap.is_empty()


def test_a_connection_that_is_kept_is_used_again_without_a_lookup(site, detour):
    dns = Dns(rebinds_example_com=[(PUBLIC,), ("127.0.0.1",)])
    with client(detour, dns) as calls:
        for _ in range(3):
            assert calls.get("http://rebinds.example.com/").text == "hello"
    assert len(detour.calls) == 1


def test_names_with_one_address_do_not_share_a_connection(site, detour):
    with client(detour) as calls:
        calls.get("http://a.example.com/")
        calls.get("http://b.example.com/")
        calls.get("http://b.example.com./")  # another Host header, but the same name
    assert len(detour.calls) == 2
    assert [host for _, host in site.seen] == ["a.example.com", "b.example.com", "b.example.com."]


@pytest.mark.parametrize(
    ("url", "called"),
    [
        (f"http://{PUBLIC}/", (PUBLIC, 80)),
        (f"http://{PUBLIC}.:443/", (PUBLIC, 443)),
        (f"http://[{PUBLIC_6.upper()}]/", (PUBLIC_6, 80)),
        ("http://example.com:443/", (PUBLIC, 443)),
        ("http://EXAMPLE.com/", (PUBLIC, 80)),
        ("http://under_score.example.com/", (PUBLIC, 80)),
        ("http://b\u00fccher.example/", (PUBLIC, 80)),
    ],
)
def test_what_is_public_connects(url, called, site, detour):
    with client(detour) as calls:
        assert calls.get(url).text == "hello"
    assert detour.calls == [called]


def test_the_next_address_is_tried_when_one_does_not_answer(site, detour):
    detour.unreachable = {"2606:2800::1", "2606:2800::2"}
    dns = Dns(example_com=[("2606:2800::1", "2606:2800::2", PUBLIC)])
    with client(detour, dns) as calls:
        assert calls.get("http://example.com/").text == "hello"
    assert [address for address, _ in detour.calls] == ["2606:2800::1", "2606:2800::2", PUBLIC]


def test_addresses_that_do_not_answer_share_the_time_and_only_four_are_tried(detour):
    several = tuple(f"2606:2800::{number}" for number in range(1, 9))
    detour.unreachable = set(several)
    with client(detour, Dns(example_com=[several])) as calls, pytest.raises(httpx.ConnectTimeout):
        calls.get("http://example.com/", timeout=12)
    assert [address for address, _ in detour.calls] == list(several[:4])
    # Here no time passes, so each may have what is left, divided by those that are left.
    assert detour.timeouts == pytest.approx([3, 4, 6, 12], abs=0.5)


def test_without_a_timeout_there_is_none(site, detour):
    with client(detour) as calls:
        calls.get("http://example.com/", timeout=None)
    assert detour.timeouts == [None]


@pytest.mark.parametrize("peer", [("127.0.0.1", 80), (PUBLIC_6, 80), None])
def test_a_connection_to_another_address_is_closed_before_anything_is_sent(peer, site, detour):
    detour.peer = peer
    with client(detour) as calls, pytest.raises(RefusedError, match=NO_ADDRESS):
        calls.get("http://example.com/")
    assert [stream.closed for stream in detour.streams] == [True]
    assert site.seen == []


def test_a_connection_that_is_gone_at_once_is_a_failure_to_connect(site, detour):
    detour.peer = OSError("not connected")
    with client(detour) as calls, pytest.raises(httpx.ConnectError, match="gone already"):
        calls.get("http://example.com/")
    assert [stream.closed for stream in detour.streams] == [True]


# --- Looking names up --------------------------------------------------------------------------


def test_a_name_that_is_not_there_looks_like_a_private_one(detour):
    dns = Dns(
        missing_example_com=[socket.gaierror(socket.EAI_NONAME, "Name or service not known")],
        private_example_com=[("10.0.0.1",)],
        mixed_example_com=[(PUBLIC, "10.0.0.1")],
        empty_example_com=[()],
    )
    messages = set()
    with client(detour, dns) as calls:
        for name in ("missing", "private", "mixed", "empty"):
            with pytest.raises(RefusedError) as refused:
                calls.get(f"http://{name}.example.com/")
            messages.add(str(refused.value))
    assert messages == {NO_ADDRESS}


@pytest.mark.parametrize(
    "error", [socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), OSError("no name service")]
)
def test_a_lookup_that_fails_for_now_is_a_failure_to_connect(error, detour):
    with client(detour, Dns(example_com=[error])) as calls, pytest.raises(httpx.ConnectError, match="looked up"):
        calls.get("http://example.com/")


def test_a_lookup_that_takes_too_long_ends_with_the_timeout_for_connecting(detour):
    release = threading.Event()
    with client(detour, lambda _: release.wait(30) and (PUBLIC,)) as calls:
        with pytest.raises(httpx.ConnectTimeout, match="not looked up in time"):
            calls.get("http://example.com/", timeout=httpx.Timeout(10, connect=0.02))
        release.set()
    assert detour.calls == []


def test_an_answer_that_took_all_the_time_is_not_connected_to(detour, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(addresses, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def slow(_):
        now[0] += 11
        return (PUBLIC,)

    with client(detour, slow) as calls, pytest.raises(httpx.ConnectTimeout):
        calls.get("http://example.com/")
    assert detour.calls == []


def test_lookups_that_hang_are_bounded_in_number_and_come_back(site, detour, monkeypatch):
    monkeypatch.setattr(addresses, "_LOOKUPS_AT_A_TIME", 2)
    release = threading.Event()
    asked = []

    def hang(name):
        asked.append(name)
        release.wait(30)
        return (PUBLIC,)

    short = httpx.Timeout(10, connect=0.02)
    with client(detour, hang) as calls:
        for number in range(4):
            with pytest.raises(httpx.ConnectTimeout):
                calls.get(f"http://n{number}.example.com/", timeout=short)
        assert asked == ["n0.example.com", "n1.example.com"]
        assert calls.get(f"http://{PUBLIC}/").text == "hello"  # which needs none
        release.set()
        assert calls.get("http://last.example.com/").text == "hello"
    assert asked[2:] == ["last.example.com"]


def test_a_thread_that_cannot_be_started_is_a_failure_to_connect_and_takes_no_place(site, detour, monkeypatch):
    monkeypatch.setattr(addresses, "_LOOKUPS_AT_A_TIME", 1)
    with client(detour) as calls:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", _no_more_threads)
            with pytest.raises(httpx.ConnectError, match="too many threads"):
                calls.get("http://example.com/")
        assert calls.get("http://example.com/").text == "hello"


def _no_more_threads(_):
    raise RuntimeError("can't start new thread")


def test_the_system_is_asked_for_both_kinds_of_addresses_and_each_is_given_once(monkeypatch):
    tcp = (socket.SOCK_STREAM, 6, "")
    found = [
        (socket.AF_INET6, *tcp, (PUBLIC_6, 0, 0, 0)),
        (socket.AF_INET, *tcp, (PUBLIC, 0)),
        (socket.AF_INET, *tcp, (PUBLIC, 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert look_up("example.com") == (PUBLIC_6, PUBLIC)


# --- This machine ------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.1.", "LOCALHOST."])
def test_a_local_run_may_allow_this_machine_at_any_port(host, site):
    with httpx.Client(
        transport=transport(Rules(loopback=True), resolve=lambda _: ("127.0.0.1",), verify=NO_TLS)
    ) as calls:
        assert calls.get(f"http://{host}:{site.server_port}/").text == "hello"


def test_a_name_that_leads_to_this_machine_may_be_called_at_any_port_when_this_machine_may(site):
    with httpx.Client(
        transport=transport(Rules(loopback=True), resolve=lambda _: ("127.0.0.1",), verify=NO_TLS)
    ) as calls:
        assert calls.get(f"http://local.example.com:{site.server_port}/").text == "hello"


@pytest.mark.parametrize(
    ("url", "answers"),
    [
        ("http://example.com:8080/", (PUBLIC,)),
        ("http://example.com:8080/", (PUBLIC, "127.0.0.1")),
        ("http://example.com/", ("127.0.0.1", "10.0.0.1")),
        ("http://localhost:8080/", (PUBLIC,)),
        ("http://localhost/", ("169.254.169.254",)),
        ("http://localhost/", ("::ffff:127.0.0.1",)),
        (f"http://{PUBLIC}:8080/", None),
        ("http://[::ffff:127.0.0.1]/", None),
        ("http://0.0.0.0/", None),
        ("http://127.1/", None),
        ("http://[::]/", None),
        ("http://10.0.0.1/", None),
        ("http://localhost:0/", ("127.0.0.1",)),
        ("http://user@localhost/", ("127.0.0.1",)),
    ],
)
def test_that_this_machine_may_be_called_allows_nothing_else(url, answers, detour):
    with client(detour, lambda _: answers, Rules(loopback=True)) as calls, pytest.raises(RefusedError):
        calls.get(url)
    assert detour.calls == []


# --- Requests ----------------------------------------------------------------------------------


def test_proxies_of_the_environment_are_not_used(trap, site, detour, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{trap.port}")
    with client(detour) as calls:
        assert calls.get("http://example.com/").text == "hello"
    with Fetcher(network=transport(Rules(loopback=True), verify=NO_TLS)) as fetcher:
        done = fetcher.fetch(PendingRequest(1, f"http://127.0.0.1:{site.server_port}/", "GET", {}, None))
    assert done.answer == ValueAnswer("hello")
    assert [path for path, _ in site.seen] == ["/", "/"]
    assert trap.is_empty()


def test_a_host_header_for_another_host_is_refused(detour):
    # With it one could call a host of the same server that is denied.
    with client(detour) as calls, pytest.raises(RefusedError, match="Host header"):
        calls.get("http://example.com/", headers={"Host": "denied.example.com"})
    assert detour.calls == []


def test_extensions_of_a_request_cannot_change_its_target(site, detour):
    with client(detour) as calls:
        calls.get("http://example.com/", extensions={"target": b"http://169.254.169.254/", "sni_hostname": "a"})
    assert site.seen == [("/", "example.com")]


def test_sockets_of_this_machine_are_refused(detour):
    guarded = addresses._Network(addresses.Guard(Rules()), look_up, detour)
    with pytest.raises(RefusedError):
        guarded.connect_unix_socket("/var/run/docker.sock")


@pytest.mark.parametrize(
    ("path", "error"), [("/half", httpx.RemoteProtocolError), ("/hangs", httpx.ReadTimeout)], ids=["half", "hangs"]
)
def test_errors_of_a_connection_are_those_of_httpx(path, error, detour):
    with client(detour) as calls, pytest.raises(error):
        calls.get(f"http://example.com{path}", timeout=httpx.Timeout(10, read=0.1))


def test_a_port_that_nobody_listens_to_is_a_failure_to_connect():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with (
        httpx.Client(transport=transport(Rules(loopback=True), verify=NO_TLS)) as calls,
        pytest.raises(httpx.ConnectError),
    ):
        calls.get(f"http://127.0.0.1:{port}/")


def test_what_is_refused_takes_no_place_among_the_connections(site, detour, monkeypatch):
    monkeypatch.setattr(addresses, "_MOST_CONNECTIONS", 2)
    with client(detour, lambda name: ("10.0.0.1",) if name.startswith("n") else (PUBLIC,)) as calls:
        for number in range(5):
            with pytest.raises(RefusedError):
                calls.get(f"http://n{number}.example.com/")
        assert calls.get("http://example.com/", timeout=5).text == "hello"


def test_many_threads_may_use_one_transport(trap, site, detour):
    flips = threading.Lock()
    turns = {"count": 0}

    def dns(name):
        if not name.startswith("flips"):
            return (PUBLIC,)
        with flips:
            turns["count"] += 1
            return (PUBLIC,) if turns["count"] % 2 else ("127.0.0.1",)

    def call(number):
        name = ("good", "flips")[number % 2]
        with contextlib.suppress(RefusedError):
            return calls.get(f"http://{name}{number % 6}.example.com/close").status_code
        return None

    with client(detour, dns) as calls, ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(call, range(120)))
    # No connection is used twice, so each of the sixty calls of a name that flips made a lookup of its own.
    assert outcomes.count(200) == 60 + 30
    assert outcomes.count(None) == 30
    assert trap.is_empty()


def test_what_is_refused_is_told_without_the_address(detour):
    with client(detour, Dns(inner_example_com=[("10.20.30.40",)])) as calls, pytest.raises(RefusedError) as refused:
        calls.get("http://inner.example.com/")
    assert str(refused.value) == NO_ADDRESS


# --- With the fetcher --------------------------------------------------------------------------


def test_the_fetcher_follows_redirects_through_the_guard(site):
    target = quote(f"http://localhost:{site.server_port}/", safe="")
    guard = transport(Rules(loopback=True), resolve=lambda _: ("127.0.0.1",), verify=NO_TLS)
    with Fetcher(network=guard) as fetcher:
        url = f"http://127.0.0.1:{site.server_port}/to/{target}"
        assert fetcher.fetch(PendingRequest(1, url, "GET", {}, None)).answer == ValueAnswer("hello")
        url = f"http://127.0.0.1:{site.server_port}/half"
        assert isinstance(fetcher.fetch(PendingRequest(2, url, "GET", {}, None)).answer, ErrorAnswer)
        refused = fetcher.fetch(PendingRequest(3, "http://169.254.169.254/", "GET", {}, None))
        assert isinstance(refused.answer, ErrorAnswer)
        assert not refused.failed, "no other attempt would be let through"
    assert [path for path, _ in site.seen][1:] == ["/", "/half"]


def test_every_error_that_httpcore_may_raise_has_its_like_in_httpx():
    kinds = [httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError]
    while kinds:
        kind = kinds.pop()
        assert issubclass(getattr(httpx, kind.__name__), httpx.TransportError)
        kinds += kind.__subclasses__()
