"""What happens to Kafka, to the topics, and to those who read them."""

from __future__ import annotations

import asyncio
import signal
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata
from psycopg.sql import SQL

from adapters.relay_store import LOST
from domain import CONTEXTS
from domain.identity import SHARDS
from streams.repairing import publish_again
from tests.faults.scene import Scene, delete_topics

_MARKED_LOST: Final = SQL("SELECT context, shard FROM relay_partitions WHERE kafka_offset = %s")
FROZEN_S: Final = 6.0
SHUFFLED: Final = 40
RESETS: Final = 50
WHOLE_S_MAX: Final = 45.0  # two looks, and publishing again on a busy machine


async def notifications_are_lost(scene: Scene) -> None:
    for application in ("kontor.relay-leader", "kontor.view-positions", "kontor.relay-leader"):
        await scene.moment()
        await scene.terminate_connections(application)


async def broker_is_frozen(scene: Scene) -> None:
    await scene.freeze("kafka", FROZEN_S)


async def topics_are_deleted(scene: Scene) -> None:
    await delete_topics(scene.settings, "orders", "inventory", away_s=scene.dice.uniform(0.5, 3))


async def partitions_are_added(scene: Scene) -> None:
    """Records keep to their partitions; what starts on such a topic refuses it; made again it is published anew."""
    topic = f"{scene.settings.topic_prefix}inventory"
    admin = AIOKafkaAdminClient(bootstrap_servers=scene.settings.kafka_url)
    await admin.start()
    try:
        await admin.create_partitions({topic: NewPartitions(SHARDS + 1)})
    finally:
        await admin.close()
    await scene.moment(2, 3)
    refused = await asyncio.to_thread(scene.system.kontor, "migrate")
    said = refused.stdout + refused.stderr
    told = f"The topic {topic} has {SHARDS + 1} partitions and needs {SHARDS}"
    scene.require(refused.returncode != 0 and told in said, f"kontor migrate did not refuse {topic}: {said[-500:]}")
    await scene.kill("relay", sent=signal.SIGTERM)
    await scene.moment(1, 2)
    await delete_topics(scene.settings, "inventory", away_s=0.5)


async def topics_are_whole_again(scene: Scene) -> None:
    """What is lost of partitions to which nobody writes meanwhile is noticed by the relay's next look."""
    await the_group_is_joined_anew(scene)
    give_up_at = scene.now() + WHOLE_S_MAX
    while (await scene.verify(scene.kontor)).partitions and scene.now() < give_up_at:
        await scene.moment(1, 1)


async def the_group_is_joined_anew(scene: Scene) -> None:
    """Who was assigned while a topic was away may read none of it, is refilled from the log, and ends by itself some
    20 s later: that is not to strike the next trial."""
    await scene.system.stopped("worker")
    await scene.system.started("worker")


async def workers_come_and_go(scene: Scene) -> None:
    """A second worker joins and leaves the group while the first is stopped and started."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        with scene.system.beside("worker") as second:
            await scene.moment(2, 4)
            await scene.kill("worker", sent=signal.SIGTERM)
            await scene.moment(1, 2)
            second.send_signal(sent)


async def offsets_go_back_to_the_earliest(scene: Scene) -> None:
    """All that was ever published comes again, to workers that have seen it."""
    await scene.system.stopped("worker")
    try:
        await _reset_offsets(scene)
    finally:
        await scene.system.started("worker")


async def _reset_offsets(scene: Scene) -> None:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=scene.settings.kafka_url, group_id=scene.settings.worker_group, enable_auto_commit=False
    )
    await consumer.start()
    try:
        topics = [scene.settings.topic_prefix + context for context in CONTEXTS]
        partitions = [TopicPartition(topic, shard) for topic in topics for shard in range(SHARDS)]
        consumer.assign(partitions)
        before = [await consumer.committed(partition) or 0 for partition in partitions]
        scene.require(any(before), "the group had committed nothing")
        starts = await consumer.beginning_offsets(partitions)
        for attempt in range(RESETS):
            try:
                await consumer.commit({partition: OffsetAndMetadata(starts[partition], "") for partition in partitions})
                break
            except KafkaError:  # the worker that has left is still known as a member
                if attempt == RESETS - 1:
                    raise
                await asyncio.sleep(0.2)
    finally:
        await consumer.stop()


async def records_come_again_and_shuffled(scene: Scene) -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers=scene.settings.kafka_url, enable_auto_commit=False)
    await consumer.start()
    taken = []
    try:
        partitions = [TopicPartition(f"{scene.settings.topic_prefix}inventory", shard) for shard in range(SHARDS)]
        consumer.assign(partitions)
        for partition, end in (await consumer.end_offsets(partitions)).items():
            consumer.seek(partition, max(0, end - SHUFFLED))
        for messages in (await consumer.getmany(timeout_ms=2_000)).values():
            taken += messages
    finally:
        await consumer.stop()
    scene.dice.shuffle(taken)
    async with scene.producer() as producer:
        for message in taken:
            await producer.send_and_wait(
                message.topic, message.value, message.key, message.partition, headers=list(message.headers)
            )


async def strangers_write_to_the_topics(scene: Scene) -> None:
    async with scene.producer() as producer:
        for context in CONTEXTS:
            for value in (b"", b"{", b"\x00\xff", None):
                topic = scene.settings.topic_prefix + context
                await producer.send_and_wait(topic, value, b"stranger", scene.dice.randrange(SHARDS))


async def strangers_records_go(scene: Scene) -> None:
    """Every partition is cut and published again; returns when the relay has done that."""
    await publish_again(scene.kontor, [(context, shard) for context in CONTEXTS for shard in range(SHARDS)])

    async def published_again() -> bool:
        return not await scene.kontor.reads.fetch(_MARKED_LOST, [LOST])

    scene.require(await scene.until(published_again), "not every partition was published again")
