"""How often something may be done: the rule, alone and in Redis, and what is left of it without Redis."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.leaky_buckets import KEYS_MAX, US, LocalBuckets
from adapters.rate_limits import Rate, RateLimits, Share
from adapters.redis_views import connect
from adapters.wiring import Kontor

RATE = Rate(burst=3, every_s=100.0)


@dataclass
class Clock:
    moment: float = 1_000.0

    def __call__(self) -> float:
        return self.moment


@dataclass
class Limited:
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.limits = LocalBuckets(self.clock)

    def take(self, *keys: str) -> float:
        return self.limits.pour([Share(key, RATE).pour for key in keys]).wait_us / US


def test_a_burst_is_taken_then_one_each_interval() -> None:
    limited = Limited()
    assert [limited.take("a") for _ in range(5)] == [0, 0, 0, 100, 100]
    limited.clock.moment += 99
    assert limited.take("a") == 1
    limited.clock.moment += 1
    assert [limited.take("a"), limited.take("a")] == [0, 100]


def test_all_shares_are_taken_or_none() -> None:
    limited = Limited()
    for _ in range(3):
        limited.take("a")
    assert limited.take("a", "b") == 100
    assert [limited.take("b") for _ in range(4)] == [0, 0, 0, 100]


def test_what_is_given_back_was_never_taken() -> None:
    limited = Limited()
    for _ in range(10):
        assert limited.take("a") == 0
        limited.limits.take_back([Share("a", RATE).pour])


@given(st.lists(st.floats(0, 300), max_size=60))
def test_no_stretch_of_time_has_more_than_the_burst_and_what_came_back(pauses: list[float]) -> None:
    limited, taken = Limited(), list[float]()
    for pause in pauses:
        limited.clock.moment += pause
        if limited.take("a") == 0:
            taken.append(limited.clock.moment)
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            assert last - first + 1 <= RATE.burst + (taken[last] - taken[first]) / RATE.every_s + 1e-6


def test_a_process_remembers_no_more_than_it_may() -> None:
    limited = Limited()
    for _ in range(3):
        limited.take("early")
    limited.clock.moment += 1
    for _ in range(3):
        limited.take("late")
    for number in range(KEYS_MAX):
        limited.take(f"{number}")
    assert len(limited.limits._empty) <= KEYS_MAX
    assert limited.take("late") > 0, "who is furthest from free is remembered longest"


async def test_of_one_key_only_so_many_are_under_way_at_once() -> None:
    limits, shares = (
        RateLimits(connect("redis://127.0.0.1:1"), prefix=""),
        [Share("a", Rate(burst=1, every_s=1, at_once=2))],
    )
    under_way, most = 0, 0

    async def work() -> None:
        nonlocal under_way, most
        async with limits.in_turn(shares):
            under_way, most = under_way + 1, max(most, under_way + 1)
            await asyncio.sleep(0.001)
            under_way -= 1

    await asyncio.gather(*[work() for _ in range(10)])
    assert most == 2


async def test_without_redis_the_limit_is_kept_here() -> None:
    limits, shares = RateLimits(connect("redis://127.0.0.1:1"), prefix=""), [Share("a", RATE)]
    assert [await limits.take(shares) for _ in range(3)] == [0, 0, 0]
    assert 99 < await limits.take(shares) <= 100
    await limits.give_back(shares)
    assert await limits.take(shares) == 0


@pytest.mark.servers
async def test_in_redis_it_is_the_same_rule_for_all_processes_together(kontor: Kontor) -> None:
    one, other = [RateLimits(kontor.redis, prefix=f"{kontor.settings.topic_prefix}rate:") for _ in range(2)]
    a, b = [Share(uuid4().hex, RATE) for _ in range(2)]
    assert [await limits.take([a]) for limits in (one, other, one)] == [0, 0, 0]
    assert 98 < await other.take([a, b]) <= 100
    assert [await one.take([b]) for _ in range(3)] == [0, 0, 0]
    await other.give_back([a])
    assert await one.take([a]) == 0
    assert await one.take([a]) > 98
    assert 298 < await kontor.redis.ttl(f"{kontor.settings.topic_prefix}rate:{a.key}") <= 300


@pytest.mark.servers
async def test_of_many_at_once_exactly_the_burst_gets_through(kontor: Kontor) -> None:
    share = [Share(uuid4().hex, Rate(burst=10, every_s=100))]
    waits = await asyncio.gather(*[kontor.rate_limits.take(share) for _ in range(50)])
    assert sum(wait == 0 for wait in waits) == 10
