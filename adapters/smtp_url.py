"""Where mails are handed over, as one URL: `smtp://`, `smtps://` or `smtp+starttls://`, with `user:password@` before
the host where it wants a login."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from adapters.loopback import is_loopback

_PORTS: Final = {"smtp": 25, "smtps": 465, "smtp+starttls": 587}


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpServer:
    """One mail server; `tls` from the first byte, `starttls` before anything is said."""

    host: str
    port: int
    tls: bool
    starttls: bool
    user: str | None
    password: str | None

    def __repr__(self) -> str:
        return f"SmtpServer({self.host}:{self.port})"


def smtp_server(url: str) -> SmtpServer:
    """Raises ValueError, which never tells the password: for another scheme, no host, half a login, or a login that
    would go over the network without TLS."""
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError:
        scheme, host, port = "", None, None
    if scheme not in _PORTS or not host:
        raise ValueError("it has to be like smtp+starttls://user:password@mail.example:587, or smtp:// or smtps://")
    if (parts.username is None) != (parts.password is None):
        raise ValueError("it names a user without a password, or a password without a user; give both or none")
    if parts.username is not None and scheme == "smtp" and not is_loopback(host):
        raise ValueError(f"it would send a password to {host} in clear; use smtps:// or smtp+starttls://")
    return SmtpServer(
        host=host,
        port=port or _PORTS[scheme],
        tls=scheme == "smtps",
        starttls=scheme == "smtp+starttls",
        user=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
    )
