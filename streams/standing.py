"""Where followers and the relay stand, and whose keys are destroyed, compared with the log.

A follower that stands where the log has no event of its shard applies nothing any more, or has applied what never
happened; a key that is destroyed without an erasure locks its person out. Both are found here and set right.

Where a follower is set back to: a view and the erasure to the beginning, for events that they have applied change
nothing the second time; the checkout too, for every command asks the order first and has a key; the effects 29 days,
for so long the ledger knows what was planned, and what it knows is not planned again.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final
from uuid import UUID

import structlog
from psycopg import AsyncConnection
from psycopg.sql import SQL

from adapters.personal_data import KEYS_TABLE
from adapters.relay_store import LOST
from adapters.view_notices import CHANNEL, changed
from adapters.wiring import Kontor
from domain.users import User

log = structlog.get_logger()

EFFECTS_KNOWN_DAYS: Final = 29  # one less than what was done is kept, see adapters.effects_ledger.KEPT_FOR

_ASTRAY: Final = SQL(
    "SELECT v.view, v.context, v.shard, v.position FROM view_positions v WHERE v.position <> 0 AND NOT EXISTS"
    " (SELECT FROM events e WHERE e.context = v.context AND e.shard = v.shard AND e.notification_id = v.position)"
    " ORDER BY 1, 2, 3"
)
_RELAY_ASTRAY: Final = SQL(
    "SELECT r.context, r.shard, r.position FROM relay_partitions r WHERE r.position <> 0 AND NOT EXISTS"
    " (SELECT FROM events e WHERE e.context = r.context AND e.shard = r.shard AND e.notification_id = r.position)"
    " ORDER BY 1, 2"
)
_CHECKPOINT_ASTRAY: Final = SQL(
    "SELECT position FROM relay_checkpoint WHERE position > (SELECT coalesce(max(notification_id), 0) FROM events)"
)
_DESTROYED: Final = SQL(
    "SELECT person_id, destroyed_at FROM person_keys k WHERE wrapped_key IS NULL AND NOT EXISTS"
    " (SELECT FROM events e WHERE e.originator_id = k.person_id AND e.topic = %s) ORDER BY 2, 1"
)
_SET_BACK: Final = SQL(
    "UPDATE view_positions v SET copied = 0, updated_at = clock_timestamp(), position = CASE v.view WHEN 'effects' THEN"
    "  coalesce((SELECT max(e.notification_id) FROM events e WHERE e.context = v.context AND e.shard = v.shard"
    "   AND e.recorded_at < greatest(clock_timestamp() - make_interval(days => %s),"
    "    (SELECT applied_at FROM migrations WHERE name = '0013_effects.sql'))), 0) ELSE 0 END"
    " WHERE v.view = %s AND v.context = %s AND v.shard = %s AND v.position = %s"
)
_RELAY_AGAIN: Final = (
    SQL(
        "UPDATE relay_checkpoint SET epoch = epoch + 1, updated_at = clock_timestamp(),"
        " position = (SELECT coalesce(max(notification_id), 0) FROM events)"
    ),
    SQL(
        "UPDATE relay_partitions r SET kafka_offset = %s,"
        " position = coalesce((SELECT max(e.notification_id) FROM events e"
        " WHERE e.context = r.context AND e.shard = r.shard), 0)"
    ),
)
_KEYS_BACK: Final = SQL(
    "DELETE FROM person_keys k WHERE person_id = ANY(%s) AND wrapped_key IS NULL AND NOT EXISTS"
    " (SELECT FROM events e WHERE e.originator_id = k.person_id AND e.topic = %s)"
)

Astray = tuple[str, str, int, int]  # follower, context, shard, position


async def astray(kontor: Kontor) -> list[Astray]:
    """The followers that stand where the log has no event of their shard."""
    return [(name, context, shard, at) for name, context, shard, at in await kontor.reads.fetch(_ASTRAY, [])]


async def relay_astray(kontor: Kontor) -> list[str]:
    """What the relay says it has published and the log does not have, in words."""
    told = [
        f"{context}/{shard} published up to {position}"
        for context, shard, position in await kontor.reads.fetch(_RELAY_ASTRAY, [])
    ]
    return told + [f"checkpoint {at}" for (at,) in await kontor.reads.fetch(_CHECKPOINT_ASTRAY, [])]


async def destroyed_without_erasure(kontor: Kontor) -> list[UUID]:
    """The people whose key is destroyed though the log has no erasure of them."""
    return [person_id for person_id, _ in await kontor.reads.fetch(_DESTROYED, [User.Erased.TOPIC])]


async def set_back(kontor: Kontor, found: Collection[Astray]) -> None:
    """Have these followers go on from a position from which they miss nothing; workers do the rest."""
    async with kontor.pool.connection() as connection, connection.transaction():
        for name, context, shard, position in sorted(found):
            await connection.execute(_SET_BACK, [EFFECTS_KNOWN_DAYS, name, context, shard, position])
    log.warning("followers_set_back", followers=sorted({name for name, *_ in found}), shards=len(found))


async def publish_everything_again(kontor: Kontor) -> None:
    """Have the relay begin from what the log has: the leader's epoch ends, and every partition is published again."""
    checkpoint, partitions = _RELAY_AGAIN
    async with kontor.pool.connection() as connection, connection.transaction():
        await connection.execute(checkpoint)
        await connection.execute(partitions, [LOST])


async def allow_keys_again(kontor: Kontor, people: Collection[UUID]) -> None:
    """Take the marks away that keep these people from having a key. What the destroyed key sealed stays unreadable,
    unless its row is put back from a backup."""
    connection: AsyncConnection[Any]
    async with kontor.pool.connection() as connection, connection.transaction():
        await connection.execute(_KEYS_BACK, [list(people), User.Erased.TOPIC])
        await connection.execute("SELECT pg_notify(%s, %s)", [CHANNEL, changed([KEYS_TABLE], people)])
    log.warning("keys_allowed_again", people=len(people))
