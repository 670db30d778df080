"""How often something may be done, as GCRA: the leaky bucket that keeps one moment per key and nothing else.

All processes count together in Redis, by its clock, in one script each way. While Redis is away each process counts
by itself: a limit is then as many times as wide as there are processes, but never gone. What Redis forgets is
counted anew. Source: ITU-T I.371, the virtual scheduling algorithm.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakValueDictionary

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from adapters.metrics import RATE_LIMITED

log = structlog.get_logger()

# What one process remembers while Redis is away; beyond it those that are free the soonest are forgotten.
KEYS_MAX: Final = 20_000
_US: Final = 1_000_000


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


# KEYS[i] holds the moment (us) at which its bucket is empty; ARGV[2i-1] is the interval, ARGV[2i] the tolerance.
# All shares are taken or none; the answer is how long (us) to wait for the last of them, 0 when they were taken.
_TAKE: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local empty, wait = {}, 0
for i, key in ipairs(KEYS) do
  empty[i] = math.max(tonumber(redis.call('GET', key) or '0'), now)
  wait = math.max(wait, empty[i] - tonumber(ARGV[2 * i]) - now)
end
if wait > 0 then return wait end
for i, key in ipairs(KEYS) do
  local next = empty[i] + tonumber(ARGV[2 * i - 1])
  redis.call('SET', key, string.format('%.0f', next), 'PX', math.ceil((next - now) / 1000))
end
return 0
"""
# The same keys and intervals. A key that is gone was free already.
_GIVE_BACK: Final = """
for i, key in ipairs(KEYS) do
  local empty = redis.call('GET', key)
  if empty then
    redis.call('SET', key, string.format('%.0f', tonumber(empty) - tonumber(ARGV[2 * i - 1])), 'KEEPTTL')
  end
end
return 0
"""


class LocalLimits:
    """The same rule within one process. `clock` gives seconds that never go back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._empty: dict[str, float] = {}

    def take(self, shares: Sequence[Share]) -> float:
        """Take all shares or none; seconds to wait, 0 when they were taken."""
        now = self._clock()
        empty = {share.key: max(self._empty.get(share.key, 0.0), now) for share in shares}
        wait = max((empty[s.key] - s.rate.every_s * (s.rate.burst - 1) - now for s in shares), default=0.0)
        if wait > 0:
            return wait
        if len(self._empty) + len(shares) > KEYS_MAX:
            self._forget(now)
        self._empty |= {share.key: empty[share.key] + share.rate.every_s for share in shares}
        return 0.0

    def give_back(self, shares: Sequence[Share]) -> None:
        """Undo one `take`."""
        for share in shares:
            if share.key in self._empty:
                self._empty[share.key] -= share.rate.every_s

    def _forget(self, now: float) -> None:
        used = sorted((item for item in self._empty.items() if item[1] > now), key=lambda item: item[1])
        self._empty = dict(used[-KEYS_MAX // 2 :])


class RateLimits:
    """Counts in Redis, or here while it is away; never fails."""

    def __init__(self, redis: Redis, *, prefix: str) -> None:
        self._prefix = prefix
        self._take = redis.register_script(_TAKE)
        self._give_back = redis.register_script(_GIVE_BACK)
        self._local = LocalLimits()
        self._away = False
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
        answer = await self._asked(self._take, shares)
        wait_s = self._local.take(shares) if answer is None else answer / _US
        if wait_s > 0:
            RATE_LIMITED.inc()
        return wait_s

    async def give_back(self, shares: Sequence[Share]) -> None:
        """Undo one `take`: what was counted should not have been."""
        if shares and await self._asked(self._give_back, shares) is None:
            self._local.give_back(shares)

    async def _asked(self, script: Any, shares: Sequence[Share]) -> float | None:
        """Redis' answer, or None while it is away."""
        arguments = [
            round(us)
            for each in shares
            for us in (each.rate.every_s * _US, each.rate.every_s * (each.rate.burst - 1) * _US)
        ]
        try:
            answer = await script(keys=[f"{self._prefix}{each.key}" for each in shares], args=arguments)
        except (RedisError, OSError, TimeoutError) as error:
            if not self._away:  # once per outage
                log.warning("rate_limits_are_counted_here", error=repr(error))
            self._away = True
            return None
        self._away = False
        return float(answer)
