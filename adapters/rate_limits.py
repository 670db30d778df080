"""How often something may be done, counted by all processes together, and by each while Redis is away
(`adapters.leaky_buckets`).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final
from weakref import WeakValueDictionary

from redis.asyncio import Redis

from adapters.leaky_buckets import US, LeakyBuckets, Pour
from adapters.metrics import RATE_LIMITED
from domain.errors import RateLimited

# Of one key so many wait for their turn in a process, and no others: what waits is memory, and a client.
WAITING_MAX: Final = 100
WAITING_S: Final = 2.0


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
        self._waiting: Counter[str] = Counter()

    @asynccontextmanager
    async def in_turn(self, shares: Sequence[Share]) -> AsyncIterator[None]:
        """Hold a turn for each share; always in the same order, so that nobody waits in a circle. Raises RateLimited
        where WAITING_MAX wait for one of them."""
        async with AsyncExitStack() as held:
            for share in shares:
                turn = self._turns.setdefault(share.key, asyncio.Semaphore(share.rate.at_once))
                await self._wait_for(turn, share.key)
                held.callback(turn.release)
            yield

    async def _wait_for(self, turn: asyncio.Semaphore, key: str) -> None:
        if not turn.locked():
            await turn.acquire()
            return
        if self._waiting[key] >= WAITING_MAX:
            RATE_LIMITED.inc()
            raise RateLimited(
                f"{WAITING_MAX} requests like this wait for their turn already; try again in {WAITING_S:g} s.",
                retry_after_s=WAITING_S,
            )
        self._waiting[key] += 1
        try:
            await turn.acquire()
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key]

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
