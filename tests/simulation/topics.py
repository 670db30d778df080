"""Twins of Kafka: `streams.ports.Topics`, a group of consumers, and its offsets.

Records of one producer keep their order in a partition. Of a send that fails some are stored, and some arrive later.
Consumers are given records more than once, in another order, or not at all: offsets are only a hint.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from aiokafka.errors import KafkaError

from adapters.relay_store import Partition
from adapters.wire import Linked, headers_of, parsed
from domain import CONTEXTS
from domain.identity import SHARDS
from tests.simulation.world import Process, World

FAILED_SEND: Final = 0.03
BATCH_RECORDS_MAX: Final = 16
LATE_S_MAX: Final = 1.0


@dataclass(slots=True)
class Stored:
    """A partition: what it holds, and the offset of the first of it."""

    first: int = 0
    records: list[Linked] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.first + len(self.records)


class Kafka:
    """The broker, and the offsets of one group."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.away = False
        self.partitions: dict[Partition, Stored] = defaultdict(Stored)
        self.offsets: dict[tuple[str, Partition], int] = {}
        self.made = Counter[str]()  # how often each topic was made again
        self.consumers: list[Consumer] = []

    def store(self, linked: Linked) -> int:
        """Append, as the bytes and headers say it; returns the offset."""
        record = linked.record
        partition = self.partitions[record.context, record.shard]
        headers = headers_of(record, previous=linked.previous)
        partition.records.append(parsed(record.context, record.shard, record.state, headers))
        for consumer in self.consumers:
            if (record.context, record.shard) in consumer.assigned:
                consumer.news.set()
        return partition.end - 1

    def store_late(self, records: Sequence[Linked], made: Counter[str]) -> None:
        """What was on the way to topics that are gone is refused."""
        for linked in records:
            if self.made[linked.record.context] == made[linked.record.context]:
                self.store(linked)

    async def call(self, process: Process) -> None:
        await process.io()
        if self.away:
            raise KafkaError("simulated: Kafka is away")

    def empty(self, context: str) -> None:
        """The topic is deleted and made again."""
        self.made = self.made + Counter([context])
        for shard in range(SHARDS):
            self.partitions.pop((context, shard), None)


class SimulatedTopics:
    """See `streams.ports.Topics` and `OpenTopics`."""

    def __init__(self, process: Process, kafka: Kafka) -> None:
        self._process = process
        self._kafka = kafka

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SimulatedTopics]:
        await self._kafka.call(self._process)
        yield SimulatedTopics(self._process, self._kafka)

    async def send(self, records: Sequence[Linked]) -> list[int]:
        await self._kafka.call(self._process)
        dice = self._process.world.dice
        if self._process.world.strikes("send fails after storing some", FAILED_SEND):
            stored = dice.randrange(len(records) + 1)
            for linked in records[:stored]:
                self._kafka.store(linked)
            late = records[stored : dice.randint(stored, len(records))]
            asyncio.get_running_loop().call_later(
                dice.random() * LATE_S_MAX, self._kafka.store_late, late, self._kafka.made
            )
            raise KafkaError("simulated: not acknowledged")
        offsets = []
        for linked in records:
            if dice.random() < 0.1:
                await self._kafka.call(self._process)
            offsets.append(self._kafka.store(linked))
        await self._kafka.call(self._process)
        return offsets

    async def ends(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        await self._kafka.call(self._process)
        return {partition: self._kafka.partitions[partition].end for partition in partitions}

    async def outermost(self, offsets: Mapping[Partition, int]) -> dict[Partition, tuple[Linked, Linked]]:
        await self._kafka.call(self._process)
        found = {}
        for partition, offset in offsets.items():
            stored = self._kafka.partitions[partition]
            if stored.first <= offset < stored.end:
                found[partition] = (stored.records[0], stored.records[offset - stored.first])
        return found

    async def between(self, offsets: Mapping[Partition, tuple[int, int]]) -> dict[Partition, list[Linked]]:
        await self._kafka.call(self._process)
        found = {}
        for partition, (since, until) in offsets.items():
            stored = self._kafka.partitions[partition]
            found[partition] = stored.records[max(since - stored.first, 0) : max(until + 1 - stored.first, 0)]
        return found

    async def cut(self, before: Mapping[Partition, int]) -> None:
        for partition, offset in before.items():
            await self._kafka.call(self._process)
            stored = self._kafka.partitions[partition]
            if offset > stored.end:
                raise KafkaError("simulated: offset out of range")
            stored.records = stored.records[max(offset - stored.first, 0) :]
            stored.first = max(offset, stored.first)
        await self._process.io()


class Consumer:
    """What one agent of one worker is given of a topic."""

    def __init__(self, process: Process, kafka: Kafka, agent: str, context: str) -> None:
        self._process = process
        self._kafka = kafka
        self._agent = agent
        self._context = context
        self._next: dict[Partition, int] = {}
        self.assigned: set[Partition] = set()
        self.news = asyncio.Event()
        kafka.consumers.append(self)

    def assign(self, shards: Iterable[int]) -> None:
        """A rebalance: every partition is read from its stored offset again."""
        self.assigned = {(self._context, shard) for shard in shards}
        self._next = {}
        self.news.set()

    async def batch(self) -> list[tuple[Partition, int, Linked]]:
        """The next records with their partitions and offsets; waits for some."""
        while True:
            await self._process.io()
            if found := [] if self._kafka.away else self._fetch():
                return self._mistreated(found)
            self.news.clear()
            await self.news.wait()

    async def skip(self, shard: int, offset: int) -> None:
        """Go on from an offset; see `streams.skipping.skip_to`."""
        await self._process.io()
        partition = (self._context, shard)
        if self._process.alive and partition in self.assigned:
            self._next[partition] = self._kafka.offsets[self._agent, partition] = offset

    def acknowledge(self, batch: Sequence[tuple[Partition, int, Linked]]) -> None:
        for partition, offset, _ in batch:
            self._kafka.offsets[self._agent, partition] = offset + 1

    def _fetch(self) -> list[tuple[Partition, int, Linked]]:
        found: list[tuple[Partition, int, Linked]] = []
        for partition in sorted(self.assigned):
            if (stored := self._kafka.partitions.get(partition)) is None:
                continue
            at = self._next.get(partition)
            if at is None:
                at = self._kafka.offsets.get((self._agent, partition), stored.first)
            if not stored.first <= at <= stored.end:
                at = stored.first  # out of range: from the earliest
            records = stored.records[at - stored.first :][:BATCH_RECORDS_MAX]
            found += [(partition, at + place, linked) for place, linked in enumerate(records)]
            self._next[partition] = at + len(records)
        return found

    def _mistreated(self, found: list[tuple[Partition, int, Linked]]) -> list[tuple[Partition, int, Linked]]:
        world, dice = self._process.world, self._process.world.dice
        if world.calm or dice.random() < 0.7:
            return found
        if world.strikes("records lost on the way", 0.3):
            found = [each for each in found if dice.random() > 0.3]
        if world.strikes("records repeated", 0.3):
            found += dice.choices(found, k=2) if found else []
        if world.strikes("records shuffled", 0.3):
            dice.shuffle(found)
        if found and world.strikes("record damaged on the way", 0.1):
            place = dice.randrange(len(found))
            partition, offset, linked = found[place]
            found[place] = (partition, offset, replace(linked, record=linked.record._replace(state=b"[]")))
        if world.strikes("offsets go back", 0.1):
            self._next = {partition: at - dice.randrange(5) for partition, at in self._next.items()}
        return found


def all_partitions() -> list[Partition]:
    return [(context, shard) for context in CONTEXTS for shard in range(SHARDS)]
