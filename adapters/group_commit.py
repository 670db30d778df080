"""Group commit: appends that arrive while one is being flushed share the next flush, each with its own conflict.

Guarantees, across threads of control and processes:
- position order is commit order: a reader who follows positions never misses an event;
- an append is stored whole, with its command, or not at all, and is durable when `append` returns;
- when the connection dies in a flush, the truth is looked up by command id before anybody is told anything;
- the queue is bounded; first come is first served, and a hot stream delays only those who want that stream.
The statements are in `adapters.appending`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import psycopg
import structlog

from adapters.appending import CAREFUL, ROW_TYPES, UNCONTENDED, PendingRow, packed, parameters
from adapters.away import NOTICES_LOSS
from adapters.event_codec import EventMapper, stored_kind_of
from adapters.metrics import FLUSH_SECONDS, FLUSHED_APPENDS, QUEUED_APPENDS
from adapters.packed_arrays import number
from adapters.prepared_connection import APPLICATION, CONNECT_S_MAX, PreparedConnection
from adapters.stored_commands import stored_commands
from commands.ports import Append, CommandRepeated, Overloaded, StreamHead, VersionConflict

log = structlog.get_logger()

APPEND_LOCK: Final = 7310110114111  # as in the statements
BATCH_EVENTS_MAX: Final = 2_000  # one flush; a single larger append goes alone
QUEUE_APPENDS_MAX: Final = 2_000
# While one flush is on the disk the next is made: with one connection Python and PostgreSQL wait for each other.
FLUSHES_AT_ONCE: Final = 2
SPLIT_APPENDS_MIN: Final = 16
# After a flush in which others were first, the next ones are likely to meet others too.
CAREFUL_FLUSHES: Final = 20
RECONNECT_PAUSE_S: Final = 0.2
RESOLVE_S_MAX: Final = 15.0


class StoreUnavailable(Exception):
    """The database could not be reached in time; whether the append was stored is unknown. Send the command
    again with the same idempotency key: that is safe either way."""


class _Waiting:
    """One append in the queue, its rows ready, and the caller who waits for it."""

    __slots__ = ("append", "done", "events", "firsts", "keys", "lasts", "packed", "since")

    def __init__(self, append: Append, mapper: EventMapper, done: asyncio.Future[tuple[StreamHead, ...]]) -> None:
        self.append = append
        self.done = done
        self.since = done.get_loop().time()
        # Stream, context and version of each event.
        self.events: list[tuple[UUID, str, int]] = []
        # The version at which each of its streams goes on, and the one it reaches. The keys are the ids as numbers,
        # which hash in C.
        self.firsts: dict[int, int] = {}
        self.lasts: dict[int, int] = {}
        rows = []
        for event in append.events:
            kind: Any = type(event)
            topic, context, schema_version = stored_kind_of(kind)
            stream, version = event.originator_id, event.originator_version
            key = stream.int
            # The statements rely on it: versions have no holes.
            assert self.lasts.get(key, version - 1) == version - 1, (stream, version)
            self.firsts.setdefault(key, version)
            self.lasts[key] = version
            self.events.append((stream, context, version))
            rows.append(PendingRow(stream, version, topic, mapper.encode(event), schema_version, context))
        self.packed = packed(append, rows)
        # What may be only once in a flush.
        self.keys = (append.command_id.int, *self.firsts)

    def heads(self, first_position: int) -> tuple[StreamHead, ...]:
        """Where its streams end when it is stored: its events have consecutive positions, in their order."""
        if len(self.events) == 1:
            return (StreamHead(*self.events[0], first_position),)
        heads = {event[0]: StreamHead(*event, position) for position, event in enumerate(self.events, first_position)}
        return tuple(heads.values())

    def answer(self, result: tuple[StreamHead, ...] | Exception) -> None:
        """Tell the caller, unless he has gone."""
        if self.done.done():
            return
        if isinstance(result, Exception):
            self.done.set_exception(result)
        else:
            self.done.set_result(result)


class GroupCommit:
    """One writer per process and event loop: `async with GroupCommit(...)`."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._mapper = EventMapper()
        self._queue: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._careful_flushes = 0
        self._row_types: tuple[int, int] | None = None
        # Streams and commands that are being flushed: who wants one of them waits for the outcome.
        self._in_flight: set[int] = set()
        self._passed_over: list[_Waiting] = []
        QUEUED_APPENDS.set_function(lambda: len(self._queue))
        self._writers: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> GroupCommit:
        self._loop = asyncio.get_running_loop()
        self._writers = [
            asyncio.create_task(self._write(PreparedConnection(self._conninfo)), name=f"group-commit-{number}")
            for number in range(FLUSHES_AT_ONCE)
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Store what is queued, then stop."""
        self._closing = True
        self._wake.set()
        await asyncio.gather(*self._writers)

    @property
    def waiting(self) -> int:
        """How many appends are queued and not in a flush."""
        return len(self._queue)

    def append(self, append: Append) -> asyncio.Future[tuple[StreamHead, ...]]:
        """See `commands.ports.EventStore.append`. The future may raise StoreUnavailable: the outcome stays unknown.

        A caller that is cancelled does not take its append back: it may be stored."""
        if len(self._queue) >= QUEUE_APPENDS_MAX or self._closing:
            raise Overloaded(f"{len(self._queue)} commands are waiting to be stored; try again in a moment.")
        done: asyncio.Future[tuple[StreamHead, ...]] = self._loop.create_future()
        self._queue.append(_Waiting(append, self._mapper, done))
        self._wake.set()
        return done

    async def _write(self, connection: PreparedConnection) -> None:
        while True:
            await self._wake.wait()
            batch, keys = self._take()
            if not batch:
                if self._closing and not self._queue:
                    return await connection.close()
                # Nothing is here, or all of it waits for the other flush, whose end wakes.
                self._wake.clear()
                continue
            self._in_flight |= keys
            FLUSHED_APPENDS.observe(len(batch))
            try:
                with FLUSH_SECONDS.time():
                    await self._flush(connection, batch)
            except Exception as error:  # the outermost loop of the writer: tell the callers, go on
                log.exception("group_commit_failed", appends=len(batch))
                for waiting in batch:
                    waiting.answer(error)
                self._give_up_what_waited_behind()
            self._in_flight -= keys
            self._queue.extendleft(reversed(_undecided(batch, self._passed_over)))
            self._passed_over = []
            self._wake.set()

    def _take(self) -> tuple[list[_Waiting], set[int]]:
        """The next flush and its keys, first come first served. Passed over is who wants a stream or a command that
        is in it or in flight, or that somebody before him waits for: only when that is stored can he be judged."""
        batch: list[_Waiting] = []
        taken: set[int] = set()
        waited_for: set[int] = set()
        # Two equal flushes, one being made while the other is on the disk, are quicker than one.
        queued = len(self._queue)
        appends_max = queued if self._in_flight or queued < SPLIT_APPENDS_MIN else (queued + 1) // 2
        events = 0
        while self._queue and len(batch) < appends_max:
            waiting = self._queue[0]
            if batch and events + len(waiting.events) > BATCH_EVENTS_MAX:
                break
            self._queue.popleft()
            keys = waiting.keys
            if taken.isdisjoint(keys) and self._in_flight.isdisjoint(keys) and waited_for.isdisjoint(keys):
                batch.append(waiting)
                taken.update(keys)
                events += len(waiting.events)
            else:
                self._passed_over.append(waiting)
                waited_for.update(keys)
        return batch, taken

    def _give_up_what_waited_behind(self) -> None:
        """What has had its time in the queue: one after the other would wait for a store that is away."""
        overdue = self._loop.time() - RESOLVE_S_MAX
        for waiting in [*self._queue, *self._passed_over]:
            if waiting.since <= overdue:
                waiting.answer(StoreUnavailable("The event store is away, and this was not stored."))
        self._queue = deque(waiting for waiting in self._queue if waiting.since > overdue)
        self._passed_over = [waiting for waiting in self._passed_over if waiting.since > overdue]

    async def _flush(self, connection: PreparedConnection, batch: list[_Waiting]) -> None:
        """Store the batch and tell every caller. Raises StoreUnavailable, or what the database has against it."""
        loop = asyncio.get_running_loop()
        give_up_at = min(waiting.since for waiting in batch) + RESOLVE_S_MAX
        lost = False
        while batch:
            try:
                if lost:
                    batch = await self._resolve(batch)
                    lost = False
                else:
                    await self._store(connection, batch)
                    return
            except psycopg.errors.DiskFull as error:
                # The connection is well, and waiting would not help: this is for people to end.
                raise StoreUnavailable("The disk of the database is full, and this was not stored.") from error
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                lost, self._row_types = True, None
                log.warning("group_commit_connection_lost", appends=len(batch), error=str(error))
                await connection.close()
                if loop.time() > give_up_at:
                    raise StoreUnavailable(f"The event store is away: {error}") from error
                await asyncio.sleep(RECONNECT_PAUSE_S)

    async def _store(self, connection: PreparedConnection, batch: list[_Waiting]) -> None:
        if self._row_types is None:
            ((command_type, event_type),) = await connection.execute(ROW_TYPES, [])
            self._row_types = (number(command_type), number(event_type))
        given = parameters([waiting.packed for waiting in batch], self._row_types)
        if self._careful_flushes == 0:
            try:
                ((first,),) = await connection.execute(UNCONTENDED, given)
            except psycopg.errors.UniqueViolation:
                # Somebody was first, in another process or with the same command: now each is judged by itself.
                self._careful_flushes = CAREFUL_FLUSHES
            else:
                position = number(first)
                for waiting in batch:
                    waiting.answer(waiting.heads(position))
                    position += len(waiting.events)
                return
        self._careful_flushes -= 1
        answers = await connection.execute(CAREFUL, given)
        for waiting, (refused, first) in zip(batch, answers, strict=True):
            if refused == b"repeated":
                waiting.answer(CommandRepeated(waiting.append.command_id))
            elif refused == b"conflict":
                waiting.answer(VersionConflict(waiting.append.command_name))
            else:
                waiting.answer(waiting.heads(number(first)))

    async def _resolve(self, batch: list[_Waiting]) -> list[_Waiting]:
        """Answer those whose append was stored before the connection died; the rest is to be stored again."""
        async with await psycopg.AsyncConnection.connect(
            self._conninfo, application_name=APPLICATION, connect_timeout=CONNECT_S_MAX, **NOTICES_LOSS
        ) as connection:
            # A server process that is still committing the lost batch holds this lock: wait for its end.
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", [APPEND_LOCK])
            stored = await stored_commands(connection, [waiting.append.command_id for waiting in batch])
        for waiting in batch:
            if found := stored.get(waiting.append.command_id):
                # The id may be another execution's, whose content differs: only the very same events are ours.
                ours = found.request_digest == waiting.append.request_digest and {
                    (head.aggregate_id, head.version) for head in found.heads
                } == {(head.aggregate_id, head.version) for head in waiting.heads(0)}
                waiting.answer(found.heads if ours else CommandRepeated(waiting.append.command_id))
        return [waiting for waiting in batch if waiting.append.command_id not in stored]


def _undecided(batch: Sequence[_Waiting], later: Sequence[_Waiting]) -> list[_Waiting]:
    """Those of the passed over that the flush has not decided. Whom it has, is told now: a command of the same id
    is stored, or a stream has moved past the expected version; the database would only say the same."""
    if not later:
        return []
    commands: set[int] = set()
    moved: dict[int, int] = {}
    for waiting in batch:
        if waiting.done.done() and not waiting.done.cancelled() and waiting.done.exception() is None:
            commands.add(waiting.append.command_id.int)
            moved |= waiting.lasts
    undecided = []
    for waiting in later:
        if waiting.append.command_id.int in commands:
            waiting.answer(CommandRepeated(waiting.append.command_id))
        elif any(first <= moved.get(stream, -1) for stream, first in waiting.firsts.items()):
            waiting.answer(VersionConflict(waiting.append.command_name))
        else:
            undecided.append(waiting)
    return undecided
