"""The relay: the log, in order, to Kafka. One leader at a time; it resumes exactly where the last one stopped.

Guarantees: every event reaches its partition, in log order; a crash repeats some, never skips or reorders.
- The leader holds an advisory lock for as long as its connection lives, and counts up an epoch. A checkpoint
  of an older epoch is refused, so a leader that was frozen and comes back cannot move it.
- The checkpoint moves only after all records of a batch are acknowledged.
- After any error of the producer a new one starts from the checkpoint.
- A partition without its first record, or the one published last, was emptied or made again: it is published anew.
Kafka away: nothing piles up here, the log is the queue; commands go on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from adapters.away import AWAY, pause
from adapters.log import LogRecord
from adapters.relay_store import LOST, Published
from adapters.topics import TOPICS_AWAY
from streams.ports import Leadership, OpenTopics, RelayStore, Topics
from streams.publishing import Deposed, EmptiedAgain, not_there, republish, send

log = structlog.get_logger()

BATCH_EVENTS: Final = 1_000
POLL_S: Final = 0.5
# Under load, what arrives meanwhile goes in the same batch: fewer checkpoints, larger writes, and larger batches for
# all who read. As long as the batch before was large: where little comes nobody waits.
LINGER_S_PER_EVENT: Final = 0.001
LINGER_S_MAX: Final = 0.025
BUSY_S: Final = 0.01  # after a batch; whoever comes later does not wait for others
RETRY_PAUSE_S: Final = 1.0
LOOK_S: Final = 10.0


class Relay:
    """Runs until cancelled; waits while another process leads."""

    def __init__(self, store: RelayStore, topics: Topics, *, on_leading: Callable[[], None] = lambda: None) -> None:
        self._store = store
        self._topics = topics
        self._on_leading = on_leading

    async def run(self) -> None:
        """Lead, again and again: every error ends in a new connection, a new producer and the stored checkpoint."""
        while True:
            try:
                async with self._store.lead() as leadership, self._topics.open() as topics:
                    await self._publish(leadership, topics)
            except (*AWAY, *TOPICS_AWAY, Deposed, EmptiedAgain) as error:
                log.warning("relay_starts_again", error=repr(error))
            await pause(RETRY_PAUSE_S)

    async def _publish(self, leadership: Leadership, topics: OpenTopics) -> None:
        published = leadership.published
        log.info("relay_leads", epoch=published.epoch, position=published.position)
        await _restore_lost_partitions(leadership, topics, published)
        self._on_leading()
        looking = asyncio.create_task(_until_something_is_lost(leadership, topics, published), name="relay-look")
        try:
            async with LogAhead(leadership) as log_ahead:
                await self._follow(leadership, topics, published, log_ahead, looking)
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    async def _follow(
        self,
        leadership: Leadership,
        topics: OpenTopics,
        published: Published,
        log_ahead: LogAhead,
        looking: asyncio.Task[None],
    ) -> None:
        loop = asyncio.get_running_loop()
        busy_until = 0.0
        records: Sequence[LogRecord] = ()
        while True:
            await pause(0)
            leadership.require()
            if looking.done():
                looking.result()
                raise EmptiedAgain("a partition is not what was published to it")
            if leadership.news.is_set() and len(records) < BATCH_EVENTS and loop.time() < busy_until:
                await pause(min(LINGER_S_PER_EVENT * len(records), LINGER_S_MAX))
            leadership.news.clear()
            records = await log_ahead.after(published.position)
            if records:
                await _publish_batch(leadership, topics, published, records)
                busy_until = loop.time() + BUSY_S
            else:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(leadership.news.wait(), POLL_S)


class LogAhead:
    """The log in batches; while a full one is published, the next is read."""

    def __init__(self, leadership: Leadership) -> None:
        self._leadership = leadership
        self._ahead: tuple[int, asyncio.Task[list[LogRecord]]] | None = None

    async def __aenter__(self) -> LogAhead:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._drop()

    async def after(self, position: int) -> list[LogRecord]:
        """The next events, at most BATCH_EVENTS."""
        if self._ahead is not None and self._ahead[0] == position:
            reading, self._ahead = self._ahead[1], None
            records = await reading
        else:
            await self._drop()
            records = await self._leadership.after(position, limit=BATCH_EVENTS)
        if len(records) == BATCH_EVENTS:
            last = records[-1].position
            self._ahead = (last, asyncio.create_task(self._leadership.after(last, limit=BATCH_EVENTS)))
        return records

    async def _drop(self) -> None:
        if self._ahead is not None:
            self._ahead[1].cancel()
            await asyncio.gather(self._ahead[1], return_exceptions=True)
            self._ahead = None


async def _publish_batch(
    leadership: Leadership, topics: OpenTopics, published: Published, records: Sequence[LogRecord]
) -> None:
    sent, emptied = await send(topics, records, published.partitions)
    position = records[-1].position
    if not await leadership.checkpoint(published.epoch, position, sent):
        raise Deposed(f"epoch {published.epoch} is over")
    published.position = position
    published.partitions.update(sent)
    if emptied:
        await republish(leadership, topics, published.partitions, emptied)


async def _until_something_is_lost(leadership: Leadership, topics: OpenTopics, published: Published) -> None:
    """Look every LOOK_S; beside the publishing, which a look would hold up for half a second."""
    while True:
        await pause(LOOK_S)
        if await leadership.marked_lost() or await not_there(topics, dict(published.partitions)):
            return


async def _restore_lost_partitions(leadership: Leadership, topics: OpenTopics, published: Published) -> None:
    for partition, position in (await leadership.marked_lost()).items():
        published.partitions[partition] = (position, LOST)
    emptied = await not_there(topics, published.partitions)
    if emptied:
        await republish(leadership, topics, published.partitions, emptied)
