"""What balancers and operators ask an API whose servers are away."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from adapters.settings import Settings
from adapters.wiring import open_kontor
from api import health
from tests.api.serving import Api, serving

pytestmark = pytest.mark.servers


async def readiness(api: Api) -> tuple[int, Any]:
    async with api.http.get(f"{api.url}/readyz") as answer:
        return answer.status, await answer.json()


async def test_without_redis_and_kafka_it_serves_and_without_postgres_it_does_not(settings: Settings) -> None:
    nowhere = {"redis_url": "redis://127.0.0.1:1", "kafka_url": "127.0.0.1:1,[::1]:1"}
    async with open_kontor(settings.model_copy(update=nowhere), name="test") as kontor, serving(kontor) as api:
        status, body = await readiness(api)
        assert (status, body["status"], body["redis"], body["kafka"]) == (200, "ready", "away", "away")
        assert "reason" not in body
        await kontor.pool.close()
        status, body = await readiness(api)
        assert (status, body["status"], body["postgres"], body["views"]) == (503, "unavailable", "away", None)
        assert "PostgreSQL" in body["reason"]


async def test_however_many_ask_at_once_there_is_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    async def looked(_kontor: object) -> health.Seen:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0.01)
        return {}, True, True

    monkeypatch.setattr(health, "_looked", looked)
    app = SimpleNamespace(state=SimpleNamespace(kontor=None))
    assert await asyncio.gather(*[health._seen_together(app) for _ in range(50)]) == [({}, True, True)] * 50
    assert looks == 1
    await health._seen_together(app)
    assert looks == 2
