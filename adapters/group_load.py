"""Loads that wait at the same time share one query, as appends share a flush.

A load never answers from the cache alone: it asks the log for what came after the cached version, and the query
begins after the load was asked for. So it sees everything that was stored before.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple, cast
from uuid import UUID

from eventsourcing.domain import Aggregate, CanMutateAggregate

from adapters.aggregate_cache import AggregateCache, Seen, copy_of
from adapters.event_codec import EventMapper
from adapters.packed_arrays import bigints, number, text, uuids
from adapters.prepared_connection import PreparedConnections, Row, Statement
from adapters.snapshots import SnapshotWriter, restored, shape
from commands.ports import StreamHead
from domain import CONTEXT_OF, aggregate_type_of

# Snapshots are read for those of which nothing is known yet; their rows have schema version 0. The subquery is a fence:
# whatever the planner believes of the table, every stream is one look into its index, in order.
_LOAD: Final = Statement.of("""
WITH seen AS MATERIALIZED (
    SELECT * FROM unnest(%b::uuid[], %b::bigint[]) AS s (id, version)
), snapshot AS MATERIALIZED (
    SELECT s.* FROM seen JOIN snapshots s ON s.originator_id = seen.id WHERE seen.version = 0 AND s.shape = %s
)
SELECT originator_id, originator_version, topic, 0::smallint, state, position FROM snapshot
UNION ALL
SELECT e.* FROM seen LEFT JOIN snapshot s ON s.originator_id = seen.id CROSS JOIN LATERAL (
    SELECT originator_id, originator_version, topic, schema_version, state, notification_id FROM events
    WHERE originator_id = seen.id AND originator_version > coalesce(s.originator_version, seen.version)
    ORDER BY originator_version OFFSET 0
) e
""")
_NO_SHAPE: Final = ""  # of no snapshot
LOADS_AT_ONCE: Final = 2  # queries: one is made while the other is answered
LOAD_STREAMS_MAX: Final = 2_000  # in one query; a single larger load goes alone

Loaded = dict[UUID, tuple[Aggregate, StreamHead]]


class GroupLoad:
    """One per process and event loop."""

    def __init__(self, connections: PreparedConnections, snapshots: SnapshotWriter) -> None:
        self._connections = connections
        self._mapper = EventMapper()
        self._cache = AggregateCache()
        self._snapshots = snapshots
        self._queue: deque[tuple[Sequence[UUID], asyncio.Future[dict[UUID, Seen]]]] = deque()
        self._readers: set[asyncio.Task[None]] = set()
        self._reading = 0

    async def load(self, aggregate_ids: Sequence[UUID]) -> Loaded:
        """See `commands.ports.EventStore.load`."""
        answered: asyncio.Future[dict[UUID, Seen]] = asyncio.get_running_loop().create_future()
        self._queue.append((aggregate_ids, answered))
        if self._reading < LOADS_AT_ONCE:
            self._reading += 1
            reader = asyncio.create_task(self._read(), name="group-load")
            # The loop itself holds tasks only weakly.
            self._readers.add(reader)
            reader.add_done_callback(self._readers.discard)
        seen = await answered
        loaded: Loaded = {}
        for aggregate_id in aggregate_ids:
            each = seen[aggregate_id]
            if each.aggregate is not None and each.head is not None:
                loaded[aggregate_id] = (copy_of(each.aggregate), each.head)
        return loaded

    async def _read(self) -> None:
        try:
            await self._read_all()
        finally:
            # With no step between the last look into the queue and this: a task that has returned still counts as
            # running for a while, and whoever came then would wait for ever.
            self._reading -= 1

    async def _read_all(self) -> None:
        while self._queue:
            batch = [self._queue.popleft()]
            streams = len(batch[0][0])
            while self._queue and streams + len(self._queue[0][0]) <= LOAD_STREAMS_MAX:
                batch.append(self._queue.popleft())
                streams += len(batch[-1][0])
            wanted = dict.fromkeys(each for aggregate_ids, _ in batch for each in aggregate_ids)
            try:
                seen = await self._seen(list(wanted))
            except Exception as error:  # the outermost loop of the reader: tell the callers, go on
                for _, answered in batch:
                    if not answered.done():
                        answered.set_exception(error)
                continue
            for _, answered in batch:
                if not answered.done():
                    answered.set_result(seen)

    async def _seen(self, aggregate_ids: Sequence[UUID]) -> dict[UUID, Seen]:
        seen = {aggregate_id: self._cache.get(aggregate_id) for aggregate_id in aggregate_ids}
        broken = await self._advance(seen, shape())
        if broken:
            await self._advance(broken, _NO_SHAPE)
            seen |= broken
        for aggregate_id, each in seen.items():
            if each.aggregate is not None:
                self._cache.put(aggregate_id, each)
                self._snapshots.note(aggregate_id, each)
        return seen

    async def _advance(self, seen: dict[UUID, Seen], wanted_shape: str) -> dict[UUID, Seen]:
        """Bring them to the end of their streams; returns those whose snapshot cannot be read, at their beginning."""
        known = [
            uuids(list(seen)).data,
            bigints([each.version for each in seen.values()]).data,
            wanted_shape.encode(),
        ]
        async with self._connections.one() as connection:
            rows = await connection.execute(_LOAD, known)
        broken: dict[UUID, Seen] = {}
        events = []
        for row in map(_Row.of, rows):
            if row.schema_version != 0:
                events.append(row)
                continue
            snapshot = restored(row.topic, row.state, row.aggregate_id, row.version, row.position)
            if snapshot is None:
                broken[row.aggregate_id] = Seen()
            elif snapshot.version > seen[row.aggregate_id].version:
                seen[row.aggregate_id] = snapshot
        for row in events:
            # One that another load has applied meanwhile is not even decoded.
            if row.aggregate_id not in broken and row.version > seen[row.aggregate_id].version:
                context = CONTEXT_OF[aggregate_type_of(row.topic)]
                head = StreamHead(row.aggregate_id, context, row.version, row.position)
                event = self._mapper.decode(row.topic, row.schema_version, row.state, row.aggregate_id, row.version)
                seen[row.aggregate_id].advance(cast("CanMutateAggregate[UUID]", event), head)
        return broken


class _Row(NamedTuple):
    """A snapshot or an event."""

    aggregate_id: UUID
    version: int
    topic: str
    schema_version: int
    state: bytes
    position: int

    @classmethod
    def of(cls, row: Row) -> _Row:
        aggregate_id, version, topic, schema_version, state, position = row
        return cls(
            UUID(bytes=aggregate_id),
            number(version),
            text(topic),
            number(schema_version),
            state or b"",
            number(position),
        )
