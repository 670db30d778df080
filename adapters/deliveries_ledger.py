"""The ledger of webhook deliveries, in Postgres, beside the one of effects and in its words: for those who post and
those who look. `adapters.deliveries_plan` writes what is to be posted.

A delivery that is noted as done and not flushed is posted again: its receiver knows it by its webhook-id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from psycopg.rows import class_row
from psycopg_pool import AsyncConnectionPool

from adapters.effects_ledger import ERROR_LENGTH_MAX, BreakerState, EffectsLedger, State

KIND: Final = "webhook"
RETRIED_FOR: Final = timedelta(days=3)
GRACE: Final = timedelta(hours=1)
DELIVERED_KEPT_FOR: Final = timedelta(days=7)
GIVEN_UP_KEPT_FOR: Final = timedelta(days=30)
ENDPOINTS_AT_ONCE: Final = 256  # that are posted to by one process
STATES: Final[Sequence[State]] = ("waiting", "done", "given_up")

_COLUMNS: Final = (
    "d.stretch_id, d.position, d.endpoint_id, d.event_id, d.event_type, d.subject_id, d.version, d.number, d.state,"
    " d.planned_at, d.due_at, d.give_up_at, d.attempts, d.last_status, d.last_error"
)
# By webhook_deliveries_due, in order; the first of its subject by webhook_deliveries_in_turn.
_CLAIM: Final = f"""
WITH due AS (
    SELECT stretch_id, position FROM webhook_deliveries e
    WHERE endpoint_id = %(endpoint)s AND state = 'waiting' AND due_at <= now()
        AND (claimed_until IS NULL OR claimed_until < clock_timestamp())
        AND EXISTS (SELECT FROM webhook_recipients WHERE endpoint_id = %(endpoint)s AND state = 'ACTIVE'
            AND (quiet_until IS NULL OR quiet_until < now()))
        AND NOT EXISTS (SELECT FROM webhook_deliveries b WHERE b.state = 'waiting' AND b.endpoint_id = e.endpoint_id
            AND b.subject_id = e.subject_id AND b.number < e.number)
    ORDER BY due_at, number LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
UPDATE webhook_deliveries d SET attempts = attempts + 1,
    claimed_until = clock_timestamp() + make_interval(secs => %(lease_s)s),
    give_up_at = coalesce(d.give_up_at, clock_timestamp() + %(retried_for)s)
FROM due WHERE d.stretch_id = due.stretch_id AND d.position = due.position
RETURNING {_COLUMNS}
"""  # noqa: S608  # the columns are the literal above
_DONE: Final = """
UPDATE webhook_deliveries d SET state = 'done', ended_at = clock_timestamp(), claimed_until = NULL,
    last_status = n.status
FROM unnest(%s::bigint[], %s::bigint[], %s::integer[]) AS n (stretch_id, position, status)
WHERE d.stretch_id = n.stretch_id AND d.position = n.position AND d.state = 'waiting'
"""
_HOLD: Final = """
UPDATE webhook_deliveries d SET claimed_until = clock_timestamp() + make_interval(secs => %s::float8)
FROM unnest(%s::bigint[], %s::bigint[], %s::integer[]) AS r (stretch_id, position, attempts)
WHERE d.stretch_id = r.stretch_id AND d.position = r.position AND d.attempts = r.attempts AND d.state = 'waiting'
"""
# Whoever posts says when it is given up, so as to look at its endpoint first; what comes to nothing in other ways is
# not kept for ever. Its last attempt is when its time is over. `attempts` says whose claim it was.
_FAILED: Final = """
UPDATE webhook_deliveries SET last_error = %(error)s, last_status = %(status)s, claimed_until = NULL,
    due_at = least(clock_timestamp() + make_interval(secs => %(pause_s)s),
        greatest(give_up_at, clock_timestamp() + interval '1 second')),
    state = CASE WHEN %(final)s OR clock_timestamp() > give_up_at + %(grace)s THEN 'given_up' ELSE 'waiting' END,
    ended_at = CASE WHEN %(final)s OR clock_timestamp() > give_up_at + %(grace)s THEN clock_timestamp() END
WHERE stretch_id = %(stretch_id)s AND position = %(position)s AND state = 'waiting' AND attempts = %(attempts)s
RETURNING state
"""
_DUE: Final = """
SELECT endpoint_id FROM webhook_recipients r
WHERE state = 'ACTIVE' AND (quiet_until IS NULL OR quiet_until < now())
    AND EXISTS (SELECT FROM webhook_deliveries d WHERE d.endpoint_id = r.endpoint_id
    AND d.state = 'waiting' AND d.due_at <= now() AND (d.claimed_until IS NULL OR d.claimed_until < now()))
ORDER BY random() LIMIT %s
"""
_NEWEST: Final = f"""
SELECT {_COLUMNS} FROM unnest(%s::uuid[]) AS e (endpoint_id) CROSS JOIN LATERAL (
    SELECT d.* FROM unnest(%s::text[]) AS s (state) CROSS JOIN LATERAL (
        SELECT * FROM webhook_deliveries w WHERE w.endpoint_id = e.endpoint_id AND w.state = s.state
        ORDER BY w.number DESC LIMIT %s
    ) d ORDER BY d.number DESC LIMIT %s
) d ORDER BY d.number DESC
"""  # noqa: S608  # the columns are the literal above
_RECENT: Final = f"""
SELECT {_COLUMNS} FROM webhook_deliveries d
WHERE state = ANY(%s) AND (%s::uuid IS NULL OR subject_id = %s) ORDER BY number DESC LIMIT %s
"""  # noqa: S608  # the columns are the literal above
# Retried for as long as the first time, from the next attempt on.
_RETRY: Final = """
UPDATE webhook_deliveries SET state = 'waiting', ended_at = NULL, due_at = clock_timestamp(), claimed_until = NULL,
    give_up_at = NULL
WHERE state = 'given_up' AND (%(event)s::uuid IS NULL OR event_id = %(event)s)
    AND (%(endpoint)s::uuid IS NULL OR endpoint_id = %(endpoint)s)
"""
_LEAVE_ALONE: Final = """
UPDATE webhook_recipients SET quiet_until = clock_timestamp() + make_interval(secs => %s) WHERE endpoint_id = %s
"""
_TAKES_SOME: Final = """
SELECT EXISTS (SELECT FROM (SELECT ended_at FROM webhook_deliveries WHERE endpoint_id = %s AND state = 'done'
    ORDER BY number DESC LIMIT 100) newest WHERE ended_at > %s)
"""
_DELETE_ENDED: Final = """
WITH old AS (
    SELECT stretch_id, position FROM webhook_deliveries
    WHERE state <> 'waiting' AND ended_at < now() - %s AND (state = 'done' OR ended_at < now() - %s)
    ORDER BY ended_at LIMIT %s FOR UPDATE SKIP LOCKED
)
DELETE FROM webhook_deliveries d USING old WHERE d.stretch_id = old.stretch_id AND d.position = old.position
"""
_STANDING: Final = """
SELECT state, count(*), coalesce(extract(epoch FROM clock_timestamp() - min(due_at)), 0) FROM webhook_deliveries
WHERE state = 'given_up' OR (state = 'waiting' AND due_at <= clock_timestamp()
    AND endpoint_id IN (SELECT endpoint_id FROM webhook_recipients WHERE state = 'ACTIVE'))
GROUP BY state
"""


@dataclass(slots=True, kw_only=True, eq=False)
class Delivery:
    """One event for one endpoint: a row of the ledger. `attempts` counts those that were begun; whoever posts it sets
    `last_status`, the HTTP status of the answer."""

    stretch_id: int
    position: int
    endpoint_id: UUID
    event_id: UUID
    event_type: str
    subject_id: UUID
    version: int
    number: int
    state: State
    planned_at: datetime
    due_at: datetime
    give_up_at: datetime | None
    attempts: int
    last_status: int | None
    last_error: str

    @property
    def effect(self) -> str:
        """What it is called among effects."""
        return effect_of(self.endpoint_id)


def effect_of(endpoint_id: UUID) -> str:
    """What deliveries to an endpoint are called among effects, and its breaker among breakers."""
    return f"{KIND}.{endpoint_id}"


def _held(effects: Sequence[Delivery], lease_s: float | None) -> list[Any]:
    return [lease_s, *_places(effects, [each.attempts for each in effects])]


class DeliveriesLedger:
    """See the module. Its `claim`, `extend`, `release`, `failed` and `note_breaker` are those of `EffectsLedger`, where
    a kind is `webhook.<endpoint>`. Raises one of `adapters.away.AWAY`."""

    def __init__(self, pool: AsyncConnectionPool[Any], effects: EffectsLedger) -> None:
        self._pool = pool
        self._effects = effects

    async def claim(self, kind: str, *, limit: int, lease_s: float, done: Sequence[Delivery] = ()) -> list[Delivery]:
        """See `EffectsLedger.claim`; none of an endpoint that is not ACTIVE."""
        values = {"endpoint": UUID(kind.partition(".")[2]), "limit": limit, "lease_s": lease_s,
                  "retried_for": RETRIED_FOR}  # fmt: skip
        async with (
            self._pool.connection() as connection,
            connection.pipeline(),
            connection.transaction(),
            connection.cursor(row_factory=class_row(Delivery)) as cursor,
        ):
            await connection.execute("SET LOCAL synchronous_commit = off")
            if done:
                await connection.execute(_DONE, _places(done, [each.last_status for each in done]))
            claimed: list[Delivery] = await (await cursor.execute(_CLAIM, values)).fetchall()
        return sorted(claimed, key=lambda each: each.number)

    async def release(self, effects: Sequence[Delivery], *, done: Sequence[Delivery] = ()) -> None:
        """See `EffectsLedger.release`."""
        async with self._pool.connection() as connection, connection.transaction():
            if done:
                await connection.execute(_DONE, _places(done, [each.last_status for each in done]))
            await connection.execute(_HOLD, _held(effects, None))

    async def extend(self, effects: Sequence[Delivery], *, lease_s: float) -> None:
        """See `EffectsLedger.extend`."""
        async with self._pool.connection() as connection:
            await connection.execute(_HOLD, _held(effects, lease_s))

    async def failed(self, effect: Delivery, error: str, *, pause_s: float, final: bool = False) -> State | None:
        """See `EffectsLedger.failed`."""
        values = {"error": error[:ERROR_LENGTH_MAX].replace("\x00", ""), "status": effect.last_status,
                  "pause_s": pause_s, "final": final, "grace": GRACE, "stretch_id": effect.stretch_id,
                  "position": effect.position, "attempts": effect.attempts}  # fmt: skip
        async with self._pool.connection() as connection:
            row = await (await connection.execute(_FAILED, values)).fetchone()
        return None if row is None else row[0]

    async def note_breaker(self, kind: str, state: BreakerState, reason: str) -> None:
        """See `EffectsLedger.note_breaker`."""
        await self._effects.note_breaker(kind, state, reason)

    async def due(self) -> list[UUID]:
        """The endpoints to which something is to be posted now: ENDPOINTS_AT_ONCE of them at most, any."""
        async with self._pool.connection() as connection:
            found = await connection.execute(_DUE, [ENDPOINTS_AT_ONCE])
            return [endpoint_id for (endpoint_id,) in await found.fetchall()]

    async def newest(
        self, endpoint_ids: Sequence[UUID], states: Sequence[State] = STATES, *, limit: int
    ) -> dict[UUID, list[Delivery]]:
        """Of each endpoint those in these states, the newest first."""
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(Delivery)) as cursor:
            await cursor.execute(_NEWEST, [list(endpoint_ids), list(states), limit, limit])
            found: dict[UUID, list[Delivery]] = {}
            for delivery in await cursor.fetchall():
                found.setdefault(delivery.endpoint_id, []).append(delivery)
        return found

    async def recent(self, states: Sequence[State], *, subject_id: UUID | None = None, limit: int) -> list[Delivery]:
        """Those in these states, whichever their endpoint, the newest first; for an operator, not for every request."""
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(Delivery)) as cursor:
            await cursor.execute(_RECENT, [list(states), subject_id, subject_id, limit])
            recent: list[Delivery] = await cursor.fetchall()
        return recent

    async def retry(self, event_id: UUID | None = None, effect: str | None = None) -> int:
        """See `EffectsLedger.retry`."""
        kind, _, endpoint = (effect or KIND).partition(".")
        if kind != KIND:
            return 0
        values = {"event": event_id, "endpoint": _uuid(endpoint)}
        if endpoint and values["endpoint"] is None:
            return 0
        async with self._pool.connection() as connection:
            return int((await connection.execute(_RETRY, values)).rowcount)

    async def leave_alone(self, endpoint_id: UUID, for_s: float) -> None:
        """Nothing is posted to the endpoint for so long, unless its owner changes something. Safe to repeat."""
        async with self._pool.connection() as connection:
            await connection.execute(_LEAVE_ALONE, [for_s, endpoint_id])

    async def takes_some(self, endpoint_id: UUID, since: datetime) -> bool:
        """Has the endpoint taken anything since then?"""
        async with self._pool.connection() as connection:
            row = await (await connection.execute(_TAKES_SOME, [endpoint_id, since])).fetchone()
        return row is not None and bool(row[0])

    async def delete_done(self, *, limit: int) -> int:
        """Delete the rows of what was delivered or given up long ago, the oldest first; returns how many. Safe to
        repeat, and for several at once."""
        async with self._pool.connection() as connection:
            deleted = await connection.execute(_DELETE_ENDED, [DELIVERED_KEPT_FOR, GIVEN_UP_KEPT_FOR, limit])
        return int(deleted.rowcount)

    async def standing(self) -> list[tuple[str, State, int, float]]:
        """See `EffectsLedger.standing`; what waits for a paused endpoint is not due."""
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(_STANDING)).fetchall()
        return [(KIND, state, count, float(oldest_s)) for state, count, oldest_s in rows]


def _places(deliveries: Sequence[Delivery], values: Sequence[int | None]) -> list[Any]:
    return [[each.stretch_id for each in deliveries], [each.position for each in deliveries], list(values)]


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
