"""How many points each actor has left: a bucket that fills again steadily, for all processes together.

When Redis is away, each process goes on with buckets of its own: reading does not depend on Redis, and nobody gets more
than one bucket's worth from each process (`adapters.leaky_buckets`: what leaks there are the points that come back).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from redis.asyncio import Redis

from adapters.leaky_buckets import US, LeakyBuckets, Pour


@dataclass(frozen=True, slots=True)
class Taken:
    """`left` are the points in the bucket afterwards; `wait_s` is how long it takes until there are as many as were
    asked for, 0 when they were granted."""

    granted: bool
    left: int
    wait_s: float = field(default=0.0, compare=False)


class CostBuckets:
    """Buckets of `most` points, of which `rate` come back in a second."""

    def __init__(self, redis: Redis, *, prefix: str, most: int, rate: int) -> None:
        self.most = most
        self.rate = rate
        self._buckets = LeakyBuckets(redis, prefix=prefix)

    async def take(self, actor: str, points: int, *, around: Sequence[tuple[str, int]] = ()) -> Taken:
        """Take the points if there are as many, else none. `actor` names the bucket; of those `around` it, which hold
        so many times as much, they are taken as well. Waits for Redis at most its time-out, and not at all while Redis
        is known to be away."""
        pours = [Pour(actor, self._us(points), self._us(self.most))]
        # What holds more loses the same points, and gets them back as much sooner.
        pours += [Pour(name, self._us(points) // times, self._us(self.most)) for name, times in around]
        poured = await self._buckets.pour(pours)
        left = self.most - -(-poured.held_us * self.rate // US)
        return Taken(poured.wait_us == 0, max(0, left), poured.wait_us / US)

    def seconds_until(self, points: int, left: int) -> float:
        """How long it takes until a bucket with `left` points has as many."""
        return max(0, points - left) / self.rate

    def _us(self, points: int) -> int:
        """In which these points come back."""
        return -(-points * US // self.rate)
