from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequential_core.driver.reserved import carries_ipv4, is_loopback, is_metadata, is_public

IPV4 = st.integers(0, 2**32 - 1).map(IPv4Address)
IPV6 = st.integers(0, 2**128 - 1).map(IPv6Address)

# The last address before each block that is not public, and the first after it, where these are public.
BESIDE_IPV4 = [
    *("1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0"),
    *("169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0"),
    *("192.0.3.0", "192.31.195.255", "192.31.197.0", "192.52.192.255", "192.52.194.0", "192.88.98.255"),
    *("192.88.100.0", "192.167.255.255", "192.169.0.0", "192.175.47.255", "192.175.49.0", "198.17.255.255"),
    *("198.20.0.0", "198.51.99.255", "198.51.101.0", "203.0.112.255", "203.0.114.0", "223.255.255.255"),
    *("168.63.129.15", "168.63.129.17"),
]
BESIDE_IPV6 = [
    *("2000::", "2001:200::", "2001:db7:ffff::", "2001:db9::", "2001:ffff::", "2003::", "2620:4f:7fff::"),
    *("2620:4f:8001::", "3ffe::", "3fff:1000::", "3fff:ffff::"),
]

# The IANA registries, as a tester reads them, and what is no unicast or belongs to a cloud.
BLOCKS = [
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
    *("192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24"),
    *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32"),
    *("::/128", "::1/128", "::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48"),
    *("100::/64", "100:0:0:1::/64", "200::/7", "400::/6", "2001::/23", "2001::/32", "2001:2::/48", "2001:3::/32"),
    *("2001:4:112::/48", "2001:10::/28", "2001:20::/28", "2001:30::/28", "2001:db8::/32", "2002::/16"),
    *("2620:4f:8000::/48", "3fff::/20", "4000::/2", "5f00::/16", "8000::/1", "fc00::/7", "fe80::/10", "fec0::/10"),
    *("ff00::/8", "fd00:ec2::254/128"),
]


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_that_is_not_public_is_so_from_its_first_to_its_last_address(block):
    network = ip_network(block)
    middle = network[network.num_addresses // 2]
    assert not any(is_public(address) for address in (network[0], middle, network[-1]))


@pytest.mark.parametrize("block", BLOCKS)
def test_the_table_knows_every_block_whatever_python_says(block, monkeypatch):
    for kind in (IPv4Address, IPv6Address):
        monkeypatch.setattr(kind, "is_global", True)
    network = ip_network(block)
    assert not any(is_public(address) for address in (network[0], network[-1]))


@pytest.mark.parametrize("text", BESIDE_IPV4 + BESIDE_IPV6)
def test_what_is_beside_a_block_is_public(text):
    assert is_public(ip_address(text))


@given(st.one_of(IPV4, IPV6, st.integers(2**125, 2**126 - 1).map(IPv6Address)))
def test_what_python_takes_for_special_is_not_public(address):
    if address.is_private or address.is_multicast or address.is_reserved or address.is_link_local:
        assert not is_public(address)


@given(st.integers(2**61, 2**62 - 1), IPV4, st.sampled_from([0x5EFE, 0x2005EFE]))
def test_an_isatap_address_is_never_public_whatever_its_network(network, inner, marker):
    address = IPv6Address(network << 64 | marker << 32 | int(inner))
    assert carries_ipv4(address)
    assert not is_public(address)


@given(
    IPV4.filter(lambda inner: int(inner) > 1),
    st.sampled_from(["::", "::ffff:0:0", "::ffff:0:0:0", "64:ff9b::", "64:ff9b:1::", "64:ff9b:1:7:8:9::"]),
)
def test_an_ipv4_address_in_the_last_bits_is_seen_and_never_public(inner, prefix):
    address = IPv6Address(int(IPv6Address(prefix)) + int(inner))
    assert carries_ipv4(address)
    assert not is_public(address)
    assert not is_loopback(address)


@pytest.mark.parametrize("text", ["::", "::1", "2606:4700::1111", "127.0.0.1", "fd00::5eff:0:0", "2606::1:5efe:a00:1"])
def test_other_addresses_carry_none(text):
    assert not carries_ipv4(ip_address(text))


def test_a_zone_is_never_public():
    assert is_public(IPv6Address("2606:4700::1111"))
    assert not is_public(IPv6Address("2606:4700::1111%eth0"))


@pytest.mark.parametrize(
    ("text", "whether"),
    [
        *(("127.0.0.0", True), ("127.255.255.255", True), ("::1", True)),
        *(("126.255.255.255", False), ("128.0.0.0", False), ("::", False), ("::2", False), ("0.0.0.0", False)),
        ("::ffff:127.0.0.1", False),
    ],
)
def test_loopback_is_what_the_machine_has_to_itself(text, whether):
    assert is_loopback(ip_address(text)) is whether


@pytest.mark.parametrize(
    "text",
    [
        *("169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
        *("fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254"),
    ],
)
def test_metadata_services_are_known_and_not_public(text):
    assert is_metadata(ip_address(text))
    assert not is_public(ip_address(text))


@pytest.mark.parametrize("text", ["10.0.0.1", "100.100.100.201", "fd00:ec2::253", "93.184.215.14"])
def test_other_addresses_are_no_metadata_service(text):
    assert not is_metadata(ip_address(text))
