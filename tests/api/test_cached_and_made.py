"""An API that keeps answers and one that does not answer alike, whatever happens between writing and reading."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import psycopg
import pytest
import redis.asyncio

from adapters.metrics import CACHE_HITS
from tests.api.following import until
from tests.api.served import Served, served
from tests.api.test_readers_and_writers import Shop, shop  # noqa: F401  # a fixture
from tests.api.test_road_of_one_order import Client, anyone, buyer, frozen, staff  # noqa: F401  # fixtures
from tests.conftest import Stack
from tests.gateways import free_port

pytestmark = pytest.mark.servers
STEPS = 8
ALIKE_S = 40.0
# What is left of the reader's points is a matter of the moment.
_LEFT = re.compile(rb'"available":\d+')
ROW = "id version"
QUESTIONS = (
    f"query($sku: String!) {{ product(sku: $sku) {{ {ROW} price {{ amount }} stock {{ {ROW} available }}"
    f" categories {{ {ROW} name }} }} }}",
    f"query($sku: String!) {{ products(search: $sku, where: {{inStock: true}}, orderBy: PRICE_ASC) {{ nodes {{ {ROW}"
    " price { amount } } totalCount } }",
    f"query($sku: String!) {{ stockItem(sku: $sku) {{ {ROW} onHand reserved }} }}",
    f"query($slug: String!) {{ category(slug: $slug) {{ {ROW} name }} }}",
    f"{{ me {{ {ROW} name }} }}",
    f"{{ orders(first: 5) {{ nodes {{ {ROW} status customer {{ name }} payment {{ status }} lines {{ product"
    f" {{ {ROW} }} }} }} totalCount }} }}",
)


@dataclass
class Both:
    """The same questions to both, for everybody."""

    keeping: Served
    making: Served
    shop: Shop
    stack: Stack

    async def answer(self, api: Served, question: str, token: str | None, sku: str) -> bytes:
        known = {"sku": sku, "slug": self.shop.slug}
        variables = {name: value for name, value in known.items() if f"${name}:" in question}
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        body = json.dumps({"query": question, "variables": variables}).encode()
        async with api.http.post(f"{api.url}/graphql", data=body, headers=headers) as told:
            assert told.status == 200
            return _LEFT.sub(b"", await told.read())

    async def same(self) -> None:
        """Every question is answered alike: at once, or after the moment that it takes to hear of a change."""
        sku = self.shop.dice.choice(list(self.shop.skus))
        for question in QUESTIONS:
            for token in (None, self.shop.buyer.token, self.shop.staff.token):
                await self._same(question, token, sku)

    async def _same(self, question: str, token: str | None, sku: str) -> None:
        kept = made = b""
        try:
            async with asyncio.timeout(ALIKE_S):
                while True:
                    kept = await self.answer(self.keeping, question, token, sku)
                    made = await self.answer(self.making, question, token, sku)
                    if kept == made:
                        return
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{question}\nkept {kept!r}\nmade {made!r}") from None

    async def worker(self) -> int:
        """Its pid, once there is one."""

        async def pid() -> int | None:
            found: int | None = self.stack.status["processes"].get("worker")
            return found

        return await until(pid)

    async def write(self) -> None:
        await self.shop.write()

    async def write_to_a_standing_worker(self) -> None:
        """What the views show stands still, whatever is written."""
        with frozen(await self.worker()):
            await self.shop.write()
            await self.same()

    async def empty_redis(self) -> None:
        copies = redis.asyncio.Redis.from_url(self.stack.status["redis_url"])
        await copies.flushall()
        await copies.aclose()
        await self.shop.write()

    async def cut_the_channel(self) -> None:
        async with await psycopg.AsyncConnection.connect(self.stack.settings.postgres_url, autocommit=True) as admin:
            cut = (
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE application_name = 'kontor.view-positions'"
            )
            await admin.execute(cut.encode())
        await self.shop.write()

    async def kill_the_worker(self) -> None:
        """The launcher starts it again."""
        os.kill(await self.worker(), signal.SIGKILL)
        await self.shop.write()


@pytest.fixture
async def both(stack: Stack, shop: Shop) -> AsyncIterator[Both]:  # noqa: F811  # the fixture
    shop.dice = random.Random(7)
    # Without Redis, what is made is made of rows: copies are a moment older, which is not what is asked here.
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    async with (
        served(stack.settings) as keeping,
        served(stack.settings, response_cache_bytes=0, redis_url=nowhere) as making,
    ):
        yield Both(keeping, making, shop, stack)


async def test_kept_and_made_answers_are_the_same_bytes(both: Both) -> None:
    hits = CACHE_HITS._value.get()
    steps: list[Callable[[], Awaitable[None]]] = [
        both.write,
        both.write_to_a_standing_worker,
        both.empty_redis,
        both.cut_the_channel,
    ]
    await both.same()
    for step in range(STEPS):
        if step == STEPS // 2:
            await both.kill_the_worker()
        else:
            await both.shop.dice.choice(steps)()
        await both.same()
    for _ in range(3):
        await both.same()
    assert CACHE_HITS._value.get() - hits > 2 * len(QUESTIONS)
