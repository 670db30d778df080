"""The system of a trial, as whoever breaks it needs it."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import aiohttp
import psycopg
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from redis.asyncio import Redis

from adapters.kafka import ensure_topics
from adapters.settings import Settings
from adapters.wiring import Kontor
from streams.verification import Verdict, verify_all
from tests.faults.crowd import Crowd
from tests.faults.system import System

READY_S_MAX: Final = 180.0
LOOK_S: Final = 0.05


async def delete_topics(settings: Settings, *contexts: str, away_s: float) -> None:
    """Delete topics, and make them again empty."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_url)
    await admin.start()
    try:
        await admin.delete_topics([settings.topic_prefix + context for context in contexts])
    finally:
        await admin.close()
    await asyncio.sleep(away_s)
    prefix = settings.topic_prefix
    await ensure_topics(settings.brokers, prefix=prefix, replication_factor=1, min_insync_replicas=1)


@dataclass(slots=True)
class Scene:
    """A running system with a crowd, a connection to its stores, and the trial's dice.

    `wrong` takes what a fault itself finds to be wrong, `impossible` when nothing could be stored: from, until."""

    system: System
    settings: Settings
    kontor: Kontor
    crowd: Crowd
    http: aiohttp.ClientSession
    dice: random.Random
    wrong: list[str] = field(default_factory=list)
    impossible: list[tuple[float, float]] = field(default_factory=list)
    verify: Callable[[Kontor], Awaitable[Verdict]] = verify_all
    long: bool = False  # may a fault last as long as it does in the matrix?

    def require(self, holds: bool, otherwise: str) -> None:
        """Note what is wrong unless it holds."""
        if not holds:
            self.wrong.append(otherwise)

    def times(self, often: int) -> int:
        """How often a fault strikes: once in a short run."""
        return often if self.long else 1

    def now(self) -> float:
        """As the crowd's answers are timed."""
        return asyncio.get_running_loop().time()

    async def moment(self, least: float = 0.1, most: float = 1.0) -> None:
        """A random while."""
        await asyncio.sleep(self.dice.uniform(least, most))

    async def until(self, holds: Callable[[], Awaitable[bool]], *, s_max: float = READY_S_MAX) -> bool:
        """Wait until it holds; False when it does not within that time."""
        give_up_at = self.now() + s_max
        while not await holds():
            if self.now() > give_up_at:
                return False
            await asyncio.sleep(LOOK_S)
        return True

    async def pid(self, process: str) -> int:
        """The process's present id; waits until there is one."""
        async with asyncio.timeout(READY_S_MAX):
            while (pid := self.system.pid(process)) is None:
                await asyncio.sleep(LOOK_S)
        return pid

    async def serves(self) -> None:
        """Wait until every part does."""
        async with asyncio.timeout(READY_S_MAX):
            while not self.system.serves():
                await asyncio.sleep(LOOK_S)

    async def send(self, process: str, sent: signal.Signals) -> int:
        """Send it a signal; returns its id."""
        async with asyncio.timeout(READY_S_MAX):
            while True:
                pid = await self.pid(process)
                try:
                    os.kill(pid, sent)
                except ProcessLookupError:  # it has just ended by itself
                    await asyncio.sleep(LOOK_S)
                else:
                    return pid

    async def replaced(self, process: str, pid: int) -> None:
        """Wait until the launcher has another process in its place."""
        async with asyncio.timeout(READY_S_MAX):
            while await self.pid(process) == pid:
                await asyncio.sleep(LOOK_S)

    async def kill(self, process: str, times: int = 1, sent: signal.Signals = signal.SIGKILL) -> None:
        """Kill it, and again when it is back."""
        for time in range(times):
            pid = await self.send(process, sent)
            if time + 1 < times:
                await self.replaced(process, pid)
                await self.moment()

    async def freeze(self, process: str, seconds: float) -> None:
        """It stands still for a while."""
        pid = await self.send(process, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)

    async def terminate_connections(self, application: str) -> int:
        """End the server processes of these connections; returns how many."""
        async with await psycopg.AsyncConnection.connect(self.settings.postgres_url, autocommit=True) as connection:
            answer = await connection.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = %s",
                [application],
            )
            row = await answer.fetchone()
        assert row is not None
        return int(row[0])

    def producer(self) -> AIOKafkaProducer:
        """Somebody else who writes to the topics."""
        return AIOKafkaProducer(bootstrap_servers=self.settings.kafka_url)

    def redis(self) -> Redis:
        """A client of the copies' server."""
        return Redis.from_url(self.settings.redis_url)
