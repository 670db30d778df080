"""What tests start from: a Kontor in memory, its people, and events as the log has them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from adapters.event_codec import EventMapper
from adapters.memory import FixedClock, MemoryEventStore, MemoryPersonalData, MemorySessions, memory_ports
from commands import COMMANDS
from commands.catalogue import AddProduct
from commands.handling import Actor, Outcome, Pipeline
from commands.inventory import ReceiveStock, ReleaseOrder, ReserveOrders
from commands.orders import CancelOrder, PlaceOrder, WantedLine
from commands.ports import Ports
from commands.users import RegisterUser
from domain.email_claims import EmailClaim
from domain.identity import OrderId, ProductId, UserId, email_claim_id, product_id, stock_item_id
from domain.inventory import StockItem
from domain.money import Money
from domain.orders import Order, OrderLine
from domain.users import Role
from projections.view import Recorded

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
PASSWORD = "correct horse battery"
GBP_2_55 = Money(255, "GBP")
SYSTEM = Actor.system("test")
STAFF = Actor.user(UUID(int=0xA), [Role.STAFF])
ADMIN = Actor.user(UUID(int=0xB), [Role.ADMIN])
CUSTOMER = Actor.user(UUID(int=0xC), [Role.CUSTOMER])
ORDER_ID = OrderId(UUID(int=0x0DE))
CUSTOMER_ID = UserId(UUID(int=0xC))


@dataclass
class InMemory:
    """Every command, on the in-memory twins."""

    ports: Ports = field(default_factory=memory_ports)

    def __post_init__(self) -> None:
        self.pipeline = Pipeline(COMMANDS, self.ports)

    @property
    def store(self) -> MemoryEventStore:
        assert isinstance(self.ports.store, MemoryEventStore)
        return self.ports.store

    @property
    def clock(self) -> FixedClock:
        assert isinstance(self.ports.clock, FixedClock)
        return self.ports.clock

    @property
    def personal_data(self) -> MemoryPersonalData:
        assert isinstance(self.ports.personal_data, MemoryPersonalData)
        return self.ports.personal_data

    @property
    def sessions(self) -> MemorySessions:
        assert isinstance(self.ports.sessions, MemorySessions)
        return self.ports.sessions

    async def execute(self, request: Any, actor: Actor = SYSTEM, key: str | None = None) -> Outcome:
        return await self.pipeline.execute(request, actor=actor, idempotency_key=key)

    async def loaded(self, aggregate_id: UUID) -> Any:
        """The aggregate as the log has it now."""
        return (await self.store.load([aggregate_id]))[aggregate_id][0]

    async def order(self, order_id: UUID) -> Order:
        return await self.loaded(order_id)

    async def stock(self, sku: str) -> StockItem:
        return await self.loaded(stock_item_id(sku))

    async def product(self, sku: str, *, units: int = 0, price: Money = GBP_2_55, published: bool = True) -> None:
        """A product for sale, with units in stock; without units there is no stock ledger."""
        await self.execute(AddProduct(sku=sku, name=f"The {sku}", price=price, published=published))
        if units:
            await self.execute(ReceiveStock(sku=sku, quantity=units))

    async def customer(self, email: str = "ada@example.com") -> Actor:
        """A registered customer, signed in."""
        outcome = await self.execute(RegisterUser(email=email, name="Ada", password=PASSWORD))
        return Actor.user(outcome.aggregate_id, [Role.CUSTOMER])

    async def account_of(self, email: str) -> UUID:
        """The account that the address leads to."""
        claim = await self.loaded(email_claim_id(self.personal_data.digest(email)))
        assert isinstance(claim, EmailClaim)
        assert claim.user_id is not None
        return claim.user_id

    async def admin(self, email: str = "grace@example.com") -> Actor:
        """An ADMIN whose account says so, as it is asked with every command for ADMIN."""
        register = RegisterUser(email=email, name="Grace", password=PASSWORD, roles=(Role.CUSTOMER, Role.ADMIN))
        return Actor.user((await self.execute(register)).aggregate_id, [Role.CUSTOMER, Role.ADMIN])

    async def placed(self, actor: Actor, *lines: tuple[str, int], **more: Any) -> OrderId:
        """A PENDING order of (SKU, quantity) lines."""
        return OrderId((await self.execute(order_of(*lines, **more), actor)).aggregate_id)

    async def reserve(self, order_id: OrderId) -> Outcome:
        return await self.execute(ReserveOrders(order_ids=(order_id,)))

    async def release(self, order_id: OrderId) -> Outcome:
        """As the checkout does after the order was cancelled or rejected."""
        return await self.execute(ReleaseOrder(order_id=order_id))

    async def cancel(self, order_id: OrderId, actor: Actor = SYSTEM) -> Outcome:
        return await self.execute(CancelOrder(order_id=order_id, reason="changed my mind"), actor)


def order_of(*lines: tuple[str, int], **more: Any) -> PlaceOrder:
    """The command for an order of (SKU, quantity) lines in GBP, paid by card."""
    wanted = tuple(WantedLine(sku=sku, quantity=quantity) for sku, quantity in lines)
    return PlaceOrder(**({"lines": wanted, "currency": "GBP", "payment_method": "card"} | more))


def order_line(sku: str = "MUG", quantity: int = 1, price: Money = GBP_2_55) -> OrderLine:
    return OrderLine(sku, ProductId(product_id(sku)), f"The {sku}", quantity, price)


def placed_order(*lines: OrderLine, placed_at: datetime = NOW, order_id: OrderId = ORDER_ID) -> Order:
    """An order that was just placed."""
    return Order.place(
        order_id=order_id,
        number="K1",
        customer_id=CUSTOMER_ID,
        lines=lines or [order_line()],
        payment_method="card",
        placed_at=placed_at,
        now=NOW,
    )


Decision = tuple[str, dict[str, Any]]  # a method of an aggregate, and what it is called with besides `now`
Told = tuple[str, dict[str, Any]]  # an event's TOPIC, and what is stored of it besides the time


def decide(aggregate: Any, *decisions: Decision, now: datetime = NOW) -> Any:
    """The aggregate after these decisions."""
    for name, values in decisions:
        getattr(aggregate, name)(**values, now=now)
    return aggregate


def told(aggregate: Any) -> list[Told]:
    """What its pending events say, as it would be stored; they are pending no longer."""
    stored = [EventMapper().to_stored_event(event) for event in aggregate.collect_events()]
    states = [(each.topic, json.loads(each.state)) for each in stored]
    return [(topic, {name: value for name, value in state.items() if name != "timestamp"}) for topic, state in states]


def replayed(events: Sequence[Any]) -> Any:
    """The aggregate that these events make when they are read again from their stored bytes."""
    mapper, aggregate = EventMapper(), None
    for event in events:
        read: Any = mapper.to_domain_event(mapper.to_stored_event(event))
        aggregate = read.mutate(aggregate)
    return aggregate


def recorded(events: Sequence[Any], *, first_position: int = 101) -> list[Recorded]:
    """Events of one aggregate as the log has them, a second between them."""
    return [
        Recorded(
            event=event,
            event_type=type(event).TOPIC,
            aggregate_id=event.originator_id,
            version=event.originator_version,
            position=position,
            recorded_at=NOW.replace(second=place),
        )
        for place, (position, event) in enumerate(enumerate(events, first_position))
    ]
