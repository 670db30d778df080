"""In production, what is for operators is served on the internal port alone."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
from pydantic import SecretStr, ValidationError

from adapters.settings import Settings
from cli.processes import environment_of
from cli.stack.environment_file import key
from tests.api.served import Served, served
from tests.conftest import ROOT
from tests.gateways import free_port

HIDDEN = (
    "/metrics",
    "/metrics/",
    "/%6detrics",
    "//metrics",
    "/v1/commands",
    "/v1/commands/",
    "/v1/commands/place-order",
    "/openapi.json",
    "/docs",
    "/redoc",
)


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Served]:
    async with served(settings, environment="production") as running:
        yield running


@pytest.mark.servers
async def test_the_public_port_of_production_has_no_figures_and_no_schemas(api: Served) -> None:
    async with aiohttp.ClientSession() as http:
        for path in HIDDEN:
            for headers in ({}, {"Host": "127.0.0.1:9"}, {"X-Forwarded-Host": "127.0.0.1", "X-Forwarded-Port": "9"}):
                async with http.get(api.url + path, headers=headers) as answer:
                    assert answer.status == 404, path
                    assert "place-order" not in await answer.text()
        async with http.get(f"{api.url}/readyz") as answer:
            assert (answer.status, await answer.json()) == (200, {"status": "ready"})
        async with http.post(f"{api.url}/v1/commands/sign-in", json={}) as answer:
            assert answer.status == 422


@pytest.mark.servers
async def test_development_has_them_on_its_one_port(settings: Settings) -> None:
    async with served(settings) as api:
        for path in ("/metrics", "/v1/commands", "/v1/commands/place-order", "/openapi.json"):
            async with api.http.get(api.url + path) as answer:
                assert answer.status == 200, path
        async with api.http.get(f"{api.url}/readyz") as answer:
            assert (await answer.json())["redis"] == "up"


@pytest.fixture
def process(settings: Settings, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """`kontor api` in production, its public and its internal URL."""
    public, internal = free_port(), free_port()
    given = settings.model_dump() | {
        "environment": "production", "http_port": public, "internal_port": internal, "ready_file": f"{tmp_path}/ready",
        "webhook_private_addresses": False, "cost_burst": 20_000, "cost_restore_per_s": 1_000, "jwt_key": key(),
        "stripe_webhook_secret": SecretStr(""),
    }  # fmt: skip
    environment = os.environ | environment_of(Settings.model_validate(given))
    with (tmp_path / "log").open("wb") as log:
        running = subprocess.Popen([sys.executable, "-m", "cli.main", "api"], env=environment, cwd=ROOT, stderr=log)
    try:
        give_up_at = time.monotonic() + 180
        while not (tmp_path / "ready").exists():
            assert running.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < give_up_at
            time.sleep(0.05)
        yield f"http://127.0.0.1:{public}", f"http://127.0.0.1:{internal}"
    finally:
        running.kill()
        running.wait()


@pytest.mark.servers
async def test_the_internal_port_of_production_has_them(process: tuple[str, str]) -> None:
    public, internal = process
    async with aiohttp.ClientSession() as http:
        for url, status in ((public, 404), (internal, 200)):
            for path in ("/metrics", "/v1/commands", "/v1/commands/place-order"):
                async with http.get(url + path) as answer:
                    assert answer.status == status, (url, path)
        async with http.get(f"{internal}/readyz") as answer:
            assert (await answer.json())["postgres"] == "up"
        async with http.get(f"{public}/readyz") as answer:
            assert set(await answer.json()) == {"status"}
    await asyncio.sleep(0)


def test_the_two_ports_are_two() -> None:
    with pytest.raises(ValidationError, match="KONTOR_INTERNAL_PORT"):
        Settings(postgres_url="x", kafka_url="x", http_port=8000, internal_port=8000)
