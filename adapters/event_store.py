"""The event store: loads in one query, appends in group commits.

Guarantees, across threads of control and processes:
- position order is commit order: a reader who follows positions never misses an event;
- an append is stored whole, with its command, or not at all, and is durable when `append` returns;
- appends that arrive while one is being flushed share the next flush, each with its own conflict;
- when the connection dies in a flush, the truth is looked up by command id before anybody is told anything.
The SQL side is `append_events` in migrations/0001_event_log.sql.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast
from uuid import UUID

import msgspec
import psycopg
import structlog
from eventsourcing.domain import Aggregate, CanMutateAggregate
from psycopg_pool import AsyncConnectionPool

from adapters.aggregate_cache import AggregateCache, copy_of
from adapters.event_codec import EventMapper, schema_version_of
from commands.ports import Append, CommandRepeated, Overloaded, StoredCommand, StreamHead, VersionConflict
from domain import CONTEXT_OF, aggregate_type_of
from domain.identity import shard_of

log = structlog.get_logger()

BATCH_EVENTS_MAX: Final = 2_000  # one flush; a single larger append goes alone
QUEUE_APPENDS_MAX: Final = 2_000
RECONNECT_PAUSE_S: Final = 0.2
RESOLVE_S_MAX: Final = 15.0

_LOAD = """
SELECT e.originator_id, e.originator_version, e.topic, e.schema_version, e.state, e.notification_id
FROM unnest(%s::uuid[], %s::bigint[]) AS seen (id, version)
JOIN events e ON e.originator_id = seen.id AND e.originator_version > seen.version
ORDER BY e.originator_id, e.originator_version
"""
APPEND = """
SELECT place, refused, first_position FROM append_events(
    %s::uuid[], %s::text[], %s::text[], %s::bytea[], %s::text[], %s::uuid[], %s::uuid[],
    %s::int[], %s::uuid[], %s::bigint[], %s::text[], %s::bytea[], %s::smallint[], %s::text[], %s::smallint[])
"""
_COMMAND = """
SELECT command_id, request_digest, result, first_position, last_position FROM commands WHERE command_id = ANY(%s)
"""
_HEADS = """
SELECT originator_id, context, max(originator_version), max(notification_id) FROM events
WHERE notification_id BETWEEN %s AND %s GROUP BY originator_id, context ORDER BY originator_id
"""


class StoreUnavailable(Exception):
    """The database could not be reached in time; whether the append was stored is unknown. Send the command
    again with the same idempotency key: that is safe either way."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """One append in the queue, its rows ready, and the caller who waits for it."""

    append: Append
    events: list[tuple[Any, ...]]
    streams: set[UUID]
    done: asyncio.Future[tuple[StreamHead, ...]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def keys(self) -> set[UUID]:
        """What may be only once in a flush: its streams and its command."""
        return self.streams | {self.append.command_id}


class PostgresEventStore:
    """One per process and event loop: `async with PostgresEventStore(...)`."""

    def __init__(self, pool: AsyncConnectionPool[Any], conninfo: str) -> None:
        self._pool = pool
        self._conninfo = conninfo
        self._mapper = EventMapper()
        self._cache = AggregateCache()
        self._queue: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._writer: asyncio.Task[None] | None = None
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def __aenter__(self) -> PostgresEventStore:
        self._writer = asyncio.create_task(self._write(), name="group-commit")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Store what is queued, then stop."""
        self._closing = True
        self._wake.set()
        if self._writer is not None:
            await self._writer
        if self._connection is not None:
            await self._connection.close()

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
            return (await _stored_commands(connection, [command_id])).get(command_id)

    async def append(self, append: Append) -> tuple[StreamHead, ...]:
        """See `commands.ports.EventStore.append`. Raises StoreUnavailable when the outcome stays unknown."""
        if len(self._queue) >= QUEUE_APPENDS_MAX or self._closing:
            raise Overloaded(f"{len(self._queue)} commands are waiting to be stored; try again in a moment.")
        waiting = _Waiting(append, *self._rows(append))
        self._queue.append(waiting)
        self._wake.set()
        # Shielded: a caller that gives up must not take its batch's other callers with it.
        return await asyncio.shield(waiting.done)

    def _rows(self, append: Append) -> tuple[list[tuple[Any, ...]], set[UUID]]:
        rows = []
        for event in append.events:
            stored = self._mapper.to_stored_event(event)
            aggregate_id = cast("UUID", stored.originator_id)
            context = CONTEXT_OF[aggregate_type_of(stored.topic)]
            version = schema_version_of(type(event))
            rows.append(
                (
                    aggregate_id,
                    stored.originator_version,
                    stored.topic,
                    stored.state,
                    version,
                    context,
                    shard_of(aggregate_id),
                )
            )
        return rows, {row[0] for row in rows}

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            if not self._queue:
                if self._closing:
                    return
                self._wake.clear()
                continue
            batch = self._take()
            try:
                await self._flush(batch)
            except Exception as error:  # the outermost loop of the writer: tell the callers, go on
                log.exception("group_commit_failed", appends=len(batch))
                for waiting in batch:
                    if not waiting.done.done():
                        waiting.done.set_exception(error)

    def _take(self) -> list[_Waiting]:
        """The next flush, first come first served; of appends to one stream only the first, as the others
        must first see it stored."""
        batch: list[_Waiting] = []
        later: deque[_Waiting] = deque()
        taken: set[UUID] = set()
        events = 0
        while self._queue:
            waiting = self._queue.popleft()
            full = bool(batch) and events + len(waiting.events) > BATCH_EVENTS_MAX
            if full or not taken.isdisjoint(waiting.keys):
                later.append(waiting)
            else:
                batch.append(waiting)
                events += len(waiting.events)
            taken |= waiting.keys
        self._queue = later
        return batch

    async def _flush(self, batch: list[_Waiting]) -> None:
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + RESOLVE_S_MAX
        lost = False
        while batch:
            try:
                connection = await self._connected()
                if lost:
                    batch = await self._resolve(connection, batch)
                    lost = False
                    continue
                rows = await (await connection.execute(APPEND, _arguments(batch), prepare=True)).fetchall()
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                lost = True
                log.warning("group_commit_connection_lost", appends=len(batch), error=str(error))
                await self._disconnect()
                if loop.time() > give_up_at:
                    raise StoreUnavailable(f"The event store is away: {error}") from error
                await asyncio.sleep(RECONNECT_PAUSE_S)
                continue
            for waiting, (_, refused, first) in zip(batch, rows, strict=True):
                _answer(waiting, refused, first)
            return

    async def _resolve(self, connection: psycopg.AsyncConnection[Any], batch: list[_Waiting]) -> list[_Waiting]:
        """Answer those whose append was stored before the connection died; the rest is to be stored again."""
        async with connection.transaction():
            # A server process that is still committing the lost batch holds this lock: wait for its end.
            await connection.execute("SELECT pg_advisory_xact_lock(7310110114111)")
            stored = await _stored_commands(connection, [waiting.append.command_id for waiting in batch])
        for waiting in batch:
            if found := stored.get(waiting.append.command_id):
                # The id may be another execution's, whose content differs: only the very same events are ours.
                ours = found.request_digest == waiting.append.request_digest and {
                    (head.aggregate_id, head.version) for head in found.heads
                } == {(head.aggregate_id, head.version) for head in _heads(waiting, 0)}
                if waiting.done.done():
                    continue
                if ours:
                    waiting.done.set_result(found.heads)
                else:
                    waiting.done.set_exception(CommandRepeated(waiting.append.command_id))
        return [waiting for waiting in batch if waiting.append.command_id not in stored]

    async def _connected(self) -> psycopg.AsyncConnection[Any]:
        if self._connection is None:
            self._connection = await psycopg.AsyncConnection.connect(
                self._conninfo, autocommit=True, application_name="kontor.group-commit", connect_timeout=5
            )
        return self._connection

    async def _disconnect(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None


def _arguments(batch: list[_Waiting]) -> list[list[Any]]:
    commands = [
        (
            waiting.append.command_id,
            waiting.append.command_name,
            waiting.append.actor,
            waiting.append.request_digest,
            msgspec.json.encode(waiting.append.result).decode(),
            waiting.append.correlation_id,
            waiting.append.causation_id,
        )
        for waiting in batch
    ]
    events = [(place, *row) for place, waiting in enumerate(batch, 1) for row in waiting.events]
    return [list(column) for column in zip(*commands, strict=True)] + (
        [list(column) for column in zip(*events, strict=True)] if events else [[] for _ in range(8)]
    )


def _answer(waiting: _Waiting, refused: str | None, first_position: int | None) -> None:
    if waiting.done.done():
        return
    if refused == "repeated":
        waiting.done.set_exception(CommandRepeated(waiting.append.command_id))
    elif refused == "conflict":
        waiting.done.set_exception(VersionConflict(waiting.append.command_name))
    else:
        waiting.done.set_result(_heads(waiting, first_position or 0))


def _heads(waiting: _Waiting, first_position: int) -> tuple[StreamHead, ...]:
    """Where the streams end now; the events of one append have consecutive positions, in their order."""
    heads: dict[UUID, StreamHead] = {}
    for place, row in enumerate(waiting.events):
        heads[row[0]] = StreamHead(row[0], row[5], row[1], first_position + place)
    return tuple(heads.values())


async def _stored_commands(
    connection: psycopg.AsyncConnection[Any], command_ids: list[UUID]
) -> dict[UUID, StoredCommand]:
    found = {}
    for command_id, digest, result, first, last in await (await connection.execute(_COMMAND, [command_ids])).fetchall():
        heads: tuple[StreamHead, ...] = ()
        if first is not None:
            heads = tuple(
                StreamHead(*row) for row in await (await connection.execute(_HEADS, [first, last])).fetchall()
            )
        found[command_id] = StoredCommand(command_id, bytes(digest), result, heads)
    return found
