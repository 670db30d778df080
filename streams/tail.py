"""Watches for a lost tail: records that were published and never arrive, with nothing behind them to show the gap.

The relay stores what it has published per partition; a follower that stays behind that is refilled from the log
(`streams.patience` says when).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from adapters.away import AWAY, pause
from streams.applying import Chain
from streams.following import Follower
from streams.patience import Patience
from streams.ports import FollowerStore

log = structlog.get_logger()

LOOK_S: Final = 1.0


async def watch(
    store: FollowerStore,
    chain: Chain,
    followed: Callable[[], Mapping[str, Follower]],
    assigned: Callable[[], set[tuple[str, int]]],
) -> None:
    """Refill every follower that stays behind; runs until cancelled. `assigned` are this worker's partitions, as
    (context, shard). Raises Unassigned (see `Patience.lost`)."""
    loop = asyncio.get_running_loop()
    patience = Patience()
    while True:
        await pause(LOOK_S)
        try:
            standing = await store.behind()
        except AWAY:
            continue
        followers = followed()
        behind = {chained: ends for chained, ends in standing.items() if chained[0] in followers}
        lost: dict[tuple[str, int], list[str]] = {}
        until = patience.lost(behind, assigned(), loop.time())
        for name, context, shard in until:
            lost.setdefault((context, shard), []).append(name)
        for (context, shard), names in lost.items():
            if chain.catches_up(context, shard):
                continue
            at = min(behind[name, context, shard][0] for name in names)
            published = max(until[name, context, shard] for name in names)
            log.warning("tail_lost", followers=names, context=context, shard=shard, at=at, published=published)
            await chain.catch_up([followers[name] for name in names], context, shard, until=published)
