"""Kafka: our topics with explicit settings, and the relay's producer."""

from __future__ import annotations

from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from adapters.brokers import Brokers
from adapters.kafka_reading import read_past_what_cannot_be_read
from domain import CONTEXTS
from domain.identity import SHARDS

RECORD_BYTES_MAX: Final = 2 * 1024 * 1024

read_past_what_cannot_be_read()


class WrongPartitions(Exception):
    """A topic has another number of partitions than the shards of the log."""


async def ensure_topics(
    brokers: Brokers, *, prefix: str, replication_factor: int, min_insync_replicas: int
) -> list[str]:
    """Make the topics that are missing, kept for ever; returns their names.

    Raises WrongPartitions for one that is there with another partition count: aggregates would change their
    partition and lose their order."""
    admin = AIOKafkaAdminClient(**brokers.client_options())
    await admin.start()
    try:
        names = [prefix + context for context in CONTEXTS]
        known = {topic["topic"]: topic for topic in await admin.describe_topics(names) if topic["error_code"] == 0}
        for name, topic in known.items():
            if len(topic["partitions"]) != SHARDS:
                raise WrongPartitions(
                    f"The topic {name} has {len(topic['partitions'])} partitions and needs {SHARDS}; delete it, it is "
                    "published again from the log, or choose another KONTOR_TOPIC_PREFIX."
                )
        missing = [name for name in names if name not in known]
        settings = {
            "retention.ms": "-1",
            "retention.bytes": "-1",
            "cleanup.policy": "delete",
            "min.insync.replicas": str(min_insync_replicas),
            "max.message.bytes": str(RECORD_BYTES_MAX),
            # Whoever else may produce: what is stored is no larger than it looks. The relay compresses nothing.
            "compression.type": "uncompressed",
        }
        if missing:
            answer = await admin.create_topics(
                [NewTopic(name, SHARDS, replication_factor, topic_configs=settings) for name in missing]
            )
            for _, code, *_rest in answer.topic_errors:
                if code not in (0, TopicAlreadyExistsError.errno):
                    raise for_code(code)
        return missing
    finally:
        await admin.close()


def producer(brokers: Brokers) -> AIOKafkaProducer:
    """One that keeps order and loses nothing while it lives: idempotent, acks from all in-sync replicas.

    After a fatal error it must be thrown away: make a new one and send again from the checkpoint."""
    return AIOKafkaProducer(
        **brokers.client_options(),
        acks="all",
        enable_idempotence=True,
        linger_ms=0,
        max_batch_size=256 * 1024,
        max_request_size=RECORD_BYTES_MAX,
        request_timeout_ms=15_000,
    )
