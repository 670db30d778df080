"""The brokers' TLS and SASL as Faust takes them."""

from __future__ import annotations

from faust.auth import SASLCredentials, SSLCredentials
from faust.types.auth import CredentialsT

from adapters.brokers import Brokers


def credentials_of(brokers: Brokers) -> CredentialsT | None:
    """None for PLAINTEXT. Raises OSError for a file that cannot be read or is no PEM."""
    context = brokers.ssl_context()
    if brokers.protocol.startswith("SASL_"):
        return SASLCredentials(
            username=brokers.username, password=brokers.password, ssl_context=context, mechanism=brokers.mechanism
        )
    return None if context is None else SSLCredentials(context)
