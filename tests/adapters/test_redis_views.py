"""Copies of rows, in a server of the test's own: emptied, killed, started again with what its disk has."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from adapters.redis_views import RedisViews, connect
from cli.stack import valkey
from domain.identity import stock_item_id
from projections.inventory import STOCK, StockRow
from tests.gateways import free_port

STARTED_WITHIN_S = 60
ITEM = stock_item_id("A")
ROW = StockRow(id=ITEM, sku="A", on_hand=1, reserved=0, version=1, position=1)


def at(version: int) -> StockRow:
    return replace(ROW, version=version, on_hand=version)


@dataclass
class Server:
    """A Valkey that is told when to write to its disk."""

    folder: Path
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return valkey.url(self.port, "secret")

    async def start(self) -> None:
        told = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder), "--requirepass", "secret"]
        log = ["--logfile", "log", "--save", "", "--appendonly", "yes", "--appendfsync", "no"]
        self._process = subprocess.Popen([str(valkey.binary()), *told, *log])
        async with asyncio.timeout(STARTED_WITHIN_S):
            while not await valkey.answers(self.port, "secret"):
                await asyncio.sleep(0.02)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def lose(self) -> None:
        """As a loss of power: back to what its disk had when `keep` was called."""
        self.kill()
        (self.folder / "appendonlydir").rename(self.folder / "lost")
        (self.folder / "kept").rename(self.folder / "appendonlydir")
        await self.start()

    def keep(self) -> None:
        subprocess.run(["cp", "-r", "appendonlydir", "kept"], cwd=self.folder, check=True)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    server = Server(tmp_path)
    await server.start()
    yield server
    server.kill()


@pytest.fixture
async def redis(server: Server) -> AsyncIterator[Redis]:
    client = connect(server.url)
    yield client
    await client.aclose()


@pytest.fixture
async def views(redis: Redis) -> RedisViews:
    views = RedisViews(redis, prefix="test:")
    await views.begin()
    return views


async def copied(views: RedisViews) -> StockRow | None:
    return (await views.read(STOCK, [ITEM])).get(ITEM)


async def renewed(views: RedisViews) -> bytes:
    """The incarnation, when Redis is asked again after it was away."""
    before = views.incarnation
    async with asyncio.timeout(STARTED_WITHIN_S):
        while views.incarnation == before:
            await asyncio.sleep(0.02)
            await views.begin()
    return views.incarnation


async def test_an_older_copy_never_replaces_a_newer(views: RedisViews) -> None:
    for version, there in [(2, 2), (1, 2), (3, 3), (2, 3), (10, 10), (9, 10)]:
        assert await views.copy(STOCK, [at(version)], incarnation=views.incarnation)
        assert await copied(views) == at(there)


async def test_all_who_use_a_redis_know_one_incarnation(redis: Redis, views: RedisViews) -> None:
    other = RedisViews(redis, prefix="test:")
    assert not await other.copy(STOCK, [at(1)], incarnation=other.incarnation)  # it has heard of none
    await other.begin()
    await views.begin()
    assert other.incarnation == views.incarnation
    assert await RedisViews(redis, prefix="others:").read(STOCK, [ITEM]) == {}


async def test_a_reader_learns_the_incarnation_by_reading(redis: Redis, views: RedisViews) -> None:
    reader = RedisViews(redis, prefix="test:")
    assert await copied(reader) is None
    assert await reader.copy(STOCK, [at(1)], incarnation=reader.incarnation)
    assert await copied(views) == at(1)


async def test_what_was_sent_before_redis_was_emptied_is_not_taken_after_it(redis: Redis, views: RedisViews) -> None:
    """A copy is given up and still on its way, its successor has come, and nothing is there that would tell."""
    sent = views.incarnation
    assert await views.copy(STOCK, [at(4)], incarnation=sent)
    await redis.flushall()
    assert not await views.copy(STOCK, [at(2)], incarnation=sent)
    await views.begin()
    assert not await views.copy(STOCK, [at(2)], incarnation=sent)
    assert await copied(views) is None
    assert await views.copy(STOCK, [at(4)], incarnation=views.incarnation)
    assert await copied(views) == at(4)


async def test_what_a_redis_brings_back_from_its_disk_is_not_read(server: Server, views: RedisViews) -> None:
    await views.copy(STOCK, [at(2)], incarnation=views.incarnation)
    server.keep()
    before = views.incarnation
    await views.copy(STOCK, [at(4)], incarnation=before)
    await server.lose()
    assert await renewed(views) != before
    assert await copied(views) is None
    assert not await views.copy(STOCK, [at(3)], incarnation=before)
    # Its version says nothing against one of this incarnation, not even an older one.
    assert await views.copy(STOCK, [at(1)], incarnation=views.incarnation)
    assert await copied(views) == at(1)


async def test_a_redis_that_keeps_its_run_to_itself_can_be_used(server: Server, redis: Redis) -> None:
    await redis.execute_command("ACL", "SETUSER", "limited", "on", ">own", "~*", "+@all", "-info")
    limited = connect(f"redis://limited:own@127.0.0.1:{server.port}/0")
    views = RedisViews(limited, prefix="test:")
    for _ in range(2):
        await views.begin()
        assert await views.copy(STOCK, [at(1)], incarnation=views.incarnation)
    assert len(views.incarnation) == 8
    assert await copied(views) == at(1)
    await redis.flushall()
    assert await renewed(views)
    await limited.aclose()
