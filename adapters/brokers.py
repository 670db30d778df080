"""How Kafka's brokers are reached: their addresses, TLS and SASL. Producer, consumers, admin client and Faust take the
same value, so none of them can be left without encryption."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any, Final, Literal

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
PLAINTEXT: Final = ("PLAINTEXT", "SASL_PLAINTEXT")


@dataclass(frozen=True, slots=True)
class Brokers:
    """`servers` is `host:port[,host:port]`; the files are PEM, the CA file None for the system's authorities.

    Raises ValueError for a combination that cannot be meant."""

    servers: str
    protocol: Protocol = "PLAINTEXT"
    mechanism: Mechanism = "SCRAM-SHA-512"
    username: str = ""
    password: str = ""
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None

    def __post_init__(self) -> None:
        if problem := self._problem():
            raise ValueError(problem)

    def _problem(self) -> str | None:
        sasl, tls = self.protocol.startswith("SASL_"), self.protocol.endswith("SSL")
        if sasl and not (self.username and self.password):
            return f"{self.protocol} needs KONTOR_KAFKA_USERNAME and KONTOR_KAFKA_PASSWORD"
        if not sasl and (self.username or self.password):
            return f"{self.protocol} sends no username: set KONTOR_KAFKA_SECURITY_PROTOCOL to SASL_SSL"
        if self.protocol == "SASL_PLAINTEXT" and self.mechanism == "PLAIN":
            return "PLAIN over SASL_PLAINTEXT would send the password in clear: use SASL_SSL, or SCRAM-SHA-512"
        if not tls and (self.ca_file or self.certificate_file or self.key_file):
            return f"{self.protocol} does not use TLS: remove the KONTOR_KAFKA_*_FILE settings, or use SSL or SASL_SSL"
        if bool(self.certificate_file) != bool(self.key_file):
            return "a client certificate needs both KONTOR_KAFKA_CERTIFICATE_FILE and KONTOR_KAFKA_KEY_FILE"
        return None

    def __repr__(self) -> str:
        return f"Brokers({self.servers!r}, {self.protocol})"

    def ssl_context(self) -> ssl.SSLContext | None:
        """None without TLS; otherwise one that requires a certificate for the broker's host name, and TLS 1.2 or newer.

        Raises OSError for a file that cannot be read or is no PEM."""
        if not self.protocol.endswith("SSL"):
            return None
        context = ssl.create_default_context(cafile=self.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.certificate_file:
            context.load_cert_chain(self.certificate_file, self.key_file)
        return context

    def client_options(self) -> dict[str, Any]:
        """Keyword arguments of every aiokafka client."""
        options: dict[str, Any] = {"bootstrap_servers": self.servers, "security_protocol": self.protocol}
        if context := self.ssl_context():
            options["ssl_context"] = context
        if self.protocol.startswith("SASL_"):
            options |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
            }
        return options
