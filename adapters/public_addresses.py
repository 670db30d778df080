"""Which IP addresses belong to the public internet: global unicast minus the special-purpose blocks of IANA.

Python's `is_global` is not asked: its answer differs between versions (`fec0::/10`, for one, counts as global in 3.11).
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, Final

# Source: IANA's IPv4 and IPv6 Special-Purpose Address Registries; multicast and reserved space included.
_IPV4_SPECIAL: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # carrier-grade NAT
            "127.0.0.0/8",  # loopback
            "169.254.0.0/16",  # link-local, metadata services
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # IETF protocol assignments
            "192.0.2.0/24",  # documentation
            "192.31.196.0/24",  # AS112
            "192.52.193.0/24",  # automatic multicast tunneling
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",  # private
            "192.175.48.0/24",  # AS112
            "198.18.0.0/15",  # benchmarking
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, broadcast
        ),
    )
)
# Everything outside is special: loopback, mapped, NAT64, unique local, link-local, site-local, multicast, SRv6.
_IPV6_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
_IPV6_SPECIAL: Final = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # IETF protocol assignments, Teredo and ORCHID among them
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4: holds an IPv4 address
            "2620:4f:8000::/48",  # AS112
            "3fff::/20",  # documentation
        ),
    )
)


class NotPublic(OSError):
    """The address is not one of the public internet."""


def is_public(text: str) -> bool:
    """Whether the text is an IP address of the public internet. False for a text that is no IP address."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return address in _IPV6_GLOBAL_UNICAST and not any(address in block for block in _IPV6_SPECIAL)
        address = address.ipv4_mapped
    return not any(address in block for block in _IPV4_SPECIAL)


def public_socket(addr_info: tuple[Any, ...]) -> socket.socket:
    """A socket for connecting to this resolved address; called at connect time, so a name that resolves differently the
    second time is judged again. Raises NotPublic."""
    family, kind, protocol, _, address = addr_info
    if not is_public(str(address[0])):
        raise NotPublic(f"{address[0]} is no public address, and only those are posted to")
    return socket.socket(family, kind, protocol)
