"""An API that is told to end: it says so first, answers what it has taken, and only then lets go of its databases."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from adapters.settings import Settings
from cli.processes import environment_of
from tests.conftest import ROOT
from tests.gateways import free_port
from tests.given import PASSWORD

pytestmark = pytest.mark.servers
DRAIN_S, SLOW_MS = 2.5, 5_000
ME = {"query": "{ me { id } }"}


@pytest.fixture
def process(
    settings: Settings, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`kontor api` by itself, once it serves, and its URL; it drains for DRAIN_S or what the test says."""
    drain_s = getattr(request, "param", DRAIN_S)
    ready, port = tmp_path / "ready", free_port()
    changed = settings.model_copy(update={"http_port": port, "ready_file": str(ready), "drain_s": drain_s})
    with (tmp_path / "log").open("wb") as log:
        running = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "api"], env=os.environ | environment_of(changed), cwd=ROOT, stderr=log
        )
    try:
        give_up_at = time.monotonic() + 180
        while not ready.exists():
            assert running.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < give_up_at
            time.sleep(0.05)
        yield running, f"http://127.0.0.1:{port}"
    finally:
        running.kill()
        running.wait()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """Every request on a connection of its own, as through a balancer."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        yield session


async def asked(http: aiohttp.ClientSession, url: str, **body: Any) -> tuple[int, Any]:
    async with http.request("POST" if body else "GET", url, **body) as answer:
        return answer.status, await answer.json(content_type=None)


async def refuses(http: aiohttp.ClientSession, url: str) -> bool:
    """Waits until nothing new is taken."""
    give_up_at = time.monotonic() + 60
    while time.monotonic() < give_up_at:
        try:
            await asked(http, f"{url}/healthz")
        except aiohttp.ClientConnectionError:
            return True
        await asyncio.sleep(0.05)
    return False


async def test_it_says_so_serves_on_finishes_and_ends(
    process: tuple[subprocess.Popen[bytes], str], http: aiohttp.ClientSession
) -> None:
    running, url = process
    account = {"email": "ada@example.com", "password": PASSWORD}
    await asked(http, f"{url}/v1/commands/register-user", json=account | {"name": "Ada"})
    _, signed_in = await asked(http, f"{url}/v1/commands/sign-in", json=account)
    bearer = {"Authorization": f"Bearer {signed_in['secret']['access_token']}"}
    _, renamed = await asked(http, f"{url}/v1/commands/update-profile", json={"name": "Ada L."}, headers=bearer)
    assert (await asked(http, f"{url}/readyz"))[0] == 200
    # No worker runs here: whoever asks for what was just written waits as long as they may.
    waiting = {
        **bearer,
        "Kontor-Consistent-With": renamed["token"],
        "Kontor-Wait-Ms": str(SLOW_MS),
    }
    started = time.monotonic()
    slow = asyncio.create_task(asked(http, f"{url}/graphql", json=ME, headers=waiting))
    await asyncio.sleep(0.3)

    running.send_signal(signal.SIGTERM)
    status, body = await asked(http, f"{url}/readyz")
    assert (status, body["status"], body["postgres"]) == (503, "draining", "up")
    assert (await asked(http, f"{url}/healthz"))[0] == 200
    assert (await asked(http, f"{url}/graphql", json=ME))[0] == 200, "until nobody sends anything, it serves"

    assert await refuses(http, url)
    assert not slow.done(), "what was taken is under way, and new connections are refused"
    status, body = await slow
    assert (status, body["extensions"]["consistency"]["stale"]) == (200, True)
    assert body["data"]["me"]["id"]  # from the log: no view has seen the account
    assert time.monotonic() - started >= SLOW_MS / 1_000
    await asyncio.to_thread(running.wait, 60)
    assert running.returncode == -signal.SIGTERM


@pytest.mark.parametrize("process", [60.0], indirect=True)
async def test_a_second_signal_ends_the_waiting_for_others(
    process: tuple[subprocess.Popen[bytes], str], http: aiohttp.ClientSession
) -> None:
    running, url = process
    assert (await asked(http, f"{url}/readyz"))[0] == 200
    running.send_signal(signal.SIGTERM)
    assert (await asked(http, f"{url}/readyz"))[0] == 503
    told = time.monotonic()
    running.send_signal(signal.SIGTERM)
    await asyncio.to_thread(running.wait, 50)
    assert time.monotonic() - told < 50
