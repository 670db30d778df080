"""The catalogue: add products, change them, put them on sale and take them off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from commands.handling import Result, Work, require_version
from domain.catalogue import Category, Product, valid_sku
from domain.disclosure import Plain
from domain.errors import AlreadyExists, NotFound
from domain.identity import CategoryId, ProductId, product_id
from domain.money import Money


@dataclass(frozen=True, slots=True, kw_only=True)
class AddProduct:
    """Put something new into the catalogue."""

    sku: Plain
    name: Plain
    price: Money
    description: Plain = ""
    published: bool = True
    category_ids: tuple[CategoryId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateProduct:
    """Change how a product is described and where it stands; None leaves a thing as it is."""

    product_id: ProductId
    name: Plain | None = None
    description: Plain | None = None
    category_ids: tuple[CategoryId, ...] | None = None
    expected_version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RepriceProduct:
    """Sell at another price; orders that were placed keep theirs."""

    product_id: ProductId
    price: Money
    expected_version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishProduct:
    """Let customers see and order it."""

    product_id: ProductId


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawProduct:
    """Hide it from customers."""

    product_id: ProductId


async def add_product(command: AddProduct, work: Work) -> Result:
    """Raises AlreadyExists for a taken SKU, NotFound for an unknown category, Invalid for values that break a rule."""
    sku = valid_sku(command.sku)
    if await work.load(Product, product_id(sku)):
        raise AlreadyExists(f"A product with the SKU {sku} exists; update it or choose another SKU.", field=("sku",))
    product = Product.add(
        sku=sku,
        name=command.name,
        description=command.description,
        price=command.price,
        category_ids=command.category_ids,
        published=command.published,
        now=work.now,
    )
    await _require_categories(command.category_ids, work)
    return Result(work.add(product))


async def update_product(command: UpdateProduct, work: Work) -> Result:
    """Raises NotFound for an unknown product or category, Conflict for another version, Invalid.

    Categories it is in already may have been removed since: they are not asked for again."""
    product = await required_product(command.product_id, work)
    require_version(product, command.expected_version)
    new = [each for each in command.category_ids or () if each not in product.category_ids]
    product.update(name=command.name, description=command.description, category_ids=command.category_ids, now=work.now)
    await _require_categories(new, work)
    return Result(product)


async def reprice_product(command: RepriceProduct, work: Work) -> Result:
    """Raises NotFound, Conflict for another version, Invalid for a price of zero or in another currency."""
    product = await required_product(command.product_id, work)
    require_version(product, command.expected_version)
    product.reprice(price=command.price, now=work.now)
    return Result(product)


async def publish_product(command: PublishProduct, work: Work) -> Result:
    """Raises NotFound; nothing happens when it is published."""
    product = await required_product(command.product_id, work)
    product.publish(now=work.now)
    return Result(product)


async def withdraw_product(command: WithdrawProduct, work: Work) -> Result:
    """Raises NotFound; nothing happens when it is withdrawn."""
    product = await required_product(command.product_id, work)
    product.withdraw(now=work.now)
    return Result(product)


async def required_product(product_id: ProductId, work: Work) -> Product:
    """Raises NotFound."""
    product = await work.load(Product, product_id)
    if product is None:
        raise NotFound(f"There is no product {product_id}.", field=("productId",))
    return product


async def _require_categories(category_ids: Sequence[CategoryId], work: Work) -> None:
    """Asked after the decision, so that no more are looked up than a product may have. A category that is removed at
    the same moment is not seen here; the product then keeps its id, and does not show it."""
    if not category_ids:
        return
    found = await work.load_many(Category, category_ids)
    for category_id in category_ids:
        if category_id not in found or found[category_id].removed:
            raise NotFound(f"There is no category {category_id}; add it first.", field=("categoryIds",))
