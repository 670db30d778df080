"""The ledger of effects, in Postgres: what is to be done in the world, by whom it is being done, and what became of it.

Times are the database's clock. Neither a claim nor the note that an effect is done need be flushed at once: one that
is done again does nothing (see `streams.effects`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg_pool import AsyncConnectionPool

from adapters.packed_arrays import PackedArray, bigints, texts, timestamps, uuids
from commands.effects import Dropped, Planned

ERROR_LENGTH_MAX: Final = 1_000
PLANNED_FOR: Final = timedelta(hours=1)  # of what somebody asked for and waits for
# How long one can look up what was done. An effect whose row is gone could only be planned again by a follower whose
# position moved back, and the position stands in this database and is stored with the row: what a crash of the server
# or an older backup takes back, it takes back of both. Kafka cannot: a record below the position is dropped. Were a
# position set back by hand, rows up to this age would still stop their effects, and older ones find nothing left to
# do: the mail is on record, the payment is where its order wants it, the order no longer waits.
KEPT_FOR: Final = timedelta(days=30)
State = Literal["waiting", "done", "given_up"]
BreakerState = Literal["closed", "open", "half_open"]

_PLAN: Final = """
INSERT INTO effects (event_id, effect, subject_id, due_at, give_up_at, correlation_id)
SELECT event_id, effect, subject_id, coalesce(due_at, clock_timestamp()), give_up_at, correlation_id
FROM unnest(%b::uuid[], %b::text[], %b::uuid[], %b::timestamptz[], %b::timestamptz[], %b::uuid[],
        %b::uuid[], %b::bigint[], %b::text[])
    AS p (event_id, effect, subject_id, due_at, give_up_at, correlation_id, cause_id, cause_version, cause_type)
WHERE cause_id IS NULL OR EXISTS (SELECT FROM events e
    WHERE e.originator_id = cause_id AND e.originator_version = cause_version AND e.topic = cause_type)
ON CONFLICT DO NOTHING
"""
# Whatever else waits for the subject, between two attempts, may find things changed.
_HURRY: Final = """
UPDATE effects e SET due_at = clock_timestamp() FROM unnest(%b::text[], %b::uuid[]) AS p (kind, subject_id)
WHERE e.state = 'waiting' AND e.kind = p.kind AND e.subject_id = p.subject_id AND e.attempts > 0
    AND e.claimed_until IS NULL AND e.due_at > clock_timestamp()
"""
_DROP: Final = """
DELETE FROM effects e USING unnest(%b::text[], %b::uuid[], %b::uuid[], %b::bigint[], %b::text[])
    AS d (effect, subject_id, cause_id, cause_version, cause_type)
WHERE e.state = 'waiting' AND e.kind = split_part(d.effect, '.', 1) AND e.subject_id = d.subject_id
    AND e.effect = d.effect AND (cause_id IS NULL OR EXISTS (SELECT FROM events v
        WHERE v.originator_id = cause_id AND v.originator_version = cause_version AND v.topic = cause_type))
"""
_CLAIM: Final = """
WITH due AS (
    SELECT event_id, effect FROM effects e
    WHERE state = 'waiting' AND due_at <= now() AND kind = %s
        AND (claimed_until IS NULL OR claimed_until < clock_timestamp())
        AND NOT EXISTS (SELECT FROM effects b WHERE b.state = 'waiting' AND b.kind = e.kind
            AND b.subject_id = e.subject_id AND b.number < e.number)
    ORDER BY due_at, number LIMIT %s FOR UPDATE SKIP LOCKED
)
UPDATE effects e SET attempts = attempts + 1, claimed_until = clock_timestamp() + make_interval(secs => %s)
FROM due WHERE e.event_id = due.event_id AND e.effect = due.effect
RETURNING e.event_id, e.effect, e.subject_id, e.state, e.planned_at, e.due_at, e.give_up_at, e.attempts, e.last_error,
    e.correlation_id
"""
_DONE: Final = """
UPDATE effects e SET state = 'done', ended_at = clock_timestamp(), claimed_until = NULL
FROM unnest(%b::uuid[], %b::text[]) AS d (event_id, effect)
WHERE e.event_id = d.event_id AND e.effect = d.effect AND e.state = 'waiting'
"""
# `attempts` says whose claim it was: whoever has claimed it since knows better.
_FAILED: Final = """
UPDATE effects SET last_error = %(error)s, claimed_until = NULL,
    due_at = clock_timestamp() + make_interval(secs => %(pause_s)s),
    state = CASE WHEN %(final)s OR clock_timestamp() > give_up_at THEN 'given_up' ELSE 'waiting' END,
    ended_at = CASE WHEN %(final)s OR clock_timestamp() > give_up_at THEN clock_timestamp() END
WHERE event_id = %(event_id)s AND effect = %(effect)s AND state = 'waiting' AND attempts = %(attempts)s
RETURNING state
"""
# For no time, which is null, it is anybody's.
_HOLD: Final = """
UPDATE effects e SET claimed_until = clock_timestamp() + make_interval(secs => %s::float8)
FROM unnest(%b::uuid[], %b::text[], %b::bigint[]) AS r (event_id, effect, attempts)
WHERE e.event_id = r.event_id AND e.effect = r.effect AND e.attempts = r.attempts AND e.state = 'waiting'
"""
_NEWEST: Final = """
SELECT event_id, effect, subject_id, state, planned_at, due_at, give_up_at, attempts, last_error, correlation_id
FROM effects
WHERE state = ANY(%s) AND (%s::uuid IS NULL OR subject_id = %s) ORDER BY number DESC LIMIT %s
"""
# What was given up has another time as long as the first.
_RETRY: Final = """
UPDATE effects SET state = 'waiting', ended_at = NULL, due_at = clock_timestamp(), claimed_until = NULL,
    give_up_at = clock_timestamp() + (give_up_at - planned_at)
WHERE state = 'given_up' AND (%s::uuid IS NULL OR event_id = %s) AND (%s::text IS NULL OR effect = %s)
"""
# By the index effects_done; `clock_timestamp()`, being volatile, would have all of it read. A row that another worker
# is deleting is left to it.
_DELETE_DONE: Final = """
WITH old AS (
    SELECT event_id, effect FROM effects
    WHERE state = 'done' AND ended_at < now() - %s ORDER BY ended_at LIMIT %s FOR UPDATE SKIP LOCKED
)
DELETE FROM effects e USING old WHERE e.event_id = old.event_id AND e.effect = old.effect
"""
_STANDING: Final = """
SELECT kind, state, count(*), coalesce(extract(epoch FROM clock_timestamp() - min(due_at)), 0)
FROM effects WHERE state = 'given_up' OR (state = 'waiting' AND due_at <= clock_timestamp()) GROUP BY kind, state
"""
_BREAKER: Final = """
INSERT INTO breakers (kind, state, reason) VALUES (%s, %s, %s)
ON CONFLICT (kind) DO UPDATE SET state = excluded.state, reason = excluded.reason, changed_at = clock_timestamp()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One row of the ledger. `attempts` counts those that were begun; what was planned before there were correlations
    has none."""

    event_id: UUID
    effect: str
    subject_id: UUID
    state: State
    planned_at: datetime
    due_at: datetime
    give_up_at: datetime | None
    attempts: int
    last_error: str
    correlation_id: UUID | None = None

    @property
    def kind(self) -> str:
        """`payment` of `payment.capture`."""
        return self.effect.partition(".")[0]


def planning(changes: Iterable[Planned | Dropped]) -> list[tuple[str, list[PackedArray]]]:
    """The statements, with their parameters, that write down what is planned and take away what is dropped; of what an
    event causes only if the log has that event. Safe to repeat."""
    planned: dict[tuple[str, UUID], dict[UUID, Planned]] = {}
    dropped: dict[tuple[str, UUID], Dropped] = {}
    for change in changes:
        named = (change.effect, change.subject_id)
        if isinstance(change, Planned):
            planned.setdefault(named, {})[change.event_id] = change
        else:
            dropped[named] = change
            planned.pop(named, None)
    statements = []
    if dropped:
        statements.append(
            (
                _DROP,
                [
                    texts([effect for effect, _ in dropped]),
                    uuids([subject for _, subject in dropped]),
                    *_causes(list(dropped.values())),
                ],
            )
        )
    if rows := [each for events in planned.values() for each in events.values()]:
        about = uuids([row.subject_id for row in rows])
        columns = [
            uuids([row.event_id for row in rows]),
            texts([row.effect for row in rows]),
            about,
            timestamps([row.due_at for row in rows]),
            timestamps([row.give_up_at for row in rows]),
            uuids([row.correlation_id for row in rows]),
            *_causes(rows),
        ]
        statements.append((_PLAN, columns))
        statements.append((_HURRY, [texts([row.kind for row in rows]), about]))
    return statements


def _causes(changes: Sequence[Planned | Dropped]) -> list[PackedArray]:
    causes = [change.cause for change in changes]
    return [
        uuids([None if cause is None else cause.aggregate_id for cause in causes]),
        bigints([0 if cause is None else cause.version for cause in causes]),
        texts(["" if cause is None else cause.event_type for cause in causes]),
    ]


async def plan(connection: AsyncConnection[Any], changes: Iterable[Planned | Dropped]) -> None:
    """See `planning`; in the caller's transaction."""
    for statement, parameters in planning(changes):
        await connection.execute(statement, parameters)


def _names(effects: Sequence[Effect]) -> list[PackedArray]:
    return [uuids([each.event_id for each in effects]), texts([each.effect for each in effects])]


def _held(effects: Sequence[Effect], lease_s: float | None) -> list[Any]:
    return [lease_s, *_names(effects), bigints([each.attempts for each in effects])]


class EffectsLedger:
    """The ledger, for those who do effects and those who look at them. Raises one of `adapters.away.AWAY`."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def claim(self, kind: str, *, limit: int, lease_s: float, done: Sequence[Effect] = ()) -> list[Effect]:
        """Effects of this kind that are due; nobody else gets them for `lease_s`. Of those about one subject only the
        first that is not done. Before that, in the same transaction, `done` ones are noted: they need not be done any
        more, which is safe to repeat."""
        async with (
            self._pool.connection() as connection,
            connection.pipeline(),
            connection.transaction(),
            connection.cursor(row_factory=class_row(Effect)) as cursor,
        ):
            await connection.execute("SET LOCAL synchronous_commit = off")
            if done:
                await connection.execute(_DONE, _names(done))
            claimed: list[Effect] = await (await cursor.execute(_CLAIM, [kind, limit, lease_s])).fetchall()
        return claimed

    async def release(self, effects: Sequence[Effect], *, done: Sequence[Effect] = ()) -> None:
        """Whoever claimed these does not do them: they are anybody's. Of `done` see `claim`. Safe to repeat."""
        async with self._pool.connection() as connection, connection.transaction():
            if done:
                await connection.execute(_DONE, _names(done))
            await connection.execute(_HOLD, _held(effects, None))

    async def extend(self, effects: Sequence[Effect], *, lease_s: float) -> None:
        """Whoever claimed these still does them: nobody else gets them for `lease_s` from now, but where somebody has
        them already. Safe to repeat."""
        async with self._pool.connection() as connection:
            await connection.execute(_HOLD, _held(effects, lease_s))

    async def failed(self, effect: Effect, error: str, *, pause_s: float, final: bool = False) -> State | None:
        """It is tried again after a pause, or given up: at once if this is `final`, else when its time is over.

        Returns what it is now; None when somebody else has claimed it meanwhile."""
        values = {"error": error[:ERROR_LENGTH_MAX].replace("\x00", ""), "pause_s": pause_s, "final": final,
                  "event_id": effect.event_id, "effect": effect.effect, "attempts": effect.attempts}  # fmt: skip
        async with self._pool.connection() as connection:
            row = await (await connection.execute(_FAILED, values)).fetchone()
        return None if row is None else row[0]

    async def plan(self, *, effect: str, event_id: UUID, subject_id: UUID, now: datetime) -> None:
        """See `commands.ports.Effects.plan`."""
        planned = Planned(event_id=event_id, effect=effect, subject_id=subject_id, give_up_at=now + PLANNED_FOR)
        async with self._pool.connection() as connection, connection.transaction():
            await plan(connection, [planned])

    async def newest(self, states: Sequence[State], *, subject_id: UUID | None = None, limit: int) -> list[Effect]:
        """Those in these states, the newest first."""
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(Effect)) as cursor:
            newest: list[Effect] = await (
                await cursor.execute(_NEWEST, [list(states), subject_id, subject_id, limit])
            ).fetchall()
        return newest

    async def retry(self, event_id: UUID | None = None, effect: str | None = None) -> int:
        """Have what was given up done after all, all of it or these; returns how many. Safe to repeat."""
        async with self._pool.connection() as connection:
            retried = await connection.execute(_RETRY, [event_id, event_id, effect, effect])
        return int(retried.rowcount)

    async def delete_done(self, *, limit: int) -> int:
        """Delete the rows of what was done longer than KEPT_FOR ago, the oldest first; returns how many. What was
        given up stays until somebody has it tried again. Safe to repeat, and for several at once."""
        async with self._pool.connection() as connection:
            deleted = await connection.execute(_DELETE_DONE, [KEPT_FOR, limit])
        return int(deleted.rowcount)

    async def standing(self) -> list[tuple[str, State, int, float]]:
        """Per kind and state but done: how many are due, and for how many seconds the oldest is."""
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(_STANDING)).fetchall()
        return [(kind, state, count, float(oldest_s)) for kind, state, count, oldest_s in rows]

    async def note_breaker(self, kind: str, state: BreakerState, reason: str) -> None:
        """Whether a provider is thought to answer."""
        async with self._pool.connection() as connection:
            await connection.execute(_BREAKER, [kind, state, reason[:ERROR_LENGTH_MAX]])

    async def breakers(self) -> list[tuple[str, BreakerState, str]]:
        """Per kind: its state and why."""
        async with self._pool.connection() as connection:
            rows = await (await connection.execute("SELECT kind, state, reason FROM breakers")).fetchall()
        return [(kind, state, reason) for kind, state, reason in rows]
