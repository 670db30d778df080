"""The event store: aggregates loaded together, events appended by group commit."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from adapters.group_commit import GroupCommit
from adapters.group_load import GroupLoad, Loaded
from adapters.prepared_connection import PreparedConnections
from adapters.snapshots import SnapshotWriter
from adapters.stored_commands import stored_commands
from commands.ports import Append, StoredCommand, StreamHead


class PostgresEventStore:
    """See `commands.ports.EventStore`. One per process and event loop: `async with PostgresEventStore(...)`."""

    def __init__(self, pool: AsyncConnectionPool[Any], conninfo: str) -> None:
        self._pool = pool
        self._commit = GroupCommit(conninfo)
        self._snapshots = SnapshotWriter(pool)
        self._connections = PreparedConnections(conninfo, name="kontor.group-load")
        self._loads = GroupLoad(self._connections, self._snapshots)

    async def __aenter__(self) -> PostgresEventStore:
        await self._commit.__aenter__()
        await self._snapshots.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Store what is queued, then stop."""
        await self._commit.__aexit__(None, None, None)
        await self._snapshots.__aexit__(None, None, None)
        await self._connections.close()

    async def load(self, aggregate_ids: Sequence[UUID]) -> Loaded:
        """See `commands.ports.EventStore.load`."""
        return await self._loads.load(aggregate_ids)

    async def find_command(self, command_id: UUID) -> StoredCommand | None:
        """See `commands.ports.EventStore.find_command`."""
        async with self._pool.connection() as connection:
            return (await stored_commands(connection, [command_id])).get(command_id)

    def append(self, append: Append) -> Awaitable[tuple[StreamHead, ...]]:
        """See `commands.ports.EventStore.append`. Raises `adapters.group_commit.StoreUnavailable` when the outcome
        stays unknown."""
        return self._commit.append(append)
