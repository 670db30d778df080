"""A process that starts with weaknesses that its operator has accepted says so, once, in the security log."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from adapters.settings import Settings
from cli import processes
from cli.stack.environment_file import key


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every start of a process that serves, with these settings: what it logs."""
    for name in ("gc", "log_to_stderr"):  # of the test's own process they stay as they are
        monkeypatch.setattr(processes, name, _Untouched())
    return []


class _Untouched:
    def __call__(self, *_: object) -> None: ...

    def set_threshold(self, *_: object) -> None: ...


def production(**given: Any) -> Settings:
    usual = {
        "postgres_url": "postgresql://127.0.0.1/kontor",
        "kafka_url": "127.0.0.1:9092",
        "redis_url": "redis://127.0.0.1:6379/0",
        "environment": "production",
        "public_url": "http://shop.example",
        "mail_from": "Shop <shop@shop.example>",
        **{name: key() for name in ("master_key", "jwt_key", "record_key")},
    }
    return Settings(**(usual | given))


@pytest.mark.parametrize("process", ["api", "worker", "relay"])
def test_a_start_with_accepted_risks_is_one_line(
    started: list[Any], process: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = production(accepted_risks="insecure-public-url,plaintext-smtp")
    monkeypatch.setattr(processes, "load_settings", lambda _: settings)
    with capture_logs() as told:
        processes._start(process)
    (line,) = [each for each in told if each["event"].startswith("security.")]
    assert (line["event"], line["who"], line["what"]) == ("security.risks.accepted", f"system:{process}", "start")
    assert line["subjects"] == ["insecure-public-url"]  # the other one is not there


@pytest.mark.parametrize(
    "given",
    [{"accepted_risks": "", "public_url": "https://shop.example"}, {"environment": "development"}],
    ids=["nothing to accept", "development"],
)
def test_a_start_without_accepted_risks_is_no_line(
    started: list[Any], given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "load_settings", lambda _: production(**given))
    with capture_logs() as told:
        processes._start("api")
    assert [each["event"] for each in told] == ["starting"]
