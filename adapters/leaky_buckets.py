"""Leaky buckets (GCRA): each is one moment, at which it is empty again, and nothing else.

All processes pour into the same buckets in Redis, by its clock, in one script each way. While Redis is away each
process has buckets of its own: a limit is then as many times as wide as there are processes, but never gone. What
Redis forgets is empty. Times are in microseconds. Source: ITU-T I.371, the virtual scheduling algorithm.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis

from adapters.redis_answers import RedisAnswers

# What one process remembers while Redis is away; beyond it those that are empty the soonest are forgotten.
KEYS_MAX: Final = 20_000
US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Pour:
    """`us` into the bucket of this key, which holds `room_us`; as much leaks in that time. `key` holds nothing
    personal: it is stored as it is."""

    key: str
    us: int
    room_us: int


@dataclass(frozen=True, slots=True)
class Poured:
    """`wait_us` until there is room for all of it, 0 when it was poured; `held_us` is in the first bucket now."""

    wait_us: int
    held_us: int


# KEYS[i] holds the moment (us) at which its bucket is empty; ARGV[2i-1] is what is poured, ARGV[2i] the room.
# All is poured or nothing. Answers how long (us) to wait for the room, and what the first bucket holds.
_POUR: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local empty, wait = {}, 0
for i, key in ipairs(KEYS) do
  empty[i] = math.max(tonumber(redis.call('GET', key) or '0'), now)
  wait = math.max(wait, empty[i] - now + tonumber(ARGV[2 * i - 1]) - tonumber(ARGV[2 * i]))
end
if wait == 0 then
  for i, key in ipairs(KEYS) do
    empty[i] = empty[i] + tonumber(ARGV[2 * i - 1])
    if empty[i] > now then
      redis.call('SET', key, string.format('%.0f', empty[i]), 'PX', math.ceil((empty[i] - now) / 1000))
    end
  end
end
return {wait, empty[1] - now}
"""
# The same keys and arguments. A bucket that is gone was empty already.
_TAKE_BACK: Final = """
for i, key in ipairs(KEYS) do
  local empty = redis.call('GET', key)
  if empty then
    redis.call('SET', key, string.format('%.0f', tonumber(empty) - tonumber(ARGV[2 * i - 1])), 'KEEPTTL')
  end
end
return 0
"""


class LocalBuckets:
    """The same rule within one process. `clock` gives seconds that never go back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._empty: dict[str, int] = {}

    def pour(self, pours: Sequence[Pour]) -> Poured:
        """All or nothing; at least one."""
        now = int(self._clock() * US)
        held = [max(self._empty.get(each.key, 0) - now, 0) for each in pours]
        wait = max(there + each.us - each.room_us for there, each in zip(held, pours, strict=True))
        if wait > 0:
            return Poured(wait, held[0])
        if len(self._empty) + len(pours) > KEYS_MAX:
            self._forget(now)
        self._empty |= {each.key: now + there + each.us for there, each in zip(held, pours, strict=True)}
        return Poured(0, held[0] + pours[0].us)

    def take_back(self, pours: Sequence[Pour]) -> None:
        """Undo one `pour`."""
        for each in pours:
            if each.key in self._empty:
                self._empty[each.key] -= each.us

    def _forget(self, now: int) -> None:
        used = sorted((item for item in self._empty.items() if item[1] > now), key=lambda item: item[1])
        self._empty = dict(used[-KEYS_MAX // 2 :])


class LeakyBuckets:
    """Buckets in Redis, or here while it is away; never fails."""

    def __init__(self, redis: Redis, *, prefix: str) -> None:
        self._prefix = prefix
        self._pour = redis.register_script(_POUR)
        self._take_back = redis.register_script(_TAKE_BACK)
        self._answers = RedisAnswers(meanwhile="each process limits its clients by itself")
        self._local = LocalBuckets()

    async def pour(self, pours: Sequence[Pour]) -> Poured:
        """All or nothing; at least one."""
        keys, arguments = self._asked(pours)
        answer = await self._answers.to(lambda: self._pour(keys=keys, args=arguments))
        return self._local.pour(pours) if answer is None else Poured(*map(int, answer))

    async def take_back(self, pours: Sequence[Pour]) -> None:
        """Undo one `pour`."""
        keys, arguments = self._asked(pours)
        if await self._answers.to(lambda: self._take_back(keys=keys, args=arguments)) is None:
            self._local.take_back(pours)

    def _asked(self, pours: Sequence[Pour]) -> tuple[list[str], list[int]]:
        arguments = [us for each in pours for us in (each.us, each.room_us)]
        return [f"{self._prefix}{each.key}" for each in pours], arguments
