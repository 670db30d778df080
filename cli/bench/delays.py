"""How long after its commit a command's effect can be seen: as a row in Postgres, as a copy in Redis, by GraphQL.

Commands come at a fixed rate, however long each takes. Every command is timed to its row; some are looked for in Redis
every 3 ms, and some asked for over HTTP with the command's token.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final
from uuid import uuid4

import aiohttp

from adapters.consistency import Token
from adapters.wiring import Kontor, open_kontor
from cli.bench.installed import Installation
from cli.bench.timing import percentile_ms
from cli.logins import DEMO_LOGINS
from cli.stack.problem import Problem
from commands.catalogue import AddProduct
from commands.handling import Actor
from commands.inventory import ReceiveStock
from domain.identity import stock_item_id
from domain.money import Money
from projections.inventory import STOCK

ACTOR: Final = Actor.system("bench")
SKUS: Final = 500
WARM_UP_S: Final = 2.0
SEEN_S_MAX: Final = 30.0
SAMPLES_PER_S: Final = 8  # in Redis, and over HTTP
LOOK_S: Final = 0.003
QUERY: Final = """
query ($sku: String!, $token: ConsistencyToken) { stockItem(sku: $sku, consistentWith: $token) { sku onHand } }
"""


@dataclass(slots=True)
class Seen:
    """Seconds from commit to being seen; and what was not seen in time."""

    postgres: list[float] = field(default_factory=list)
    redis: list[float] = field(default_factory=list)
    graphql: list[float] = field(default_factory=list)
    missed: int = 0


@dataclass(slots=True)
class Delays:
    """The load and its looks, in one process."""

    kontor: Kontor
    http: aiohttp.ClientSession
    url: str
    run: str = field(default_factory=lambda: uuid4().hex[:6])
    seen: Seen = field(default_factory=Seen)

    async def prepare(self) -> None:
        """Add the products whose stock is received."""
        for number in range(SKUS):
            product = AddProduct(sku=self._sku(number), name="Cup", price=Money(255, "GBP"))
            await self.kontor.pipeline.execute(product, actor=ACTOR)
            await self.kontor.pipeline.execute(ReceiveStock(sku=product.sku, quantity=1), actor=ACTOR)

    async def at_rate(self, rate: int, seconds: float) -> dict[str, Any]:
        """The delays of that many commands a second; those of the first seconds are not counted."""
        self.seen = Seen()
        begin = perf_counter() + WARM_UP_S
        every = max(1, rate // SAMPLES_PER_S)
        async with asyncio.TaskGroup() as group:
            for number in range(int(rate * (WARM_UP_S + seconds))):
                due = begin - WARM_UP_S + number / rate
                if (early := due - perf_counter()) > 0:
                    await asyncio.sleep(early)
                group.create_task(self._one(number, due >= begin, number % every == 0))
        rate_seen = len(self.seen.postgres) / (perf_counter() - begin)
        return {
            "commands_per_s": rate,
            "seen_per_s": round(rate_seen),
            "missed": self.seen.missed,
            **_percentiles("postgres", self.seen.postgres),
            **_percentiles("redis", self.seen.redis),
            **_percentiles("graphql", self.seen.graphql),
        }

    async def _one(self, number: int, counted: bool, sampled: bool) -> None:
        command = ReceiveStock(sku=self._sku(number % SKUS), quantity=1)
        receipt = await self.kontor.pipeline.execute(command, actor=ACTOR)
        committed = perf_counter()
        token = Token(receipt.heads)
        looks = [self._in_postgres(token, committed, counted)]
        if sampled and counted:
            looks.append(self._in_redis(command.sku, receipt.heads[-1].version, committed))
            looks.append(self._by_graphql(command.sku, token, committed))
        await asyncio.gather(*looks)

    async def _in_postgres(self, token: Token, committed: float, counted: bool) -> None:
        there = await self.kontor.positions.wait(STOCK, token, timeout_s=SEEN_S_MAX)
        if counted:
            self._note(self.seen.postgres, there, committed)

    async def _in_redis(self, sku: str, version: int, committed: float) -> None:
        row_id = stock_item_id(sku)
        there = False
        while not there and perf_counter() < committed + SEEN_S_MAX:
            row = (await self.kontor.copies.read(self.kontor.reads.generations.live(STOCK), [row_id])).get(row_id)
            there = row is not None and row.version >= version
            if not there:
                await asyncio.sleep(LOOK_S)
        self._note(self.seen.redis, there, committed)

    async def _by_graphql(self, sku: str, token: Token, committed: float) -> None:
        body = {"query": QUERY, "variables": {"sku": sku, "token": token.encoded()}}
        async with self.http.post(f"{self.url}/graphql", json=body) as answer:
            said = await answer.json()
        self._note(self.seen.graphql, bool((said.get("data") or {}).get("stockItem")), committed)

    def _note(self, into: list[float], there: bool, committed: float) -> None:
        if there:
            into.append(perf_counter() - committed)
        else:
            self.seen.missed += 1

    def _sku(self, number: int) -> str:
        return f"DELAY-{self.run}-{number}"


def _percentiles(name: str, delays_s: Sequence[float]) -> dict[str, float | None]:
    return {f"{name}_p50_ms": percentile_ms(delays_s, 0.5), f"{name}_p99_ms": percentile_ms(delays_s, 0.99)}


async def measure(installation: Installation, rates: Sequence[int], seconds: float) -> list[dict[str, Any]]:
    """A row for each rate."""
    url = str(installation.status["http_url"])
    async with open_kontor(installation.settings, name="bench") as kontor, aiohttp.ClientSession() as http:
        staff = DEMO_LOGINS["staff"]
        credentials = {"email": staff.email, "password": staff.password}
        async with http.post(f"{url}/v1/commands/sign-in", json=credentials) as answer:
            said = await answer.json()
            if answer.status != 200:
                raise Problem(f"Signing in to the installation that is measured failed: {said}")
        http.headers["Authorization"] = f"Bearer {said['secret']['access_token']}"
        delays = Delays(kontor, http, url)
        await delays.prepare()
        return [await delays.at_rate(rate, seconds) for rate in rates]
