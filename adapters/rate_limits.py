"""How often something may be done, counted by all processes together, and by each while Redis is away
(`adapters.leaky_buckets`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from weakref import WeakValueDictionary

from redis.asyncio import Redis

from adapters.leaky_buckets import US, LeakyBuckets, Pour
from adapters.metrics import RATE_LIMITED


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """`burst` without a pause, and one more every `every_s` seconds. Of one key `at_once` are under way in a process,
    others wait their turn: where what succeeds is given back, who come in the same moment do not use up the burst."""

    burst: int
    every_s: float
    at_once: int = 1


@dataclass(frozen=True, slots=True)
class Share:
    """One key that is counted, at its rate. `key` holds nothing personal: it is stored as it is."""

    key: str
    rate: Rate

    @property
    def pour(self) -> Pour:
        """Doing it once."""
        every_us = round(self.rate.every_s * US)
        return Pour(self.key, every_us, every_us * self.rate.burst)


class RateLimits:
    """Counts in Redis, or here while it is away; never fails."""

    def __init__(self, redis: Redis, *, prefix: str) -> None:
        self._buckets = LeakyBuckets(redis, prefix=prefix)
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def in_turn(self, shares: Sequence[Share]) -> AsyncIterator[None]:
        """Hold a turn for each share; always in the same order, so that nobody waits in a circle."""
        async with AsyncExitStack() as held:
            for share in shares:
                turn = self._turns.setdefault(share.key, asyncio.Semaphore(share.rate.at_once))
                await held.enter_async_context(turn)
            yield

    async def take(self, shares: Sequence[Share]) -> float:
        """Take all shares or none; seconds to wait until that may be tried again, 0 when they were taken."""
        if not shares:
            return 0.0
        wait_s = (await self._buckets.pour([share.pour for share in shares])).wait_us / US
        if wait_s > 0:
            RATE_LIMITED.inc()
        return wait_s

    async def give_back(self, shares: Sequence[Share]) -> None:
        """Undo one `take`: what was counted should not have been."""
        if shares:
            await self._buckets.take_back([share.pour for share in shares])
