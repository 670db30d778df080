"""Contestant `limit`: what this server and this driver can do at best with the same batching.

Whatever is queued goes into one `INSERT ... SELECT unnest(...)` in one round trip under one advisory lock, into a plain
table with the columns and indexes of `events`. No domain objects, no command row, no answer to a repeated command.
"""

from __future__ import annotations

import asyncio
from typing import Final
from uuid import UUID, uuid4

import psycopg
import uvloop

from adapters.packed_arrays import (
    BIGINT_OID,
    BYTEA_OID,
    UUID_OID,
    array,
    bigint_element,
    bytea_element,
    number,
    uuid_element,
)
from adapters.prepared_connection import PreparedConnection, Statement
from adapters.schema import migrate
from cli.bench.timing import (
    EVENT_BYTES,
    EVENTS_PER_STREAM,
    Measured,
    Step,
    Task,
    database_url,
    print_answer,
    require_c_implementation,
    run_clients,
)

STATE: Final = b'{"timestamp":"2026-01-01T12:00:00Z","reference":"%s"}' % (b"x" * (EVENT_BYTES - 52))
BATCH_APPENDS_MAX: Final = 2_000

_TABLE: Final = "CREATE TABLE limit_events (LIKE events INCLUDING ALL)"
_INSERT: Final = Statement(
    b"limit",
    b"""
WITH held AS MATERIALIZED (SELECT pg_advisory_xact_lock(4711))
INSERT INTO limit_events (originator_id, originator_version, topic, state, context, shard, command_id, correlation_id,
                          actor)
SELECT u.id, u.version, 'stock.received', u.state, 'inventory', 3, u.id, u.id, 'system:bench'
FROM held, unnest($1::uuid[], $2::bigint[], $3::bytea[]) WITH ORDINALITY AS u (id, version, state, place)
ORDER BY u.place
ON CONFLICT DO NOTHING
RETURNING originator_id, notification_id
""",
)


class Conflict(Exception):
    """The stream is not at the expected version."""


class Batches:
    """Appends that arrive while one batch is stored share the next."""

    def __init__(self, connection: PreparedConnection) -> None:
        self._connection = connection
        self._queue: list[tuple[UUID, int, bytes, asyncio.Future[int]]] = []
        self._wake = asyncio.Event()

    async def append(self, stream: UUID, version: int, state: bytes) -> int:
        """The position of the event. Raises Conflict. A client waits for its answer, so a stream is queued once."""
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._queue.append((stream, version, state, done))
        self._wake.set()
        return await done

    async def write(self) -> None:
        """Store batch after batch, for ever."""
        while True:
            await self._wake.wait()
            batch, self._queue = self._queue[:BATCH_APPENDS_MAX], self._queue[BATCH_APPENDS_MAX:]
            if not self._queue:
                self._wake.clear()
            arguments = [
                array(UUID_OID, len(batch), [uuid_element(each[0]) for each in batch]),
                array(BIGINT_OID, len(batch), [bigint_element(each[1]) for each in batch]),
                array(BYTEA_OID, len(batch), [bytea_element(each[2]) for each in batch]),
            ]
            rows = await self._connection.execute(_INSERT, arguments)
            stored = {stream: number(position) for stream, position in rows}
            for stream, _, _, done in batch:
                if stream.bytes in stored:
                    done.set_result(stored[stream.bytes])
                else:
                    done.set_exception(Conflict(str(stream)))


async def measure(task: Task) -> Measured:
    """Append with `task.clients` writers, each on streams of its own."""
    await migrate(database_url())
    async with await psycopg.AsyncConnection.connect(database_url(), autocommit=True) as preparing:
        await preparing.execute(_TABLE)
    connection = PreparedConnection(database_url())
    batches = Batches(connection)
    writer = asyncio.create_task(batches.write(), name="limit")

    def client_of(_number: int) -> Step:
        stream = uuid4()

        async def step(n: int) -> None:
            nonlocal stream
            place = n % EVENTS_PER_STREAM
            if place == 0:
                stream = uuid4()
            await batches.append(stream, place + 1, STATE)

        return step

    measured = await run_clients(task, client_of)
    writer.cancel()
    await connection.close()
    return measured


if __name__ == "__main__":
    require_c_implementation()
    print_answer(uvloop.run(measure(Task.given())).as_row())
