"""Sales as they stood at a past moment.

An order that nothing has happened to since stands in the view as it stood then; the others are folded from the log
anew. So an answer costs what has changed since, and for an order as much as its events.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Final
from uuid import UUID

from psycopg.sql import SQL

from adapters.past import rows_at
from api.graphql.charging import charge_events
from api.graphql.context import RequestContext
from api.graphql.past import position_asked
from domain.errors import Invalid
from projections.sales_by_day import SALES_BY_DAY

CHANGED_MAX: Final = 20_000  # orders folded for one answer; some seconds
CONTEXT: Final = "orders"

Sums = dict[tuple[date, str], tuple[int, int, int]]

# One statement, so that an order which moves meanwhile is in one of the two parts. The second part leaves out what was
# placed later: an import of old sales would be all of it.
_THEN: Final = SQL(
    "SELECT day, currency, count(*), sum(units)::bigint, sum(revenue_minor)::bigint, NULL::uuid[], 0 FROM {0}"
    " WHERE counted AND position <= %(position)s AND day BETWEEN %(first)s AND %(last)s GROUP BY day, currency"
    " UNION ALL SELECT NULL, NULL, 0, 0, 0, array_agg(id), coalesce(sum(version), 0)::bigint FROM ("
    " SELECT id, version FROM {0} t WHERE position > %(position)s AND day BETWEEN %(first)s AND %(last)s"
    " AND EXISTS (SELECT FROM events e WHERE e.originator_id = t.id AND e.originator_version = 1"
    " AND e.notification_id <= %(position)s) LIMIT %(most)s) changed"
)


async def sales_then(context: RequestContext, first: date, last: date, as_of: datetime) -> Sums:
    """Orders, units and minor units by day and currency, as they stood at that moment.

    Waits until the view has applied what had happened by then, and says so where it has not in time, as for a token.
    Raises Invalid for a moment that is still to come, or where more than CHANGED_MAX orders have changed since."""
    position = await position_asked(context, as_of)
    context.freshness.require_heads(await context.kontor.log.ends(CONTEXT, position))
    await context.freshness.settle(SALES_BY_DAY)
    query = _THEN.format(context.kontor.reads.table(SALES_BY_DAY))
    last = min(last, as_of.astimezone(UTC).date())
    bounds = {"position": position, "first": first, "last": last, "most": CHANGED_MAX + 1}
    sums: Sums = {}
    changed: list[UUID] = []
    events = 0  # of the changed orders, up to now: that is at least what is read
    for day, currency, orders, units, minor, ids, versions in await context.kontor.reads.fetch(query, bounds):
        if day is None:
            changed, events = ids or [], versions
        else:
            sums[day, currency] = (orders, units, minor)
    if len(changed) > CHANGED_MAX:
        raise Invalid(
            f"More than {CHANGED_MAX} orders of these days have changed since {as_of.isoformat()}, which are too many "
            "to be folded for one answer; ask for fewer days at a time.",
            field=("to",),
        )
    await charge_events(context, events)
    await _add(context, sums, changed, position)
    return sums


async def _add(context: RequestContext, sums: Sums, order_ids: Sequence[UUID], position: int) -> None:
    async for row in rows_at(context.kontor.log, SALES_BY_DAY, order_ids, position=position):
        if row.counted:
            orders, units, minor = sums.get((row.day, row.currency), (0, 0, 0))
            sums[row.day, row.currency] = (orders + 1, units + row.units, minor + row.revenue_minor)
