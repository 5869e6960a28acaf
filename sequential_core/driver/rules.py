"""What the operator says of who may be called, and what a URL and its addresses are judged by.

The host of a URL is an IP address in its usual form or a name. What only `inet_aton` reads (2130706433, 0x7f.1, 127.1)
is neither.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from dataclasses import dataclass

import idna

from sequential_core.driver.reserved import Address, carries_ipv4, is_loopback, is_metadata, is_public
from sequential_core.errors import InvalidRequestError

Host = str | Address

_PORTS = range(1, 65536)

_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", re.ASCII)

# What `inet_aton` may take for an address; https://url.spec.whatwg.org/#ends-in-a-number-checker
_ENDS_IN_NUMBER = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)", re.ASCII)

# An IPv6 address has colons of its own, so with a port it has brackets, as in a URL.
_WITH_PORT = re.compile(r"\[([0-9A-Fa-f./]*:[0-9A-Fa-f:./]*)\](?::([0-9]{1,5}))?|([^:]+):([0-9]{1,5})", re.ASCII)
_BLOCK = re.compile(r"[0-9A-Fa-f]*:[0-9A-Fa-f:./]*|[0-9]+(\.[0-9]+){3}(/[0-9.]+)?", re.ASCII)

# A name has 253, and a wildcard and a port some more. A longer one may still be a name, of characters that IDNA drops;
# and a policy is saved with its task at every hop.
_MOST_CHARACTERS = 300

_NOT_THIS_HOST = "the host may not be called"


class RefusedError(Exception):
    """The URL, or where it leads, may not be called. The message is for the posted code, and names no address."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Who may be called.

    A pattern is `api.example.com`; `*.example.com`, which is every name below but not `example.com`; an IP address
    or network, `192.0.2.7` or `2001:db8::/32`; or `*`, every host. A port may follow, `api.example.com:8443` or
    `[2001:db8::1]:8443`: then the pattern is for this port only. Without one, a pattern in `allow` is for
    `ports`, and a pattern in `deny` for all ports.

    The patterns of names are for the host as the URL has it, whatever its addresses; those of addresses are for the
    hosts of URLs that are addresses. Besides,

    - an address in `deny` refuses also the names that have it.
    - an address or network in `allow` may be called though it is private, also by a name that may be called. Nothing
      else lifts that check, `*` and names do not. The address of a metadata service must be there itself, a network
      that has it is not enough. Addresses that carry an IPv4 address inside (NAT64, 6to4, ...) stay refused.

    Attributes:
        allow: if there are any patterns, only these hosts may be called.
        deny: these may not, whatever `allow` says.
        ports: that may be called.
        loopback: this machine may be called, at any port: 127.0.0.0/8, ::1, `localhost` and the names below it,
            without being in `allow`, and other names that may be called and lead there.

    Raises:
        InvalidRequestError: a pattern is none, a port is none, or `allow` has a network of all addresses or one that
            stays refused.
    """

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    ports: frozenset[int] = frozenset({80, 443})
    loopback: bool = False

    def __post_init__(self) -> None:
        for text in self.allow:
            block = _parse_pattern(text).block
            if block is not None and block.prefixlen == 0:
                raise InvalidRequestError("allow", f"{text} is every address, the private too; * is every public host")
            if block is not None and carries_ipv4(block.network_address):
                raise InvalidRequestError("allow", f"{text} carries IPv4 addresses, and is refused always")
        for text in self.deny:
            check_pattern(text)
        if not all(port in _PORTS for port in self.ports):
            raise InvalidRequestError("ports", "a port is a number from 1 to 65535")


def check_pattern(text: str) -> None:
    """Sees that the text is a pattern of `Rules`.

    Raises:
        InvalidRequestError: it is none.
    """
    _parse_pattern(text)


@dataclass(frozen=True, slots=True)
class _Pattern:
    """One of the first three is set, or none for `*`."""

    name: str | None = None
    below: str | None = None
    block: ipaddress.IPv4Network | ipaddress.IPv6Network | None = None
    port: int | None = None

    def has(self, host: Host) -> bool:
        if self.block is not None:
            return not isinstance(host, str) and host in self.block
        if self.name is not None:
            return host == self.name
        return self.below is None or (isinstance(host, str) and host.endswith(self.below))


def _parse_pattern(text: str) -> _Pattern:
    def invalid(problem: str) -> InvalidRequestError:
        return InvalidRequestError("pattern", f"{text[:100]!r} {problem}")

    if len(text) > _MOST_CHARACTERS:
        raise invalid("is too long")
    match = _WITH_PORT.fullmatch(text)
    host, digits = (match[1] or match[3], match[2] or match[4]) if match else (text, None)
    port = None if digits is None else int(digits)
    if port is not None and port not in _PORTS:
        raise invalid("has a port that is none")
    if host == "*":
        return _Pattern(port=port)
    if _BLOCK.fullmatch(host):
        try:
            return _Pattern(block=ipaddress.ip_network(host), port=port)
        except ValueError as error:
            if "host bits" in str(error):
                raise invalid("is an address within a network, and not the network") from None
    name = host.removeprefix("*.")
    if not name.isascii():
        with contextlib.suppress(idna.IDNAError):
            name = idna.encode(name, uts46=True).decode("ascii")
    name = name.lower().removesuffix(".")
    if not _NAME.fullmatch(name) or _ENDS_IN_NUMBER.fullmatch(name):
        raise invalid("is no host, no *.host, no IP address or network, and none of these with a :port")
    return _Pattern(below=f".{name}", port=port) if host.startswith("*.") else _Pattern(name=name, port=port)


class Guard:
    """The rules, applied."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._allow = tuple(_parse_pattern(text) for text in rules.allow)
        self._deny = tuple(_parse_pattern(text) for text in rules.deny)

    def host(self, text: str, port: int) -> Host:
        """The host of a URL, if it may be called whatever its addresses are.

        Raises:
            RefusedError: it may not.
        """
        host = _parse_host(text)
        if port not in _PORTS:
            raise RefusedError(f"port {port} may not be called")
        if self._denied(host, port):
            raise RefusedError(_NOT_THIS_HOST)
        if self._rules.loopback and _is_local(host):
            return host
        if self._allow and not any(pattern.has(host) for pattern in self._allow):
            raise RefusedError(_NOT_THIS_HOST)
        # Any port is good for a name that leads to this machine, which is seen when it is looked up.
        if not self._open(host, port) and not (self._rules.loopback and isinstance(host, str)):
            raise RefusedError(f"port {port} may not be called")
        return host

    def admits(self, address: Address, host: Host, port: int) -> bool:
        """Whether one of the addresses of a host that passed may be connected to."""
        if self._denied(address, port):
            return False
        if self._rules.loopback and is_loopback(address):
            return True
        return self._open(host, port) and (is_public(address) or self._lifted(address, port))

    def _denied(self, host: Host, port: int) -> bool:
        return any(pattern.port in (None, port) and pattern.has(host) for pattern in self._deny)

    def _open(self, host: Host, port: int) -> bool:
        """Whether the port may be called for this host, and the host at all."""
        if not self._allow:
            return port in self._rules.ports
        return any(
            (port in self._rules.ports if pattern.port is None else port == pattern.port)
            for pattern in self._allow
            if pattern.has(host)
        )

    def _lifted(self, address: Address, port: int) -> bool:
        """Whether the operator wrote that this address may be called, though it is not public."""
        if carries_ipv4(address):
            return False
        return any(
            pattern.block is not None
            and pattern.port in (None, port)
            and address in pattern.block
            and (pattern.block.num_addresses == 1 or not is_metadata(address))
            for pattern in self._allow
        )


def _parse_host(text: str) -> Host:
    text = text.lower().removesuffix(".")
    if "%" not in text:  # neither a zone of an IPv6 address nor an escape
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(text)
    if not _NAME.fullmatch(text):
        raise RefusedError("the host is neither a name nor an IP address")
    if _ENDS_IN_NUMBER.fullmatch(text):
        raise RefusedError("the host is a number, and not an IP address as it is usually written")
    return text


def _is_local(host: Host) -> bool:
    if isinstance(host, str):
        return host == "localhost" or host.endswith(".localhost")  # RFC 6761, section 6.3
    return is_loopback(host)
