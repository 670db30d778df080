"""Random writers and readers on the running system: no read is older than its token, unless it says so."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import redis.asyncio

from tests.api.test_road_of_one_order import PLACE, Client, anyone, buyer, frozen, order_of, staff  # noqa: F401
from tests.conftest import Stack

pytestmark = pytest.mark.servers
ACTORS, STEPS = 8, 20
RECEIPT = "ok userErrors { message } receipt { token aggregateId version }"
ADD = f"mutation($i: AddProductInput!) {{ addProduct(input: $i) {{ {RECEIPT} }} }}"
CATEGORY = f"mutation($i: AddCategoryInput!) {{ addCategory(input: $i) {{ {RECEIPT} }} }}"
WRITES = {
    "stock": f"""mutation($sku: String!, $n: Int!) {{ receiveStock(input: {{sku: $sku, quantity: $n}}) {{
      {RECEIPT} }} }}""",
    "catalogue": f"""mutation($id: ID!, $price: Decimal!) {{ repriceProduct(input: {{productId: $id,
      price: {{amount: $price, currency: "GBP"}}}}) {{ {RECEIPT} }} }}""",
    "categories": f"""mutation($id: ID!, $name: String!) {{ updateCategory(categoryId: $id, name: $name) {{
      {RECEIPT} }} }}""",
    "users": f"mutation($name: String!) {{ updateProfile(name: $name) {{ {RECEIPT} }} }}",
    "orders": PLACE,
}
READS = {
    "stock": (
        "query($sku: String!) { stockItem(sku: $sku) { id version } }",
        "query($sku: String!) { product(sku: $sku) { id version stock { id version } } }",
        "query($sku: String!) { products(where: {skus: [$sku], inStock: true}) { nodes { stock { id version } } } }",
        "query($id: ID!) { node(id: $id) { id ... on StockItem { version } } }",
    ),
    "catalogue": (
        "query($sku: String!) { product(sku: $sku) { id version } }",
        "query($sku: String!) { products(where: {skus: [$sku]}, orderBy: PRICE_ASC) { nodes { id version } } }",
        "query($sku: String!) { products(search: $sku) { nodes { id version } } }",
    ),
    "categories": (
        "query($slug: String!) { category(slug: $slug) { id version } }",
        "query($sku: String!) { product(sku: $sku) { categories { id version } } }",
    ),
    "users": ("{ me { id version } }", "query($id: ID!) { user(id: $id) { id version } }"),
    "orders": (
        "query($id: ID!) { order(id: $id) { id version } }",
        "query($sku: String!) { orders(where: {sku: $sku}, first: 100) { nodes { id version } } }",
        "{ me { id version orders(first: 100) { nodes { id version } } } }",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Written:
    """What somebody wrote, and what must be known of it to read it."""

    kind: str
    by: Client
    id: str
    version: int
    token: str
    sku: str
    slug: str


@dataclass
class Shop:
    """Something of everything, which several change and read at once."""

    staff: Client
    buyer: Client
    dice: random.Random
    skus: dict[str, str]
    slug: str
    category: str

    @classmethod
    async def opened(cls, staff: Client, buyer: Client, seed: int) -> Shop:  # noqa: F811  # no fixtures
        tag = uuid.uuid4().hex[:8]
        slug = f"all-{tag}"
        category = receipt_of(await staff(CATEGORY, i={"name": "All", "slug": slug}))["aggregateId"]
        skus = {}
        for n in range(3):
            made = {"sku": f"{tag}-{n}", "name": f"Thing {n}", "categoryIds": [category]}
            price = {"price": {"amount": "1.00", "currency": "GBP"}}
            skus[made["sku"]] = receipt_of(await staff(ADD, i=made | price))["aggregateId"]
            await staff(WRITES["stock"], sku=made["sku"], n=1_000)
        return cls(staff, buyer, random.Random(seed), skus, slug, category)

    async def write(self) -> Written:
        kind, sku = self.dice.choice(list(WRITES)), self.dice.choice(list(self.skus))
        given: dict[str, dict[str, Any]] = {
            "stock": {"sku": sku, "n": self.dice.randint(1, 9)},
            "catalogue": {"id": self.skus[sku], "price": f"{self.dice.randint(1, 99)}.{self.dice.randint(10, 99)}"},
            "categories": {"id": self.category, "name": f"All {self.dice.randint(0, 10**9)}"},
            "users": {"name": f"Buyer {self.dice.randint(0, 10**9)}"},
            "orders": {"input": order_of(sku, 1)},
        }
        by = self.buyer if kind in ("users", "orders") else self.staff
        receipt = receipt_of(await by(WRITES[kind], **given[kind]))
        return Written(
            kind=kind,
            by=by,
            id=receipt["aggregateId"],
            version=receipt["version"],
            token=receipt["token"],
            sku=sku,
            slug=self.slug,
        )

    async def read(self, written: Written, *, wait_ms: int, fresh: bool) -> str:
        """What became of a read with the token: fresh, stale or refused."""
        headers = {"Kontor-Consistent-With": written.token, "Kontor-Wait-Ms": str(wait_ms)}
        headers |= {"Kontor-Require": "fresh"} if fresh else {}
        document = self.dice.choice(READS[written.kind])
        answer = await written.by.send(document, headers, id=written.id, sku=written.sku, slug=written.slug)
        told: dict[str, Any] = answer["extensions"]["consistency"]
        seen = max(versions(answer.get("data"), written.id), default=0)
        what = (document, headers, written, answer)
        if answer.get("errors"):
            assert fresh, what
            assert {error["extensions"]["code"] for error in answer["errors"]} == {"STALE_READ"}, what
            return "refused"
        assert told["stale"] or seen >= written.version, what
        assert told["stale"] or told["served"] == told["requested"], what
        assert not (told["stale"] and fresh), what
        return "stale" if told["stale"] else "fresh"


def receipt_of(data: dict[str, Any]) -> dict[str, Any]:
    (payload,) = data.values()
    assert payload["ok"], payload
    receipt: dict[str, Any] = payload["receipt"]
    return receipt


def versions(data: Any, aggregate_id: str) -> Iterator[int]:
    """Every version of the aggregate that an answer shows."""
    if isinstance(data, dict):
        if data.get("id") == aggregate_id:
            yield data["version"]
        for value in data.values():
            yield from versions(value, aggregate_id)
    elif isinstance(data, list):
        for value in data:
            yield from versions(value, aggregate_id)


@pytest.fixture
async def shop(staff: Client, buyer: Client) -> Shop:  # noqa: F811  # the fixtures
    return await Shop.opened(staff, buyer, seed=20_261_121)


async def test_no_read_is_older_than_its_token_unless_it_says_so(stack: Stack, shop: Shop) -> None:
    """While Redis is emptied and the worker stands still, again and again; readers also have tokens of others, and
    old ones."""
    became: Counter[str] = Counter()
    known: list[Written] = []

    async def act() -> None:
        for _ in range(STEPS):
            known.append(await shop.write())
            for written in (known[-1], shop.dice.choice(known)):
                wait_ms, fresh = shop.dice.choice([0, 50, 400, 2_000]), shop.dice.random() < 0.2
                became[await shop.read(written, wait_ms=wait_ms, fresh=fresh)] += 1

    async def disturb() -> None:
        copies = redis.asyncio.Redis.from_url(stack.status["redis_url"])
        while True:
            with frozen(stack.status["processes"]["worker"]):
                await asyncio.sleep(0.7)
                await copies.flushall()
                await asyncio.sleep(0.3)
            await asyncio.sleep(0.5)
            await copies.flushall()
            await asyncio.sleep(0.5)

    disturbing = asyncio.create_task(disturb())
    try:
        await asyncio.gather(*(act() for _ in range(ACTORS)))
        assert not disturbing.done(), disturbing
    finally:
        disturbing.cancel()
        await asyncio.gather(disturbing, return_exceptions=True)
    assert became["fresh"] > 50, became
    assert became["stale"] > 10, became
    assert became["refused"] > 0, became
    # Once nothing is in the way, everything that was written is shown.
    async with asyncio.timeout(120):
        for written in known:
            while await shop.read(written, wait_ms=5_000, fresh=True) != "fresh":
                pass  # the worker still catches up
