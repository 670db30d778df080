"""Where the compiled path begins: the fields of Query whose rows it can turn into an answer.

Each is the function that the field's resolver calls too, so what it allows, waits for and refuses is one thing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from api.graphql.catalogue import product_page, product_row
from api.graphql.categories import category_row
from api.graphql.compiled.shapes import NotServed
from api.graphql.compiled.tables import Listed
from api.graphql.context import RequestContext
from api.graphql.inventory import stock_row
from api.graphql.order_rows import order_row, orders_page
from api.graphql.users import me_row, user_row


@dataclass(frozen=True, slots=True)
class Root:
    """`rows` is given the context and the resolver's keyword arguments; it answers a source, or None."""

    type: str
    rows: Callable[..., Awaitable[Any]]


def present(rows: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Of those that can be asked for as they were, the past is the ordinary path's."""

    async def found(context: RequestContext, *, as_of: Any = None, at_version: Any = None, **asked: Any) -> Any:
        if as_of is not None or at_version is not None:
            raise NotServed
        return await rows(context, **asked)

    return found


async def orders(context: RequestContext, **asked: Any) -> Listed:
    """See `api.graphql.order_rows.orders_page`."""
    search, page = await orders_page(context, **asked)
    return Listed(page, search.count)


async def products(context: RequestContext, **asked: Any) -> Listed:
    """See `api.graphql.catalogue.product_page`."""
    search, page = await product_page(context, **asked)
    return Listed(page, search.count)


ROOTS: Final[dict[str, Root]] = {
    "order": Root("Order", present(order_row)),
    "orders": Root("OrderConnection!", orders),
    "product": Root("Product", present(product_row)),
    "products": Root("ProductConnection!", products),
    "stockItem": Root("StockItem", present(stock_row)),
    "category": Root("Category", category_row),
    "me": Root("User", me_row),
    "user": Root("User", user_row),
}
