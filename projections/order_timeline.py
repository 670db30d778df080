"""What happened to an order, step by step: one row per order, its steps oldest first."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from domain.orders import Order, OrderStatus
from projections.orders import STATUS_AFTER
from projections.view import Recorded, View


class Step(Struct, frozen=True, kw_only=True):
    """`detail` is what belongs to the step: a reason, or carrier and tracking number."""

    status: OrderStatus
    at: datetime
    position: int
    detail: str | None = None


class TimelineRow(Struct, frozen=True, kw_only=True):
    id: UUID
    number: str
    customer_id: UUID
    steps: tuple[Step, ...]
    version: int = 0
    position: int = 0


def evolve(row: TimelineRow | None, recorded: Recorded) -> TimelineRow:
    match recorded.event:
        case Order.Created() as placed:
            first = Step(status=OrderStatus.PENDING, at=recorded.recorded_at, position=recorded.position)
            return TimelineRow(
                id=recorded.aggregate_id, number=placed.number, customer_id=placed.customer_id, steps=(first,)
            )
    assert row is not None, recorded
    status = STATUS_AFTER.get(type(recorded.event))
    if status is None:
        return row
    step = Step(status=status, at=recorded.recorded_at, position=recorded.position, detail=_detail(recorded.event))
    return replace(row, steps=(*row.steps, step))


def _detail(event: object) -> str | None:
    match event:
        case Order.Rejected(reason=reason) | Order.Cancelled(reason=reason) | Order.Refunded(reason=reason):
            return reason
        case Order.Shipped(carrier=carrier, tracking_number=tracking_number):
            return f"{carrier} {tracking_number}"
        case _:
            return None


ORDER_TIMELINE: Final = View(
    name="order_timeline", version=1, row=TimelineRow, follows=frozenset({Order.TOPIC}), evolve=evolve
)
