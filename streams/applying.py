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
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, TypeVar
from uuid import UUID

import structlog
from psycopg import AsyncConnection, AsyncCursor
from psycopg_pool import AsyncConnectionPool

from adapters.away import AWAY, pause
from adapters.consistency import notification
from adapters.log import EventLog, LogRecord
from adapters.parked_events import (
    PARKED_AGGREGATES,
    PARKED_AGGREGATES_MAX,
    failed_again,
    park,
    parked_of,
    release,
)
from adapters.read_store import CHANNEL
from adapters.wire import Linked
from streams.following import AfterCommit, Follower
from streams.parking import Gone, Stopped, is_poison, tried

log = structlog.get_logger()
T = TypeVar("T")

REFILL_EVENTS: Final = 1_000  # one transaction of a refill
CAREFUL_EVENTS: Final = 200  # one in which each event has a savepoint
RETRY_PAUSE_S_MIN: Final = 0.2
RETRY_PAUSE_S_MAX: Final = 5.0
STOPPED_S: Final = 10.0


class Chain:
    """Keeps followers' chains. Any number of processes may work on the same shard: the position row is locked.

    Transactions run in pipeline mode: what needs no answer is sent with the next statement that does, so a
    batch costs three round trips instead of eight."""

    def __init__(self, pool: AsyncConnectionPool[Any], event_log: EventLog) -> None:
        self._pool = pool
        self._log = event_log
        # Followers that have parked too much, and when they are tried again.
        self._stopped: dict[str, float] = {}

    async def take(self, follower: Follower, context: str, records: Sequence[Linked]) -> None:
        """Apply a batch of one context's records, whatever of it is new, refilling every gap first.

        Returns when all is committed, poison parked; or at once when the follower has stopped: what it misses is
        a gap, and refilled when it goes on. A database that is away is waited for, for ever; anything else is
        raised and the batch may be given again."""
        by_shard: dict[int, list[Linked]] = {}
        for linked in records:
            by_shard.setdefault(linked.record.shard, []).append(linked)
        while by_shard and not self._stands(follower):
            attempt = partial(self._apply_chained, follower, context, by_shard)
            try:
                gaps = await self._persist(follower.name, attempt)
            except Gone:
                break
            except Stopped as error:
                self._stop(follower, error)
                break
            except Exception as error:
                if not (follower.parks and is_poison(error)):
                    raise
                # From the log, one by one: what Kafka brought may be what is wrong.
                log.warning("poison", follower=follower.name, context=context, error=repr(error))
                gaps = {shard: chain[-1].record.position for shard, chain in by_shard.items()}
                by_shard = {}
            for shard, until in gaps.items():
                await self.refill(follower, context, shard, until=until)
            by_shard = {shard: by_shard[shard] for shard in gaps if shard in by_shard}

    async def refill(self, follower: Follower, context: str, shard: int, *, until: int) -> int:
        """Apply the events of a shard from the follower's position up to `until`, from the log, in bounded
        transactions; returns how many. May be interrupted anywhere: it goes on from the stored position.

        Poison is parked; a follower that has stopped is left where it stands."""
        applied = 0
        while not self._stands(follower):
            place = (follower, context, shard, until)
            try:
                try:
                    count = await self._persist(follower.name, partial(self._refill_once, *place))
                except Exception as error:
                    if not (follower.parks and is_poison(error)):
                        raise
                    count = await self._persist(follower.name, partial(self._refill_carefully, *place))
            except Gone:
                break
            except Stopped as error:
                self._stop(follower, error)
                break
            if count == 0:
                break
            applied += count
        if applied and follower.parks:  # whoever builds a view anew tells of it himself
            log.info("refilled", follower=follower.name, context=context, shard=shard, events=applied)
        return applied

    async def resume(self, follower: Follower, aggregate_id: UUID, context: str, shard: int) -> None:
        """Do what is wished for an aggregate's parked events, in order, up to the first that fails again."""
        while await self._persist(follower.name, partial(self._resume_once, follower, aggregate_id, context, shard)):
            pass
        self._stopped.pop(follower.name, None)

    def _stands(self, follower: Follower) -> bool:
        return self._stopped.get(follower.name, 0.0) > asyncio.get_running_loop().time()

    def _stop(self, follower: Follower, error: Stopped) -> None:
        log.error("follower_stopped", follower=follower.name, reason=str(error))
        self._stopped[follower.name] = asyncio.get_running_loop().time() + STOPPED_S

    async def _apply_chained(
        self, follower: Follower, context: str, by_shard: dict[int, list[Linked]]
    ) -> dict[int, int]:
        """Apply up to the first gap of each shard; returns the gaps: shard to the position before the gap's end."""
        after_commit = None
        gaps: dict[int, int] = {}
        async with self._pool.connection() as connection, connection.pipeline(), connection.transaction():
            positions, parked = await _lock(connection, follower.name, context, sorted(by_shard))
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
            after_commit = await _apply(connection, follower, context, fresh, moved, parked)
        if after_commit is not None:
            await after_commit()
        return gaps

    async def _refill_once(self, follower: Follower, context: str, shard: int, until: int) -> int:
        async with self._pool.connection() as connection, connection.pipeline(), connection.transaction():
            positions, parked = await _lock(connection, follower.name, context, [shard])
            # On the same connection: refills that each hold one and wait for another would empty the pool.
            records = await self._log.shard_after(
                context, shard, positions[shard], limit=REFILL_EVENTS, until=until, connection=connection
            )
            if not records:
                return 0
            moved = {shard: records[-1].position}
            after_commit = await _apply(connection, follower, context, records, moved, parked)
        if after_commit is not None:
            await after_commit()
        return len(records)

    async def _refill_carefully(self, follower: Follower, context: str, shard: int, until: int) -> int:
        """As `_refill_once`, each event by itself, parking those that cannot be applied."""
        after_commit: list[AfterCommit] = []
        async with self._pool.connection() as connection, connection.transaction():
            positions, parked = await _lock(connection, follower.name, context, [shard])
            records = await self._log.shard_after(
                context, shard, positions[shard], limit=CAREFUL_EVENTS, until=until, connection=connection
            )
            last = positions[shard]
            for record in records:
                reason = ""
                if follower.wants(record.event_type) and record.aggregate_id not in parked:
                    reason = await tried(connection, follower, record, after_commit)
                if reason:
                    parked.add(record.aggregate_id)
                    log.error("parked", follower=follower.name, aggregate=str(record.aggregate_id),
                              version=record.version, position=record.position, reason=reason)  # fmt: skip
                if record.aggregate_id in parked:
                    await park(connection, follower.name, [record], reason)
                last = record.position
                if len(parked) >= PARKED_AGGREGATES_MAX:
                    break  # what is parked so far is kept; the next transaction stops
            if records:
                await _move(connection, follower.name, context, {shard: last})
        for each in after_commit:
            await each()
        return len(records)

    async def _resume_once(self, follower: Follower, aggregate_id: UUID, context: str, shard: int) -> bool:
        """True when something was done and more may be wished."""
        after_commit: list[AfterCommit] = []
        done = 0
        async with self._pool.connection() as connection, connection.transaction():
            await _lock_positions(connection, follower.name, context, [shard])
            parked = await parked_of(connection, follower.name, aggregate_id, limit=CAREFUL_EVENTS)
            versions = [event.version for event in parked]
            records = {
                record.version: record for record in await self._log.of_versions(aggregate_id, versions, connection)
            }
            for event in parked:
                if event.wish is None:
                    break
                if event.wish == "retry":
                    record = records[event.version]
                    if reason := await tried(connection, follower, record, after_commit):
                        await failed_again(connection, event, reason)
                        break
                elif follower.skip is not None:
                    await follower.skip(connection, aggregate_id, event.version, event.position)
                await release(connection, event)
                done += 1
        for each in after_commit:
            await each()
        return done == CAREFUL_EVENTS

    async def _persist(self, name: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """The attempt's result, however long the database is away. Positions make repeating it safe."""
        pause_s = RETRY_PAUSE_S_MIN
        while True:
            try:
                return await attempt()
            except AWAY as error:
                log.warning("database_away", follower=name, error=str(error), pause_s=pause_s)
                await pause(pause_s)
                pause_s = min(2 * pause_s, RETRY_PAUSE_S_MAX)


async def _apply(
    connection: AsyncConnection[Any],
    follower: Follower,
    context: str,
    records: Sequence[LogRecord],
    moved: dict[int, int],
    parked: set[UUID],
) -> AfterCommit | None:
    """Apply the records that have not been, but for parked aggregates, and move the positions."""
    if not moved:
        return None
    wanted = [record for record in records if follower.wants(record.event_type)]
    waiting = [record for record in wanted if record.aggregate_id in parked]
    if waiting:
        await park(connection, follower.name, waiting, "")
        wanted = [record for record in wanted if record.aggregate_id not in parked]
    events = [record.decoded() for record in sorted(wanted, key=lambda record: record.position)]
    after_commit = await follower.apply(connection, events) if events else None
    await _move(connection, follower.name, context, moved)
    return after_commit


async def _move(connection: AsyncConnection[Any], name: str, context: str, moved: dict[int, int]) -> None:
    """Store the positions, and wake who waits for them."""
    await connection.execute(
        "UPDATE view_positions SET position = m.position, updated_at = clock_timestamp()"
        " FROM unnest(%s::smallint[], %s::bigint[]) AS m (shard, position)"
        " WHERE view = %s AND context = %s AND view_positions.shard = m.shard",
        [list(moved), list(moved.values()), name, context],
    )
    payload = notification((name, context, shard, position) for shard, position in moved.items())
    await connection.execute("SELECT pg_notify(%s, %s)", [CHANNEL, payload])


async def _lock(
    connection: AsyncConnection[Any], name: str, context: str, shards: Iterable[int]
) -> tuple[dict[int, int], set[UUID]]:
    """The follower's positions, locked until the transaction ends, and its parked aggregates. Raises Stopped."""
    locked = await _lock_positions(connection, name, context, shards)
    found = await connection.execute(PARKED_AGGREGATES, [name])  # in a pipeline both are one round trip
    positions = dict(await locked.fetchall())
    if not positions:
        raise Gone(name)
    parked = {row[0] for row in await found.fetchall()}
    if len(parked) >= PARKED_AGGREGATES_MAX:
        raise Stopped(name)
    return positions, parked


async def _lock_positions(
    connection: AsyncConnection[Any], name: str, context: str, shards: Iterable[int]
) -> AsyncCursor[Any]:
    # Rows and position are lost together if the server dies before its next flush, and are applied again:
    # nothing is gained by making the log's writers wait for these flushes.
    await connection.execute("SET LOCAL synchronous_commit = off")
    # In shard order: no deadlock.
    return await connection.execute(
        "SELECT shard, position FROM view_positions WHERE view = %s AND context = %s AND shard = ANY(%s)"
        " ORDER BY shard FOR UPDATE",
        [name, context, list(shards)],
    )
