"""The composition root: settings in, a working Kontor out. Processes and tests call it with other settings."""

from __future__ import annotations

import base64
import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from psycopg import AsyncConnection, OperationalError
from psycopg_pool import AsyncConnectionPool
from redis.asyncio import Redis
from uuid_utils.compat import uuid7

from adapters import redis_views
from adapters.consistency import ViewPositions
from adapters.event_store import PostgresEventStore
from adapters.log import EventLog
from adapters.master_keys import MasterKeys
from adapters.metrics import PrometheusMeter
from adapters.mfa import MfaTable
from adapters.passwords import PasswordTable
from adapters.personal_data import PersonalDataBox
from adapters.read_store import ReadStore
from adapters.redis_views import RedisViews
from adapters.sessions import AccessTokens, SessionTable
from adapters.settings import Settings
from adapters.webhook_secrets import WebhookSecretTable
from commands import COMMANDS
from commands.handling import Pipeline
from commands.ports import Ports

POOL_CONNECTIONS_MAX: Final = 12
POOL_WAITING_MAX: Final = 2_000


class SystemClock:
    """See `commands.ports.Clock`."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class UuidV7:
    """See `commands.ports.Ids`."""

    def new(self) -> UUID:
        return uuid7()


class OrderNumberSequence:
    """See `commands.ports.OrderNumbers`."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def next(self) -> str:
        async with self._pool.connection() as connection:
            row = await (await connection.execute("SELECT nextval('order_numbers')")).fetchone()
        assert row is not None
        return f"K{row[0]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kontor:
    """Everything a process may need, wired."""

    settings: Settings
    pool: AsyncConnectionPool[Any]
    redis: Redis
    store: PostgresEventStore
    log: EventLog
    pipeline: Pipeline
    ports: Ports
    reads: ReadStore
    copies: RedisViews
    positions: ViewPositions
    personal_data: PersonalDataBox
    sessions: SessionTable
    access_tokens: AccessTokens


async def still_open(connection: AsyncConnection[Any]) -> None:
    """Raises OperationalError for a pooled connection that the server has closed meanwhile.

    An idle connection has nothing to read but its end, so a look at the socket tells, without the round trip
    the pool's own check would put before every query."""
    look = select.poll()
    look.register(connection.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
    if look.poll(0):
        # Until it is closed here, it counts as good: the pool would take it back and hand it out for ever.
        await connection.close()
        raise OperationalError("the server has closed this connection")


@asynccontextmanager
async def open_kontor(settings: Settings, *, name: str) -> AsyncIterator[Kontor]:
    """Connect, run, and close in order. `name` is what the database shows as application name.

    Raises psycopg_pool.PoolTimeout when Postgres cannot be reached within 30 s, WrongMasterKey; Redis may be away."""
    previous = filter(None, settings.previous_master_keys.get_secret_value().split(","))
    master_keys = [base64.b64decode(key) for key in (settings.master_key.get_secret_value(), *previous)]
    redis = redis_views.connect(settings.redis_url)
    async with AsyncConnectionPool(
        settings.postgres_url,
        min_size=2,
        max_size=POOL_CONNECTIONS_MAX,
        max_waiting=POOL_WAITING_MAX,
        timeout=10,
        kwargs={"autocommit": True, "application_name": f"kontor.{name}"},
        check=still_open,
        open=False,
    ) as pool:
        await pool.wait(30)
        reads = ReadStore(pool)
        personal_data = PersonalDataBox(pool, master_keys)
        await personal_data.prepare()
        sessions = SessionTable(pool)
        async with (
            PostgresEventStore(pool, settings.postgres_url) as store,
            ViewPositions(reads, settings.postgres_url) as positions,
        ):
            ports = Ports(
                store=store,
                personal_data=personal_data,
                credentials=PasswordTable(pool),
                sessions=sessions,
                mfa=MfaTable(pool, personal_data),
                webhook_secrets=WebhookSecretTable(pool, MasterKeys(master_keys)),
                order_numbers=OrderNumberSequence(pool),
                clock=SystemClock(),
                ids=UuidV7(),
                meter=PrometheusMeter(),
                digest_key=personal_data.request_digest_key,
            )
            try:
                yield Kontor(
                    settings=settings,
                    pool=pool,
                    redis=redis,
                    store=store,
                    log=EventLog(pool),
                    pipeline=Pipeline(COMMANDS, ports),
                    ports=ports,
                    reads=reads,
                    copies=RedisViews(redis, prefix=f"{settings.topic_prefix}view:"),
                    positions=positions,
                    personal_data=personal_data,
                    sessions=sessions,
                    access_tokens=AccessTokens(base64.b64decode(settings.jwt_key.get_secret_value())),
                )
            finally:
                await redis.aclose()
