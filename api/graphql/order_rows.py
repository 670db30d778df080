"""Orders' rows, for their customer and STAFF; to everybody else an order looks like none at all."""

from __future__ import annotations

from uuid import UUID

import strawberry
from psycopg.sql import SQL

from api.graphql.context import RequestContext, parsed_id
from api.graphql.cursors import Page, page_size
from api.graphql.order_search import OrderFilter, OrderOrder, OrderSearch
from api.graphql.scalars import ConsistencyToken
from domain.errors import Invalid
from projections.orders import ORDERS, OrderRow


async def order_row(
    context: RequestContext,
    *,
    id: strawberry.ID | None = None,
    number: str | None = None,
    consistent_with: ConsistencyToken | None = None,
) -> OrderRow | None:
    """None for a missing order and for somebody else's. Raises Invalid without id and number."""
    context.freshness.require(consistent_with)
    if id is None and number is None:
        raise Invalid("Give the order's id or number.")
    if id is None:
        return await _numbered(context, number or "")
    row = await seen_order(context, parsed_id(id))
    return row if row and number in (None, row.number) else None


async def orders_page(
    context: RequestContext,
    *,
    where: OrderFilter | None = None,
    order_by: OrderOrder | None = OrderOrder.PLACED_DESC,
    first: int | None = 20,
    after: str | None = None,
    consistent_with: ConsistencyToken | None = None,
) -> tuple[OrderSearch, Page[OrderRow]]:
    """A page of the orders the actor may see. Raises Invalid for a page size outside 1 to 100, a cursor of another list
    or what is no SKU."""
    context.freshness.require(consistent_with)
    size, search = page_size(first), OrderSearch.by(context, where or OrderFilter())
    order = order_by or OrderOrder.PLACED_DESC
    return search, await search.page(context, order_by=order, size=size, after=after)


async def seen_order(context: RequestContext, order_id: UUID | None) -> OrderRow | None:
    """The order, unless it is not the actor's to see."""
    row = await context.orders.load(order_id) if order_id else None
    return row if row and context.may_see_of(row.customer_id) else None


async def _numbered(context: RequestContext, number: str) -> OrderRow | None:
    if not number.isascii() or not number.isalnum():
        return None
    await context.freshness.settle(ORDERS)
    rows = await context.kontor.reads.where(ORDERS, SQL("number = %s"), [number])
    return rows[0] if rows and context.may_see_of(rows[0].customer_id) else None
