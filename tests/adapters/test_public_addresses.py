"""Which addresses count as the public internet."""

from __future__ import annotations

import socket

import pytest

from adapters.public_addresses import NotPublic, is_public, public_socket

SPECIAL_IPV4 = [
    "0.0.0.0", "0.1.2.3", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.9.9.9", "169.254.169.254", "172.16.0.1",
    "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.31.196.1", "192.52.193.1", "192.88.99.1", "192.168.1.1",
    "192.175.48.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1", "240.0.0.1",
    "255.255.255.255",
]  # fmt: skip
SPECIAL_IPV6 = [
    "::", "::1", "::7f00:1", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1", "100:0:0:1::1", "1fff::1", "2001::1",
    "2001:0:1::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::", "2620:4f:8000::1", "3fff::1", "3fff:fff:ffff::1",
    "4000::1", "5f00::1", "fc00::1", "fd12::1", "fe80::1", "fe80::1%eth0", "febf::1", "fec0::1", "feff::1", "ff02::1",
    "ff0e::1",
]  # fmt: skip


@pytest.mark.parametrize(
    "address",
    [*SPECIAL_IPV4, *SPECIAL_IPV6, *(f"::ffff:{each}" for each in SPECIAL_IPV4), "localhost", "", "127.1", "0x7f.1"],
)
def test_a_special_purpose_address_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "93.184.216.34", "172.32.0.1", "::ffff:1.1.1.1", "2001:4860::1", "2606:4700::1111", "3ffe::1"],
)
def test_a_global_unicast_address_is_public(address: str) -> None:
    assert is_public(address)


def test_no_socket_is_made_for_a_special_purpose_address() -> None:
    with pytest.raises(NotPublic, match="fec0::1 is no public address"):
        public_socket((socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fec0::1", 443, 0, 0)))
