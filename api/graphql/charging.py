"""Points that are known only on the way: for events that are folded, rows that are read, items that are followed.

They are taken from the same bucket as the operation's, before the work, and told in `extensions.cost`.
"""

from __future__ import annotations

from math import ceil
from typing import Final

from api.graphql.context import RequestContext
from api.graphql.limits import Charge, CostLimitExceeded, tell_points_limited
from domain.errors import Invalid

EVENTS_A_POINT: Final = 10  # an event that is read and folded takes a tenth of the time of an object
EVENTS_MAX: Final = 100_000  # folded for one operation, whatever it asks for; some seconds


async def charge_events(context: RequestContext, events: int) -> None:
    """Before so many events are read. Raises Invalid above EVENTS_MAX in one operation, and CostLimitExceeded."""
    if context.folded + events > EVENTS_MAX:
        raise Invalid(
            f"This operation would read {context.folded + events} events of the past, and one may read {EVENTS_MAX}; "
            "ask for less at a time."
        )
    context.folded += events
    await charge_points(context, ceil(events / EVENTS_A_POINT), f"reads {events} events of the past")


async def charge_points(context: RequestContext, points: int, told: str) -> None:
    """Take more points for the operation. Raises CostLimitExceeded, which says when there are as many."""
    allowance = context.allowance
    if allowance is None or points <= 0:
        return
    taken = await allowance.take(points)
    if taken.granted:
        context.charged_more += points
        context.left = taken.left
        return
    tell_points_limited(context.actor, told)
    raise CostLimitExceeded(
        f"It {told}, which costs {points} points, and {taken.left} are left; ask again in {ceil(taken.wait_s)} s.",
        Charge(points, taken.left, allowance.buckets.rate),
        retryAfterSeconds=round(taken.wait_s, 3),
    )
