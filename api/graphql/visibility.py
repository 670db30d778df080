"""Who is shown a product, its stock and its past: what is not published is for STAFF alone, on every road.

A SKU that is hidden is answered as one that does not exist. The past is shown only of products that are published now,
and only as of moments and versions at which they were: what was a draft then was not public then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from adapters.log import LogRecord
from api.graphql.context import RequestContext
from api.graphql.past import Past, row_then
from domain import catalogue
from domain.identity import product_id, stock_item_id
from projections.catalogue import CATALOGUE, ProductRow
from projections.inventory import STOCK, StockRow


def may_see_product(context: RequestContext, row: ProductRow) -> bool:
    """What is not published is shown to STAFF alone."""
    return row.published or context.actor.is_staff


async def seen_stock(context: RequestContext, row: StockRow | None) -> StockRow | None:
    """The stock, unless its product is not the actor's to see."""
    if row is None or context.actor.is_staff:
        return row
    product = await context.products.load(product_id(row.sku))
    return row if product is not None and may_see_product(context, product) else None


async def seen_stock_of_page(context: RequestContext, rows: Sequence[StockRow]) -> list[StockRow]:
    """Those rows whose products are the actor's to see; by one look into the catalogue."""
    if context.actor.is_staff:
        return list(rows)
    ids = {row.id: product_id(row.sku) for row in rows}
    products = await context.kontor.reads.by_id(CATALOGUE, list(ids.values()))
    return [row for row in rows if ids[row.id] in products and may_see_product(context, products[ids[row.id]])]


async def stock_in(context: RequestContext, past: Past, sku: str) -> StockRow | None:
    """The stock as it was; None where its product is not the actor's to see now, or was not then."""
    row = await past.row(context, STOCK, stock_item_id(sku))
    if row is None or context.actor.is_staff:
        return row
    if await seen_stock(context, row) is None:
        return None
    position = row.position if past.position is None else past.position
    product = await row_then(context, CATALOGUE, product_id(row.sku), position)
    return row if product is not None and may_see_product(context, product) else None


async def published_skus(context: RequestContext, skus: Iterable[str]) -> set[str]:
    """Those of the SKUs whose products the actor may see, as the log has them now."""
    wanted = list(skus)
    if context.actor.is_staff:
        return set(wanted)
    loaded = await context.kontor.store.load([product_id(sku) for sku in wanted])
    products = [found for found, _ in loaded.values() if isinstance(found, catalogue.Product)]
    return {product.sku for product in products if product.published}


class Publication:
    """Follows a product's events from its first one on, and says of each whether customers could see the product with
    it."""

    def __init__(self) -> None:
        self._published = False

    def shows(self, record: LogRecord) -> bool:
        """Was the product published after this event?"""
        match record.event_type:
            case catalogue.Product.Published.TOPIC:
                self._published = True
            case catalogue.Product.Withdrawn.TOPIC:
                self._published = False
            case catalogue.Product.Created.TOPIC:
                event = record.decoded().event
                self._published = isinstance(event, catalogue.Product.Created) and event.published
        return self._published
