"""Where followers stand, in Postgres: see `streams.ports.FollowerStore`.

Transactions run in pipeline mode, unless they are careful: what needs no answer is sent with the next statement that
does, so a batch costs three round trips instead of eight.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from uuid import UUID

import structlog
from psycopg import AsyncConnection
from psycopg.sql import SQL, Identifier
from psycopg_pool import AsyncConnectionPool

from adapters import effects_ledger, parked_events, read_store
from adapters.follower_statements import LOCK, MOVE, lock_parameters, move_parameters
from adapters.joint_transactions import JointTransaction, JointTransactions
from adapters.log import LOG_END, EventLog, LogRecord
from adapters.packed_arrays import texts
from adapters.parked_events import PARKED_AGGREGATES, ParkedEvent
from adapters.personal_data import destroy_key
from adapters.relay_store import LOST
from adapters.view_notices import moved
from commands.effects import Dropped, Planned
from projections.view import Recorded, Row, View

log = structlog.get_logger()
R = TypeVar("R", bound=Row)

# Rows that are a person's and no facts.
_PERSONS_TABLES: Final = (
    "credentials", "sessions", "mfa", "account_tokens", "staged_passwords", "staged_factors", "prepared_factors",
)  # fmt: skip

_BEHIND: Final = (
    "SELECT v.view, v.context, v.shard, v.position, r.position FROM view_positions v"
    " JOIN relay_partitions r USING (context, shard) WHERE v.position < r.position"
)


@dataclass(slots=True)
class PostgresFollowerTransaction:
    """See `streams.ports.FollowerTransaction`."""

    connection: AsyncConnection[Any]
    log: EventLog
    follower: str
    context: str
    positions: dict[int, int]
    log_end: int
    parked: set[UUID]

    async def after(self, shard: int, position: int, *, limit: int, until: int) -> list[LogRecord]:
        # On the same connection: refills that each hold one and wait for another would empty the pool.
        return await self.log.shard_after(
            self.context, shard, position, limit=limit, until=until, connection=self.connection
        )

    async def of_versions(self, aggregate_id: UUID, versions: Sequence[int]) -> list[LogRecord]:
        return await self.log.of_versions(aggregate_id, versions, self.connection)

    def savepoint(self) -> AbstractAsyncContextManager[Any]:
        return self.connection.transaction()

    async def write(self, view: View[R], events: Sequence[Recorded]) -> list[R]:
        return await read_store.write(self.connection, view, events)

    async def skip(self, view: View[Any], aggregate_id: UUID, version: int, position: int) -> None:
        await self.connection.execute(
            SQL("UPDATE {} SET version = %s, position = %s WHERE id = %s AND version = %s").format(
                Identifier(view.table)
            ),
            [version, position, aggregate_id, version - 1],
        )
        await read_store.tell_changed(self.connection, view, [aggregate_id])

    async def erase(self, person_id: UUID) -> None:
        if not await destroy_key(self.connection, person_id):
            log.error("key_not_destroyed", person_id=str(person_id), reason="the log has no erasure of this person")
            return
        for table in _PERSONS_TABLES:
            await self.connection.execute(
                SQL("DELETE FROM {} WHERE user_id = %s").format(Identifier(table)), [person_id]
            )

    async def plan(self, changes: Sequence[Planned | Dropped]) -> None:
        await effects_ledger.plan(self.connection, changes)

    async def note_uncopied(self, shard: int, position: int) -> None:
        await self.connection.execute(
            "UPDATE view_positions SET copied = least(copied, %s) WHERE view = %s AND context = %s AND shard = %s",
            [position, self.follower, self.context, shard],
        )

    async def park(self, records: Sequence[LogRecord], reason: str) -> None:
        await parked_events.park(self.connection, self.follower, records, reason)

    async def parked_of(self, aggregate_id: UUID, *, limit: int) -> list[ParkedEvent]:
        return await parked_events.parked_of(self.connection, self.follower, aggregate_id, limit=limit)

    async def release(self, event: ParkedEvent) -> None:
        await parked_events.release(self.connection, event)

    async def failed_again(self, event: ParkedEvent, reason: str) -> None:
        await parked_events.failed_again(self.connection, event, reason)

    async def move(self, positions: Mapping[int, int]) -> None:
        moves = [(self.follower, self.context, shard, position) for shard, position in positions.items()]
        await self.connection.execute(MOVE, move_parameters(self.context, moves, moved(moves)))


class PostgresFollowerStore:
    """See `streams.ports.FollowerStore`. The rows of the positions are locked, in shard order: no deadlock."""

    def __init__(self, pool: AsyncConnectionPool[Any], event_log: EventLog, joint: JointTransactions) -> None:
        self._pool = pool
        self._log = event_log
        self._joint = joint

    @asynccontextmanager
    async def begin(
        self, follower: str, context: str, shards: Iterable[int], *, careful: bool = False
    ) -> AsyncIterator[PostgresFollowerTransaction]:
        async with self._pool.connection() as connection:
            ((log_end,),) = await (await connection.execute(LOG_END)).fetchall()
            # A statement that fails in a pipeline takes those behind it with it: no place for savepoints.
            async with nullcontext() if careful else connection.pipeline(), connection.transaction():
                yield await self._opened(connection, follower, context, shards, log_end)

    async def _opened(
        self, connection: AsyncConnection[Any], follower: str, context: str, shards: Iterable[int], log_end: int
    ) -> PostgresFollowerTransaction:
        locked = await connection.execute(LOCK, lock_parameters([follower], context, shards))
        # Not in the same statement: that would not see what the last holder of the lock has parked. In a pipeline both
        # are one round trip.
        found = await connection.execute(PARKED_AGGREGATES, [texts([follower])])
        positions = {shard: position for _, shard, position, _ in await locked.fetchall()}
        parked = {aggregate_id for _, aggregate_id in await found.fetchall()}
        return PostgresFollowerTransaction(connection, self._log, follower, context, positions, log_end, parked)

    def together(
        self, context: str, shards: Iterable[int], reads: Mapping[str, tuple[View[Any], Sequence[UUID]] | None]
    ) -> AbstractAsyncContextManager[Mapping[str, JointTransaction]]:
        return self._joint.open(context, shards, reads)

    async def standing(self, followers: Sequence[str], context: str, shard: int) -> dict[str, int]:
        async with self._pool.connection() as connection:
            found = await connection.execute(
                "SELECT view, position FROM view_positions WHERE view = ANY(%s) AND context = %s AND shard = %s",
                [list(followers), context, shard],
            )
            return dict(await found.fetchall())

    async def after(self, context: str, shard: int, position: int, *, limit: int, until: int) -> list[LogRecord]:
        return await self._log.shard_after(context, shard, position, limit=limit, until=until)

    async def published(self, context: str, shard: int) -> tuple[int, int] | None:
        async with self._pool.connection() as connection:
            found = await connection.execute(
                "SELECT position, kafka_offset FROM relay_partitions"
                " WHERE context = %s AND shard = %s AND kafka_offset <> %s",
                [context, shard, LOST],
            )
            row = await found.fetchone()
        return None if row is None else (row[0], row[1])

    async def behind(self) -> dict[tuple[str, str, int], tuple[int, int]]:
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(_BEHIND)).fetchall()
        return {(view, context, shard): (position, published) for view, context, shard, position, published in rows}
