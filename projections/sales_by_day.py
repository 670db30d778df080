"""How much was sold on which day? One row per order; the sum over a day's counted rows is the answer.

The day is the UTC day the order was placed. An order counts from RESERVED on, until it is rejected, cancelled or
refunded.
"""

from __future__ import annotations

from datetime import UTC, date
from typing import Final
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from domain.orders import Order
from projections.view import Recorded, View

# Whether an order counts as sold after an event; others change nothing.
COUNTED_AFTER: Final[dict[type, bool]] = {
    Order.Reserved: True,
    Order.Rejected: False,
    Order.Cancelled: False,
    Order.Refunded: False,
}


class SaleRow(Struct, frozen=True, kw_only=True):
    id: UUID
    day: date
    units: int
    revenue_minor: int
    currency: str
    counted: bool
    version: int = 0
    position: int = 0


def day_of(placed: Order.Created) -> date:
    """The UTC day it was placed."""
    return placed.placed_at.astimezone(UTC).date()


def evolve(row: SaleRow | None, recorded: Recorded) -> SaleRow:
    match recorded.event:
        case Order.Created() as placed:
            return SaleRow(
                id=recorded.aggregate_id,
                day=day_of(placed),
                units=sum(line.quantity for line in placed.lines),
                revenue_minor=placed.total.minor,
                currency=placed.total.currency,
                counted=False,
            )
    assert row is not None, recorded
    return replace(row, counted=COUNTED_AFTER.get(type(recorded.event), row.counted))


SALES_BY_DAY: Final = View(name="sales_by_day", version=1, row=SaleRow, follows=frozenset({Order.TOPIC}), evolve=evolve)
