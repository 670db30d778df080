"""Twins of `streams.ports.RelayStore` and `Leadership`, on the simulated database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import psycopg

from adapters.log import LogRecord
from adapters.relay_store import LOST, Partition, Partitions
from tests.simulation.database import Changes, Database
from tests.simulation.world import Process

LOOK_S = 0.3
FROZEN_S_MAX = 2.0
UNAWARE_S_MAX = 1.0  # so long a leader may not know that its connection is gone


class SimulatedLeadership:
    """See `streams.ports.Leadership`."""

    def __init__(self, process: Process, database: Database) -> None:
        self.process = process
        self._database = database
        self._connection = database.connections
        self.published = database.published()
        self.news = asyncio.Event()
        self.lost_at: float | None = None

    def require(self) -> None:
        if self._connection != self._database.connections or (
            self.lost_at is not None and asyncio.get_running_loop().time() >= self.lost_at
        ):
            raise psycopg.OperationalError("simulated: the leader's connection is gone")

    async def after(self, position: int, *, limit: int) -> list[LogRecord]:
        await self._database.call(self.process)
        return self._database.after(position, limit)

    async def shard_after(self, context: str, shard: int, position: int, *, limit: int, until: int) -> list[LogRecord]:
        await self._database.call(self.process)
        return self._database.shard_after(context, shard, position, limit, until)

    async def checkpoint(self, epoch: int, position: int, sent: Partitions) -> bool:
        def statement() -> Changes:
            published = self._database.rows["published"]
            if self._database.rows["checkpoint"][()][0] != epoch:
                return {}
            changes: Changes = {("checkpoint", ()): (epoch, position)}
            for partition, (last, offset) in sent.items():
                marked = partition in published and published[partition][1] == LOST
                changes["published", partition] = (last, LOST if marked else offset)
            return changes

        return await self._database.commit(self.process, statement, self._connection)

    async def mark_lost(self, partitions: Sequence[Partition]) -> None:
        published = self._database.rows["published"]
        await self._database.commit(
            self.process,
            lambda: {("published", partition): (published.get(partition, (0, 0))[0], LOST) for partition in partitions},
            self._connection,
        )

    async def marked_lost(self) -> dict[Partition, int]:
        await self._database.call(self.process, self._connection)
        return {
            (context, shard): position
            for (context, shard), (position, offset) in self._database.rows["published"].items()
            if offset == LOST
        }

    async def published_again(self, partition: Partition, offset: int) -> bool:
        def statement() -> Changes:
            rows = self._database.rows
            if rows["checkpoint"][()][0] != self.published.epoch:
                return {}
            return {("published", partition): (rows["published"][partition][0], offset)}

        return await self._database.commit(self.process, statement, self._connection)


class SimulatedRelayStore:
    """See `streams.ports.RelayStore`."""

    def __init__(self, process: Process, database: Database) -> None:
        self._process = process
        self._database = database

    @asynccontextmanager
    async def lead(self) -> AsyncIterator[SimulatedLeadership]:
        database = self._database
        await database.call(self._process)
        while database.leader is not None:
            await asyncio.sleep(LOOK_S)
            await database.call(self._process)
        me = object()
        database.leader = me
        try:
            await database.commit(self._process, self._next_epoch, database.connections, durable=True)
            leadership = SimulatedLeadership(self._process, database)
            await database.call(self._process)
            database.listeners.append(leadership.news)
            database.leaderships.append(leadership)
            try:
                yield leadership
            finally:
                database.listeners.remove(leadership.news)
                database.leaderships.remove(leadership)
        finally:
            if database.leader is me:
                database.leader = None

    def _next_epoch(self) -> Changes:
        epoch, position = self._database.rows["checkpoint"][()]
        return {("checkpoint", ()): (epoch + 1, position)}


def depose(database: Database) -> None:
    """The leader freezes, the server lets another lead; when it goes on it does not know for a while."""
    dice = database.world.dice
    database.leader = None
    for leadership in database.leaderships:
        if leadership.lost_at is None:
            frozen_s = dice.random() * FROZEN_S_MAX
            leadership.process.freeze(frozen_s)
            leadership.lost_at = asyncio.get_running_loop().time() + frozen_s + dice.random() * UNAWARE_S_MAX
