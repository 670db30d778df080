"""One batch of a topic's records and everybody who follows it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import structlog

from adapters.wire import Linked
from streams.applying import Chain, Decoded
from streams.following import Follower
from streams.skipping import FAR_RECORDS

log = structlog.get_logger()

PASSES_MAX: Final = 20  # then shards that are near have their turn

# On from this offset of this shard's partition.
Skip = Callable[[int, int], Awaitable[None]]


async def apply_batch(
    chain: Chain,
    context: str,
    followers: Sequence[Follower],
    records: Sequence[Linked],
    far: Mapping[int, tuple[int, int]],
    skip: Skip,
) -> None:
    """Returns when every follower has applied all.

    `far` names shards whose records are left out because they are far behind, with the position and the offset that the
    relay has reached: they catch up from the log and go on behind that. Raises what the chain raises, in a group."""
    decoded: Decoded = {}

    async def catch_up(shard: int, position: int, offset: int) -> None:
        events = await chain.catch_up(followers, context, shard, until=position)
        for _ in range(PASSES_MAX):
            # The relay went on meanwhile: Faust would hand on all of that for nothing.
            ends = await far_ends(chain, context, shard, offset)
            if ends is None:
                break
            position, offset = ends
            events += await chain.catch_up(followers, context, shard, until=position)
        await skip(shard, offset + 1)
        log.info("caught_up", context=context, shard=shard, events=events, offset=offset)

    async with asyncio.TaskGroup() as group:
        if records:
            group.create_task(chain.take_all(followers, context, records, decoded))
        for shard, (position, offset) in far.items():
            group.create_task(catch_up(shard, position, offset))


async def far_ends(chain: Chain, context: str, shard: int, offset: int) -> tuple[int, int] | None:
    """The position and offset that the relay has reached, if they are far behind this offset."""
    published = await chain.published(context, shard)
    return published if published is not None and published[1] - offset > FAR_RECORDS else None
