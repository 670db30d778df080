"""The twin of PostgreSQL: the log, and tables whose transactions are kept whole or not at all.

What is committed without waiting for the disk can be lost with the server, the newest first. A connection can be cut
before or after a commit: then nobody knows, and an error of `adapters.away.AWAY` is what the program sees.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

import psycopg

from adapters.event_codec import VersionedStoredEvent
from adapters.log import LogRecord
from adapters.memory import MemoryEventStore
from adapters.relay_store import Published
from commands.ports import Append, StoredCommand, StreamHead
from domain.identity import shard_of
from tests.simulation.world import Process, World

UNFLUSHED_S: Final = 0.6  # what a server may lose of commits that did not wait for the disk
CUT: Final = 0.004  # of all calls
LOST_ANSWER: Final = 0.01  # of all commits

Key = tuple[Any, ...]
Changes = dict[tuple[str, Key], Any]  # kind of row and key; None for one that goes
_ABSENT: Final = object()


class Database:
    """What the server has. `rows` are all tables but the log, as kind -> key -> row."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.commands = MemoryEventStore()
        self.log: list[LogRecord] = []
        self.shards: dict[tuple[str, int], list[LogRecord]] = defaultdict(list)
        self.streams: dict[UUID, list[LogRecord]] = defaultdict(list)
        self.rows: dict[str, dict[Key, Any]] = defaultdict(dict)
        self.rows["checkpoint"][()] = (0, 0)  # epoch, position
        self.followers: dict[str, list[str]] = {}  # of each context
        self.locks: dict[Key, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.connections = 0  # the generation of connections that is good
        self.away = False
        self.leader: object | None = None
        self.listeners: list[asyncio.Event] = []
        self.leaderships: list[Any] = []
        self._unflushed: deque[tuple[float, list[tuple[str, Key, Any]]]] = deque()

    def require(self, connection: int) -> None:
        """Raises OperationalError on a connection that is gone."""
        if self.away or connection != self.connections:
            raise psycopg.OperationalError("simulated: the database is away")
        if self.world.strikes("connection cut", CUT):
            raise psycopg.OperationalError("simulated: the connection is cut")

    async def call(self, process: Process, connection: int | None = None) -> None:
        """One round trip, on that connection or on a new one."""
        await process.io()
        self.require(self.connections if connection is None else connection)

    async def commit(
        self, process: Process, statement: Callable[[], Changes], connection: int, *, durable: bool = False
    ) -> bool:
        """Make the changes, unless the connection goes before; its answer may be lost all the same. False when there
        is nothing to change."""
        await self.call(process, connection)
        changes = statement()
        undo = [(kind, key, self.rows[kind].get(key, _ABSENT)) for kind, key in changes]
        for (kind, key), row in changes.items():
            self._set(kind, key, row)
        self._unflushed.append((asyncio.get_running_loop().time(), undo))
        if durable:
            self._unflushed.clear()
        await process.io()
        if connection != self.connections or self.world.strikes("answer of a commit lost", LOST_ANSWER):
            raise psycopg.OperationalError("simulated: the answer to a commit is lost")
        return bool(changes)

    def _set(self, kind: str, key: Key, row: Any) -> None:
        if row is _ABSENT or row is None:
            self.rows[kind].pop(key, None)
        else:
            self.rows[kind][key] = row

    def crash(self) -> None:
        """The server dies: connections and locks are gone, and of the newest commits those that no disk has."""
        self.connections += 1
        self.leader = None
        now = asyncio.get_running_loop().time()
        while self._unflushed and now - self._unflushed[-1][0] < UNFLUSHED_S and self.world.dice.random() < 0.7:
            for kind, key, before in reversed(self._unflushed.pop()[1]):
                self._set(kind, key, before)
            self.world.happened("commit lost with the server")
        self._unflushed.clear()

    async def append(self, append: Append) -> tuple[StreamHead, ...]:
        """Into the log, durable."""
        heads = await self.commands.append(append)
        self._unflushed.clear()
        for stored in self.commands.stored[len(self.log) :]:
            assert isinstance(stored, VersionedStoredEvent)
            assert isinstance(stored.originator_id, UUID)
            context = next(head.context for head in heads if head.aggregate_id == stored.originator_id)
            record = LogRecord(
                len(self.log) + 1, stored.topic, stored.schema_version, stored.originator_id, stored.originator_version,
                self.world.now(), append.actor, append.command_id, append.correlation_id, append.causation_id, context,
                shard_of(stored.originator_id), stored.state,
            )  # fmt: skip
            self.log.append(record)
            self.shards[context, record.shard].append(record)
            self.streams[record.aggregate_id].append(record)
        for news in self.listeners:
            asyncio.get_running_loop().call_later(self.world.dice.random() * 0.01, news.set)
        return heads

    def after(self, position: int, limit: int) -> list[LogRecord]:
        return self.log[position : position + limit]

    def shard_after(self, context: str, shard: int, position: int, limit: int, until: int) -> list[LogRecord]:
        found = [record for record in self.shards[context, shard] if position < record.position <= until]
        return found[:limit]

    def published(self) -> Published:
        epoch, position = self.rows["checkpoint"][()]
        return Published(epoch, position, dict(self.rows["published"]))  # type: ignore[arg-type]


class SimulatedEventStore:
    """See `commands.ports.EventStore`: the log, for the commands of one process."""

    def __init__(self, process: Process, database: Database, unavailable: type[Exception]) -> None:
        self._process = process
        self._database = database
        self._unavailable = unavailable

    async def load(self, aggregate_ids: Any) -> Any:
        await self._database.call(self._process)
        return await self._database.commands.load(aggregate_ids)

    async def append(self, append: Append) -> tuple[StreamHead, ...]:
        try:
            await self._database.call(self._process)
        except psycopg.OperationalError as error:
            raise self._unavailable("simulated: not stored") from error
        heads = await self._database.append(append)
        await self._process.io()
        if self._database.world.strikes("answer of an append lost", LOST_ANSWER):
            raise self._unavailable("simulated: stored, and nobody was told")
        return heads

    async def find_command(self, command_id: UUID) -> StoredCommand | None:
        await self._database.call(self._process)
        return await self._database.commands.find_command(command_id)
