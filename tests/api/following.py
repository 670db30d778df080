"""Givens about subscriptions: an API that is really served, and clients that speak `graphql-transport-ws` to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import uvicorn
from websockets.asyncio.client import ClientConnection, connect

from adapters.access_tokens import ACCESS_TOKEN_S
from adapters.log_tail import LogTail
from adapters.wiring import Kontor
from api.app import create_app
from api.graphql.sockets import SERVING, SocketLimits
from commands.catalogue import AddProduct
from commands.handling import Actor
from commands.inventory import ReceiveStock
from commands.orders import CancelOrder
from commands.users import RegisterUser
from domain.identity import OrderId
from domain.users import Role
from tests.api.listening import QUIET, listening
from tests.given import GBP_2_55, PASSWORD, SYSTEM, order_of

ORDER = """subscription($id: ID!, $since: Cursor) {
  orderChanged(orderId: $id, since: $since) { cursor order { id status version total { amount } } } }"""
STOCK = """subscription($skus: [String!], $since: Cursor) {
  stockChanged(skus: $skus, since: $since) { cursor stockItem { sku onHand version } } }"""
EVENTS = """subscription($types: [String!], $id: ID, $since: Cursor) {
  events(types: $types, aggregateId: $id, since: $since) {
    position type version aggregateType aggregateId data actor } }"""
ANSWER_S = 60.0  # a busy machine


@dataclass
class Served:
    """An API in this process, on an installation without relay and worker."""

    kontor: Kontor
    server: uvicorn.Server
    port: int

    @asynccontextmanager
    async def client(self, token: str | None = None, **more: Any) -> AsyncIterator[Client]:
        """One that is connected and has said who it is."""
        async with self.socket(**more) as ws:
            client = Client(ws)
            await client.say(type="connection_init", payload={"authorization": f"Bearer {token}"} if token else {})
            assert await client.heard() == {"type": "connection_ack"}
            yield client

    def socket(self, **more: Any) -> connect:
        """A connection that has said nothing yet."""
        usual = {"subprotocols": ["graphql-transport-ws"], "compression": None, "proxy": None, "open_timeout": ANSWER_S}
        return connect(f"ws://127.0.0.1:{self.port}/graphql", **usual | more)

    def token(self, actor: Actor, *, good_for_s: float = ACCESS_TOKEN_S) -> str:
        issued_at = datetime.now(UTC) - timedelta(seconds=ACCESS_TOKEN_S - good_for_s)
        assert actor.user_id is not None
        return self.kontor.access_tokens.issue(actor.user_id, actor.roles, uuid4(), now=issued_at)


@dataclass
class Client:
    """The client's end of a connection."""

    ws: ClientConnection
    _ids: int = 0

    async def say(self, **message: Any) -> None:
        await self.ws.send(json.dumps(message))

    async def heard(self) -> dict[str, Any]:
        """The next message; a text frame, as the protocol has it."""
        text = await asyncio.wait_for(self.ws.recv(), ANSWER_S)
        assert isinstance(text, str)
        return json.loads(text)

    async def subscribe(self, document: str, **variables: Any) -> str:
        self._ids += 1
        payload = {"query": document, "variables": variables}
        await self.say(type="subscribe", id=str(self._ids), payload=payload)
        return str(self._ids)

    async def item(self) -> dict[str, Any]:
        """What the next item says of the one field that was asked for."""
        message = await self.heard()
        assert message["type"] == "next", message
        assert "errors" not in message["payload"], message
        (found,) = message["payload"]["data"].values()
        return found

    async def refused(self, document: str, **variables: Any) -> dict[str, Any]:
        """Why it is not served; the subscription has ended."""
        await self.subscribe(document, **variables)
        return await self.error()

    async def error(self) -> dict[str, Any]:
        """The error with which a subscription ends."""
        message = await self.heard()
        if message["type"] == "error":
            return message["payload"][0]
        assert message["payload"]["data"] is None, message
        assert (await self.heard())["type"] == "complete"
        return message["payload"]["errors"][0]

    async def closed(self) -> int | None:
        """The code with which the server closes the connection."""
        await asyncio.wait_for(self.ws.wait_closed(), ANSWER_S)
        return self.ws.close_code

    def drop(self) -> None:
        """Vanish without a word."""
        self.ws.transport.abort()


@asynccontextmanager
async def serving(
    kontor: Kontor, limits: SocketLimits | None = None, *, records_max: int = 0, send_buffer: int = 0
) -> AsyncIterator[Served]:
    """`records_max` events wait for one subscriber, `send_buffer` bytes in a socket; 0 is what is usual."""
    own = LogTail(kontor.log, kontor.settings.postgres_url, **{"records_max": records_max} if records_max else {})
    used = replace(kontor, tail=own)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Kontor]:
        yield used
        await own.close()

    app = create_app(opened, environment="production", limits=limits or SocketLimits())
    options = {"send_buffer": send_buffer, "timeout_graceful_shutdown": 5, **QUIET, **SERVING}
    async with listening(app, **options) as (server, port):
        yield Served(used, server, port)


async def until(what: Callable[[], Awaitable[Any]]) -> Any:
    """What it answers, as soon as that is true."""
    async with asyncio.timeout(ANSWER_S):
        while not (found := await what()):
            await asyncio.sleep(0.05)
    return found


ANALYST = Actor.user(UUID(int=0xE), [Role.ANALYST])
INTEGRATOR = Actor.user(UUID(int=0xF), [Role.INTEGRATOR])


async def product(shop: Served, *, units: int = 5) -> str:
    """A new SKU with that many units in stock; without units there is no stock ledger."""
    sku = f"S-{uuid4().hex[:8].upper()}"
    await shop.kontor.pipeline.execute(AddProduct(sku=sku, name="Mug", price=GBP_2_55), actor=SYSTEM)
    if units:
        await receive(shop, sku, units)
    return sku


async def receive(shop: Served, sku: str, units: int = 1) -> int:
    """The position of the event."""
    outcome = await shop.kontor.pipeline.execute(ReceiveStock(sku=sku, quantity=units), actor=SYSTEM)
    return max(head.position for head in outcome.heads)


async def customer(shop: Served) -> Actor:
    register = RegisterUser(email=f"{uuid4().hex}@example.com", name="Ada Lovelace", password=PASSWORD)
    outcome = await shop.kontor.pipeline.execute(register, actor=SYSTEM)
    return Actor.user(outcome.aggregate_id, [Role.CUSTOMER])


async def placed(shop: Served, ada: Actor, sku: str) -> str:
    return str((await shop.kontor.pipeline.execute(order_of((sku, 1)), actor=ada)).aggregate_id)


async def cancel(shop: Served, ada: Actor, order_id: str) -> None:
    await shop.kontor.pipeline.execute(CancelOrder(order_id=OrderId(UUID(order_id)), reason="no"), actor=ada)
