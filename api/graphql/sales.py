"""What was sold, day by day."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated, Final

import strawberry
from psycopg.sql import SQL

from api.graphql.charging import charge_points
from api.graphql.context import Info, RequestContext
from api.graphql.cost import LISTS
from api.graphql.money import Money
from api.graphql.past_sales import Sums, sales_then
from api.graphql.resolvers import resolver
from api.graphql.scalars import ConsistencyToken
from commands.doors import Door
from commands.handling import analyst
from domain.errors import Invalid
from domain.money import Money as DomainMoney
from projections.sales_by_day import SALES_BY_DAY

DAYS_MAX: Final = 3_660
# Reads the index of those that count alone.
_SUMS: Final = SQL(
    "SELECT day, currency, count(*), sum(units)::bigint, sum(revenue_minor)::bigint FROM {}"
    " WHERE counted AND day BETWEEN %s AND %s GROUP BY day, currency"
)
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@strawberry.type(description="The sales of one UTC day in one currency.")
class SalesDay:
    day: str = strawberry.field(description="YYYY-MM-DD, the day the orders were placed.")
    orders: int = strawberry.field(description="Orders that count: held, and not given up since.")
    units: int = strawberry.field(description="Their units.")
    revenue: Money = strawberry.field(description="The sum of their totals.")


def parsed_day(text: str, *, field: str) -> date:
    """Raises Invalid unless it is a day of the calendar, YYYY-MM-DD."""
    try:
        if not _DAY.fullmatch(text):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise Invalid(f"{field} is {text[:40]!r}; give a day like 2026-01-31.", field=(field,)) from None


async def sales_now(context: RequestContext, first: date, last: date) -> Sums:
    """Orders, units and minor units by day and currency."""
    await context.freshness.settle(SALES_BY_DAY)
    query = _SUMS.format(context.kontor.reads.table(SALES_BY_DAY))
    rows = await context.kontor.reads.fetch(query, [first, last])
    return {(day, currency): (orders, units, minor) for day, currency, orders, units, minor in rows}


@strawberry.type
class SalesQuery:
    @resolver(
        "Sales per UTC day from one day to another, both included, now or as they stood. At most 20,000 orders may "
        "have changed since `asOf`: each of them is folded from the log. STAFF, ANALYST.",
        who=analyst,
        door=Door(folds=True),
    )
    async def sales_by_day(
        self,
        info: Info,
        from_: Annotated[str, strawberry.argument(name="from")],
        to: str,
        as_of: datetime | None = None,
        consistent_with: ConsistencyToken | None = None,
    ) -> list[SalesDay]:
        """Raises Forbidden, or Invalid for what is no day, or more than DAYS_MAX of them, and like `sales_then`."""
        context = info.context
        context.freshness.require(consistent_with)
        first, last = parsed_day(from_, field="from"), parsed_day(to, field="to")
        if (last - first).days >= DAYS_MAX:
            raise Invalid(f"from {first} to {last} is more than {DAYS_MAX} days; ask in parts.", field=("to",))
        days = max(0, (last - first).days + 1 - LISTS["Query.salesByDay"])
        await charge_points(context, days, f"sums the sales of {days} days more than a month")
        sums = await (sales_now(context, first, last) if as_of is None else sales_then(context, first, last, as_of))
        return [
            SalesDay(day=day.isoformat(), orders=orders, units=units, revenue=Money.of(DomainMoney(minor, currency)))
            for (day, currency), (orders, units, minor) in sorted(sums.items())
        ]
