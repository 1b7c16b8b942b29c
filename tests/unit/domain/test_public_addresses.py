"""Which addresses a webhook may go to: those of the public internet and no other."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.public_addresses import is_public

NOT_PUBLIC = [
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255"),
    *("127.0.0.1", "127.255.255.254", "169.254.169.254", "169.254.0.1", "172.16.0.1", "172.31.255.255"),
    *("192.0.0.1", "192.0.0.192", "192.0.2.1", "192.168.0.1", "198.18.0.1", "198.19.255.255"),
    *("198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:8.8.8.8", "::7f00:1", "::8.8.8.8"),
    *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1"),
    *("2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "2002:7f00:1::", "2002:a9fe:a9fe::1"),
    *("3fff::1", "fc00::1", "fd00:ec2::254", "fd20:ce::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1"),
    *("4000::1", "2606:4700::1%1"),
]
PUBLIC = [
    *("1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "128.0.0.0"),
    *("172.15.255.255", "172.32.0.0", "192.0.1.1", "192.167.255.255", "223.255.255.255"),
    *("2606:4700:4700::1111", "2001:4860:4860::8888", "2a00:1450:4001:82b::200e"),
]


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_an_address_of_a_network_that_is_not_the_internet_is_not_public(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_an_address_of_the_internet_is_public(text: str) -> None:
    assert is_public(ip_address(text))


@given(st.ip_addresses(v=4))
def test_whatever_python_knows_not_to_be_global_is_not_public(address: IPv4Address) -> None:
    """The standard library's own tables must not know of a private network that is missing here."""
    if address.is_private or address.is_loopback or address.is_link_local or address.is_multicast:
        assert not is_public(address)


@given(st.sampled_from(["::ffff:0:0", "::", "64:ff9b::"]), st.ip_addresses(v=4))
def test_no_wrapping_of_an_ipv4_address_is_public(prefix: str, wrapped: IPv4Address) -> None:
    assert not is_public(IPv6Address(int(IPv6Address(prefix)) | int(wrapped)))


@given(st.ip_addresses(v=4, network=IPv4Network("127.0.0.0/8")))
def test_6to4_of_our_own_machine_is_not_public(wrapped: IPv4Address) -> None:
    assert not is_public(IPv6Address((0x2002 << 112) | (int(wrapped) << 80)))
