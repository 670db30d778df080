"""Orders as their customers and staff see them: present state, one row per order."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from domain.orders import Order, OrderLine, OrderStatus
from projections.view import Recorded, View


class OrderRow(Struct, frozen=True, kw_only=True):
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
    tracking_number: str | None = None
    version: int = 0
    position: int = 0


STATUS_AFTER: Final[dict[type, OrderStatus]] = {
    Order.Reserved: OrderStatus.RESERVED,
    Order.Confirmed: OrderStatus.CONFIRMED,
    Order.Shipped: OrderStatus.SHIPPED,
    Order.Delivered: OrderStatus.DELIVERED,
    Order.Rejected: OrderStatus.REJECTED,
    Order.Cancelled: OrderStatus.CANCELLED,
    Order.Refunded: OrderStatus.REFUNDED,
}


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
    status = STATUS_AFTER.get(type(recorded.event), row.status)
    match recorded.event:
        case Order.Rejected(reason=reason) | Order.Cancelled(reason=reason) | Order.Refunded(reason=reason):
            return replace(row, status=status, reason=reason)
        case Order.Shipped(tracking_number=tracking_number):
            return replace(row, status=status, tracking_number=tracking_number)
        case _:
            return replace(row, status=status)


ORDERS: Final = View(name="orders", version=1, row=OrderRow, follows=frozenset({Order.TOPIC}), evolve=evolve)
