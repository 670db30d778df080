"""Opening Kontor while a server is still on its way; how soon its connections notice that a network is gone."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from urllib.parse import urlsplit

import psycopg_pool
import pytest

from adapters import wiring
from adapters.away import NOTICES_LOSS
from adapters.prepared_connection import PreparedConnection
from adapters.settings import Settings
from adapters.wiring import open_kontor
from tests.faults.proxy import CLEAR, Proxy, Weather

pytestmark = pytest.mark.servers
COMES_AFTER_S = wiring.POOL_RECONNECT_S_MAX + 2  # when the pool has given up trying by itself


async def _behind(proxy: Proxy, settings: Settings) -> Settings:
    await proxy.start()
    port = urlsplit(settings.postgres_url).port
    return settings.model_copy(update={"postgres_url": settings.postgres_url.replace(f":{port}/", f":{proxy.port}/")})


async def test_postgres_may_come_up_while_it_is_waited_for(settings: Settings) -> None:
    proxy = Proxy(urlsplit(settings.postgres_url).port or 0)
    settings = await _behind(proxy, settings)
    proxy.weather = Weather(refuses=True)

    async def comes() -> None:
        await asyncio.sleep(COMES_AFTER_S)
        proxy.weather = CLEAR

    coming = asyncio.create_task(comes())
    async with asyncio.timeout(2 * COMES_AFTER_S + 60), open_kontor(settings, name="test") as kontor:
        assert await kontor.reads.fetch(b"SELECT 1", []) == [(1,)]  # type: ignore[arg-type]
    await coming
    await proxy.stop()


async def test_postgres_that_does_not_come_is_not_waited_for_for_ever(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "REACH_S_MAX", 2.0)
    proxy = Proxy(urlsplit(settings.postgres_url).port or 0)
    settings = await _behind(proxy, settings)
    proxy.weather = Weather(refuses=True)
    with pytest.raises(psycopg_pool.PoolTimeout):
        async with open_kontor(settings, name="test"):
            pass
    await proxy.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="TCP_USER_TIMEOUT is Linux'")
async def test_a_network_that_swallows_everything_is_noticed(settings: Settings) -> None:
    prepared = PreparedConnection(settings.postgres_url)
    async with open_kontor(settings, name="test") as kontor, kontor.pool.connection() as pooled:
        opened = await prepared._opened()
        try:
            for connection in (pooled, opened):
                with socket.socket(fileno=os.dup(connection.fileno())) as each:
                    kept = [
                        each.getsockopt(socket.IPPROTO_TCP, option)
                        for option in (socket.TCP_USER_TIMEOUT, socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL)
                    ]
                assert kept == [NOTICES_LOSS["tcp_user_timeout"], NOTICES_LOSS["keepalives_idle"],
                                NOTICES_LOSS["keepalives_interval"]]  # fmt: skip
        finally:
            await prepared.close()
