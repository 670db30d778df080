"""What the operations of one request may take, and from whose points."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.cost_buckets import CostBuckets
from adapters.wiring import Kontor
from commands.handling import Actor


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """`bucket` names the points, `cost_max` is what one operation may cost, `timeout_s` how long it may take,
    `introspection` whether it may ask about the schema."""

    buckets: CostBuckets
    bucket: str
    cost_max: int
    timeout_s: float
    introspection: bool

    @classmethod
    def of(cls, kontor: Kontor, actor: Actor, address: str) -> Allowance:
        """Of an account, or of the address of who has none."""
        settings = kontor.settings
        return cls(
            buckets=kontor.cost_buckets,
            bucket=f"user:{actor.user_id}" if actor.user_id else f"address:{address}",
            cost_max=settings.cost_per_operation_max,
            timeout_s=settings.operation_timeout_s,
            introspection=settings.environment == "development",
        )
