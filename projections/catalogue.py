"""The catalogue as shoppers see it: one row per product."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from domain.catalogue import Product
from projections.view import Recorded, View


class ProductRow(Struct, frozen=True, kw_only=True):
    id: UUID
    sku: str
    name: str
    description: str
    price_minor: int
    currency: str
    published: bool
    added_at: datetime
    category_ids: tuple[UUID, ...] = ()
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
                category_ids=added.category_ids,
            )
    assert row is not None, recorded
    match recorded.event:
        case Product.Updated() as updated:
            return replace(
                row,
                name=row.name if updated.name is None else updated.name,
                description=row.description if updated.description is None else updated.description,
                category_ids=row.category_ids if updated.category_ids is None else updated.category_ids,
            )
        case Product.Repriced(to=price):
            return replace(row, price_minor=price.minor, currency=price.currency)
        case Product.Published():
            return replace(row, published=True)
        case Product.Withdrawn():
            return replace(row, published=False)
        case _:
            return row


CATALOGUE: Final = View(name="catalogue", version=1, row=ProductRow, follows=frozenset({Product.TOPIC}), evolve=evolve)
