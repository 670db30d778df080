"""The event store: aggregates loaded in one query, events appended by group commit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast
from uuid import UUID

from eventsourcing.domain import Aggregate, CanMutateAggregate
from psycopg_pool import AsyncConnectionPool

from adapters.aggregate_cache import AggregateCache, copy_of
from adapters.event_codec import EventMapper
from adapters.group_commit import GroupCommit
from adapters.stored_commands import stored_commands
from commands.ports import Append, StoredCommand, StreamHead
from domain import CONTEXT_OF, aggregate_type_of

_LOAD: Final = """
SELECT e.originator_id, e.originator_version, e.topic, e.schema_version, e.state, e.notification_id
FROM unnest(%s::uuid[], %s::bigint[]) AS seen (id, version)
JOIN events e ON e.originator_id = seen.id AND e.originator_version > seen.version
ORDER BY e.originator_id, e.originator_version
"""


class PostgresEventStore:
    """See `commands.ports.EventStore`. One per process and event loop: `async with PostgresEventStore(...)`."""

    def __init__(self, pool: AsyncConnectionPool[Any], conninfo: str) -> None:
        self._pool = pool
        self._mapper = EventMapper()
        self._cache = AggregateCache()
        self._commit = GroupCommit(conninfo)

    async def __aenter__(self) -> PostgresEventStore:
        await self._commit.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Store what is queued, then stop."""
        await self._commit.__aexit__(None, None, None)

    async def load(self, aggregate_ids: Sequence[UUID]) -> dict[UUID, tuple[Aggregate, StreamHead]]:
        """See `commands.ports.EventStore.load`."""
        seen = {aggregate_id: self._cache.get(aggregate_id) for aggregate_id in aggregate_ids}
        known = [list(seen), [each.version for each in seen.values()]]
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(_LOAD, known, binary=True)).fetchall()
        for aggregate_id, version, topic, schema_version, state, position in rows:
            head = StreamHead(aggregate_id, CONTEXT_OF[aggregate_type_of(topic)], version, position)
            event = self._mapper.decode(topic, schema_version, state, aggregate_id, version)
            seen[aggregate_id].advance(cast("CanMutateAggregate[UUID]", event), head)
        loaded = {}
        for aggregate_id, each in seen.items():
            if each.aggregate is not None and each.head is not None:
                self._cache.put(aggregate_id, each)
                loaded[aggregate_id] = (copy_of(each.aggregate), each.head)
        return loaded

    async def find_command(self, command_id: UUID) -> StoredCommand | None:
        """See `commands.ports.EventStore.find_command`."""
        async with self._pool.connection() as connection:
            return (await stored_commands(connection, [command_id])).get(command_id)

    async def append(self, append: Append) -> tuple[StreamHead, ...]:
        """See `commands.ports.EventStore.append`. Raises `adapters.group_commit.StoreUnavailable` when the outcome
        stays unknown."""
        return await self._commit.append(append)
