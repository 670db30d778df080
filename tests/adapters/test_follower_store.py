"""What followers hold while they apply events."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import psycopg
import pytest

from adapters.wiring import Kontor
from commands.catalogue import AddProduct
from commands.inventory import ReceiveStock
from domain.identity import SHARDS
from tests.given import GBP_2_55, SYSTEM

pytestmark = pytest.mark.servers
LOCK_S_MAX = 5


async def alter_the_log(kontor: Kontor) -> None:
    """As a migration does, which waits for whoever reads the log, and makes those wait who come later."""
    async with await psycopg.AsyncConnection.connect(kontor.settings.postgres_url, autocommit=True) as connection:
        await connection.execute(f"SET lock_timeout = '{LOCK_S_MAX}s'".encode())
        await connection.execute(
            f"ALTER TABLE events ADD CONSTRAINT c{uuid4().hex} CHECK (notification_id > 0)".encode()
        )


@pytest.mark.parametrize("together", [True, False])
async def test_the_checkout_holds_no_lock_on_the_log_while_its_commands_read_it(kontor: Kontor, together: bool) -> None:
    """It executes commands inside its transaction, on other connections: each would wait for the other for ever."""
    await kontor.pipeline.execute(AddProduct(sku="MUG", name="Mug", price=GBP_2_55), actor=SYSTEM)
    shards = range(SHARDS)
    if together:
        async with kontor.followers.together("orders", shards, {"checkout": None}) as found:
            await alter_the_log(kontor)
            log_end = found["checkout"].log_end
    else:
        async with kontor.followers.begin("checkout", "orders", shards) as transaction:
            altering = asyncio.create_task(alter_the_log(kontor))
            await kontor.pipeline.execute(ReceiveStock(sku="MUG", quantity=1), actor=SYSTEM)
            await altering
            log_end = transaction.log_end
    assert 1 <= log_end <= await kontor.log.end()
