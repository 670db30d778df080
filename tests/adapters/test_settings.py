"""Which environment is assumed, and where it may listen."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from adapters.settings import Settings

GIVEN: dict[str, Any] = dict.fromkeys(("postgres_url", "kafka_url", "redis_url", "master_key", "jwt_key"), "x")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KONTOR_ENVIRONMENT", "KONTOR_HTTP_HOST"):
        monkeypatch.delenv(name, raising=False)


def test_who_says_nothing_is_in_production() -> None:
    settings = Settings(**GIVEN)
    assert settings.environment == "production"
    assert (settings.webhook_private_addresses, settings.cost_burst) == (False, 20_000)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.7", "kontor.local"])
def test_development_does_not_listen_off_this_machine(host: str) -> None:
    with pytest.raises(ValidationError, match="KONTOR_HTTP_HOST"):
        Settings(**GIVEN, environment="development", http_host=host)
    assert Settings(**GIVEN, environment="development", http_host=host, development_on_all_addresses=True)
    assert Settings(**GIVEN, environment="production", http_host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_development_listens_on_every_address_of_this_machine(host: str) -> None:
    assert Settings(**GIVEN, environment="development", http_host=host).http_host == host
