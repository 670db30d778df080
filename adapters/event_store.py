"""The event store: aggregates loaded in one query, events appended by group commit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast
from uuid import UUID

from eventsourcing.domain import Aggregate, CanMutateAggregate
from psycopg_pool import AsyncConnectionPool

from adapters.aggregate_cache import AggregateCache, Seen, copy_of
from adapters.event_codec import EventMapper
from adapters.group_commit import GroupCommit
from adapters.snapshots import SnapshotWriter, restored, shape
from adapters.stored_commands import stored_commands
from commands.ports import Append, StoredCommand, StreamHead
from domain import CONTEXT_OF, aggregate_type_of

# Snapshots are read for those of which nothing is known yet; their rows have schema version 0 and come first.
_LOAD: Final = """
WITH seen AS (
    SELECT * FROM unnest(%s::uuid[], %s::bigint[]) AS s (id, version)
), snapshot AS MATERIALIZED (
    SELECT s.* FROM seen JOIN snapshots s ON s.originator_id = seen.id WHERE seen.version = 0 AND s.shape = %s
)
SELECT originator_id, originator_version, topic, 0::smallint, state, position FROM snapshot
UNION ALL
SELECT e.originator_id, e.originator_version, e.topic, e.schema_version, e.state, e.notification_id
FROM seen LEFT JOIN snapshot s ON s.originator_id = seen.id
JOIN events e ON e.originator_id = seen.id AND e.originator_version > coalesce(s.originator_version, seen.version)
ORDER BY 1, 2
"""
_NO_SHAPE: Final = ""  # of no snapshot


class PostgresEventStore:
    """See `commands.ports.EventStore`. One per process and event loop: `async with PostgresEventStore(...)`."""

    def __init__(self, pool: AsyncConnectionPool[Any], conninfo: str) -> None:
        self._pool = pool
        self._mapper = EventMapper()
        self._cache = AggregateCache()
        self._commit = GroupCommit(conninfo)
        self._snapshots = SnapshotWriter(pool)

    async def __aenter__(self) -> PostgresEventStore:
        await self._commit.__aenter__()
        await self._snapshots.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Store what is queued, then stop."""
        await self._commit.__aexit__(None, None, None)
        await self._snapshots.__aexit__(None, None, None)

    async def load(self, aggregate_ids: Sequence[UUID]) -> dict[UUID, tuple[Aggregate, StreamHead]]:
        """See `commands.ports.EventStore.load`."""
        seen = {aggregate_id: self._cache.get(aggregate_id) for aggregate_id in aggregate_ids}
        broken = await self._advance(seen, shape())
        if broken:
            await self._advance(broken, _NO_SHAPE)
            seen |= broken
        loaded = {}
        for aggregate_id, each in seen.items():
            if each.aggregate is not None and each.head is not None:
                self._cache.put(aggregate_id, each)
                self._snapshots.note(aggregate_id, each)
                loaded[aggregate_id] = (copy_of(each.aggregate), each.head)
        return loaded

    async def _advance(self, seen: dict[UUID, Seen], wanted_shape: str) -> dict[UUID, Seen]:
        """Bring them to the end of their streams; returns those whose snapshot cannot be read, at their beginning."""
        known = [list(seen), [each.version for each in seen.values()], wanted_shape]
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(_LOAD, known, binary=True)).fetchall()
        broken: dict[UUID, Seen] = {}
        for aggregate_id, version, topic, schema_version, state, position in rows:
            if aggregate_id in broken:
                continue
            if schema_version == 0:
                snapshot = restored(topic, state, aggregate_id, version, position)
                if snapshot is None:
                    broken[aggregate_id] = Seen()
                elif snapshot.version > seen[aggregate_id].version:
                    seen[aggregate_id] = snapshot
                continue
            head = StreamHead(aggregate_id, CONTEXT_OF[aggregate_type_of(topic)], version, position)
            event = self._mapper.decode(topic, schema_version, state, aggregate_id, version)
            seen[aggregate_id].advance(cast("CanMutateAggregate[UUID]", event), head)
        return broken

    async def find_command(self, command_id: UUID) -> StoredCommand | None:
        """See `commands.ports.EventStore.find_command`."""
        async with self._pool.connection() as connection:
            return (await stored_commands(connection, [command_id])).get(command_id)

    async def append(self, append: Append) -> tuple[StreamHead, ...]:
        """See `commands.ports.EventStore.append`. Raises `adapters.group_commit.StoreUnavailable` when the outcome
        stays unknown."""
        return await self._commit.append(append)
