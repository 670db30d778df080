"""Bringing a database to the present schema while others work with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from psycopg.sql import SQL

from adapters.schema import MigrationChanged, SchemaLocked, migrate
from adapters.wiring import Kontor
from projections.orders import ORDERS

pytestmark = pytest.mark.servers
BRIEFLY_S = 20.0
FILE = "projections/orders.sql"
CHANGED = SQL("UPDATE migrations SET checksum = 'of yesterday' WHERE name = {} RETURNING 1")
CHECKSUM = SQL("SELECT checksum FROM migrations WHERE name = %s")


@asynccontextmanager
async def writing(kontor: Kontor) -> AsyncIterator[None]:
    """Somebody has written orders, and has not committed."""
    async with kontor.pool.connection() as connection, connection.transaction():
        await connection.execute(f"UPDATE {ORDERS.table} SET number = number".encode())
        yield


async def test_who_changes_nothing_waits_for_nobody(kontor: Kontor) -> None:
    async with writing(kontor), asyncio.timeout(BRIEFLY_S):
        assert await migrate(kontor.settings.postgres_url) == []


async def test_a_changed_file_of_a_view_is_applied_when_nobody_holds_its_table(kontor: Kontor) -> None:
    before = await kontor.reads.fetch(CHECKSUM, [FILE])
    await kontor.reads.fetch(CHANGED.format(FILE), [])
    async with writing(kontor):
        migrating = asyncio.create_task(migrate(kontor.settings.postgres_url))
        await asyncio.sleep(1.5)  # longer than it waits for a lock at a time
        assert not migrating.done()
        # Nobody waits behind it for long.
        async with asyncio.timeout(BRIEFLY_S):
            await kontor.reads.by_id(ORDERS, [])
    assert await migrating == []
    assert await kontor.reads.fetch(CHECKSUM, [FILE]) == before


async def test_a_table_that_is_never_free_is_told(kontor: Kontor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.schema.ATTEMPTS_MAX", 2)
    await kontor.reads.fetch(CHANGED.format(FILE), [])
    async with writing(kontor):
        with pytest.raises(SchemaLocked, match=rf"{FILE} was tried 2 times.*lock timeout.*pg_stat_activity"):
            await migrate(kontor.settings.postgres_url)
    assert await migrate(kontor.settings.postgres_url) == []


async def test_two_at_once_apply_it_once(kontor: Kontor) -> None:
    await kontor.reads.fetch(CHANGED.format(FILE), [])
    async with asyncio.timeout(BRIEFLY_S):
        assert await asyncio.gather(*(migrate(kontor.settings.postgres_url) for _ in range(2))) == [[], []]
    assert await kontor.reads.fetch(CHECKSUM, [FILE]) != [("of yesterday",)]


async def test_a_migration_with_another_text_is_refused(kontor: Kontor) -> None:
    name = "0001_event_log.sql"
    await kontor.reads.fetch(CHANGED.format(name), [])
    await kontor.reads.fetch(CHANGED.format(FILE), [])
    with pytest.raises(MigrationChanged, match=name):
        await migrate(kontor.settings.postgres_url)
    assert await kontor.reads.fetch(CHECKSUM, [FILE]) == [("of yesterday",)]
