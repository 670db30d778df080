"""From Kafka records to applied events: the chain.

Every partition is a chain: a record names its position and the position of the one before it (`previous`).
A follower (a view, or the checkout) stores the position it has applied, in the transaction of its rows, and
does with a record exactly one of three things:
- position <= last: it was applied, drop it;
- previous <= last: it is the next, apply it;
- previous > last: something is missing. Read the missing events from the log in Postgres, apply them, go on.
So a lost or repeated record, a deleted topic, a new view and a rebuild are all the same to it, and Kafka
offsets are only a hint.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests

from adapters.consistency import notification
from adapters.log import EventLog, LogRecord
from adapters.read_store import CHANNEL
from adapters.wire import Linked
from projections.view import Recorded

log = structlog.get_logger()
T = TypeVar("T")

REFILL_EVENTS: Final = 1_000  # one transaction of a refill
RETRY_PAUSE_S_MIN: Final = 0.2
RETRY_PAUSE_S_MAX: Final = 5.0
AWAY: Final = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, TooManyRequests, OSError)

Apply = Callable[[AsyncConnection[Any], Sequence[Recorded]], Awaitable[Callable[[], Awaitable[None]] | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """Something that follows a context. `apply` works in the transaction that stores the position, and may
    return what is to be done after its commit (and may be lost there)."""

    name: str
    follows: frozenset[str] | None  # aggregate types, None for all
    apply: Apply


class Chain:
    """Keeps followers' chains. Any number of processes may work on the same shard: the position row is locked.

    Transactions run in pipeline mode: what needs no answer is sent with the next statement that does, so a
    batch costs three round trips instead of eight."""

    def __init__(self, pool: AsyncConnectionPool[Any], event_log: EventLog) -> None:
        self._pool = pool
        self._log = event_log

    async def take(self, follower: Follower, context: str, records: Sequence[Linked]) -> None:
        """Apply a batch of one context's records, whatever of it is new, refilling every gap first.

        Returns when all is committed. A database that is away is waited for, for ever; anything else is
        raised and the batch may be given again."""
        by_shard: dict[int, list[Linked]] = {}
        for linked in records:
            by_shard.setdefault(linked.record.shard, []).append(linked)
        while by_shard:
            attempt = partial(self._apply_chained, follower, context, by_shard)
            gaps = await self._persist(follower.name, attempt)
            for shard, until in gaps.items():
                await self.refill(follower, context, shard, until=until)
            by_shard = {shard: by_shard[shard] for shard in gaps}

    async def refill(self, follower: Follower, context: str, shard: int, *, until: int) -> int:
        """Apply the events of a shard from the follower's position up to `until`, from the log, in bounded
        transactions; returns how many. May be interrupted anywhere: it goes on from the stored position."""
        applied = 0
        while True:
            attempt = partial(self._refill_once, follower, context, shard, until)
            count = await self._persist(follower.name, attempt)
            if count == 0:
                if applied:
                    log.info("refilled", follower=follower.name, context=context, shard=shard, events=applied)
                return applied
            applied += count

    async def _apply_chained(
        self, follower: Follower, context: str, by_shard: dict[int, list[Linked]]
    ) -> dict[int, int]:
        """Apply up to the first gap of each shard; returns the gaps: shard to the position before the gap's end."""
        after_commit = None
        gaps: dict[int, int] = {}
        async with self._pool.connection() as connection, connection.pipeline(), connection.transaction():
            positions = await _lock(connection, follower.name, context, sorted(by_shard))
            fresh: list[LogRecord] = []
            moved: dict[int, int] = {}
            for shard, chain in by_shard.items():
                last = positions[shard]
                for linked in chain:
                    if linked.record.position <= last:
                        continue
                    if linked.previous > last:
                        gaps[shard] = linked.previous
                        break
                    fresh.append(linked.record)
                    last = moved[shard] = linked.record.position
            after_commit = await self._apply(connection, follower, context, fresh, moved)
        if after_commit is not None:
            await after_commit()
        return gaps

    async def _refill_once(self, follower: Follower, context: str, shard: int, until: int) -> int:
        async with self._pool.connection() as connection, connection.pipeline(), connection.transaction():
            last = (await _lock(connection, follower.name, context, [shard]))[shard]
            # On the same connection: refills that each hold one and wait for another would empty the pool.
            records = await self._log.shard_after(
                context, shard, last, limit=REFILL_EVENTS, until=until, connection=connection
            )
            if not records:
                return 0
            after_commit = await self._apply(connection, follower, context, records, {shard: records[-1].position})
        if after_commit is not None:
            await after_commit()
        return len(records)

    async def _apply(
        self,
        connection: AsyncConnection[Any],
        follower: Follower,
        context: str,
        records: Sequence[LogRecord],
        moved: dict[int, int],
    ) -> Callable[[], Awaitable[None]] | None:
        if not moved:
            return None
        events = [
            record.decoded()
            for record in sorted(records, key=lambda record: record.position)
            if follower.follows is None or record.event_type.partition(".")[0] in follower.follows
        ]
        after_commit = await follower.apply(connection, events) if events else None
        await connection.execute(
            "UPDATE view_positions SET position = m.position, updated_at = clock_timestamp()"
            " FROM unnest(%s::smallint[], %s::bigint[]) AS m (shard, position)"
            " WHERE view = %s AND context = %s AND view_positions.shard = m.shard",
            [list(moved), list(moved.values()), follower.name, context],
        )
        payload = notification((follower.name, context, shard, position) for shard, position in moved.items())
        await connection.execute("SELECT pg_notify(%s, %s)", [CHANNEL, payload])
        return after_commit

    async def _persist(self, name: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """The attempt's result, however long the database is away. Positions make repeating it safe."""
        pause_s = RETRY_PAUSE_S_MIN
        while True:
            try:
                return await attempt()
            except AWAY as error:
                log.warning("database_away", follower=name, error=str(error), pause_s=pause_s)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, RETRY_PAUSE_S_MAX)


async def _lock(connection: AsyncConnection[Any], name: str, context: str, shards: list[int]) -> dict[int, int]:
    """The follower's positions, locked until the transaction ends. In shard order: no deadlock."""
    # Rows and position are lost together if the server dies before its next flush, and are applied again:
    # nothing is gained by making the log's writers wait for these flushes.
    await connection.execute("SET LOCAL synchronous_commit = off")
    rows = await connection.execute(
        "SELECT shard, position FROM view_positions WHERE view = %s AND context = %s AND shard = ANY(%s)"
        " ORDER BY shard FOR UPDATE",
        [name, context, shards],
    )
    return dict(await rows.fetchall())
