"""What is for sale: products, each with one SKU and one price."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from eventsourcing.domain import Aggregate

from domain.errors import Invalid
from domain.identity import product_id
from domain.money import Money
from domain.text import plain_text

SKU_LENGTH_MAX: Final = 64
NAME_LENGTH_MAX: Final = 200
DESCRIPTION_LENGTH_MAX: Final = 10_000


class Product(Aggregate):
    """A product; its id is derived from its SKU, so a SKU exists once."""

    TOPIC = "product"

    # TOPICs and field names are stored for ever: a changed shape is a new class_version with an upcaster.
    class Created(Aggregate.Created):
        TOPIC = "product.added"
        sku: str
        name: str
        description: str
        price: Money
        category_ids: tuple[UUID, ...]
        published: bool

        def apply(self, aggregate: Product) -> None:
            aggregate.sku, aggregate.name, aggregate.description = self.sku, self.name, self.description
            aggregate.price, aggregate.category_ids = self.price, self.category_ids
            aggregate.published = self.published

    sku: str
    name: str
    description: str
    price: Money
    category_ids: tuple[UUID, ...]
    published: bool

    def __init__(self) -> None:
        """State comes from events alone; see `Created.apply`."""

    @classmethod
    def add(cls, *, sku: str, name: str, description: str, price: Money, published: bool, now: datetime) -> Product:
        """A new product. Raises Invalid for an empty or over-long SKU, name or description, or a price of zero."""
        sku = valid_sku(sku)
        if price.minor <= 0:
            raise Invalid(f"price {price.amount} {price.currency} is not above zero.", field=("price",))
        return cls._create(
            cls.Created,
            id=product_id(sku),
            timestamp=now,
            sku=sku,
            name=plain_text(name, field="name", length_max=NAME_LENGTH_MAX),
            description=plain_text(description, field="description", length_max=DESCRIPTION_LENGTH_MAX, length_min=0),
            price=price,
            category_ids=(),
            published=published,
        )


def valid_sku(sku: str) -> str:
    """The trimmed SKU; case is kept and matters. Raises Invalid when it cannot be one."""
    return plain_text(sku, field="sku", length_max=SKU_LENGTH_MAX)
