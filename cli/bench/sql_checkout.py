"""Contestant `sql`: a plain checkout, as a careful shop without events would write it.

For each order one transaction locks the stock with `SELECT ... FOR UPDATE`, takes from it and stores the order; then
the payment is authorised at the provider, through Kontor's own adapter; then the order is confirmed. ORDERS, SKUS and
BUYERS say how many.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from time import time
from typing import Final
from uuid import uuid4

import uvloop
from psycopg_pool import AsyncConnectionPool

from adapters.payment_gateway import StripeGateway
from adapters.settings import Settings
from cli.bench.checkout import METHOD, PRICE, UNITS, figures
from cli.bench.timing import print_answer
from commands.ports import Charge, ProviderStatus

SETTINGS: Final = Settings.from_environment()
ORDERS: Final = int(os.environ["ORDERS"])
SKUS: Final = int(os.environ["SKUS"])
BUYERS: Final = int(os.environ["BUYERS"])

_TABLES: Final = """
CREATE TABLE plain_stock (sku int PRIMARY KEY, available bigint NOT NULL) WITH (fillfactor = 50);
CREATE TABLE plain_orders (id uuid PRIMARY KEY, sku int NOT NULL, status text NOT NULL, reference text);
"""


async def _buys(pool: AsyncConnectionPool, gateway: StripeGateway, sku: int) -> tuple[float, float]:
    order_id, placed_at = uuid4(), 0.0
    async with pool.connection() as connection, connection.transaction():
        found = await connection.execute("SELECT available FROM plain_stock WHERE sku = %s FOR UPDATE", [sku])
        row = await found.fetchone()
        assert row is not None
        assert row[0] > 0
        await connection.execute("UPDATE plain_stock SET available = available - 1 WHERE sku = %s", [sku])
        await connection.execute("INSERT INTO plain_orders VALUES (%s, %s, 'RESERVED')", [order_id, sku])
        placed_at = time()
    charge = Charge(payment_id=order_id, order_id=order_id, amount=PRICE, payment_method=METHOD, key=str(order_id))
    paid = await gateway.authorise(charge)
    assert paid.status is ProviderStatus.AUTHORISED
    async with pool.connection() as connection:
        await connection.execute(
            "UPDATE plain_orders SET status = 'CONFIRMED', reference = %s WHERE id = %s", [paid.reference, order_id]
        )
    return placed_at, time()


async def main() -> None:
    async with (
        AsyncConnectionPool(
            SETTINGS.postgres_url, min_size=BUYERS, max_size=BUYERS, kwargs={"autocommit": True}, open=False
        ) as pool,
        StripeGateway(SETTINGS.stripe_url, SETTINGS.stripe_key.get_secret_value()) as gateway,
    ):
        async with pool.connection() as connection:
            await connection.execute(_TABLES)
            stock = "INSERT INTO plain_stock SELECT n, %s FROM generate_series(0, %s) n"
            await connection.execute(stock, [UNITS, SKUS])
        numbers: Iterator[int] = iter(range(ORDERS))

        async def buyer() -> list[tuple[float, float]]:
            return [await _buys(pool, gateway, number % SKUS) for number in numbers]

        moments = [each for buyers in await asyncio.gather(*(buyer() for _ in range(BUYERS))) for each in buyers]
    print_answer(figures(moments, ORDERS))


if __name__ == "__main__":
    uvloop.run(main())
