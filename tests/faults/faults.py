"""What is done to the system: one function a fault, numbered as in the matrix of the project's plan.

A function returns when the fault is over; the load goes on around it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from aiokafka import AIOKafkaConsumer, TopicPartition

from domain import CONTEXTS
from domain.identity import SHARDS
from streams.repairing import publish_again
from tests.conftest import ROOT
from tests.faults.scene import Scene, delete_topics

FROZEN_S: Final = 6.0
FOREIGN_S: Final = 4.0
TAKE_OVER_S: Final = 3.0
SHUFFLED: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A row of the table. `clients` and `skus` make the load; `after` tidies up what only the trial has brought."""

    number: int
    name: str
    inject: Callable[[Scene], Awaitable[Any]]
    clients: int = 8
    skus: int = 12
    after: Callable[[Scene], Awaitable[Any]] | None = None


async def nothing(scene: Scene) -> None:
    """The load alone: what is wrong here is wrong without any fault."""
    await scene.moment(1, 2)


async def server_processes_of_the_log_end(scene: Scene) -> None:
    for _ in range(4):
        await scene.moment(0.1, 0.5)
        await scene.terminate_connections("kontor.group-commit")


async def postgres_stops_at_once(scene: Scene) -> None:
    await scene.kill("postgres", sent=signal.SIGQUIT)


async def a_foreign_transaction_stays_open(scene: Scene) -> None:
    async with await psycopg.AsyncConnection.connect(scene.settings.postgres_url) as connection:
        await connection.execute("SELECT pg_current_xact_id()")
        await connection.execute("SELECT count(*) FROM events")
        await asyncio.sleep(FOREIGN_S)


async def relay_is_frozen_and_another_leads(scene: Scene) -> None:
    """The old leader wakes up and does not know that it is deposed."""
    pid = await scene.send("relay", signal.SIGSTOP)
    variables = {name: value for name, value in scene.stack.environment.items() if not name.startswith("KONTOR_READY")}
    other = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "relay"],
        env=variables,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        await asyncio.sleep(TAKE_OVER_S)
        await scene.terminate_connections("kontor.relay-leader")  # the lock of the frozen one is free now
        await asyncio.sleep(TAKE_OVER_S)
        os.kill(pid, signal.SIGCONT)
        await asyncio.sleep(TAKE_OVER_S)
    finally:
        other.terminate()
        await asyncio.to_thread(other.wait, 30)


async def notifications_are_lost(scene: Scene) -> None:
    for application in ("kontor.relay-leader", "kontor.view-positions", "kontor.relay-leader"):
        await scene.moment()
        await scene.terminate_connections(application)


async def topics_are_deleted(scene: Scene) -> None:
    await delete_topics(scene.settings, "orders", "inventory", away_s=scene.dice.uniform(0.5, 3))


async def workers_come_and_go(scene: Scene) -> None:
    """A second worker joins and leaves the group while the first is stopped and started."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        second = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "worker"],
            env=scene.stack.environment,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            await scene.moment(2, 4)
            await scene.kill("worker", sent=signal.SIGTERM)
            await scene.moment(1, 2)
        finally:
            second.send_signal(sent)
            await asyncio.to_thread(second.wait, 60)


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
    await publish_again(scene.kontor, [(context, shard) for context in CONTEXTS for shard in range(SHARDS)])


async def redis_is_emptied(scene: Scene) -> None:
    async with scene.redis() as redis:
        for _ in range(3):
            await scene.moment()
            await redis.flushall()


async def redis_has_no_memory(scene: Scene) -> None:
    async with scene.redis() as redis:
        await redis.config_set("maxmemory", "1mb")
        await scene.moment(2, 3)
        await redis.config_set("maxmemory", "0")


async def one_after_the_other_is_told_to_end(scene: Scene) -> None:
    for process in ("api", "relay", "worker"):
        await scene.kill(process, sent=signal.SIGTERM)
        await scene.moment()


def killed(process: str, times: int = 2) -> Callable[[Scene], Awaitable[None]]:
    """kill -9, and again when it is back."""
    return lambda scene: scene.kill(process, times)


FAULTS: Final = {
    fault.name: fault
    for fault in (
        Fault(number=0, name="none", inject=nothing),
        Fault(number=1, name="api-killed", inject=killed("api")),
        Fault(number=4, name="backends-terminated", inject=server_processes_of_the_log_end),
        Fault(number=5, name="postgres-immediate-stop", inject=postgres_stops_at_once),
        Fault(number=8, name="foreign-transaction", inject=a_foreign_transaction_stays_open),
        Fault(number=9, name="hot-aggregate", inject=nothing, clients=64, skus=1),
        Fault(number=11, name="relay-killed", inject=killed("relay")),
        Fault(number=12, name="relay-frozen", inject=relay_is_frozen_and_another_leads),
        Fault(number=13, name="notify-lost", inject=notifications_are_lost),
        Fault(number=14, name="broker-killed", inject=killed("kafka", 1)),
        Fault(number=15, name="broker-frozen", inject=lambda scene: scene.freeze("kafka", FROZEN_S)),
        Fault(number=16, name="topics-deleted", inject=topics_are_deleted),
        Fault(number=18, name="rebalances", inject=workers_come_and_go),
        Fault(number=20, name="shuffled", inject=records_come_again_and_shuffled),
        Fault(number=21, name="worker-killed", inject=killed("worker")),
        Fault(number=23, name="strangers", inject=strangers_write_to_the_topics, after=strangers_records_go),
        Fault(number=24, name="redis-emptied", inject=redis_is_emptied),
        Fault(number=25, name="redis-killed", inject=killed("redis", 1)),
        Fault(number=26, name="redis-full", inject=redis_has_no_memory),
        Fault(number=37, name="terminated", inject=one_after_the_other_is_told_to_end),
    )
}
