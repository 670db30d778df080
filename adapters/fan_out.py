"""What is new in the log, handed to many at once: each has a bounded queue, and who does not empty it is told so.

No I/O: `adapters.log_tail` reads, this distributes. One per event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final
from uuid import UUID

from adapters.log import Interest, LogRecord

QUEUED_RECORDS_MAX: Final = 1_000
WOKEN_AT_ONCE: Final = 32  # so that a record which thousands wait for does not keep the event loop from everything else


class TooSlow(Exception):
    """More came than the queue holds. What was queued is gone from memory; the log still has it."""


class Subscriber:
    """A queue of at most `records_max`. Everything wanted past position `since` comes, once and in order."""

    def __init__(self, interest: Interest, *, since: int, records_max: int) -> None:
        self.interest = interest
        self.since = since
        self._records_max = records_max
        self._queue: deque[LogRecord] = deque()
        self._news = asyncio.Event()
        self._overflowed = False

    def put(self, record: LogRecord) -> None:
        """Queue it; what does not fit ends the subscriber and empties its queue."""
        if self._overflowed:
            return
        if len(self._queue) >= self._records_max:
            self._overflowed = True
            self._queue.clear()
        else:
            self._queue.append(record)
        self._news.set()

    async def next(self) -> LogRecord:
        """The next record, waited for. Raises TooSlow, then and ever after, once more came than the queue holds."""
        while not self._queue:
            if self._overflowed:
                raise TooSlow
            self._news.clear()
            await self._news.wait()
        return self._queue.popleft()

    @property
    def queued(self) -> int:
        """How many records wait in it."""
        return len(self._queue)


class FanOut:
    """All subscribers. `position` is that of the newest record handed out: a subscriber gets what comes after it."""

    def __init__(self, *, records_max: int = QUEUED_RECORDS_MAX) -> None:
        self.position = 0
        self._records_max = records_max
        self._by_aggregate: dict[UUID, set[Subscriber]] = {}
        self._of_many: set[Subscriber] = set()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, interest: Interest) -> Subscriber:
        """A new subscriber; pass it to `remove` in the end."""
        subscriber = Subscriber(interest, since=self.position, records_max=self._records_max)
        self._count += 1
        if interest.aggregate_ids is None:
            self._of_many.add(subscriber)
        for aggregate_id in interest.aggregate_ids or ():
            self._by_aggregate.setdefault(aggregate_id, set()).add(subscriber)
        return subscriber

    def remove(self, subscriber: Subscriber) -> None:
        """Nothing more comes to it."""
        self._count -= 1
        self._of_many.discard(subscriber)
        for aggregate_id in subscriber.interest.aggregate_ids or ():
            those = self._by_aggregate[aggregate_id]
            those.discard(subscriber)
            if not those:
                del self._by_aggregate[aggregate_id]

    async def publish(self, records: Sequence[LogRecord]) -> None:
        """Hand out the next records of the log; one that is not past `position` was handed out before."""
        woken = 0
        for record in records:
            if record.position <= self.position:
                continue
            # Before anybody else can run: who subscribes meanwhile begins after this record.
            self.position = record.position
            for subscriber in self._interested(record):
                subscriber.put(record)
                woken += 1
                if woken % WOKEN_AT_ONCE == 0:
                    await asyncio.sleep(0)

    def _interested(self, record: LogRecord) -> Iterable[Subscriber]:
        those = (*self._by_aggregate.get(record.aggregate_id, ()), *self._of_many)
        return [subscriber for subscriber in those if subscriber.interest.wants(record)]
