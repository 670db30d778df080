"""The whole store against a simple model: several writers at once, and afterwards the log is what they were told.

Two event stores with a pipeline each, as two processes have, and the library's Application beside them, work on few
SKUs. The model reads the log's JSON and knows nothing of aggregates.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from eventsourcing.persistence import IntegrityError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.event_store import PostgresEventStore
from adapters.library import LogApplication
from adapters.log import LogRecord
from adapters.wiring import Kontor
from commands import COMMANDS
from commands.catalogue import AddProduct
from commands.handling import Actor, Outcome, Pipeline
from commands.inventory import AdjustStock, ReceiveStock, ReserveOrders
from commands.orders import CancelOrder, PlaceOrder, WantedLine
from commands.users import RegisterUser
from domain.errors import DomainError
from domain.identity import OrderId, UserId, stock_item_id
from domain.inventory import StockItem
from domain.money import Money
from tests.given import NOW

pytestmark = pytest.mark.servers
ACTOR = Actor.system("model")
SKUS = 3

skus = st.integers(0, SKUS - 1)
units = st.integers(1, 5)
Step = tuple[Any, ...]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("receive"), skus, units),
        st.tuples(st.just("library receives"), skus, units),
        st.tuples(st.just("adjust"), skus, st.integers(0, 20)),
        st.tuples(st.just("order"), st.lists(st.tuples(skus, units), min_size=1, max_size=3)),
        st.tuples(st.just("cancel"), st.integers(0, 5)),
        st.tuples(st.just("same key"), skus, units),
    ),
    min_size=3,
    max_size=12,
)


@dataclass
class World:
    """One example: its SKUs, and what the writers were told."""

    kontor: Kontor
    pipelines: Sequence[Pipeline]
    library: LogApplication
    customer: UserId
    name: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    told: list[Outcome] = field(default_factory=list)
    refused: int = 0
    received: Counter[str] = field(default_factory=Counter)
    orders: list[OrderId] = field(default_factory=list)

    def sku(self, number: int) -> str:
        return f"{self.name}-{number}"

    async def begin(self) -> None:
        for number in range(SKUS):
            await self.execute(0, AddProduct(sku=self.sku(number), name="Cup", price=Money(100, "GBP")))
            await self.execute(0, ReceiveStock(sku=self.sku(number), quantity=3))
            self.received[self.sku(number)] += 3

    async def execute(self, writer: int, request: Any, key: str | None = None) -> Outcome | None:
        try:
            outcome = await self.pipelines[writer].execute(request, actor=ACTOR, idempotency_key=key)
        except DomainError:
            self.refused += 1
            return None
        self.told.append(outcome)
        return outcome

    async def take(self, writer: int, step: Step) -> None:
        match step:
            case ("receive", number, quantity):
                if await self.execute(writer, ReceiveStock(sku=self.sku(number), quantity=quantity)):
                    self.received[self.sku(number)] += quantity
            case ("same key", number, quantity):
                # Every writer sends it; it counts once.
                request = ReceiveStock(sku=self.sku(number), quantity=quantity)
                outcome = await self.execute(writer, request, key=f"{self.name}-{number}-{quantity}")
                if outcome and not outcome.replayed:
                    self.received[self.sku(number)] += quantity
            case ("library receives", number, quantity):
                await self.through_the_library(self.sku(number), quantity)
            case ("adjust", number, on_hand):
                await self.execute(writer, AdjustStock(sku=self.sku(number), on_hand=on_hand, reason="count"))
            case ("order", wanted):
                lines = tuple(WantedLine(sku=self.sku(number), quantity=quantity) for number, quantity in wanted)
                place = PlaceOrder(lines=lines, currency="GBP", payment_method="account", customer_id=self.customer)
                if placed := await self.execute(writer, place):
                    self.orders.append(OrderId(placed.aggregate_id))
                    await self.execute(writer, ReserveOrders(order_ids=(OrderId(placed.aggregate_id),)))
            case ("cancel", number) if number < len(self.orders):
                await self.execute(writer, CancelOrder(order_id=self.orders[number], reason="changed my mind"))

    async def through_the_library(self, sku: str, quantity: int) -> None:
        def receive() -> None:
            item: StockItem = self.library.repository.get(stock_item_id(sku))
            item.receive(quantity=quantity, reference=None, now=NOW)
            self.library.save(item)

        try:
            await asyncio.to_thread(receive)
        except IntegrityError:
            return
        self.received[sku] += quantity


async def log_of(kontor: Kontor, after: int) -> list[LogRecord]:
    records: list[LogRecord] = []
    while page := await kontor.log.after(records[-1].position if records else after, limit=500):
        records += page
    return records


def balanced(records: Sequence[LogRecord]) -> dict[uuid.UUID, tuple[int, int]]:
    """On hand and reserved of every stock item, from the JSON alone; every prefix is checked."""
    ledgers: dict[uuid.UUID, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for record in records:
        on_hand, reserved = ledgers[record.aggregate_id]
        data = json.loads(record.state)
        match record.event_type:
            case "stock.received":
                on_hand += data["quantity"]
            case "stock.adjusted":
                assert data["from"] == on_hand
                on_hand = data["to"]
            case "stock.reserved":
                reserved += data["quantity"]
            case "stock.released" | "stock.reservation_expired":
                reserved -= data["quantity"]
            case "stock.dispatched":
                on_hand, reserved = on_hand - data["quantity"], reserved - data["quantity"]
        assert 0 <= reserved <= on_hand, (record, on_hand, reserved)
        ledgers[record.aggregate_id] = (on_hand, reserved)
    return ledgers


def without_holes(records: Sequence[LogRecord]) -> dict[uuid.UUID, int]:
    heads: dict[uuid.UUID, int] = {}
    for record in records:
        assert record.version == heads.get(record.aggregate_id, 0) + 1, record
        heads[record.aggregate_id] = record.version
    return heads


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.tuples(steps, steps, steps, steps))
async def test_the_log_is_what_several_writers_at_once_were_told(kontor: Kontor, plans: Sequence[list[Step]]) -> None:
    begin = await kontor.log.end()
    library = LogApplication.on(kontor.settings.postgres_url)
    try:
        async with PostgresEventStore(kontor.pool, kontor.settings.postgres_url) as other:
            pipelines = [kontor.pipeline, Pipeline(COMMANDS, replace(kontor.ports, store=other))]
            person = RegisterUser(email=f"{uuid.uuid4().hex}@example.com", name="Ada", password=None)
            customer = UserId((await kontor.pipeline.execute(person, actor=ACTOR)).aggregate_id)
            world = World(kontor, pipelines, library, customer)
            await world.begin()

            async def write(writer: int, plan: list[Step]) -> None:
                for step in plan:
                    await world.take(writer, step)

            async with asyncio.timeout(60):  # nobody waits for ever
                await asyncio.gather(*(write(place % 2, plan) for place, plan in enumerate(plans)))
    finally:
        library.close()

    records = await log_of(kontor, begin)
    heads = without_holes(records)
    assert [record.position for record in records] == sorted({record.position for record in records})
    ledgers = balanced([record for record in records if record.context == "inventory"])
    versions: dict[uuid.UUID, set[int]] = defaultdict(set)
    for record in records:
        versions[record.aggregate_id].add(record.version)
    for outcome in world.told:
        assert outcome.version in versions[outcome.aggregate_id], "an answered command is not in the log"
    received: Counter[uuid.UUID] = Counter()
    for record in records:
        if record.event_type == "stock.received":
            received[record.aggregate_id] += json.loads(record.state)["quantity"]
    assert received == {stock_item_id(sku): quantity for sku, quantity in world.received.items()}
    async with PostgresEventStore(kontor.pool, kontor.settings.postgres_url) as other:
        fresh = await other.load(list(heads))
    for aggregate_id, (aggregate, head) in fresh.items():
        assert head.version == heads[aggregate_id]
        if isinstance(aggregate, StockItem):
            assert (aggregate.on_hand, aggregate.reserved) == ledgers[aggregate_id]
