"""Which of the servers are reached over a network without encryption, or without proof of who answers. Pure.

A server on this machine needs none: its host is a loopback address, `localhost` or the path of a Unix socket.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import parse_qs, urlsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from adapters.brokers import PLAINTEXT, Brokers
from adapters.loopback import is_loopback

VERIFIED: Final = ("verify-ca", "verify-full")
SOCKET_SCHEMES: Final = ("unix", "")


def plaintext_kafka(brokers: Brokers) -> str | None:
    """A sentence where a broker off this machine is spoken to in clear; None otherwise."""
    hosts = [server.strip().rpartition(":")[0] for server in brokers.servers.split(",") if server.strip()]
    remote = [host for host in hosts if not is_loopback(host.strip("[]"))]
    if not remote or brokers.protocol not in PLAINTEXT:
        return None
    return (
        f"KONTOR_KAFKA_SECURITY_PROTOCOL is {brokers.protocol}, and {remote[0]} is not this machine: use SASL_SSL, "
        "or SSL with a client certificate."
    )


def plaintext_postgres(
    url: str, *, variable: str = "KONTOR_POSTGRES_URL", default_mode: str | None = None
) -> str | None:
    """A sentence where PostgreSQL off this machine is reached without a verified certificate; None otherwise.

    `default_mode` is what libpq takes where the URL has no `sslmode`: the variable PGSSLMODE, or prefer."""
    try:
        given = conninfo_to_dict(url)
    except ProgrammingError:
        return f"{variable} is not a connection URL of libpq: write postgresql://user:password@host:port/database."
    remote = [host for host in _postgres_hosts(given) if not is_loopback(host)]
    mode = str(given.get("sslmode") or default_mode or "prefer")
    if not remote or mode in VERIFIED:
        return None
    return (
        f"{variable} has sslmode={mode}, and {remote[0]} is not this machine: add sslmode=verify-full and "
        "sslrootcert=, so that the connection is encrypted and the server proves who it is."
    )


def _postgres_hosts(given: Mapping[str, object]) -> Iterator[str]:
    # libpq connects to `hostaddr` where it is given, and to a local socket without both. A path is a socket, too.
    for name in ("hostaddr", "host"):
        if value := given.get(name):
            yield from (each for each in str(value).split(",") if each and not each.startswith(("/", "@")))
            return


def plaintext_redis(url: str) -> str | None:
    """A sentence where Redis off this machine is reached without a verified certificate; None otherwise."""
    parts = urlsplit(url)
    if parts.scheme in SOCKET_SCHEMES or is_loopback(parts.hostname or "localhost"):
        return None
    if parts.scheme != "rediss":
        return (
            f"KONTOR_REDIS_URL begins with {parts.scheme}://, and {parts.hostname} is not this machine: use rediss://."
        )
    asked = parse_qs(parts.query)
    if asked.get("ssl_cert_reqs", ["required"])[-1].lower() not in ("required", "cert_required"):
        return (
            f"KONTOR_REDIS_URL has ssl_cert_reqs={asked['ssl_cert_reqs'][-1]}: remove it, so that {parts.hostname} "
            "proves who it is."
        )
    return None
