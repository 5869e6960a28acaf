from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequential_core.driver.rules import Guard, RefusedError, Rules, check_pattern
from sequential_core.errors import InvalidRequestError

PUBLIC = "93.184.215.14"


def may_call(host, port=443, *, at=PUBLIC, **rules):
    """Whether a host that has this address, or is one, may be called."""
    guard = Guard(Rules(**rules))
    try:
        judged = guard.host(host, port)
    except RefusedError:
        return False
    return guard.admits(ip_address(at) if isinstance(judged, str) else judged, judged, port)


# --- Patterns ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        *("api.example.com", "API.Example.com", "example.com.", "localhost", "under_score.example.com", "a-b.c"),
        *("*.example.com", "*.com", "*.b\u00fccher.example", "xn--bcher-kva.example", "*", "fe.ed.be.ef", "cafe"),
        *("93.184.215.14", "10.0.0.0/8", "10.0.0.0/255.0.0.0", "0.0.0.0/0", "::1", "fd00::/8", "[fd00::/8]", "::/0"),
        *("api.example.com:8443", "*.example.com:1", "*:65535", "10.1.2.3:80", "10.0.0.0/8:80", "[::1]:80"),
        *("[fd00::/8]:80", "64:ff9b::/96", "::ffff:10.0.0.0/104"),
    ],
)
def test_a_pattern_is_a_host_or_what_is_below_it_or_addresses_and_may_have_a_port(text):
    check_pattern(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", ".", "..", "*.", "**", "*.*", "a*.example.com", "*example.com", "*.*.example.com", "example.*"),
        *(".example.com", "a..example.com", "example.com..", f"{'a' * 64}.com", f"{'a.' * 126}aa.com"),
        *("https://example.com", "example.com/path", "user@example.com", "exa mple.com", "example.com\n", "a,b.com"),
        *("example.com:", "example.com:0", "example.com:65536", "example.com:0000443", "example.com:http"),
        *("example.com:443:443", "example.com:-1", "example.com:\u0664\u0664\u0663", ":443", "*:"),
        *("127.1", "2130706433", "0x7f.1", "017700000001", "1", "0x", "10.0.0", "010.0.0.1", "256.1.1.1", "10.0.0.1.1"),
        *("*.10.0.0.1", "*.1", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/8/8", "example.com/8"),
        *("fe80::1%eth0", "fe80::%eth0/64", "fd00::1/8", "[::1", "::1]", "[::1]:", "[example.com]", "[10.0.0.1]:80"),
        *("1:2:3", ":::", "gggg::1", "\u2460.example.com\n", "\udcff.example.com", "b\u00fc cher.example"),
    ],
)
def test_what_is_no_pattern_is_told(text):
    with pytest.raises(InvalidRequestError, match=r"^pattern: "):
        check_pattern(text)
    for field in ("allow", "deny"):
        with pytest.raises(InvalidRequestError):
            Rules(**{field: (text,)})


def test_an_address_with_bits_of_the_host_is_explained():
    with pytest.raises(InvalidRequestError, match="is an address within a network, and not the network"):
        check_pattern("10.0.0.1/8")


@pytest.mark.parametrize("text", ["0.0.0.0/0", "::/0", "[::/0]:443", "0.0.0.0/0:80"])
def test_all_addresses_may_be_denied_but_not_allowed(text):
    Rules(deny=(text,))
    with pytest.raises(InvalidRequestError, match=r"the private too; \* is every public host"):
        Rules(allow=(text,))


@pytest.mark.parametrize("text", ["::ffff:10.0.0.1", "64:ff9b::/96", "64:ff9b:1::/96", "2002::/16", "2001::/32"])
def test_addresses_that_carry_another_cannot_be_allowed(text):
    Rules(deny=(text,))
    with pytest.raises(InvalidRequestError, match="carries IPv4 addresses"):
        Rules(allow=(text,))


@pytest.mark.parametrize("port", [0, -1, 65536, "443"])
def test_a_port_that_is_none_is_told(port):
    with pytest.raises(InvalidRequestError, match="from 1 to 65535"):
        Rules(ports=frozenset({80, port}))


@given(st.text(max_size=40))
def test_any_text_is_a_pattern_or_is_told_to_be_none(text):
    try:
        check_pattern(text)
    except InvalidRequestError as error:
        assert error.field == "pattern"  # noqa: PT017  # nothing else may be raised


@given(st.text(max_size=40), st.integers(-1, 70000))
def test_any_text_is_a_host_or_is_refused(text, port):
    guard = Guard(Rules(loopback=True))
    try:
        guard.host(text, port)
    except RefusedError as error:
        assert str(error)  # noqa: PT017  # nothing else may be raised


# --- Who may be called -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("port", "whether"), [(80, True), (443, True), (22, False), (8443, False), (0, False), (-1, False), (65616, False)]
)
def test_only_ports_80_and_443_may_be_called_by_default(port, whether):
    assert may_call("example.com", port) is whether
    assert may_call(PUBLIC, port) is whether


def test_other_ports_may_be_allowed_instead():
    ports = frozenset({8443})
    assert may_call("example.com", 8443, ports=ports)
    assert not may_call("example.com", 443, ports=ports)


@pytest.mark.parametrize(
    ("pattern", "host", "whether"),
    [
        ("api.example.com", "api.example.com", True),
        ("api.example.com", "API.example.com.", True),
        ("api.example.com", "www.example.com", False),
        ("api.example.com", "a.api.example.com", False),
        ("api.example.com", "xapi.example.com", False),
        ("api.example.com", "api.example.com.evil.example.net", False),
        ("API.Example.com.", "api.example.com", True),
        ("*.example.com", "api.example.com", True),
        ("*.example.com", "a.b.c.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "badexample.com", False),
        ("*.example.com", "example.com.evil.example.net", False),
        ("*.b\u00fccher.example", "a.xn--bcher-kva.example", True),
        ("*", "example.com", True),
        ("*", PUBLIC, True),
        (PUBLIC, PUBLIC, True),
        (PUBLIC, "93.184.215.15", False),
        (PUBLIC, "example.com", False),  # which has the address, but is another host
        ("93.184.0.0/16", PUBLIC, True),
        ("93.185.0.0/16", PUBLIC, False),
        ("2606:2800::/32", "2606:2800::1", True),
        ("2606:2800::/32", PUBLIC, False),
        ("[2606:2800::/32]", "2606:2801::1", False),
    ],
)
def test_if_hosts_are_allowed_only_they_may_be_called(pattern, host, whether):
    assert may_call(host, allow=(pattern,)) is whether


@pytest.mark.parametrize(
    ("pattern", "host", "at", "whether"),
    [
        ("api.example.com", "api.example.com", PUBLIC, False),
        ("api.example.com", "www.example.com", PUBLIC, True),
        ("*.example.com", "a.b.example.com.", PUBLIC, False),
        ("*.example.com", "example.com", PUBLIC, True),
        ("*", "example.com", PUBLIC, False),
        ("*", PUBLIC, PUBLIC, False),
        (PUBLIC, PUBLIC, PUBLIC, False),
        (PUBLIC, "example.com", PUBLIC, False),
        ("93.184.0.0/16", "example.com", PUBLIC, False),
        ("93.184.0.0/16", "example.com", "93.185.0.1", True),
        ("::/0", "example.com", "2606:2800::1", False),
        ("::/0", "example.com", PUBLIC, True),
    ],
)
def test_what_is_denied_may_not_be_called_nor_a_name_that_leads_to_a_denied_address(pattern, host, at, whether):
    assert may_call(host, at=at, deny=(pattern,)) is whether
    assert may_call(host, at=at, deny=(pattern,), allow=("*",)) is whether
    assert may_call(host, at=at, deny=(pattern,), loopback=True) is whether


def test_deny_wins_over_allow():
    rules = {"allow": ("*.example.com",), "deny": ("admin.example.com",)}
    assert may_call("api.example.com", **rules)
    assert not may_call("admin.example.com", **rules)
    assert not may_call("api.example.com", allow=("api.example.com",), deny=("api.example.com",))


@pytest.mark.parametrize(
    ("allow", "host", "port", "whether"),
    [
        (("api.example.com:8443",), "api.example.com", 8443, True),
        (("api.example.com:8443",), "api.example.com", 443, False),
        (("api.example.com:8443", "api.example.com"), "api.example.com", 443, True),
        (("api.example.com:8443", "*.example.com"), "www.example.com", 8443, False),
        (("api.example.com:8443", "*"), "www.example.com", 443, True),
        (("*.example.com:8443",), "a.example.com", 8443, True),
        (("*:8443",), "example.net", 8443, True),
        (("*:8443",), PUBLIC, 8443, True),
        ((f"{PUBLIC}:8443",), PUBLIC, 8443, True),
        ((f"{PUBLIC}:8443",), PUBLIC, 443, False),
        (("[2606:2800::/32]:8443",), "2606:2800::1", 8443, True),
        (("[2606:2800::/32]:8443",), "2606:2800::1", 443, False),
    ],
)
def test_a_port_in_a_pattern_allows_that_port_for_that_host_only(allow, host, port, whether):
    assert may_call(host, port, allow=allow) is whether


def test_a_port_in_a_pattern_denies_that_port_only():
    rules = {"deny": ("example.com:80", f"{PUBLIC}:8080"), "ports": frozenset({80, 443, 8080})}
    assert not may_call("example.com", 80, **rules)
    assert may_call("example.com", 443, **rules)
    assert not may_call("example.net", 8080, **rules)
    assert may_call("example.net", 443, **rules)


@pytest.mark.parametrize("at", ["10.0.0.1", "127.0.0.1", "169.254.169.254", "fd00::1", "::ffff:93.184.215.14"])
@pytest.mark.parametrize("allow", [(), ("inner.example.com",), ("*.example.com",), ("*",), ("inner.example.com:443",)])
def test_no_name_lifts_the_check_of_its_address(at, allow):
    assert not may_call("inner.example.com", at=at, allow=allow)


@pytest.mark.parametrize(
    ("allow", "host", "at", "whether"),
    [
        (("10.1.0.0/16",), "10.1.2.3", None, True),
        (("10.1.2.3",), "10.1.2.3", None, True),
        (("10.1.2.3",), "10.1.2.4", None, False),
        (("fd12::/16",), "fd12::1", None, True),
        (("127.0.0.1",), "127.0.0.1", None, True),
        (("127.0.0.1",), "127.0.0.2", None, False),
        (("::1",), "::1", None, True),
        (("10.1.0.0/16",), "inner.example.com", "10.1.2.3", False),  # the name is not allowed
        (("10.1.0.0/16", "inner.example.com"), "inner.example.com", "10.1.2.3", True),
        (("10.1.0.0/16", "inner.example.com"), "inner.example.com", "10.2.2.3", False),
        (("10.1.0.0/16", "inner.example.com"), "other.example.com", "10.1.2.3", False),
        (("10.1.0.0/16", "*"), "inner.example.com", "10.1.2.3", True),
        (("10.1.0.0/16:443", "*"), "inner.example.com", "10.1.2.3", True),
        (("10.1.0.0/16:80", "*"), "inner.example.com", "10.1.2.3", False),  # the port is 443
        (("127.0.0.1", "localhost"), "localhost", "127.0.0.1", True),
        (("127.0.0.1", "localhost"), "localhost", "::1", False),
    ],
)
def test_an_address_that_the_operator_allows_may_be_called_though_it_is_private(allow, host, at, whether):
    assert may_call(host, at=at or PUBLIC, allow=allow) is whether


def test_an_allowed_address_lifts_the_check_at_every_port_that_the_name_may_be_called_at():
    rules = {"allow": ("inner.example.com:8443", "10.1.0.0/16")}
    assert may_call("inner.example.com", 8443, at="10.1.2.3", **rules)
    assert not may_call("inner.example.com", 443, at="10.1.2.3", **rules)
    assert not may_call("10.1.2.3", 8443, **rules)


@pytest.mark.parametrize(
    ("allow", "host", "whether"),
    [
        (("169.254.0.0/16",), "169.254.169.254", False),
        (("169.254.0.0/16",), "169.254.7.7", False),
        (("169.0.0.0/8",), "169.254.169.254", False),
        (("169.254.169.254",), "169.254.169.254", True),
        (("169.254.169.254/32",), "169.254.169.254", True),
        (("169.254.169.254:80",), "169.254.169.254", False),  # the port is 443
        (("fd00::/8",), "fd00:ec2::254", False),
        (("fd00::/8",), "fd00:ec2::253", True),
        (("fd00:ec2::254",), "fd00:ec2::254", True),
        (("100.64.0.0/10",), "100.100.100.200", False),
        (("100.64.0.0/10",), "100.100.100.201", True),
        (("168.63.0.0/16",), "168.63.129.16", False),
        (("192.0.0.0/24",), "192.0.0.192", False),
    ],
)
def test_a_metadata_service_is_allowed_by_its_own_address_only(allow, host, whether):
    assert may_call(host, allow=allow) is whether


@pytest.mark.parametrize(
    "host", ["::ffff:10.0.0.1", "::10.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::a00:1", "2002:a00:1::1", "fd00::5efe:a00:1"]
)
def test_no_network_that_is_allowed_lifts_the_check_of_addresses_that_carry_another(host):
    assert not may_call(host, allow=("::/1", "8000::/1", "10.0.0.0/8"))


@pytest.mark.parametrize(
    ("host", "port", "rules", "problem"),
    [
        ("example.com", 22, {}, "port 22 may not be called"),
        (PUBLIC, 22, {}, "port 22 may not be called"),
        (PUBLIC, 22, {"loopback": True}, "port 22 may not be called"),
        ("example.com", 22, {"allow": ("example.com:8443",)}, "port 22 may not be called"),
        ("example.com", 443, {"allow": ("example.net",)}, "the host may not be called"),
        ("example.com", 443, {"deny": ("example.com",)}, "the host may not be called"),
        ("127.1", 80, {}, "the host is a number, and not an IP address as it is usually written"),
        ("a..b", 80, {}, "the host is neither a name nor an IP address"),
        ("", 80, {}, "the host is neither a name nor an IP address"),
        ("::1%lo", 80, {"loopback": True}, "the host is neither a name nor an IP address"),
    ],
)
def test_what_a_url_shows_is_refused_with_its_reason(host, port, rules, problem):
    with pytest.raises(RefusedError) as refused:
        Guard(Rules(**rules)).host(host, port)
    assert str(refused.value) == problem


# --- This machine ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "at", "port"),
    [
        ("127.0.0.1", None, 80),
        ("127.9.9.9", None, 9999),
        ("::1", None, 8000),
        ("localhost", "127.0.0.1", 1),
        ("localhost.", "::1", 65535),
        ("app.localhost", "127.0.0.1", 3000),
        ("local.example.com", "127.0.0.1", 3000),
    ],
)
def test_this_machine_may_be_called_at_any_port_if_that_is_allowed(host, at, port):
    at = at or PUBLIC
    assert may_call(host, port, at=at, loopback=True)
    assert not may_call(host, port, at=at)
    assert not may_call(host, port, at=at, loopback=True, deny=("127.0.0.0/8", "::1"))


@pytest.mark.parametrize(
    ("host", "at", "port", "whether"),
    [
        ("api.example.com", PUBLIC, 443, True),
        ("www.example.com", PUBLIC, 443, False),
        ("127.0.0.1", None, 8000, True),
        ("localhost", "127.0.0.1", 8000, True),
        ("localhost", PUBLIC, 443, False),  # a public host, and not an allowed one
        ("local.example.com", "127.0.0.1", 8000, False),
        ("notlocalhost", "127.0.0.1", 8000, False),
        ("localhost.example.com", "127.0.0.1", 8000, False),
        ("api.example.com", "127.0.0.1", 8000, True),
        ("api.example.com", PUBLIC, 8000, False),
    ],
)
def test_this_machine_may_be_called_besides_the_hosts_that_are_allowed(host, at, port, whether):
    assert may_call(host, port, at=at or PUBLIC, allow=("api.example.com",), loopback=True) is whether


@pytest.mark.parametrize("host", ["10.0.0.1", "0.0.0.0", "::", "::ffff:127.0.0.1", "169.254.169.254", "localhostx"])
def test_that_this_machine_may_be_called_allows_nothing_else(host):
    assert not may_call(host, 80, at="10.0.0.1", loopback=True)
