"""What somebody who may produce to the topics, and has read them, does with records. He has everything but the key.

The log decides: afterwards rows, keys, stock and effects are exactly what it says (`the_log_decides`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from psycopg.sql import SQL

from adapters.event_codec import EventMapper
from adapters.record_signatures import SIGNATURE
from adapters.wiring import Kontor
from domain import CONTEXTS
from domain.identity import SHARDS, event_id
from domain.orders import Order
from domain.users import User
from tests.faults.scene import Scene
from tests.forging import send_unreadable

TAKEN: Final = 60  # of each partition, the newest
FORGED_A_TOPIC: Final = 40
FAR: Final = (2**31, 2**60, 2**63 - 1, 2**63, -1)

_MOVED: Final = SQL(
    "SELECT e.topic, e.state FROM (SELECT topic, convert_from(state, 'UTF8')::jsonb AS state FROM events"
    " WHERE topic IN ('stock.released', 'stock.dispatched')) e WHERE NOT EXISTS (SELECT FROM events o"
    " WHERE o.originator_id = (e.state->>'order_id')::uuid AND o.topic = ANY(CASE e.topic WHEN 'stock.released'"
    "  THEN ARRAY['order.cancelled', 'order.rejected'] ELSE ARRAY['order.shipped'] END))"
)
_EFFECTS: Final = SQL("SELECT event_id, effect, subject_id FROM effects WHERE kind IN ('payment', 'order')")
_EVENTS: Final = SQL("SELECT originator_id, originator_version FROM events WHERE context = ANY(%s)")
_GONE: Final = SQL(
    "SELECT k.person_id FROM person_keys k WHERE (k.wrapped_key IS NULL) <> EXISTS (SELECT FROM events e"
    " WHERE e.originator_id = k.person_id AND e.topic = 'user.erased')"
)
_LEFT: Final = SQL(
    "SELECT view, context, shard, position FROM view_positions v WHERE position >"
    " (SELECT coalesce(max(notification_id), 0) FROM events e WHERE e.context = v.context AND e.shard = v.shard)"
)


async def the_log_decides(kontor: Kontor) -> list[str]:
    """Whatever was done in the world or to a person though the log does not say so."""
    wrong = [f"{topic} of {state}, which its order did not call for"
             for topic, state in await kontor.reads.fetch(_MOVED, [])]  # fmt: skip
    known = {
        event_id(aggregate_id, version)
        for aggregate_id, version in await kontor.reads.fetch(_EVENTS, [["orders", "payments"]])
    }
    for planned_by, effect, subject in await kontor.reads.fetch(_EFFECTS, []):
        if planned_by not in known:
            wrong.append(f"{effect} of {subject} was planned by an event that the log does not have")
    wrong += [f"the key of {person} is not as the log says" for (person,) in await kontor.reads.fetch(_GONE, [])]
    wrong += [f"{name} of {context}/{shard} stands at {position}, past the log"
              for name, context, shard, position in await kontor.reads.fetch(_LEFT, [])]  # fmt: skip
    return wrong


async def records_are_forged(scene: Scene) -> None:
    """With real headers, real signatures and everybody's ids; a batch that cannot be decoded among them."""
    async with scene.producer() as producer:
        for context in CONTEXTS:
            topic = scene.settings.topic_prefix + context
            real = await _newest(scene, context)
            for _ in range(FORGED_A_TOPIC if real else 0):
                message = scene.dice.choice(real)
                partition, headers, value = scene.dice.choice(list(_forgeries(scene, message, context)))
                await producer.send_and_wait(topic, value, message.key, partition, headers=headers)
            await send_unreadable(producer, topic, scene.dice.randrange(SHARDS))
            await scene.moment(0, 0.2)
        async with AIOKafkaProducer(bootstrap_servers=scene.settings.kafka_url, compression_type="gzip") as compressing:
            await compressing.send_and_wait(
                scene.settings.topic_prefix + "orders", b"\0" * 1_000_000, b"stranger", scene.dice.randrange(SHARDS)
            )


def _forgeries(scene: Scene, message: Any, context: str) -> Iterator[tuple[int, list[tuple[str, bytes]], bytes]]:
    """Partition, headers and value of some."""
    told = dict(message.headers)
    here, other = message.partition, (message.partition + 1 + scene.dice.randrange(SHARDS - 1)) % SHARDS
    position, version = int(told["ce_position"]), int(told["ce_sequence"])
    subject = UUID(told["ce_subject"].decode())
    unsigned = {name: value for name, value in told.items() if name != SIGNATURE}
    yield other, list(told.items()), message.value
    for far in (position + 1, *FAR):
        after = {"ce_position": b"%d" % far, "ce_previous": b"%d" % position, "ce_sequence": b"%d" % (version + 1)}
        yield here, list((told | after).items()), message.value
        yield here, list((unsigned | after).items()), message.value
    after = {"ce_position": b"%d" % (position + 1), "ce_previous": b"%d" % position}
    for event in _events_of(context, subject, version + 1):
        stored = EventMapper().to_stored_event(event)
        kind = {
            "ce_type": f"kontor.{stored.topic}".encode(),
            "ce_sequence": b"%d" % (version + 1),
            "ce_dataschema": f"/schemas/{stored.topic}/1.json".encode(),
        }
        for headers in (told, unsigned, unsigned | {SIGNATURE: told.get(SIGNATURE, b"")[:16] + b"A" * 44}):
            yield here, list((headers | after | kind).items()), stored.state


def _events_of(context: str, subject: UUID, version: int) -> list[Any]:
    named = {"originator_id": subject, "originator_version": version, "timestamp": datetime.now(UTC)}
    match context:
        case "orders":
            return [
                Order.Cancelled(**named, reason="", by="eve"),
                Order.Rejected(**named, reason=""),
                Order.Confirmed(**named, payment_id=None),
                Order.Shipped(**named, carrier="", tracking_number=""),
            ]
        case "users":
            return [User.Erased(**named, by="eve")]
        case _:
            return []


async def records_are_replayed(scene: Scene) -> None:
    """Genuine records, again: where they were, and where they were not."""
    async with scene.producer() as producer:
        for context in CONTEXTS:
            for message in await _newest(scene, context):
                for partition in (message.partition, scene.dice.randrange(SHARDS)):
                    await _send(producer, message, partition)


async def records_are_reordered(scene: Scene) -> None:
    """Genuine records, the newest first; what is published meanwhile stands between them."""
    async with scene.producer() as producer:
        for context in ("orders", "inventory", "payments", "users"):
            for message in reversed(await _newest(scene, context)):
                await _send(producer, message, message.partition)


async def records_are_truncated(scene: Scene) -> None:
    """Copies that are cut, and partitions that lose their records up to the newest."""
    cuts: Sequence[Callable[[Any], tuple[list[tuple[str, bytes]], bytes]]] = (
        lambda message: (list(message.headers), message.value[: len(message.value) // 2]),
        lambda message: (list(message.headers), b""),
        lambda message: (list(message.headers)[:-1], message.value),
        lambda message: (list(message.headers)[4:], message.value),
        lambda message: ([*message.headers, ("ce_position", b"1")], message.value),
    )
    async with scene.producer() as producer:
        for context in CONTEXTS:
            for message in (await _newest(scene, context))[:FORGED_A_TOPIC]:
                headers, value = scene.dice.choice(cuts)(message)
                await producer.send_and_wait(message.topic, value, message.key, message.partition, headers=headers)
    await _cut(scene, scene.dice.sample(["orders", "inventory", "users", "payments"], 2))


async def _cut(scene: Scene, contexts: Sequence[str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=scene.settings.kafka_url)
    await admin.start()
    try:
        named = [
            TopicPartition(scene.settings.topic_prefix + context, shard)
            for context in contexts
            for shard in scene.dice.sample(range(SHARDS), SHARDS // 2)
        ]
        await admin.delete_records({each: RecordsToDelete(before_offset=-1) for each in named})
    finally:
        await admin.close()


async def _send(producer: AIOKafkaProducer, message: Any, partition: int) -> None:
    """In order; the producer sends what waits when it stops."""
    await producer.send(message.topic, message.value, message.key, partition, headers=list(message.headers))


async def _newest(scene: Scene, context: str) -> list[Any]:
    """The relay's newest records of each partition, in order."""
    consumer = AIOKafkaConsumer(bootstrap_servers=scene.settings.kafka_url, enable_auto_commit=False)
    await consumer.start()
    taken: list[Any] = []
    try:
        partitions = [TopicPartition(scene.settings.topic_prefix + context, shard) for shard in range(SHARDS)]
        consumer.assign(partitions)
        starts = await consumer.beginning_offsets(partitions)
        for partition, end in (await consumer.end_offsets(partitions)).items():
            consumer.seek(partition, max(starts[partition], end - TAKEN))
        while messages := await consumer.getmany(timeout_ms=500):
            for of_partition in messages.values():
                taken += [each for each in of_partition if SIGNATURE in dict(each.headers)]
            if len(taken) > TAKEN * SHARDS:
                break
    finally:
        await consumer.stop()
    return taken
