"""Which IP addresses are public, by a table of our own.

`ipaddress.is_global` alone will not do: what it says of 192.0.0.0/24, 64:ff9b:1::/48, 2002::/16 and 3fff::/20
changed within Python 3.11, 3.12 and 3.13, it takes NAT64, multicast and ISATAP addresses for global, and it knows
nothing of clouds. So everything that the IANA registries below list is refused, also the few blocks that are reachable
from everywhere, since no web service has an address in them. What a later Python knows better is refused too.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address

_IPV4 = tuple(
    IPv4Network(block)
    for block, _why in (
        # IANA IPv4 Special-Purpose Address Registry, https://www.iana.org/assignments/iana-ipv4-special-registry
        ("0.0.0.0/8", "this network, RFC 791; Linux takes 0.0.0.0 for loopback"),
        ("10.0.0.0/8", "private, RFC 1918"),
        ("100.64.0.0/10", "shared by the customers of a carrier, RFC 6598"),
        ("127.0.0.0/8", "loopback, RFC 1122"),
        ("169.254.0.0/16", "link-local, RFC 3927; metadata services"),
        ("172.16.0.0/12", "private, RFC 1918"),
        ("192.0.0.0/24", "protocol assignments, RFC 6890"),
        ("192.0.2.0/24", "documentation, RFC 5737"),
        ("192.31.196.0/24", "AS112, RFC 7535"),
        ("192.52.193.0/24", "multicast tunnels, RFC 7450"),
        ("192.88.99.0/24", "6to4 relays, RFC 7526"),
        ("192.168.0.0/16", "private, RFC 1918"),
        ("192.175.48.0/24", "AS112, RFC 7534"),
        ("198.18.0.0/15", "benchmarks, RFC 2544"),
        ("198.51.100.0/24", "documentation, RFC 5737"),
        ("203.0.113.0/24", "documentation, RFC 5737"),
        ("240.0.0.0/4", "reserved, RFC 1112, and the broadcast address, RFC 8190"),
        # IANA IPv4 Multicast Address Space Registry
        ("224.0.0.0/4", "multicast, RFC 5771"),
        # In no registry: the host of an Azure machine, with keys and its configuration.
        ("168.63.129.16/32", "Azure's wire server"),
    )
)

# RFC 4291, section 2.5.4, and the IANA IPv6 Address Space registry: all that is global unicast. Outside of it are
# ::, ::1, the IPv4-mapped and -compatible, 64:ff9b::/96 and 64:ff9b:1::/48 (NAT64), 100::/64 (discard), 5f00::/16
# (segment routing), fc00::/7 (private), fe80::/10 (link-local), fec0::/10 (site-local) and ff00::/8 (multicast).
_IPV6_GLOBAL = IPv6Network("2000::/3")

# And within it, besides 6to4 (2002::/16), which is with the others that carry IPv4 addresses:
_IPV6 = tuple(
    IPv6Network(block)
    for block, _why in (
        # IANA IPv6 Special-Purpose Address Registry, https://www.iana.org/assignments/iana-ipv6-special-registry
        ("2001::/23", "protocol assignments, RFC 2928: Teredo, benchmarks, ORCHID and others"),
        ("2001:db8::/32", "documentation, RFC 3849"),
        ("2620:4f:8000::/48", "AS112, RFC 7534"),
        ("3fff::/20", "documentation, RFC 9637"),
    )
)

# Of an address in one of these, a translator or a tunnel makes an IPv4 address, which might be any.
_CARRYING_IPV4 = tuple(
    IPv6Network(block)
    for block, _why in (
        ("::/96", "IPv4-compatible, RFC 4291, section 2.5.5.1"),
        ("::ffff:0:0/96", "IPv4-mapped, RFC 4291, section 2.5.5.2"),
        ("::ffff:0:0:0/96", "IPv4-translated, RFC 2765"),
        ("64:ff9b::/96", "NAT64, RFC 6052"),
        ("64:ff9b:1::/48", "NAT64, RFC 8215"),
        ("2001::/32", "Teredo, RFC 4380"),
        ("2002::/16", "6to4, RFC 3056"),
    )
)

# Who can call one of these can take the identity of the machine.
_METADATA = tuple(
    (IPv6Network if ":" in block else IPv4Network)(block)
    for block, _why in (
        ("169.254.0.0/16", "nearly all clouds, at 169.254.169.254; credentials of ECS and EKS; others"),
        ("100.100.100.200/32", "Alibaba"),
        ("168.63.129.16/32", "Azure"),
        ("192.0.0.192/32", "Oracle"),
        ("fd00:ec2::254/128", "AWS"),
        ("fd00:ec2::23/128", "AWS EKS"),
        ("fd20:ce::254/128", "Google"),
    )
)

_LOOPBACK = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))

_ISATAP = 0x5EFE << 32  # the upper half of an interface's number, RFC 5214, section 6.1
_ISATAP_BITS = 0xFDFF_FFFF << 32  # without the bit for "globally unique"


def is_public(address: Address) -> bool:
    """Whether everybody on the internet means the same host by it, and one that may have a web service."""
    if isinstance(address, IPv4Address):
        return address.is_global and not any(address in block for block in _IPV4)
    return (
        address.scope_id is None  # which names an interface of this machine
        and address.is_global
        and address in _IPV6_GLOBAL
        and not carries_ipv4(address)
        and not any(address in block for block in _IPV6)
    )


def is_loopback(address: Address) -> bool:
    """Whether it is this machine. Not so an IPv4-mapped one, for which later Pythons say otherwise."""
    return any(address in block for block in _LOOPBACK)


def is_metadata(address: Address) -> bool:
    """Whether a cloud may have its metadata service there."""
    return any(address in block for block in _METADATA)


def carries_ipv4(address: Address) -> bool:
    """Whether it is an IPv6 address that has an IPv4 address inside, in one of the forms that are known."""
    if isinstance(address, IPv4Address) or int(address) <= 1:  # :: and ::1
        return False
    return int(address) & _ISATAP_BITS == _ISATAP or any(address in block for block in _CARRYING_IPV4)
