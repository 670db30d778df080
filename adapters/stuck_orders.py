"""Orders that do not move, and why: from the views, the ledger of effects and what is parked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg.sql import SQL

from adapters.read_store import ReadStore
from domain.identity import shard_of
from projections.orders import ORDERS

# Undecided for long, or money that should have moved and has not.
_STUCK: Final = """
WITH late AS (
    SELECT DISTINCT subject_id FROM effects WHERE kind = 'payment'
        AND (state = 'given_up' OR (state = 'waiting' AND planned_at < clock_timestamp() - make_interval(secs => %s)))
)
SELECT o.id, o.number, o.status, o.updated_at, o.position,
    e.effect, e.state, e.attempts, e.last_error, e.due_at, e.event_id, parked.follower, parked.reason, b.reason
FROM {} o
LEFT JOIN LATERAL (SELECT * FROM effects e WHERE e.subject_id = o.id AND e.kind IN ('payment', 'order')
    AND e.state IN ('waiting', 'given_up') ORDER BY e.kind DESC, e.number LIMIT 1) e ON true
LEFT JOIN LATERAL (SELECT p.follower, p.reason FROM parked_events p WHERE p.aggregate_id = o.id
    AND p.follower IN ('checkout', 'effects') ORDER BY p.version LIMIT 1) parked ON true
LEFT JOIN breakers b ON b.kind = e.kind AND b.state <> 'closed'
WHERE (o.status IN ('PENDING', 'RESERVED') AND o.updated_at < clock_timestamp() - make_interval(secs => %s))
    OR o.id IN (SELECT subject_id FROM late)
ORDER BY o.updated_at LIMIT %s
"""
_CHECKOUT: Final = SQL("SELECT shard, position FROM view_positions WHERE view = 'checkout' AND context = 'orders'")


@dataclass(frozen=True, slots=True, kw_only=True)
class StuckOrder:
    """An order that has not moved since, and the reason with what to do about it."""

    id: UUID
    number: str
    status: str
    since: datetime
    reason: str


async def stuck_orders(reads: ReadStore, *, older_than_s: float, limit: int) -> list[StuckOrder]:
    """The oldest first. What the views do not show yet is not in it."""
    query = SQL(_STUCK).format(reads.table(ORDERS))
    rows = await reads.fetch(query, [older_than_s, older_than_s, limit])
    reached = dict(await reads.fetch(_CHECKOUT, []))
    return [
        StuckOrder(
            id=order_id, number=number, status=status, since=since,
            reason=_reason(status, reached.get(shard_of(order_id), 0) < position, *why),
        )
        for order_id, number, status, since, position, *why in rows
    ]  # fmt: skip


def _reason(status: str, unseen: bool, *found: Any) -> str:
    effect, state, attempts, error, due_at, event_id, follower, parked, breaker = found
    if parked is not None:
        return f"an event of it is parked for {follower}: {parked}; mend that, then `kontor parked retry`"
    if state == "given_up":
        return f"{effect} was given up after {attempts} attempts: {error}; `kontor effects retry {event_id}`"
    if effect is not None and effect != "order.expire":
        open_breaker = f"; the provider is left alone for a while: {breaker}" if breaker else ""
        failed = f" after {error}" if error else ""
        return f"{effect} is tried again at {due_at:%H:%M:%S} ({attempts} attempts so far{failed}){open_breaker}"
    if status == "PENDING":
        return (
            "the checkout has not come to it; is a worker running? (`kontor status`)"
            if unseen
            else "the checkout has passed it; `kontor verify` shows what is missing"
        )
    if status == "RESERVED" and effect is not None:
        return f"nobody has paid for it; what it holds is given back at {due_at:%H:%M:%S}"
    return "nothing is planned for it; `kontor verify` shows what is missing"
