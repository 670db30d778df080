"""The catalogue as shoppers see it: one row per product."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from domain.catalogue import Product
from projections.view import Recorded, View


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductRow:
    id: UUID
    sku: str
    name: str
    description: str
    price_minor: int
    currency: str
    published: bool
    added_at: datetime
    version: int = 0
    position: int = 0


def evolve(row: ProductRow | None, recorded: Recorded) -> ProductRow:
    match recorded.event:
        case Product.Created() as added:
            return ProductRow(
                id=recorded.aggregate_id,
                sku=added.sku,
                name=added.name,
                description=added.description,
                price_minor=added.price.minor,
                currency=added.price.currency,
                published=added.published,
                added_at=recorded.recorded_at,
            )
        case _:
            assert row is not None, recorded
            return row


CATALOGUE: Final = View(name="catalogue", version=1, row=ProductRow, follows=frozenset({Product.TOPIC}), evolve=evolve)
