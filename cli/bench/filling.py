"""Fills a log to a size as years of trade would: realistic columns, streams of 1 to 20 events that grow side by side.

Two events of three belong to stock items, whose ids are derived and so lie anywhere in the indexes, the others to
orders, whose ids rise. States are those of real events, encoded by the event store's own mapper. One stream is long.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid4

import psycopg
from uuid_utils import uuid7 as native_uuid7
from uuid_utils.compat import uuid7

from adapters.event_codec import EventMapper, schema_version_of
from cli.bench.kontor import REFERENCE, now, order_of, stock_item_with
from cli.bench.timing import EVENTS_PER_STREAM
from domain import CONTEXT_OF, aggregate_type_of
from domain.identity import shard_of
from domain.orders import Order

CHUNK_EVENTS: Final = 50_000
STREAMS_SIDE_BY_SIDE: Final = 200
REMEMBERED_MAX: Final = 5_000  # streams of EVENTS_PER_STREAM events, to load later
LONG_STREAM_EVENTS: Final = 10_000
STOCK_SHARE: Final = 0.22  # of the streams; as these are longer, two of three events
ACTORS: Final = 5_000
RECORDED_AT: Final = "2026-01-01 12:00:00+00"
DIGEST: Final = "\\\\x" + "5a" * 32

COPY_EVENTS: Final = b"""
COPY events (originator_id, originator_version, topic, state, notification_id, schema_version, context, shard,
             command_id, correlation_id, actor, recorded_at) FROM STDIN
"""
_COMMANDS: Final = b"""
COPY commands (command_id, name, actor, request_digest, result, first_position, last_position, recorded_at) FROM STDIN
"""
SEQUENCE: Final = "SELECT setval(pg_get_serial_sequence('events', 'notification_id'), %s)"


class Row(NamedTuple):
    """One event of a stream, as it stands in every stream of its kind. `state` is JSON without backslashes."""

    version: int
    topic: str
    state: str
    schema_version: int
    context: str


@dataclass(slots=True)
class _Stream:
    """One that grows: all its rows, and how many of them are written."""

    id: str
    shard: int
    rows: Sequence[Row]
    written: int = 0


@dataclass(slots=True)
class Filled:
    """What was put into the log so far."""

    position: int = 0
    full_streams: list[UUID] = field(default_factory=list)
    long_stream: UUID = field(default_factory=uuid4)


class Filling:
    """Writes more and more events into an empty, migrated log; nobody else writes meanwhile. One seed, one shape."""

    def __init__(self, connection: psycopg.Connection[Any], seed: int = 1) -> None:
        self.filled = Filled()
        self._connection = connection
        self._chance = random.Random(seed)  # noqa: S311  # a shape, not a secret
        self._actors = [f"user:{uuid4()}" for _ in range(ACTORS)]
        self._stock_rows = rows_of(stock_item_with(EVENTS_PER_STREAM, "BENCH"))
        self._order_rows = rows_of(_cancelled_order())
        self._open = [self._new_stream() for _ in range(STREAMS_SIDE_BY_SIDE)]

    def up_to(self, events: int) -> None:
        """Fill until the log has that many events; then the sequence, the statistics and the disk are as after use."""
        if self.filled.position == 0:
            self._write(self._long_stream())
        while self.filled.position < events:
            self._write(self._chunk(min(CHUNK_EVENTS, events - self.filled.position)))
        self._connection.execute(SEQUENCE, [self.filled.position])
        # As autovacuum would do sooner or later, which must not happen in the middle of a measurement.
        self._connection.execute("VACUUM (ANALYZE) events, commands")
        self._connection.execute("CHECKPOINT")

    def goes_on(self) -> None:
        """Others have written meanwhile: go on behind them."""
        found = self._connection.execute("SELECT max(notification_id) FROM events").fetchone()
        assert found is not None
        self.filled.position = found[0]

    def _new_stream(self) -> _Stream:
        if self._chance.random() < STOCK_SHARE:
            stream, rows = uuid4(), self._stock_rows
        else:
            stream, rows = uuid7(), self._order_rows
        return _Stream(str(stream), shard_of(stream), rows[: self._chance.randint(1, len(rows))])

    def _chunk(self, size: int) -> Iterator[tuple[_Stream, Row]]:
        for _ in range(size):
            place = self._chance.randrange(STREAMS_SIDE_BY_SIDE)
            stream = self._open[place]
            yield stream, stream.rows[stream.written]
            stream.written += 1
            if stream.written == len(stream.rows):
                self._open[place] = self._new_stream()
                if stream.written == EVENTS_PER_STREAM:
                    self._remember(UUID(stream.id))

    def _remember(self, stream: UUID) -> None:
        known = self.filled.full_streams
        if len(known) < REMEMBERED_MAX:
            known.append(stream)
        else:  # in the place of any other, so that what is loaded lies anywhere in the table
            known[self._chance.randrange(REMEMBERED_MAX)] = stream

    def _long_stream(self) -> Iterator[tuple[_Stream, Row]]:
        stream = self.filled.long_stream
        rows = rows_of(stock_item_with(LONG_STREAM_EVENTS, "BENCH"))
        long = _Stream(str(stream), shard_of(stream), rows)
        return ((long, row) for row in rows)

    def _write(self, chunk: Iterator[tuple[_Stream, Row]]) -> None:
        events, commands = [], []
        for position, (stream, row) in enumerate(chunk, self.filled.position + 1):
            command, actor = str(native_uuid7()), self._chance.choice(self._actors)
            events.append(
                f"{stream.id}\t{row.version}\t{row.topic}\t{row.state}\t{position}\t{row.schema_version}\t{row.context}"
                f"\t{stream.shard}\t{command}\t{command}\t{actor}\t{RECORDED_AT}\n"
            )
            result = f'{{"version": {row.version}, "aggregate_id": "{stream.id}"}}'
            commands.append(
                f"{command}\t{row.topic}\t{actor}\t{DIGEST}\t{result}\t{position}\t{position}\t{RECORDED_AT}\n"
            )
        with self._connection.cursor() as cursor:
            for statement, lines in ((COPY_EVENTS, events), (_COMMANDS, commands)):
                with cursor.copy(statement) as copy:
                    copy.write("".join(lines))
        self.filled.position += len(events)


def _cancelled_order() -> Order:
    order = order_of(["BENCH"], "K1")
    order.cancel(reason=REFERENCE, by="bench", now=now())
    return order


def rows_of(aggregate: Any) -> list[Row]:
    """Its pending events as the event store would write them."""
    mapper, rows = EventMapper(), []
    for event in aggregate.collect_events():
        stored = mapper.to_stored_event(event)
        state = stored.state.decode()
        assert "\\" not in state, state
        context = CONTEXT_OF[aggregate_type_of(stored.topic)]
        rows.append(Row(stored.originator_version, stored.topic, state, schema_version_of(type(event)), context))
    return rows
