"""How many points each actor has left: a bucket that fills again steadily (GCRA), in Redis for all processes together.

A bucket is one number: the moment at which it is full again. When Redis is away, each process goes on with buckets of
its own: reading does not depend on Redis, and nobody gets more than one bucket's worth from each process. After some
failures Redis is not asked for a moment, so that nobody waits for it in vain.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from adapters.circuit_breaker import CircuitBreaker

log = structlog.get_logger()

LOCAL_BUCKETS_MAX: Final = 10_000
LEFT_ALONE_S_MAX: Final = 2.0
_MICROSECONDS: Final = 1_000_000

# KEYS[1]: the moment the bucket is full again, in microseconds of Redis's own clock. ARGV: points wanted, points a full
# bucket has, points that come back in a second. Answers whether they were taken, and the points that are left.
_TAKE: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local wanted, most, rate = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local left = math.floor(most - (full - now) * rate / 1000000)
if wanted > left then
  return {0, left}
end
full = full + math.ceil(wanted * 1000000 / rate)
if full > now then
  redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000) + 1)
end
return {1, left - wanted}
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """`left` are the points in the bucket afterwards."""

    granted: bool
    left: int


class CostBuckets:
    """Buckets of `most` points, of which `rate` come back in a second."""

    def __init__(self, redis: Redis, *, prefix: str, most: int, rate: int) -> None:
        self.most = most
        self.rate = rate
        self._prefix = prefix
        self._take = redis.register_script(_TAKE)
        self._breaker = CircuitBreaker(time.monotonic, open_s_max=LEFT_ALONE_S_MAX)
        self._local: OrderedDict[str, int] = OrderedDict()
        self._away = False

    async def take(self, actor: str, points: int) -> Taken:
        """Take the points if there are as many, else none. `actor` names the bucket; waits for Redis at most its
        time-out, and not at all while Redis is known to be away."""
        if not self._breaker.admits:
            return self._from_local(actor, points)
        self._breaker.begin()
        try:
            granted, left = await self._take(keys=[f"{self._prefix}{actor}"], args=[points, self.most, self.rate])
        except (RedisError, OSError, TimeoutError) as error:
            self._breaker.failed(repr(error))
            self._note_away(error)
            return self._from_local(actor, points)
        except BaseException:
            self._breaker.interrupted()
            raise
        self._breaker.succeeded()
        self._away = False
        return Taken(bool(granted), int(left))

    def seconds_until(self, points: int, left: int) -> float:
        """How long it takes until a bucket with `left` points has as many."""
        return max(0, points - left) / self.rate

    def _from_local(self, actor: str, points: int) -> Taken:
        now = time.monotonic_ns() // 1_000
        full = max(self._local.pop(actor, 0), now)
        left = self.most + (now - full) * self.rate // _MICROSECONDS
        granted = points <= left
        if granted:
            full += -(-points * _MICROSECONDS // self.rate)
            left -= points
        self._local[actor] = full
        if len(self._local) > LOCAL_BUCKETS_MAX:
            self._local.popitem(last=False)
        return Taken(granted, left)

    def _note_away(self, error: Exception) -> None:
        if not self._away:  # once per outage, not once per request
            log.warning("redis_away", error=repr(error), meanwhile="each process limits its clients by itself")
        self._away = True
