"""How much was sold of which product? One row per order with its lines; the sum over counted rows is the answer.

An order counts as it does by day: from RESERVED on, until it is rejected, cancelled or refunded.
"""

from __future__ import annotations

from datetime import date
from typing import Final
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from domain.orders import Order
from projections.sales_by_day import COUNTED_AFTER, day_of
from projections.view import Recorded, View


class ProductSale(Struct, frozen=True, kw_only=True):
    product_id: UUID
    sku: str
    units: int
    revenue_minor: int


class ProductSalesRow(Struct, frozen=True, kw_only=True):
    id: UUID
    day: date
    currency: str
    lines: tuple[ProductSale, ...]
    counted: bool
    version: int = 0
    position: int = 0


def evolve(row: ProductSalesRow | None, recorded: Recorded) -> ProductSalesRow:
    match recorded.event:
        case Order.Created() as placed:
            return ProductSalesRow(
                id=recorded.aggregate_id,
                day=day_of(placed),
                currency=placed.total.currency,
                lines=tuple(
                    ProductSale(
                        product_id=line.product_id,
                        sku=line.sku,
                        units=line.quantity,
                        revenue_minor=line.quantity * line.unit_price.minor,
                    )
                    for line in placed.lines
                ),
                counted=False,
            )
    assert row is not None, recorded
    return replace(row, counted=COUNTED_AFTER.get(type(recorded.event), row.counted))


SALES_BY_PRODUCT: Final = View(
    name="sales_by_product", version=1, row=ProductSalesRow, follows=frozenset({Order.TOPIC}), evolve=evolve
)
