"""Watches for a lost tail: records that were published and never arrive, with nothing behind them to show the gap.

The relay stores what it has published per partition; a follower that stays behind that is refilled from the log
(`streams.patience` says when).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog
from psycopg.sql import SQL

from adapters.away import AWAY, pause
from streams.app import SETTINGS, app
from streams.following import Follower
from streams.patience import Patience

log = structlog.get_logger()

LOOK_S: Final = 1.0

_BEHIND = SQL(
    "SELECT v.view, v.context, v.shard, v.position, r.position FROM view_positions v"
    " JOIN relay_partitions r USING (context, shard) WHERE v.position < r.position"
)


async def watch(followed: Callable[[], dict[str, Follower]]) -> None:
    """Refill every follower that stays behind; runs until cancelled. Raises Unassigned (see `Patience.lost`)."""
    loop = asyncio.get_running_loop()
    patience = Patience()
    while True:
        await pause(LOOK_S)
        try:
            rows = await app.kontor.reads.fetch(_BEHIND, [])
        except AWAY:
            continue
        followers = followed()
        prefix = SETTINGS.topic_prefix
        assigned = {(tp.topic.removeprefix(prefix), tp.partition) for tp in app.consumer.assignment()}
        behind = {
            (view, context, shard): (position, published)
            for view, context, shard, position, published in rows
            if view in followers
        }
        for (view, context, shard), published in patience.lost(behind, assigned, loop.time()).items():
            at = behind[view, context, shard][0]
            log.warning("tail_lost", follower=view, context=context, shard=shard, at=at, published=published)
            await app.chain.refill(followers[view], context, shard, until=published)
