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
from adapters.cost_buckets import LOCAL_BUCKETS_MAX, CostBuckets, Taken
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
    for number in range(LOCAL_BUCKETS_MAX + 10):
        bucket._from_local(f"address:{number}", 1)
    assert len(bucket._local) == LOCAL_BUCKETS_MAX


async def test_points_come_back_without_redis() -> None:
    bucket = buckets(redis_views.connect("redis://127.0.0.1:9/0"), most=50, rate=1_000)
    assert (await bucket.take("ada", 50)).granted
    async with asyncio.timeout(60):
        while not (await bucket.take("ada", 50)).granted:
            await asyncio.sleep(0.01)


async def test_a_redis_that_is_silent_is_waited_for_a_few_times_only(silent: str) -> None:
    bucket, views = buckets(redis_views.connect(silent)), RedisViews(redis_views.connect(silent), prefix="test:")
    for ask in (lambda: bucket.take("ada", 1), lambda: views.read(CATALOGUE, [uuid4()])):
        began = time.monotonic()
        for _ in range(20 * FAILURES_MAX):
            await ask()
        assert time.monotonic() - began < 10 * FAILURES_MAX * TIMEOUT_S


@pytest.mark.servers
async def test_redis_is_asked_again_when_it_is_back(redis: Redis) -> None:
    bucket = buckets(redis)
    for _ in range(FAILURES_MAX):
        bucket._breaker.failed("away")
    await bucket.take("ada", 10)
    assert bucket._local
    async with asyncio.timeout(60):
        while (await bucket.take("ada", 10)).left != 90:  # the first that Redis counts
            await asyncio.sleep(0.05)
