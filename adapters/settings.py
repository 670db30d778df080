"""Everything that differs between two installations, read once from `KONTOR_*` environment variables.

Only `adapters.wiring`, `streams.app` and `cli` read this; every other module is handed plain values.
"""

from __future__ import annotations

import os
import re
from ipaddress import ip_network
from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from adapters.brokers import Brokers, Mechanism, Protocol
from adapters.loopback import require_loopback
from adapters.password_scheme import password_scheme
from adapters.secret_files import with_files
from adapters.secret_settings import PREFIX
from adapters.settings_review import require_fit
from adapters.smtp_url import smtp_server
from domain.users import Role


class Settings(BaseSettings):
    """Values of one installation; `Settings()` reads the environment and names each missing variable."""

    # Values may be secrets: what is wrong with one is told without it.
    model_config = SettingsConfigDict(env_prefix="KONTOR_", frozen=True, extra="ignore", hide_input_in_errors=True)

    postgres_url: str = Field(description="libpq URL of the one primary that holds log and views")
    postgres_owner_url: SecretStr = Field(
        default=SecretStr(""), description="as whom `kontor migrate` changes the database; empty: as postgres_url says"
    )
    # Roles that `kontor migrate` makes, with the rights of one part each. A process connects as postgres_url says.
    postgres_api_url: SecretStr = Field(default=SecretStr(""), description="user and password of the API's role")
    postgres_worker_url: SecretStr = Field(default=SecretStr(""), description="of the worker's")
    postgres_relay_url: SecretStr = Field(default=SecretStr(""), description="of the relay's")
    postgres_analyst_url: SecretStr = Field(default=SecretStr(""), description="of analysts'")

    kafka_url: str = Field(description="host:port[,host:port] of the brokers")
    kafka_security_protocol: Protocol = Field(default="PLAINTEXT", description="how the brokers are spoken to")
    kafka_sasl_mechanism: Mechanism = Field(default="SCRAM-SHA-512", description="PLAIN over TLS alone")
    kafka_username: str = Field(default="", description="for SASL_SSL and SASL_PLAINTEXT")
    kafka_password: SecretStr = Field(default=SecretStr(""), description="for SASL_SSL and SASL_PLAINTEXT")
    kafka_ca_file: str | None = Field(default=None, description="PEM of the authorities of the brokers' certificates")
    kafka_certificate_file: str | None = Field(default=None, description="PEM of the client's certificate chain")
    kafka_key_file: str | None = Field(default=None, description="PEM of the client's private key")
    redis_url: str = Field(default="", description="redis:// URL; its content may vanish at any time")

    http_host: str = "127.0.0.1"
    http_port: int = Field(default=8000, ge=1, le=65535)
    internal_host: str = "127.0.0.1"
    internal_port: int | None = Field(
        default=None, ge=1, le=65535, description="a second port of the API, for figures and schemas in production"
    )
    drain_s: float = Field(
        default=3.0, ge=0, le=60, description="seconds for which an API that is to end says so and still serves"
    )
    environment: Literal["development", "production"] = "production"
    development_on_all_addresses: bool = Field(
        default=False, description="let development listen off loopback: in a container whose ports are published there"
    )
    accepted_risks: str = Field(
        default="", description="names of findings with which production starts all the same, comma separated"
    )
    allowed_hosts: str = Field(default="", description="names under which the API is asked, comma separated")

    topic_prefix: str = Field(default="kontor.", pattern=r"^[a-z0-9._-]{1,40}$")
    topic_replication_factor: int = Field(default=1, ge=1, le=9)
    topic_min_insync_replicas: int = Field(default=1, ge=1, le=9)
    worker_group: str = Field(default="kontor-worker", pattern=r"^[a-z0-9._-]{1,60}$")

    # Which process needs which secret stands in `adapters.secret_settings`.
    master_key: SecretStr = Field(
        default=SecretStr(""), description="base64 of 32 bytes; wraps the keys that seal personal data"
    )
    previous_master_keys: SecretStr = Field(
        default=SecretStr(""), description="earlier master keys, comma separated, until `kontor keys rotate` has run"
    )
    record_key: SecretStr = Field(
        default=SecretStr(""),
        description="base64 of 32 bytes; signs the records on Kafka; empty: a key derived from the master key",
    )
    previous_record_keys: SecretStr = Field(
        default=SecretStr(""), description="other record keys, comma separated, whose records are believed as well"
    )
    jwt_key: SecretStr = Field(
        default=SecretStr(""), description="base64 of a 32 byte Ed25519 seed; signs access tokens"
    )
    other_jwt_keys: SecretStr = Field(
        default=SecretStr(""),
        description="seeds, comma separated, whose tokens are good as well: the next, the one before",
    )
    require_mfa: str = Field(
        default="STAFF,ADMIN",
        description="roles that count only for accounts with a second factor; none by default in development",
    )
    session_idle_days: int = Field(default=30, ge=1, le=3_650, description="a session unused for so long has ended")
    session_max_days: int = Field(default=180, ge=1, le=3_650, description="no session lasts longer, however used")
    password_hashing: str = Field(
        default="argon2id:m=65536,t=3,p=4",
        description="how new passwords are hashed; argon2id:m=,t=,p= or bcrypt:ROUNDS",
    )
    stripe_url: str = Field(default="https://api.stripe.com", description="base of the payment provider's API")
    stripe_key: SecretStr = Field(default=SecretStr(""), description="its secret key; empty: nothing can be paid")
    stripe_webhook_secret: SecretStr = Field(default=SecretStr(""), description="signs its webhooks to the API")

    webhook_private_addresses: bool = Field(
        default=False,
        description="post to endpoints in private networks and on this machine; true by default in development",
    )
    webhook_consent_required: bool = Field(
        default=True,
        description="post only to endpoints that answered the consent handshake; false by default in development",
    )

    smtp_url: SecretStr = Field(
        default=SecretStr(""), description="smtp://, smtps:// or smtp+starttls://; no mail without"
    )
    smtp_ca_file: str | None = Field(
        default=None, description="PEM of the authorities of the mail server's certificate"
    )
    mail_from: str = Field(
        default="Kontor <no-reply@kontor.test>",
        pattern=r"^[^<>\r\n]*<[^<>@\s]+@[^<>@\s]+>$",
        description="who mails come from, like Kontor <no-reply@shop.example>",
    )
    public_url: str = Field(
        default="http://127.0.0.1:8000", pattern=r"^https?://[^\s#?]+$", description="where links in mails lead"
    )

    cost_per_operation_max: int = Field(default=2_000, ge=1, description="points one GraphQL operation may cost")
    cost_burst: int = Field(default=20_000, ge=1, description="points an actor may spend at once")
    cost_restore_per_s: int = Field(default=1_000, ge=1, description="points an actor gets back each second")
    operation_timeout_s: float = Field(default=10, gt=0, le=300, description="for one GraphQL operation")
    response_cache_bytes: int = Field(
        default=67_108_864, ge=0, description="for whole answers of GraphQL in each API process; 0: none are kept"
    )
    trusted_proxies: str = Field(default="", description="addresses and networks that X-Forwarded-For is taken from")
    allowed_origins: str = Field(default="", description="origins of other sites whose pages may use the API")
    sockets_per_address_max: int = Field(default=100, ge=1, description="WebSockets of one address to one API process")
    persisted_documents: str | None = Field(default=None, description="folder of GraphQL documents clients may name")
    persisted_only: bool = Field(default=False, description="execute nothing but those")

    ready_file: str | None = Field(default=None, description="a process writes its pid here once it serves")

    @field_validator("password_hashing")
    @classmethod
    def _password_hashing(cls, text: str) -> str:
        password_scheme(text)
        return text

    @model_validator(mode="before")
    @classmethod
    def _generous_in_development(cls, given: Any) -> Any:
        """Nobody is kept from trying things out, or from measuring, on a machine of their own."""
        if isinstance(given, dict) and given.get("environment") == "development":
            generous = {
                "cost_burst": 1_000_000,
                "cost_restore_per_s": 100_000,
                "sockets_per_address_max": 2_000,
                "webhook_private_addresses": True,
                "webhook_consent_required": False,
                "require_mfa": "",
            }
            return generous | given
        return given

    @field_validator("require_mfa")
    @classmethod
    def _roles(cls, roles: str) -> str:
        for role in listed(roles):
            if role not in set(Role) - {Role.CUSTOMER}:
                raise ValueError(
                    f"{role} is no role that may need a second factor: list STAFF, ADMIN, ANALYST or INTEGRATOR"
                )
        return roles

    @property
    def roles_that_need_a_factor(self) -> frozenset[Role]:
        """What `require_mfa` lists."""
        return frozenset(map(Role, listed(self.require_mfa)))

    @field_validator("allowed_origins")
    @classmethod
    def _origins(cls, origins: str) -> str:
        for origin in listed(origins):
            if not re.fullmatch(r"https?://[a-z0-9.-]+(:\d{1,5})?", origin):
                raise ValueError(f"{origin} is no origin: write it as https://shop.example, without a path or *")
        return origins

    @field_validator("allowed_hosts")
    @classmethod
    def _hosts(cls, hosts: str) -> str:
        for host in listed(hosts):
            if not re.fullmatch(r"[A-Za-z0-9.:-]+", host):
                raise ValueError(f"{host} is no name of a host: write it as shop.example, without a scheme, port or *")
        return hosts

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies(cls, proxies: str) -> str:
        for proxy in listed(proxies):
            ip_network(proxy)
        return proxies

    @field_validator("smtp_url")
    @classmethod
    def _smtp_url(cls, url: SecretStr) -> SecretStr:
        if url.get_secret_value():
            smtp_server(url.get_secret_value())
        return url

    @model_validator(mode="after")
    def _ports_of_their_own(self) -> Settings:
        if self.internal_port == self.http_port:
            raise ValueError(f"KONTOR_INTERNAL_PORT and KONTOR_HTTP_PORT are both {self.http_port}: name another.")
        return self

    @model_validator(mode="after")
    def _development_stays_here(self) -> Settings:
        if self.environment == "development" and self.internal_port is not None:
            require_loopback("KONTOR_INTERNAL_HOST", self.internal_host, allowed=self.development_on_all_addresses)
        if self.environment == "development":
            require_loopback("KONTOR_HTTP_HOST", self.http_host, allowed=self.development_on_all_addresses)
        return self

    @model_validator(mode="after")
    def _reachable_brokers(self) -> Settings:
        _ = self.brokers
        return self

    @property
    def brokers(self) -> Brokers:
        """How Kafka is reached."""
        return Brokers(
            self.kafka_url,
            protocol=self.kafka_security_protocol,
            mechanism=self.kafka_sasl_mechanism,
            username=self.kafka_username,
            password=self.kafka_password.get_secret_value(),
            ca_file=self.kafka_ca_file,
            certificate_file=self.kafka_certificate_file,
            key_file=self.kafka_key_file,
        )

    @classmethod
    def from_environment(cls) -> Settings:
        """Raises pydantic.ValidationError, naming each variable that is missing or malformed, and ValueError for a file
        of a secret that cannot be used and for what is refused in production."""
        named = {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
        read = {name: value for name, value in with_files(named).items() if name not in named}
        from_files = {name.removeprefix(PREFIX).lower(): SecretStr(value) for name, value in read.items()}
        return require_fit(cls(**from_files))  # type: ignore[arg-type]  # the others come from the environment


def listed(names: str) -> tuple[str, ...]:
    """What a setting lists, separated by commas."""
    return tuple(filter(None, (name.strip() for name in names.split(","))))
