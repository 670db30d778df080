"""Watches for a lost tail: records that were published and never arrive, with nothing behind them to show the gap.

The relay stores what it has published per partition. A follower that stands behind that and does not move
for PATIENCE_S is refilled from the log.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from psycopg.sql import SQL

from streams.app import SETTINGS, app
from streams.applying import AWAY, Follower

log = structlog.get_logger()

LOOK_S: Final = 1.0
PATIENCE_S: Final = 3.0

_BEHIND = SQL(
    "SELECT v.view, v.context, v.shard, v.position, r.position FROM view_positions v"
    " JOIN relay_partitions r USING (context, shard) WHERE v.position < r.position"
)


async def watch(followers: dict[str, Follower]) -> None:
    """Refill every follower of the shards this worker owns that stays behind; runs until cancelled."""
    loop = asyncio.get_running_loop()
    seen: dict[tuple[str, str, int], tuple[int, float]] = {}
    while True:
        await asyncio.sleep(LOOK_S)
        try:
            rows = await app.kontor.reads.fetch(_BEHIND, [])
        except AWAY:
            continue
        mine = {(tp.topic, tp.partition) for tp in app.consumer.assignment()}
        behind = {}
        for view, context, shard, position, published in rows:
            if (SETTINGS.topic_prefix + context, shard) not in mine or view not in followers:
                continue
            key = (view, context, shard)
            before, since = seen.get(key, (-1, 0.0))
            behind[key] = (position, since if before == position else loop.time())
            if loop.time() - behind[key][1] >= PATIENCE_S:
                log.warning("tail_lost", follower=view, context=context, shard=shard, at=position, published=published)
                await app.chain.refill(followers[view], context, shard, until=published)
        seen = behind
