"""What stays on this machine, and what development may not leave."""

from __future__ import annotations

from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Does what is sent there stay on this machine?"""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def require_loopback(variable: str, host: str, *, allowed: bool) -> None:
    """Raises ValueError where a program of development would listen off this machine."""
    if not allowed and not is_loopback(host):
        raise ValueError(
            f"{variable} is {host!r}, and development listens on this machine alone, for its logins are public: name"
            " 127.0.0.1, or set KONTOR_ENVIRONMENT=production. In a container whose ports are published on 127.0.0.1"
            " alone, KONTOR_DEVELOPMENT_ON_ALL_ADDRESSES=true allows it."
        )
