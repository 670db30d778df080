"""What is to be posted to webhook endpoints, in Postgres: who is told what, and the rows that are planned of it.

One process plans at a time: it has locked the row of `webhook_planning` until its transaction ends.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg_pool import AsyncConnectionPool

from adapters.deliveries_ledger import effect_of
from adapters.log import LogRecord
from commands.deliveries import BeginAgain, Change, EndStretch, Forget, Recipient, Tell
from domain.identity import event_id
from domain.webhooks import EndpointState

WAITING_MAX: Final = 5_000  # of one endpoint; more is planned when these are fewer: the log keeps it
REPLAYED_AHEAD_MAX: Final = 200  # so that what is new does not wait behind a whole replay
STRETCHES_AT_ONCE: Final = 200

_LOCK: Final = "SELECT position, told_after FROM webhook_planning FOR UPDATE SKIP LOCKED"
_KEEP: Final = """
INSERT INTO webhook_recipients (endpoint_id, state, types) VALUES (%s, %s, %s)
ON CONFLICT (endpoint_id) DO UPDATE SET state = excluded.state, types = excluded.types, quiet_until = NULL
"""
_TELL: Final = "INSERT INTO webhook_stretches (endpoint_id, replay, types, position, until) VALUES (%s, %s, %s, %s, %s)"
_END: Final = "UPDATE webhook_stretches SET until = %s WHERE endpoint_id = %s AND until IS NULL"
_FORGET: Final = "DELETE FROM webhook_stretches WHERE endpoint_id = %s"
_DROP: Final = "DELETE FROM webhook_deliveries WHERE endpoint_id = %s AND state = 'waiting' AND attempts = 0"
_DROP_ALL: Final = "DELETE FROM webhook_deliveries WHERE endpoint_id = %s AND state <> 'done'"
_GIVE_UP: Final = """
UPDATE webhook_deliveries SET state = 'given_up', ended_at = clock_timestamp(), claimed_until = NULL, last_error = %s
WHERE endpoint_id = %s AND state = 'waiting'
"""
_BEGIN_AGAIN: Final = """
UPDATE webhook_deliveries SET give_up_at = NULL, due_at = clock_timestamp()
WHERE endpoint_id = %s AND state = 'waiting' AND attempts > 0
"""
# The first of each endpoint and sort, where there is room for more; those that moved longest ago first.
_OPEN: Final = """
SELECT stretch_id, endpoint_id, types, position, until FROM webhook_stretches s
WHERE position < %(end)s AND NOT EXISTS (
    SELECT FROM webhook_stretches b
    WHERE b.endpoint_id = s.endpoint_id AND b.replay = s.replay AND b.stretch_id < s.stretch_id
) AND NOT EXISTS (
    SELECT FROM webhook_deliveries d WHERE d.endpoint_id = s.endpoint_id AND d.state = 'waiting'
    OFFSET CASE WHEN s.replay THEN %(ahead)s::bigint ELSE %(waiting)s::bigint END
) ORDER BY moved_at LIMIT %(limit)s
"""
_PLAN: Final = """
INSERT INTO webhook_deliveries (stretch_id, endpoint_id, position, event_id, event_type, subject_id, version)
SELECT * FROM unnest(%s::bigint[], %s::uuid[], %s::bigint[], %s::uuid[], %s::text[], %s::uuid[], %s::integer[])
ON CONFLICT DO NOTHING
"""
_MOVE: Final = """
UPDATE webhook_stretches s SET position = m.position, moved_at = clock_timestamp()
FROM unnest(%s::bigint[], %s::bigint[]) AS m (stretch_id, position) WHERE s.stretch_id = m.stretch_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A part of the log that an endpoint is told, planned up to `position`."""

    stretch_id: int
    endpoint_id: UUID
    types: Sequence[str]
    position: int
    until: int | None


class Planning:
    """One transaction of whoever plans. `position`: the events of endpoints are known up to it."""

    def __init__(self, connection: AsyncConnection[Any], position: int, told_after: int) -> None:
        self._connection = connection
        self.position = position
        self._told_after = told_after

    async def recipient(self, endpoint_id: UUID) -> Recipient | None:
        """The endpoint as it is known; None when it is not, or no more."""
        found = await self._connection.execute(
            "SELECT state, types FROM webhook_recipients WHERE endpoint_id = %s", [endpoint_id]
        )
        row = await found.fetchone()
        if row is None:
            return None
        return Recipient(endpoint_id=endpoint_id, state=EndpointState(row[0]), types=tuple(row[1]))

    async def enabled(self) -> list[UUID]:
        """The endpoints that receive events or are paused."""
        found = await self._connection.execute(
            "SELECT endpoint_id FROM webhook_recipients WHERE state <> %s", [EndpointState.DISABLED.value]
        )
        return [endpoint_id for (endpoint_id,) in await found.fetchall()]

    async def change(self, endpoint_id: UUID, recipient: Recipient | None, changes: Sequence[Change]) -> None:
        """The endpoint is this from now on, and is told this."""
        for change in changes:
            await self._change(endpoint_id, change)
        execute = self._connection.execute
        if recipient is None:
            await execute("DELETE FROM webhook_recipients WHERE endpoint_id = %s", [endpoint_id])
        else:
            await execute(_KEEP, [endpoint_id, recipient.state.value, list(recipient.types)])

    async def _change(self, endpoint_id: UUID, change: Change) -> None:
        execute = self._connection.execute
        match change:
            case Tell(types=types, after=after, until=until, replay=replay):
                after = after if replay else max(after, self._told_after)
                await execute(_TELL, [endpoint_id, replay, list(types), after, until])
            case EndStretch(until=until):
                await execute(_END, [until, endpoint_id])
            case BeginAgain():
                await execute(_BEGIN_AGAIN, [endpoint_id])
            case Forget(reason=reason):
                await execute(_FORGET, [endpoint_id])
                if reason is None:
                    await execute(_DROP_ALL, [endpoint_id])
                else:
                    await execute(_DROP, [endpoint_id])
                    await execute(_GIVE_UP, [reason, endpoint_id])
                await execute("DELETE FROM breakers WHERE kind = %s", [effect_of(endpoint_id)])

    async def stretches(self, end: int) -> list[Stretch]:
        """Those of which something before or at `end` is to be planned, at most STRETCHES_AT_ONCE."""
        values = {"end": end, "ahead": REPLAYED_AHEAD_MAX, "waiting": WAITING_MAX, "limit": STRETCHES_AT_ONCE}
        async with self._connection.cursor(row_factory=class_row(Stretch)) as cursor:
            return await (await cursor.execute(_OPEN, values)).fetchall()

    async def plan(self, planned: Sequence[tuple[Stretch, LogRecord]]) -> None:
        """Have these events posted, in this order."""
        columns = [
            [stretch.stretch_id for stretch, _ in planned],
            [stretch.endpoint_id for stretch, _ in planned],
            [record.position for _, record in planned],
            [event_id(record.aggregate_id, record.version) for _, record in planned],
            [record.event_type for _, record in planned],
            [record.aggregate_id for _, record in planned],
            [record.version for _, record in planned],
        ]
        await self._connection.execute(_PLAN, columns)

    async def move(self, position: int, moved: Mapping[int, int]) -> None:
        """What is known and planned now: the position of this, and of stretches by their ids."""
        await self._connection.execute("UPDATE webhook_planning SET position = %s", [position])
        if moved:
            await self._connection.execute(_MOVE, [list(moved), list(moved.values())])
            await self._connection.execute(
                "DELETE FROM webhook_stretches WHERE stretch_id = ANY(%s) AND position >= until", [list(moved)]
            )


@asynccontextmanager
async def planning(pool: AsyncConnectionPool[Any]) -> AsyncIterator[Planning | None]:
    """A transaction in which one may plan; None while somebody else does. Rows and positions are lost together if the
    server dies before its next flush, and planned again."""
    async with pool.connection() as connection, connection.transaction():
        await connection.execute("SET LOCAL synchronous_commit = off")
        row = await (await connection.execute(_LOCK)).fetchone()
        yield None if row is None else Planning(connection, *row)
