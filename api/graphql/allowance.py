"""What the operations of one request may take, and from whose points."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.cost_buckets import CostBuckets, Taken
from adapters.wiring import Kontor
from api.client_address import counted_networks
from commands.handling import Actor


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """`bucket` names the points, `around` others that are taken from, too; `cost_max` is what one operation may cost,
    `timeout_s` how long it may take, `introspection` whether it may ask about the schema."""

    buckets: CostBuckets
    bucket: str
    around: tuple[tuple[str, int], ...] = ()
    cost_max: int
    timeout_s: float
    introspection: bool

    async def take(self, points: int) -> Taken:
        """See `adapters.cost_buckets.CostBuckets.take`."""
        return await self.buckets.take(self.bucket, points, around=self.around)

    @classmethod
    def of(cls, kontor: Kontor, actor: Actor, address: str) -> Allowance:
        """Of an account, or of the address of who has none."""
        settings = kontor.settings
        return cls(
            buckets=kontor.cost_buckets,
            bucket=f"user:{actor.user_id}" if actor.user_id else f"address:{address}",
            around=() if actor.user_id else _around(address),
            cost_max=settings.cost_per_operation_max,
            timeout_s=settings.operation_timeout_s,
            introspection=settings.environment == "development",
        )


def _around(address: str) -> tuple[tuple[str, int], ...]:
    """The networks around the address that are counted, too."""
    return tuple((f"address:{network}", times) for network, times in counted_networks(address)[1:])
