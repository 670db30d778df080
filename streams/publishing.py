"""Sending records to their partitions, and publishing a partition that lost its records again from the log.

A lost partition is cut to nothing first, so that its records stand in log order from the start: a reader from
the beginning sees every event once and in order, and one that had read on drops what it knows by position.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog

from adapters.log import LogRecord
from adapters.relay_store import LOST, Partition, Partitions
from adapters.wire import Linked
from streams.ports import Leadership, OpenTopics

log = structlog.get_logger()

EVENTS_A_BATCH: Final = 1_000
# More than that came between two batches from a flood of somebody else's. To read all of it would hold up the relay for
# as long as the flood lasts: readers drop and refill by position whatever its order is, and `kontor verify` tells it.
BETWEEN_RECORDS_MAX: Final = 20_000
NOTHING: Final = (0, -1)  # of a partition to which nothing was published: position and offset


class Deposed(Exception):
    """Another leader has taken over; what this one published since is repeated by it."""


class EmptiedAgain(Exception):
    """A partition lost its records while they were being published again; begin once more."""


def linked(records: Sequence[LogRecord], partitions: Partitions) -> list[Linked]:
    """Each record with the link to the one before it in its partition."""
    last = {partition: position for partition, (position, _) in partitions.items()}
    chained = []
    for record in records:
        partition = (record.context, record.shard)
        chained.append(Linked(record, last.get(partition, 0)))
        last[partition] = record.position
    return chained


async def send(
    topics: OpenTopics, records: Sequence[LogRecord], partitions: Partitions
) -> tuple[Partitions, list[Partition]]:
    """Send in order, wait for every acknowledgement; returns last position and offset of each partition touched,
    and the partitions that were emptied or made again meanwhile, or have something else out of order between them.

    Raises one of TOPICS_AWAY; then some may have been stored, and all are to be sent again."""
    offsets = await topics.send(linked(records, partitions))
    ends: Partitions = {}
    emptied: list[Partition] = []
    doubtful: Partitions = {}
    for record, offset in zip(records, offsets, strict=True):
        partition = (record.context, record.shard)
        _, before = ends.get(partition, partitions.get(partition, NOTHING))
        # Offsets only rise, for as long as the partition is the same one.
        if offset <= before and partition not in emptied:
            emptied.append(partition)
        elif offset != before + 1:
            doubtful[partition] = partitions.get(partition, NOTHING)
        ends[partition] = (record.position, offset)
    # What others sent meanwhile, a deposed leader perhaps, may be into a new partition, and hide that it is one.
    emptied += [partition for partition in await not_there(topics, doubtful) if partition not in emptied]
    # And it may go on after something that was cut off since.
    between = {each: (before[1] + 1, ends[each][1]) for each, before in doubtful.items() if each not in emptied}
    flooded = [each for each, (first, last) in between.items() if last - first > BETWEEN_RECORDS_MAX]
    for context, shard in flooded:
        first, last = between.pop((context, shard))
        log.warning("partition_flooded", context=context, shard=shard, records=last - first)
    found = await topics.between(between) if between else {}
    emptied += [partition for partition, its in found.items() if not is_in_order(doubtful[partition][0], its)]
    # Whoever stores these ends and dies before publishing again leaves the mark that it has to be done.
    ends.update({partition: (ends[partition][0], LOST) for partition in emptied})
    return ends, emptied


def is_in_order(position: int, records: Sequence[Linked]) -> bool:
    """Do these follow on what ends at this position, when what is repeated is left out?"""
    for each in records:
        if each.previous > position:
            return False
        position = max(position, each.record.position)
    return True


async def not_there(topics: OpenTopics, partitions: Partitions) -> list[Partition]:
    """The partitions that do not begin where the log does, or do not hold, at its offset, the record that was
    published last.

    The end alone does not tell: what was sent and not noted may have brought a new partition's past that offset."""
    published = {partition: offset for partition, (position, offset) in partitions.items() if position}
    found = await topics.outermost(published) if published else {}
    lost = []
    for partition, (position, offset) in partitions.items():
        first, last = found.get(partition, (None, None))
        whole = first is not None and first.previous == 0 and last is not None and last.record.position == position
        if offset == LOST or (position and not whole):
            lost.append(partition)
    return lost


async def republish(
    leadership: Leadership, topics: OpenTopics, partitions: Partitions, emptied: Sequence[Partition]
) -> None:
    """Publish these partitions again, up to the position they had. May be interrupted anywhere: they are marked
    as lost until they are complete, so the next leader begins again."""
    # Cut at an offset that is known before: whoever freezes here and is deposed cuts nothing of the next leader's.
    starts = await topics.ends(emptied)
    await leadership.mark_lost(emptied)
    await topics.cut(starts)
    for partition in emptied:
        until, _ = partitions[partition]
        done: Partitions = {partition: (0, starts[partition] - 1)}
        count = 0
        while records := await leadership.shard_after(
            *partition, done[partition][0], limit=EVENTS_A_BATCH, until=until
        ):
            sent, again = await send(topics, records, done)
            done.update(sent)
            count += len(records)
            # What stands between them came late, from a producer that was given up or a leader that was deposed.
            if again or done[partition][1] != starts[partition] + count - 1:
                context, shard = partition
                raise EmptiedAgain(
                    f"{context}/{shard} lost its records, or got others, while they were published again"
                )
        if not await leadership.published_again(partition, done[partition][1]):
            raise Deposed(f"epoch {leadership.published.epoch} is over")
        partitions.update(done)
        log.warning("partition_published_again", context=partition[0], shard=partition[1], events=count)
