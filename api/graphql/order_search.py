"""Finding orders: what a filter and an order mean in SQL, for pages and counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final
from uuid import UUID

import strawberry
from psycopg.sql import SQL, Composed

from api.graphql.context import RequestContext, parsed_id
from api.graphql.cursors import COUNT_MAX, Page, decoded, page_of
from domain.catalogue import SKU_LENGTH_MAX
from domain.money import Money
from domain.orders import OrderStatus
from domain.text import plain_text
from projections.orders import ORDERS, OrderRow

# The ids first, from the index of SKUs: walking an index in the wanted order would, for a SKU that is seldom sold, end
# with every order there is.
_WITH_SKU: Final = SQL("id = ANY(ARRAY(SELECT id FROM {} WHERE jsonb_path_query_array(lines, '$[*].sku') ? %s))")

strawberry.enum(OrderStatus, description="How far an order got.")


@strawberry.input(description="Which orders; all conditions together.")
class OrderFilter:
    status: list[OrderStatus] | None = strawberry.field(default=None, description="In one of these states.")
    customer_id: strawberry.ID | None = strawberry.field(default=None, description="Of this customer.")
    placed_from: datetime | None = strawberry.field(default=None, description="Placed at this moment or later.")
    placed_to: datetime | None = strawberry.field(default=None, description="Placed before this moment.")
    sku: str | None = strawberry.field(default=None, description="With a line of this SKU.")


@strawberry.enum(description="In which order.")
class OrderOrder(Enum):
    PLACED_DESC = strawberry.enum_value("PLACED_DESC", description="What was placed last first.")
    PLACED_ASC = strawberry.enum_value("PLACED_ASC", description="What was placed first first.")
    TOTAL_DESC = strawberry.enum_value("TOTAL_DESC", description="The largest amount first, whatever the currency.")


@dataclass(frozen=True, slots=True)
class _Sorted:
    """The key before the id, which breaks ties, in SQL and of a row; `cursor` is the type of what a cursor holds."""

    key: SQL
    of: Callable[[OrderRow], Any]
    cursor: Any
    descending: bool = True


def _amount(row: OrderRow) -> int:
    return int(Money(row.total_minor, row.currency).amount * 1000)  # as catalogue_amount has it


_SORTED: Final = {
    OrderOrder.PLACED_DESC: _Sorted(SQL("placed_at"), lambda row: row.placed_at, tuple[datetime, UUID]),
    OrderOrder.PLACED_ASC: _Sorted(SQL("placed_at"), lambda row: row.placed_at, tuple[datetime, UUID], False),
    OrderOrder.TOTAL_DESC: _Sorted(SQL("catalogue_amount(total_minor, currency)"), _amount, tuple[int, UUID]),
}


@dataclass(frozen=True, slots=True)
class OrderSearch:
    """The condition on the orders' rows that one list stands for."""

    condition: Composed
    parameters: tuple[Any, ...]

    @classmethod
    def by(cls, context: RequestContext, where: OrderFilter) -> OrderSearch:
        """What the filter asks for and the actor may see. Raises Invalid for a text that no SKU can be."""
        customer_id = parsed_id(where.customer_id)
        sku = None if where.sku is None else plain_text(where.sku, field="sku", length_max=SKU_LENGTH_MAX, length_min=0)
        # An id that cannot be one has no orders.
        parts: list[SQL | Composed] = [SQL("true") if where.customer_id is None or customer_id else SQL("false")]
        parameters: list[Any] = []
        for condition, value in (
            (SQL("customer_id = %s"), None if context.actor.is_staff else context.actor.user_id),
            (SQL("customer_id = %s"), customer_id),
            (SQL("status = ANY(%s)"), None if where.status is None else [status.value for status in where.status]),
            (SQL("placed_at >= %s"), where.placed_from),
            (SQL("placed_at < %s"), where.placed_to),
            (_WITH_SKU.format(context.kontor.reads.table(ORDERS)), sku),
        ):
            if value is not None:
                parts.append(condition)
                parameters.append(value)
        return cls(SQL(" AND ").join(parts), tuple(parameters))

    async def count(self, context: RequestContext) -> int | None:
        """How many rows there are; None above COUNT_MAX, where nobody waits for the exact number."""
        return await context.kontor.reads.count(ORDERS, self.condition, self.parameters, at_most=COUNT_MAX)

    async def page(
        self, context: RequestContext, *, order_by: OrderOrder, size: int, after: str | None
    ) -> Page[OrderRow]:
        """Rows in order, by key. Raises Invalid for a cursor of another order."""
        by = _SORTED[order_by]
        condition, parameters = self.condition, list(self.parameters)
        if after is not None:
            comparison = SQL("<" if by.descending else ">")
            condition += SQL(" AND ({}, id) {} (%s, %s)").format(by.key, comparison)
            parameters += decoded(after, by.cursor)
        await context.freshness.settle(ORDERS)
        direction = SQL("DESC" if by.descending else "ASC")
        condition += SQL(" ORDER BY {0} {1}, id {1} LIMIT %s").format(by.key, direction)
        rows = await context.kontor.reads.where(ORDERS, condition, [*parameters, size + 1])
        return page_of(rows, [(by.of(row), row.id) for row in rows], size=size, after=after)
