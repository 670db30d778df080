"""Orders as their customers and staff see them: present state, one row per order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from domain.orders import Order, OrderLine, OrderStatus
from projections.view import Recorded, View


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRow:
    id: UUID
    number: str
    status: OrderStatus
    customer_id: UUID
    lines: tuple[OrderLine, ...]
    total_minor: int
    currency: str
    placed_at: datetime
    updated_at: datetime
    reason: str | None = None
    version: int = 0
    position: int = 0


def evolve(row: OrderRow | None, recorded: Recorded) -> OrderRow:
    match recorded.event:
        case Order.Created() as placed:
            return OrderRow(
                id=recorded.aggregate_id,
                number=placed.number,
                status=OrderStatus.PENDING,
                customer_id=placed.customer_id,
                lines=placed.lines,
                total_minor=placed.total.minor,
                currency=placed.total.currency,
                placed_at=placed.placed_at,
                updated_at=recorded.recorded_at,
            )
    assert row is not None, recorded
    row = replace(row, updated_at=recorded.recorded_at)
    match recorded.event:
        case Order.Reserved():
            return replace(row, status=OrderStatus.RESERVED)
        case Order.Rejected(reason=reason):
            return replace(row, status=OrderStatus.REJECTED, reason=reason)
        case Order.Cancelled(reason=reason):
            return replace(row, status=OrderStatus.CANCELLED, reason=reason)
        case _:
            return row


ORDERS: Final = View(name="orders", version=1, row=OrderRow, follows=frozenset({Order.TOPIC}), evolve=evolve)
