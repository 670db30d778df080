"""Webhook deliveries to a real HTTP server: what is told, in which order, how often, and when no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest

from adapters.deliveries_ledger import STATES, Delivery
from adapters.wiring import Kontor
from commands.catalogue import AddProduct, RepriceProduct
from commands.handling import Actor
from commands.webhooks import (
    RegisterWebhook,
)
from domain.identity import ProductId, WebhookEndpointId, event_id_text, product_id
from domain.money import Money
from domain.users import Role
from domain.webhooks import EndpointState, WebhookEndpoint
from streams import deliveries as posting
from streams import effects
from streams.deliveries import Deliveries
from tests.given import SYSTEM
from tests.streams.webhook_receiver import Receiver, receiver

pytestmark = pytest.mark.servers
WAIT_S = 30.0
OWNER = Actor.user(uuid4(), [Role.INTEGRATOR])
ADDED, REPRICED = "kontor.product.added", "kontor.product.repriced"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks and pauses of tests."""
    monkeypatch.setattr(posting, "LOOK_S", 0.05)
    monkeypatch.setattr(posting, "PAUSE_S_MIN", 0.02)
    monkeypatch.setattr(posting, "PAUSE_S_MAX", 0.2)
    monkeypatch.setattr(effects, "GATHER_S", 0.005)


@dataclass
class Shop:
    """A Kontor and who receives its webhooks."""

    kontor: Kontor
    receiver: Receiver

    async def do(self, request: Any, actor: Actor = SYSTEM) -> Any:
        return await self.kontor.pipeline.execute(request, actor=actor)

    async def endpoint(self, path: str = "/hooks", *types: str) -> tuple[WebhookEndpointId, str]:
        """Its id and its secret."""
        done = await self.do(RegisterWebhook(url=self.receiver.url + path, types=types or ("*",)), OWNER)
        return WebhookEndpointId(done.aggregate_id), done.secret["secret"]

    async def product(self, sku: str, *, prices: int = 0) -> ProductId:
        await self.do(AddProduct(sku=sku, name=sku, price=Money(100, "GBP")))
        for minor in range(1, prices + 1):
            await self.do(RepriceProduct(product_id=product_id(sku), price=Money(100 + minor, "GBP")))
        return product_id(sku)

    async def rows(self, endpoint_id: UUID) -> list[Delivery]:
        """The oldest first."""
        newest = await self.kontor.deliveries.newest([endpoint_id], STATES, limit=10_000)
        return newest.get(endpoint_id, [])[::-1]

    async def states(self, endpoint_id: UUID) -> list[str]:
        return [row.state for row in await self.rows(endpoint_id)]

    async def state(self, endpoint_id: UUID) -> EndpointState:
        endpoint = (await self.kontor.store.load([endpoint_id]))[endpoint_id][0]
        assert isinstance(endpoint, WebhookEndpoint)
        return endpoint.state

    async def execute(self, statement: str, *values: Any) -> None:
        async with self.kontor.pool.connection() as connection:
            await connection.execute(statement.encode(), values)


async def until(holds: Callable[[], Any]) -> None:
    """Waits until it is true."""
    async with asyncio.timeout(WAIT_S):
        while True:
            found = holds()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.02)


@pytest.fixture
async def shop(kontor: Kontor) -> AsyncIterator[Shop]:
    async with receiver() as receiving:
        yield Shop(kontor, receiving)


@asynccontextmanager
async def delivering(shop: Shop) -> AsyncIterator[None]:
    """A worker's part in it."""
    task = asyncio.create_task(Deliveries(shop.kontor).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_endpoint_is_told_what_follows_its_registration_once_signed_and_in_the_envelope_of_kafka(
    shop: Shop,
) -> None:
    await shop.product("BEFORE")
    endpoint_id, secret = await shop.endpoint("/hooks", "product.added")
    mug = await shop.product("MUG", prices=1)
    async with delivering(shop):
        await until(lambda: shop.receiver.taken)
        (post,) = shop.receiver.posts
    assert post.signed_with(secret)
    assert post.id == post.event["id"] == event_id_text(mug, 1)
    assert post.headers["content-type"] == "application/cloudevents+json"
    (record,) = await shop.kontor.log.of_aggregate(mug, limit=1)
    told = post.event
    assert (told["data"]["sku"], told.pop("data")["name"]) == ("MUG", "MUG")
    assert told == {
        "specversion": "1.0",
        "id": event_id_text(mug, 1),
        "source": "/kontor/product",
        "type": ADDED,
        "subject": str(mug),
        "time": told["time"],
        "dataschema": f"/schemas/product.added/{record.schema_version}.json",
        "datacontenttype": "application/json",
        "position": str(record.position),
        "sequence": "1",
        "partitionkey": str(mug),
        "correlationid": str(record.correlation_id),
        "causationid": str(record.command_id),
        "commandid": str(record.command_id),
        "actor": "system:test",
    }
    await until(lambda: all_done(shop, endpoint_id))
    (row,) = await shop.rows(endpoint_id)
    assert (row.event_id, row.attempts, row.last_status) == (UUID(post.id), 1, 204)


async def all_done(shop: Shop, endpoint_id: UUID) -> bool:
    return set(await shop.states(endpoint_id)) == {"done"}
