"""The statements of everybody who follows a topic: where followers stand, and how they move on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from adapters.packed_arrays import PackedArray, bigints, smallints, texts
from adapters.view_notices import CHANNEL

Move = tuple[str, str, int, int]  # follower, context, shard, position

# Rows and position are lost together if the server dies before its next flush, and are applied again: nothing is
# gained by making the log's writers wait for these flushes. A statement costs a worker as much as folding ten events,
# so it is not one of its own.
# It does not read the end of the log (`adapters.log.LOG_END`), which is read in a transaction of its own before: the
# checkout executes commands while it holds this lock, and they read the log on other connections. A lock on the log,
# held meanwhile, would let both wait for ever behind an ALTER TABLE.
LOCK: Final = (
    "WITH locked AS (SELECT view, shard, position FROM view_positions WHERE view = ANY(%b::text[]) AND context = %s"
    " AND shard = ANY(%b::smallint[]) ORDER BY view, shard FOR UPDATE)"
    " SELECT view, shard, position, set_config('synchronous_commit', 'off', true) FROM locked"
)
MOVE: Final = (
    "WITH moved AS (UPDATE view_positions SET position = m.position, updated_at = clock_timestamp()"
    " FROM unnest(%b::text[], %b::smallint[], %b::bigint[]) AS m (view, shard, position)"
    " WHERE view_positions.view = m.view AND context = %s AND view_positions.shard = m.shard)"
    " SELECT pg_notify(%s, %s)"
)


def lock_parameters(followers: Sequence[str], context: str, shards: Iterable[int]) -> list[PackedArray | str]:
    """Of LOCK."""
    return [texts(followers), context, smallints(list(shards))]


def move_parameters(context: str, moves: Sequence[Move], notice: str) -> list[PackedArray | str]:
    """Of MOVE; `notice` is of `adapters.view_notices`."""
    followers, _, shards, positions = zip(*moves, strict=True)
    return [texts(followers), smallints(shards), bigints(positions), context, CHANNEL, notice]
