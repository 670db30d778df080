"""The hash chain over the log: what was recorded cannot be changed, removed or inserted later without a trace.

A link is HMAC-SHA-256 over the link before it, its own position, and the hashes of its events, each of which covers
every column of the event. The key is wrapped by the master key, so the owner of the database cannot make a link.
Links are added after the commit, by the process that runs `streams.hash_chain.extend`: computing them inside the
statement that appends took a fifth of its time.
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

LINK_EVENTS_MAX: Final = 1_000
LINKS_A_PAGE: Final = 500
HASH_BYTES: Final = 32
MARK_BYTES: Final = 8
START: Final = bytes(32)  # what the first link continues
BEFORE_ALL: Final = -(2**63)  # a position that no event has: one could be inserted at zero or below
CHAIN_LOCK: Final = 7310110114115

_LOCK: Final = f"SELECT pg_try_advisory_xact_lock({CHAIN_LOCK})"
# For the transaction: whatever the planner believes of a table that grows, the next events are found by their index.
_BY_INDEX: Final = "SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true)"
_LAST: Final = "SELECT position, hash FROM hash_chain ORDER BY position DESC LIMIT 1"
_ADD: Final = "INSERT INTO hash_chain (position, events, previous_hash, hash, marks) VALUES (%s, %s, %s, %s, %s)"
_LINKS: Final = (
    "SELECT position, events, previous_hash, hash, marks FROM hash_chain"
    " WHERE position > %s AND position <= %s ORDER BY position LIMIT %s"
)
# `record_send` writes type, length and bytes of each value, so no two rows read alike. The columns are named: one that
# is added to the table later changes no hash. Hashed where they are stored: to fetch and hash them here took a quarter
# of what appending them takes.
_HASHES: Final = """
SELECT {}, string_agg(sha256(record_send(ROW(e.notification_id, e.originator_id, e.originator_version, e.topic,
    e.schema_version, e.context, e.shard, e.command_id, e.correlation_id, e.causation_id, e.actor, e.recorded_at,
    e.state))), '')
FROM (SELECT * FROM events WHERE notification_id > %s AND notification_id <= %s ORDER BY notification_id LIMIT %s) e
"""
_NEXT: Final = _HASHES.format("max(e.notification_id)")
_EVENTS: Final = _HASHES.format("array_agg(e.notification_id)")
_END: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class HashedEvent:
    """An event's position and the hash of all its columns."""

    position: int
    hash: bytes

    @property
    def mark(self) -> bytes:
        return self.hash[:MARK_BYTES]


@dataclass(frozen=True, slots=True)
class Link:
    """One link as it is stored: it covers `events` events, the last of them at `position`."""

    position: int
    events: int
    previous_hash: bytes
    hash: bytes
    marks: tuple[bytes, ...]


class ChainCut(Exception):
    """The end of the chain that this process has seen is not in the database any more."""


class HashChain:
    """Reads and extends the chain. `key` is 32 secret bytes that never change."""

    def __init__(self, pool: AsyncConnectionPool[Any], key: bytes) -> None:
        self._pool = pool
        self._key = key
        self._seen = (BEFORE_ALL, START)  # the newest end, position and hash

    def hash_of(self, previous_hash: bytes, position: int, hashes: bytes) -> bytes:
        """The hash of the link up to a position over events with these hashes, behind the link with that hash."""
        return hmac.digest(self._key, previous_hash + hashes + position.to_bytes(8, signed=True), "sha256")

    async def extend(self) -> Link | None:
        """Add a link over the next events, at most LINK_EVENTS_MAX. None when there are none, or when another process
        is adding one. Raises ChainCut: the log of this database is an older one, or recorded events are being removed
        to have it chained again as something else."""
        async with self._pool.connection() as connection, connection.transaction():
            ((mine,),) = await (await connection.execute(_LOCK)).fetchall()
            if not mine:
                return None
            position, previous_hash = await self._end(connection)
            if position < self._seen[0] or (position == self._seen[0] and previous_hash != self._seen[1]):
                seen = f"{self._seen[0]}:{self._seen[1].hex()}"
                raise ChainCut(
                    f"The hash chain ended at {seen}, and now it ends at {max(position, 0)}: run `kontor verify`, "
                    "find out who changed the database, and start this process again to go on."
                )
            self._seen = (position, previous_hash)
            await connection.execute(_BY_INDEX)
            found = await connection.execute(_NEXT.encode(), [position, _END, LINK_EVENTS_MAX], binary=True)
            ((end, hashes),) = await found.fetchall()
            if end is None:
                return None
            marks = tuple(each[:MARK_BYTES] for each in _pieces(hashes, HASH_BYTES))
            link = Link(end, len(marks), previous_hash, self.hash_of(previous_hash, end, hashes), marks)
            await connection.execute(_ADD, [end, link.events, previous_hash, link.hash, b"".join(marks)])
            return link

    async def end(self) -> int:
        """The position up to which the log is chained."""
        async with self._pool.connection() as connection:
            return max((await self._end(connection))[0], 0)

    async def _end(self, connection: AsyncConnection[Any]) -> tuple[int, bytes]:
        last = await (await connection.execute(_LAST)).fetchone()
        return (last[0], bytes(last[1])) if last else (BEFORE_ALL, START)

    async def links(self, until: int) -> AsyncIterator[Link]:
        """The links up to a position, in order."""
        position = BEFORE_ALL
        while True:
            async with self._pool.connection() as connection:
                rows = await (await connection.execute(_LINKS, [position, until, LINKS_A_PAGE])).fetchall()
            for position, events, previous_hash, hashed, marks in rows:
                yield Link(
                    position, events, bytes(previous_hash), bytes(hashed), tuple(_pieces(bytes(marks), MARK_BYTES))
                )
            if len(rows) < LINKS_A_PAGE:
                return

    async def events(self, until: int) -> AsyncIterator[HashedEvent]:
        """The events up to a position, in order, as the log has them now."""
        position = BEFORE_ALL
        while True:
            async with self._pool.connection() as connection, connection.transaction():
                await connection.execute(_BY_INDEX)
                found = await connection.execute(_EVENTS.encode(), [position, until, LINK_EVENTS_MAX], binary=True)
                ((positions, hashes),) = await found.fetchall()
            events = list(map(HashedEvent, positions or (), _pieces(hashes or b"", HASH_BYTES)))
            for event in events:
                yield event
            if len(events) < LINK_EVENTS_MAX:
                return
            position = events[-1].position


def _pieces(joined: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(joined), size):
        yield joined[start : start + size]
