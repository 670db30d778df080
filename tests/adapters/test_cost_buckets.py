"""Points that are spent and come back: in Redis, and without it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from socket import create_server
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from adapters import redis_views
from adapters.circuit_breaker import FAILURES_MAX
from adapters.cost_buckets import CostBuckets, Taken
from adapters.rate_limits import Rate, RateLimits, Share
from adapters.redis_views import TIMEOUT_S, RedisViews
from projections.catalogue import CATALOGUE
from tests.conftest import Stack

SLOW = 0.001  # points a second: nothing comes back while a test runs


@pytest.fixture
async def redis(stack: Stack) -> AsyncIterator[Redis]:
    # More patient than the API is: here it is not to be taken for away.
    client = Redis.from_url(stack.settings.redis_url, socket_timeout=20)
    yield client
    await client.aclose()


@pytest.fixture
def silent() -> Iterator[str]:
    """A Redis that takes connections and never says anything."""
    with closing(create_server(("127.0.0.1", 0))) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


def buckets(redis: Redis, *, most: int = 100, rate: float = SLOW, prefix: str | None = None) -> CostBuckets:
    return CostBuckets(redis, prefix=prefix or f"test.{uuid4()}:", most=most, rate=rate)


@pytest.mark.servers
async def test_a_bucket_gives_what_it_has_and_no_more(redis: Redis) -> None:
    bucket = buckets(redis)
    assert await bucket.take("ada", 60) == Taken(True, 40)
    assert await bucket.take("ada", 41) == Taken(False, 40)
    assert await bucket.take("ada", 40) == Taken(True, 0)
    assert await bucket.take("ada", 1) == Taken(False, 0)
    assert await bucket.take("bob", 100) == Taken(True, 0)
    assert bucket.seconds_until(30, 10) == 20 / SLOW


@pytest.mark.servers
async def test_processes_share_a_bucket(redis: Redis) -> None:
    first, second = buckets(redis, prefix="test.shared:"), buckets(redis, prefix="test.shared:")
    actor = str(uuid4())
    taken = await asyncio.gather(*(each.take(actor, 5) for each in [first, second] * 20))
    assert sum(each.granted for each in taken) == 20


@pytest.mark.servers
async def test_points_come_back_steadily_and_never_above_the_brim(redis: Redis) -> None:
    bucket = buckets(redis, most=50, rate=1_000)
    await bucket.take("ada", 50)
    async with asyncio.timeout(60):
        while not (await bucket.take("ada", 50)).granted:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    assert await bucket.take("ada", 0) == Taken(True, 50)


@pytest.mark.servers
@pytest.mark.parametrize("rate", [1, 3, 7, 1_000, 999_983])
async def test_a_full_bucket_gives_all_it_has_at_once_whatever_its_rate(redis: Redis, rate: int) -> None:
    for client in (redis, redis_views.connect("redis://127.0.0.1:9/0")):
        assert await buckets(client, most=100, rate=rate).take("ada", 100) == Taken(True, 0)
        assert not (await buckets(client, most=100, rate=rate).take("ada", 101)).granted


@pytest.mark.servers
async def test_a_bucket_that_is_full_again_is_forgotten(redis: Redis) -> None:
    bucket = buckets(redis, most=50, rate=1, prefix="test.short:")
    actor = str(uuid4())
    await bucket.take(actor, 50)
    assert 0 < await redis.pttl(f"test.short:{actor}") <= 50_001


async def test_without_redis_each_process_limits_by_itself() -> None:
    nobody = redis_views.connect("redis://127.0.0.1:9/0")
    bucket = buckets(nobody)
    assert await bucket.take("ada", 60) == Taken(True, 40)
    assert await bucket.take("ada", 41) == Taken(False, 40)


async def test_points_come_back_without_redis() -> None:
    bucket = buckets(redis_views.connect("redis://127.0.0.1:9/0"), most=50, rate=1_000)
    assert (await bucket.take("ada", 50)).granted
    async with asyncio.timeout(60):
        while not (await bucket.take("ada", 50)).granted:
            await asyncio.sleep(0.01)


async def test_a_redis_that_is_silent_is_waited_for_a_few_times_only(
    silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_views, "TIMEOUT_S", TIMEOUT_S)  # as outside of tests
    client = redis_views.connect(silent)
    bucket, views, limits = buckets(client), RedisViews(client, prefix="test:"), RateLimits(client, prefix="test:")
    share = [Share("a", Rate(burst=3, every_s=100))]
    for ask in (
        lambda: bucket.take("ada", 1), lambda: views.read(CATALOGUE, [uuid4()]), lambda: limits.take(share),
        lambda: limits.give_back(share),
    ):  # fmt: skip
        began = time.monotonic()
        for _ in range(20 * FAILURES_MAX):
            await ask()
        assert time.monotonic() - began < 10 * FAILURES_MAX * TIMEOUT_S


@pytest.mark.servers
async def test_redis_is_asked_again_when_it_is_back(redis: Redis) -> None:
    bucket = buckets(redis)
    for _ in range(FAILURES_MAX):
        bucket._buckets._answers._breaker.failed("away")
    assert (await bucket.take("ada", 50)).left == 50
    async with asyncio.timeout(60):
        while (await bucket.take("ada", 1)).left < 90:  # the first that Redis counts
            await asyncio.sleep(0.05)
