"""The relay on real PostgreSQL and Kafka: in order, resumable, one leader, healing a topic that lost its records."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import MessageSizeTooLargeError
from psycopg.sql import SQL

from adapters import topics as kafka_topics
from adapters.kafka import RECORD_BYTES_MAX, WrongPartitions, ensure_topics, producer
from adapters.log import LogRecord
from adapters.relay_store import PostgresRelayStore
from adapters.topics import KafkaTopics
from adapters.wire import Linked, NotOurs, headers_of, parsed
from adapters.wiring import Kontor
from commands.catalogue import AddProduct
from commands.handling import Actor
from domain.identity import SHARDS
from domain.money import Money
from streams import publishing
from streams.relay import Relay

pytestmark = pytest.mark.servers
ACTOR = Actor.system("test")
WITHIN_S = 120


async def add_products(kontor: Kontor, count: int, *, tag: str = "P") -> None:
    await asyncio.gather(
        *(
            kontor.pipeline.execute(AddProduct(sku=f"{tag}-{n}", name="x", price=Money(100, "GBP")), actor=ACTOR)
            for n in range(count)
        )
    )


def relay_of(kontor: Kontor) -> Relay:
    return Relay(
        PostgresRelayStore(kontor.settings.postgres_url, kontor.log), KafkaTopics(kontor.settings, kontor.signatures)
    )


@asynccontextmanager
async def relaying(kontor: Kontor) -> AsyncIterator[None]:
    task = asyncio.create_task(relay_of(kontor).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not await condition():  # type: ignore[misc]
            await asyncio.sleep(0.05)


async def checkpoint(kontor: Kontor) -> int:
    ((position,),) = await kontor.reads.fetch(SQL("SELECT position FROM relay_checkpoint"), [])
    return position


async def caught_up(kontor: Kontor) -> bool:
    return await checkpoint(kontor) == await kontor.log.end()


async def publish_products(kontor: Kontor, count: int) -> None:
    """They are in the topic, and no relay runs any more."""
    async with relaying(kontor):
        await add_products(kontor, count)
        await until(lambda: caught_up(kontor))


def whoever_wrote_it(message: Any) -> Linked:
    return parsed("catalogue", message.partition, message.value, message.headers)


async def on_kafka(kontor: Kontor, read: Callable[[Any], Linked] = whoever_wrote_it) -> list[Linked]:
    """All records of the catalogue's topic, partition after partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kontor.settings.kafka_url, enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = [TopicPartition(f"{kontor.settings.topic_prefix}catalogue", shard) for shard in range(SHARDS)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        for partition, start in (await consumer.beginning_offsets(partitions)).items():
            consumer.seek(partition, start)
        found: list[Linked] = []
        while [each for each in partitions if await consumer.position(each) < ends[each]]:
            for messages in (await consumer.getmany(timeout_ms=500)).values():
                found += [read(each) for each in messages]
        return sorted(found, key=lambda linked: (linked.record.shard,))
    finally:
        await consumer.stop()


def is_chain(records: list[Linked]) -> bool:
    """Every record names the one before it in its partition."""
    last: dict[int, int] = {}
    for linked in records:
        if linked.previous != last.get(linked.record.shard, 0):
            return False
        last[linked.record.shard] = linked.record.position
    return True


async def test_every_event_is_published_once_and_in_a_chain(kontor: Kontor) -> None:
    await add_products(kontor, 100)
    async with relaying(kontor):
        await until(lambda: caught_up(kontor))
    records = await on_kafka(kontor)
    assert sorted(linked.record.position for linked in records) == list(range(1, 101))
    assert is_chain(records)


async def test_a_second_relay_waits_and_goes_on_where_the_first_stopped(kontor: Kontor) -> None:
    async with relaying(kontor):
        await add_products(kontor, 50)
        await until(lambda: caught_up(kontor))
        async with relaying(kontor):
            await add_products(kontor, 50, tag="Q")
            await until(lambda: caught_up(kontor))
    async with relaying(kontor):
        await add_products(kontor, 50, tag="R")
        await until(lambda: caught_up(kontor))
    records = await on_kafka(kontor)
    assert sorted(linked.record.position for linked in records) == list(range(1, 151))
    assert is_chain(records)


async def test_a_leader_whose_epoch_is_over_cannot_move_the_checkpoint(kontor: Kontor) -> None:
    async with relaying(kontor):
        await add_products(kontor, 10)
        await until(lambda: caught_up(kontor))
        await kontor.reads.fetch(SQL("UPDATE relay_checkpoint SET epoch = epoch + 100 RETURNING 1"), [])
        before = await checkpoint(kontor)
        await add_products(kontor, 1, tag="after")
        await asyncio.sleep(0.5)
        assert await checkpoint(kontor) == before
        # It steps down, leads anew with the next epoch, and repeats what the checkpoint does not have.
        await until(lambda: caught_up(kontor))
    ((epoch,),) = await kontor.reads.fetch(SQL("SELECT epoch FROM relay_checkpoint"), [])
    assert epoch == 102


async def test_a_topic_deleted_and_made_again_is_published_again_in_order(kontor: Kontor) -> None:
    await publish_products(kontor, 100)
    await delete_topic(kontor)
    await add_products(kontor, 20, tag="meanwhile")
    async with relaying(kontor):
        await until(lambda: caught_up(kontor))
        await until(lambda: complete(kontor, 120))
    assert is_chain(await on_kafka(kontor))


async def delete_topic(kontor: Kontor) -> None:
    topic = f"{kontor.settings.topic_prefix}catalogue"
    admin = AIOKafkaAdminClient(bootstrap_servers=kontor.settings.kafka_url)
    await admin.start()
    try:
        await admin.delete_topics([topic])
        async with asyncio.timeout(WITHIN_S):
            while topic in await admin.list_topics():
                await asyncio.sleep(0.05)
    finally:
        await admin.close()
    await asyncio.sleep(1)


async def make_topic_again(kontor: Kontor) -> None:
    """Empty."""
    await delete_topic(kontor)
    await ensure_topics(
        kontor.settings.brokers, prefix=kontor.settings.topic_prefix, replication_factor=1, min_insync_replicas=1
    )


async def test_a_topic_made_again_under_a_running_relay_is_published_again(kontor: Kontor, topics: None) -> None:
    """More is appended to the new partitions, at once, than the old ones held: their ends alone show nothing."""
    async with relaying(kontor):
        await add_products(kontor, 20)
        await until(lambda: caught_up(kontor))
        await make_topic_again(kontor)
        await add_products(kontor, 200, tag="after")
        await until(lambda: caught_up(kontor))
        await until(lambda: complete(kontor, 220))
    assert is_chain(await on_kafka(kontor))


async def test_a_topic_made_again_and_filled_past_its_old_end_is_published_again(kontor: Kontor, topics: None) -> None:
    """As by a leader that died after sending and before noting it: the ends alone show nothing."""
    await publish_products(kontor, 20)
    shards = {linked.record.shard for linked in await on_kafka(kontor)}
    await make_topic_again(kontor)
    async with producer(kontor.settings.brokers) as sending:
        for shard in shards:
            for _ in range(20):
                await sending.send(f"{kontor.settings.topic_prefix}catalogue", b"not noted", partition=shard)
    async with relaying(kontor):
        await until(lambda: complete(kontor, 20))
    assert is_chain(await on_kafka(kontor))


async def test_what_a_deposed_leader_sends_out_of_order_is_published_again(kontor: Kontor, topics: None) -> None:
    """It was on its way while the partition was cut and published again: what it follows on is gone."""
    await publish_products(kontor, 20)
    await add_products(kontor, 100, tag="after")
    last, strays = dict[int, list[int]](), list[Linked]()
    for record in await kontor.log.after(0, limit=1000):
        before = last.setdefault(record.shard, [])
        if sum(position > 20 for position in before) == 2:  # the first of what is not published yet is not among them
            strays.append(Linked(record, before[-1]))
        before.append(record.position)
    async with KafkaTopics(kontor.settings, kontor.signatures).open() as opened:
        assert len(await opened.send(strays)) > SHARDS / 2
    async with relaying(kontor):
        await until(lambda: caught_up(kontor))
        await until(lambda: complete(kontor, 120))
    assert is_chain(await on_kafka(kontor))


async def test_what_a_dead_leader_sent_and_did_not_note_is_left_where_it_is(kontor: Kontor, topics: None) -> None:
    await publish_products(kontor, 20)
    await add_products(kontor, 100, tag="after")
    records = await kontor.log.after(20, limit=1000)
    async with KafkaTopics(kontor.settings, kontor.signatures).open() as opened:
        last = {linked.record.shard: linked.record.position for linked in await on_kafka(kontor)}
        partitions = {("catalogue", shard): (position, 0) for shard, position in last.items()}
        await opened.send(publishing.linked(records[:60], partitions))
    async with relaying(kontor):
        await until(lambda: caught_up(kontor))
    await add_products(kontor, 1, tag="last")
    async with relaying(kontor):  # who leads begins with what has to be published again
        await until(lambda: caught_up(kontor))
    positions = [each.record.position for each in await on_kafka(kontor)]
    assert Counter(Counter(positions).values()) == {1: 61, 2: 60}


async def test_records_between_two_offsets_are_read_and_what_is_gone_is_not_waited_for(
    kontor: Kontor, topics: None
) -> None:
    await publish_products(kontor, 100)
    records = await on_kafka(kontor)
    shard = records[0].record.shard
    its = [each for each in records if each.record.shard == shard]
    async with KafkaTopics(kontor.settings, kontor.signatures).open() as opened:
        at, nowhere = ("catalogue", shard), ("users", 3)
        assert await opened.between({at: (1, 2), nowhere: (0, 9)}) == {at: its[1:3], nowhere: []}
        assert await opened.between({at: (2, 1_000)}) == {at: its[2:]}
        await opened.cut({at: 2})
        assert await opened.between({at: (0, 2)}) == {at: its[2:3]}


async def test_a_look_into_a_topic_that_is_made_again_meanwhile_does_not_wait_for_what_is_gone(
    kontor: Kontor, topics: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish_products(kontor, 20)
    ends = {("catalogue", linked.record.shard): 0 for linked in await on_kafka(kontor)}
    before, made_again = kafka_topics._read, list[None]()

    async def read(*asked: Any) -> Any:
        if not made_again:
            made_again.append(None)
            await make_topic_again(kontor)
        return await before(*asked)

    async with KafkaTopics(kontor.settings, kontor.signatures).open() as opened:
        assert await opened.outermost(ends) != {}
        monkeypatch.setattr("adapters.topics._read", read)
        async with asyncio.timeout(kafka_topics.READ_S_MAX - 5):
            assert await opened.outermost(ends) == {}


async def test_a_relay_that_dies_while_publishing_again_begins_again(
    kontor: Kontor, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish_products(kontor, 100)
    await delete_topic(kontor)
    died = asyncio.Event()

    async def die(*_: object, **__: object) -> None:
        died.set()
        await asyncio.sleep(3600)

    with monkeypatch.context() as patched:
        patched.setattr("adapters.log.EventLog.shard_after", die)
        async with relaying(kontor):
            await asyncio.wait_for(died.wait(), WITHIN_S)
    async with relaying(kontor):
        await until(lambda: complete(kontor, 100))
    assert is_chain(await on_kafka(kontor))


async def test_records_from_before_signatures_are_published_once_more_and_then_left_alone(
    kontor: Kontor, topics: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forged record at the end of a partition is not taken for the relay's, and does not keep it busy either."""
    monkeypatch.setattr("streams.relay.LOOK_S", 0.2)
    with monkeypatch.context() as patched:
        patched.setattr(
            "adapters.record_signatures.RecordSignatures.headers_of",
            lambda _, linked: headers_of(linked.record, previous=linked.previous),
        )
        patched.setattr("streams.relay.LOOK_S", 60.0)
        await publish_products(kontor, 40)
    with pytest.raises(NotOurs):
        await signed_on_kafka(kontor)
    async with relaying(kontor):
        await until(lambda: signed_and_complete(kontor, 40))
        assert is_chain(await signed_on_kafka(kontor))
        ends = await ends_of(kontor)
        async with producer(kontor.settings.brokers) as sending:
            for shard in range(SHARDS):
                await sending.send_and_wait(f"{kontor.settings.topic_prefix}catalogue", b"{}", b"x", shard)
        await asyncio.sleep(2)
    assert await ends_of(kontor) == {partition: end + 1 for partition, end in ends.items()}


async def signed_on_kafka(kontor: Kontor) -> list[Linked]:
    """As `on_kafka`; raises NotOurs for what is not signed."""
    return await on_kafka(kontor, kontor.signatures.read)


async def signed_and_complete(kontor: Kontor, count: int) -> bool:
    with contextlib.suppress(NotOurs):
        return sorted(each.record.position for each in await signed_on_kafka(kontor)) == list(range(1, count + 1))
    return False


async def ends_of(kontor: Kontor) -> dict[tuple[str, int], int]:
    async with KafkaTopics(kontor.settings, kontor.signatures).open() as opened:
        return await opened.ends([("catalogue", shard) for shard in range(SHARDS)])


async def complete(kontor: Kontor, count: int) -> bool:
    with contextlib.suppress(NotOurs):
        return sorted(linked.record.position for linked in await on_kafka(kontor)) == list(range(1, count + 1))
    return False


async def test_a_topic_with_another_partition_count_is_refused(kontor: Kontor) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kontor.settings.kafka_url)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(f"{kontor.settings.topic_prefix}orders", 3, 1)])
    finally:
        await admin.close()
    with pytest.raises(WrongPartitions, match="has 3 partitions and needs 12"):
        await ensure_topics(
            kontor.settings.brokers,
            prefix=kontor.settings.topic_prefix,
            replication_factor=1,
            min_insync_replicas=1,
        )


async def test_a_batch_that_is_larger_than_a_request_keeps_its_order_and_its_offsets(kontor: Kontor) -> None:
    record = await one_record(kontor)
    sizes = [10, 300_000, 200_000, 90_000, 1_900_000, 10, 1_000_000]
    records = [
        Linked(record._replace(position=number, state=b"x" * size), number - 1) for number, size in enumerate(sizes, 1)
    ]
    other = [Linked(record._replace(position=90, shard=(record.shard + 1) % SHARDS), 0)]
    async with KafkaTopics(kontor.settings, kontor.signatures).open() as topics:
        assert await topics.send([*records[:3], *other, *records[3:]]) == [0, 1, 2, 0, 3, 4, 5, 6]
        with pytest.raises(MessageSizeTooLargeError):
            await topics.send([Linked(record._replace(state=b"x" * RECORD_BYTES_MAX), 7)])
        assert (await topics.ends([(record.context, record.shard)])).popitem()[1] == len(sizes)


async def one_record(kontor: Kontor) -> LogRecord:
    await add_products(kontor, 1)
    return (await kontor.log.after(0, limit=1))[0]
