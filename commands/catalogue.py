"""The catalogue: add products."""

from __future__ import annotations

from dataclasses import dataclass

from commands.handling import Result, Work
from domain.catalogue import Product, valid_sku
from domain.errors import AlreadyExists
from domain.identity import product_id
from domain.money import Money


@dataclass(frozen=True, slots=True, kw_only=True)
class AddProduct:
    sku: str
    name: str
    price: Money
    description: str = ""
    published: bool = True


async def add_product(command: AddProduct, work: Work) -> Result:
    """Raises AlreadyExists for a taken SKU, Invalid for values that break a rule."""
    sku = valid_sku(command.sku)
    if await work.load(Product, product_id(sku)):
        raise AlreadyExists(f"A product with the SKU {sku} exists; update it or choose another SKU.", field=("sku",))
    product = Product.add(
        sku=sku,
        name=command.name,
        description=command.description,
        price=command.price,
        published=command.published,
        now=work.now,
    )
    return Result(work.add(product))
