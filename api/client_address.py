"""The address a request comes from: the peer's, or what proxies that we trust say of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from starlette.requests import HTTPConnection
from starlette.types import Scope

from adapters.settings import listed

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

HOPS_MAX: Final = 10
# What one customer of a provider gets: whoever has one address of it has all of them.
IPV6_PREFIX: Final = 64
# What a site gets: there are 65,536 networks of IPV6_PREFIX bits in it, so it is counted as well, as so many of them.
IPV6_SITE_PREFIX: Final = 48
SITE_TIMES: Final = 4
PEER: Final = "peer"  # in a request's state: who has opened the connection, as the socket has it
UNKNOWN: Final = "unknown"  # a Unix socket, or a test


@lru_cache(maxsize=8)
def networks(text: str) -> tuple[Network, ...]:
    """`10.0.0.0/8,::1` as networks. Raises ValueError for what is none."""
    return tuple(ip_network(name) for name in listed(text))


def client_address(connection: HTTPConnection, trusted: Sequence[Network]) -> str:
    """The client's address as text; of IPv6 its network of IPV6_PREFIX bits, so that it is good for counting.

    `X-Forwarded-For` is read from its end, as long as whoever wrote the entry is trusted: what a client writes into it
    itself stands before that and is never looked at."""
    peer = _parsed(connection.client.host) if connection.client else None
    if peer is None:
        return UNKNOWN
    entries = ",".join(connection.headers.getlist("x-forwarded-for")).split(",")
    for entry in entries[: -HOPS_MAX - 1 : -1]:
        if not any(peer in network for network in trusted):
            break
        told = _parsed(entry.strip())
        if told is None:
            break
        peer = told
    return str(peer) if isinstance(peer, IPv4Address) else str(ip_network((peer, IPV6_PREFIX), strict=False))


@lru_cache(maxsize=4_096)
def counted_networks(address: str) -> tuple[tuple[str, int], ...]:
    """The names by which a client is counted, of what `client_address` gives, and how many times as much each may have
    as one address."""
    if ":" not in address:
        return ((address, 1),)
    site = ip_network(address).supernet(new_prefix=IPV6_SITE_PREFIX)
    return ((address, 1), (str(site), SITE_TIMES))


def is_trusted_peer(scope: Scope, trusted: Sequence[Network]) -> bool:
    """Was the connection opened by a proxy that we trust? What it says of the request in headers is then believed."""
    client = scope.get("state", {}).get(PEER, scope.get("client"))
    peer = _parsed(client[0]) if client else None
    return peer is not None and any(peer in network for network in trusted)


def _parsed(text: str) -> Address | None:
    """Also of `address:port` and `[address]:port`, as some proxies write."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped if mapped is not None else address
