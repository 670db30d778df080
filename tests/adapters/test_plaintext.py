"""Which servers are reached over a network without encryption or without proof of who answers."""

from __future__ import annotations

import pytest

from adapters.brokers import Brokers
from adapters.plaintext import plaintext_kafka, plaintext_postgres, plaintext_redis


@pytest.mark.parametrize("servers", ["kafka:9092", "127.0.0.1:9092,kafka:9092", "10.0.0.1:9092"])
@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SASL_PLAINTEXT"])
def test_a_broker_elsewhere_in_clear_is_named(servers: str, protocol: str) -> None:
    login = {"username": "u", "password": "p"} if protocol.startswith("SASL") else {}
    assert protocol in (plaintext_kafka(Brokers(servers, protocol, **login)) or "")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "brokers",
    [Brokers("127.0.0.1:9092,[::1]:9092"), Brokers("kafka:9093", "SSL"),
     Brokers("kafka:9093", "SASL_SSL", username="u", password="p")],
)  # fmt: skip
def test_a_broker_here_or_over_tls_is_fine(brokers: Brokers) -> None:
    assert plaintext_kafka(brokers) is None


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@db/kontor",
        "postgresql://u:p@db/kontor?sslmode=disable",
        "postgresql://u:p@db/kontor?sslmode=require",
        "postgresql://u:p@localhost,db/kontor",
        "postgresql://u:p@localhost/kontor?hostaddr=10.0.0.1",
        "host=db dbname=kontor sslmode=allow",
    ],
)
def test_postgresql_elsewhere_without_a_verified_certificate_is_named(url: str) -> None:
    sentence = plaintext_postgres(url) or ""
    assert "sslmode=" in sentence
    assert ":p@" not in sentence


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@127.0.0.1:5432/kontor",
        "postgresql:///kontor?host=/run/postgresql",
        "postgresql:///kontor",
        "postgresql://u:p@db/kontor?sslmode=verify-full",
        "postgresql://u:p@db1,db2/kontor?sslmode=verify-ca&target_session_attrs=read-write",
    ],
)
def test_postgresql_here_or_with_a_verified_certificate_is_fine(url: str) -> None:
    assert plaintext_postgres(url) is None


def test_the_default_mode_of_libpq_counts_where_the_url_has_none() -> None:
    assert plaintext_postgres("postgresql://u:p@db/kontor", default_mode="verify-full") is None
    assert plaintext_postgres("postgresql://u:p@db/kontor?sslmode=disable", default_mode="verify-full")


def test_what_is_no_url_of_postgresql_is_said_so() -> None:
    assert "not a connection URL" in (plaintext_postgres("mysql://u:secret-9b@db") or "")
    assert "secret-9b" not in (plaintext_postgres("mysql://u:secret-9b@db") or "")


@pytest.mark.parametrize(
    "url", ["redis://redis:6379/0", "redis://:p@10.0.0.1", "rediss://redis:6379?ssl_cert_reqs=none"]
)
def test_redis_elsewhere_without_a_verified_certificate_is_named(url: str) -> None:
    assert "KONTOR_REDIS_URL" in (plaintext_redis(url) or "")


@pytest.mark.parametrize(
    "url", ["redis://127.0.0.1:6379/0", "rediss://redis:6379/0", "unix:///run/valkey.sock", "redis://"]
)
def test_redis_here_or_over_tls_is_fine(url: str) -> None:
    assert plaintext_redis(url) is None
