"""Checkout on the whole running system: nothing is sold twice, nobody is charged twice, every account is settled."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from adapters.wiring import Kontor, open_kontor
from commands.catalogue import AddProduct
from commands.checkout import owed
from commands.handling import Actor
from commands.inventory import ReceiveStock
from commands.orders import CancelOrder, DeliverOrder, PlaceOrder, RefundOrder, ShipOrder, WantedLine
from commands.users import RegisterUser
from domain.errors import IllegalTransition
from domain.identity import OrderId, payment_id, stock_item_id
from domain.inventory import StockItem
from domain.money import Money
from domain.orders import Order, OrderStatus
from domain.payments import Payment, PaymentStatus
from domain.users import Role
from tests.conftest import Stack

pytestmark = pytest.mark.acceptance

STAFF = Actor.user(UUID(int=0xA), [Role.STAFF])
PRICE = Money(255, "GBP")
ORDERS = int(os.environ.get("ORDERS", "300"))  # `make races` has thousands
DECIDED_S = 120.0 + ORDERS / 8
LOOKED_AT = 20
MOVING = {OrderStatus.PENDING, OrderStatus.RESERVED}
SETTLED = {PaymentStatus.CAPTURED, PaymentStatus.DECLINED, PaymentStatus.VOIDED, PaymentStatus.REFUNDED}


@dataclass
class Shop:
    """A running Kontor, its payment provider, and the orders of one test."""

    kontor: Kontor
    stack: Stack
    http: aiohttp.ClientSession
    gateway_url: str
    orders: list[OrderId] = field(default_factory=list)
    skus: list[str] = field(default_factory=list)

    async def sells(self, units: int) -> str:
        """A new product with so many units."""
        sku = f"C-{uuid4().hex[:10]}"
        await self.kontor.pipeline.execute(AddProduct(sku=sku, name="Cup", price=PRICE), actor=STAFF)
        await self.kontor.pipeline.execute(ReceiveStock(sku=sku, quantity=units), actor=STAFF)
        self.skus.append(sku)
        return sku

    async def buyers(self, count: int) -> list[Actor]:
        """New customers."""

        async def registered() -> Actor:
            command = RegisterUser(email=f"{uuid4().hex}@example.com", name="Buyer", password=None)
            made = await self.kontor.pipeline.execute(command, actor=Actor.system("test"))
            return Actor.user(made.aggregate_id, [Role.CUSTOMER])

        return list(await asyncio.gather(*(registered() for _ in range(count))))

    async def buys(self, buyer: Actor, *skus: str, method: str = "pm_card_visa", key: str | None = None) -> OrderId:
        """One unit of each, in this order."""
        lines = tuple(WantedLine(sku=sku, quantity=1) for sku in skus)
        command = PlaceOrder(lines=lines, currency="GBP", payment_method=method)
        placed = await self.kontor.pipeline.execute(command, actor=buyer, idempotency_key=key)
        self.orders.append(OrderId(placed.aggregate_id))
        return self.orders[-1]

    async def loaded(self, order_id: OrderId) -> tuple[Order, Payment | None]:
        """As the log has them now."""
        return (await self.all_loaded([order_id]))[order_id]

    async def all_loaded(self, order_ids: Sequence[OrderId]) -> dict[OrderId, tuple[Order, Payment | None]]:
        """As the log has them now."""
        loaded: dict[OrderId, tuple[Order, Payment | None]] = {}
        for start in range(0, len(order_ids), 200):
            some = order_ids[start : start + 200]
            found = await self.kontor.store.load([*some, *map(payment_id, some)])
            for order_id in some:
                order, payment = found[order_id][0], found.get(payment_id(order_id), (None,))[0]
                assert isinstance(order, Order)
                assert payment is None or isinstance(payment, Payment)
                loaded[order_id] = (order, payment)
        return loaded

    async def until(self, holds: Callable[[Order, Payment | None], bool]) -> Counter[str]:
        """Wait until that holds for every order; returns how many are in which status."""
        waiting = list(self.orders)
        statuses: dict[OrderId, str] = {}
        async with asyncio.timeout(DECIDED_S):
            while waiting:
                # Few at a time: who asks for hundreds again and again takes the processor from those who decide them.
                found = await self.all_loaded(waiting[:LOOKED_AT])
                held = {order_id: each[0].status.value for order_id, each in found.items() if holds(*each)}
                statuses |= held
                waiting = [order_id for order_id in waiting if order_id not in held]
                if len(held) < len(found):
                    await asyncio.sleep(0.2)
        return Counter(statuses.values())

    async def decided(self) -> Counter[str]:
        return await self.until(lambda order, _: order.status not in MOVING)

    async def stock(self, sku: str) -> StockItem:
        item = (await self.kontor.store.load([stock_item_id(sku)]))[stock_item_id(sku)][0]
        assert isinstance(item, StockItem)
        return item

    async def kill(self, process: str) -> None:
        processes = (await asyncio.to_thread(lambda: self.stack.status))["processes"]
        os.kill(processes[process], signal.SIGKILL)

    async def balances(self) -> None:
        """What the provider has taken and not given back is the sum of the orders that are paid for; what is held of
        the stock is what confirmed orders wait for; each order has moved money as its status says, once."""
        await self.until(_is_settled)
        books = await self.books()
        intents = {each["metadata"]["payment_id"]: each for each in books}
        assert len(intents) == len(books), "a payment has two intents"
        kept = due = 0
        held: Counter[str] = Counter()
        for order, payment in (await self.all_loaded(self.orders)).values():
            if order.status is OrderStatus.CONFIRMED:
                held.update(order.quantities())
            if order.status in (OrderStatus.SHIPPED, OrderStatus.DELIVERED):
                due += order.total.minor
            if payment is not None and (at := intents.get(str(payment.id))) is not None:
                kept += at["captured"] - at["refunded"]
                assert (at["held"] > 0) is (payment.status is PaymentStatus.AUTHORISED), (order, payment, at)
                assert at["captured"] in (0, order.total.minor), at
        assert kept == due
        for sku in self.skus:
            await _eventually(partial(_held, self, sku, held[sku]))
            item = await self.stock(sku)
            assert item.reserved <= item.on_hand, sku

    async def books(self) -> list[dict[str, Any]]:
        """What the provider's ledger says of the payments of this test."""
        wanted = {str(payment_id(order_id)) for order_id in self.orders}
        rows: list[dict[str, Any]] = []
        page: list[dict[str, Any]] = [{"intent": ""}]
        while page:
            asked = {"after": page[-1]["intent"]}
            async with self.http.get(f"{self.gateway_url}/_gateway/ledger", params=asked) as answer:
                assert answer.status == 200, await answer.text()
                page = (await answer.json())["rows"]
            rows += [row for row in page if row["metadata"]["payment_id"] in wanted]
        return rows


def _is_settled(order: Order, payment: Payment | None) -> bool:
    if payment is None:
        return order.status not in MOVING or order.payment_method == "account"
    if order.status is OrderStatus.CONFIRMED:
        return payment.status is PaymentStatus.AUTHORISED
    return order.status not in MOVING and payment.status in SETTLED and owed(order.status, payment.status) is None


@pytest.fixture
async def shop(stack: Stack) -> AsyncIterator[Shop]:
    settings = stack.settings
    key = {"Authorization": f"Bearer {settings.stripe_key.get_secret_value()}"}
    async with (
        open_kontor(settings, name="test") as kontor,
        aiohttp.ClientSession(headers=key, timeout=aiohttp.ClientTimeout(total=60)) as http,
    ):
        yield Shop(kontor, stack, http, settings.stripe_url)


async def test_a_hundred_buyers_and_ten_units_while_the_worker_is_killed(shop: Shop) -> None:
    sku, buyers = await shop.sells(10), await shop.buyers(100)
    buying = [asyncio.create_task(shop.buys(buyer, sku)) for buyer in buyers]
    await asyncio.sleep(random.uniform(0, 0.3))
    await shop.kill("worker")
    await asyncio.gather(*buying)
    assert await shop.decided() == {"CONFIRMED": 10, "REJECTED": 90}
    item = await shop.stock(sku)
    assert (item.on_hand, item.reserved, item.available) == (10, 10, 0)
    await shop.balances()


async def test_many_orders_of_64_buyers_for_one_sku(shop: Shop) -> None:
    orders, units = ORDERS, ORDERS - ORDERS // 50
    sku, buyers = await shop.sells(units), await shop.buyers(64)

    async def keeps_buying(buyer: Actor, times: int) -> None:
        for _ in range(times):
            await shop.buys(buyer, sku)

    share = [orders // 64 + (number < orders % 64) for number in range(64)]
    await asyncio.gather(*(keeps_buying(buyer, times) for buyer, times in zip(buyers, share, strict=True)))
    assert await shop.decided() == {"CONFIRMED": units, "REJECTED": orders - units}
    await shop.balances()


async def test_two_crowds_want_the_same_two_things_in_opposite_order(shop: Shop) -> None:
    one, two, buyers = await shop.sells(60), await shop.sells(50), await shop.buyers(100)
    await asyncio.gather(
        *(shop.buys(buyer, *((one, two) if number % 2 else (two, one))) for number, buyer in enumerate(buyers))
    )
    assert await shop.decided() == {"CONFIRMED": 50, "REJECTED": 50}
    assert [(await shop.stock(sku)).available for sku in (one, two)] == [10, 0]
    await shop.balances()


async def test_a_double_click_on_pay_is_one_order_and_one_charge(shop: Shop) -> None:
    sku, (buyer,) = await shop.sells(10), await shop.buyers(1)
    clicks = await asyncio.gather(*(shop.buys(buyer, sku, key="click") for _ in range(20)))
    assert len(set(clicks)) == 1
    shop.orders = [clicks[0]]
    assert await shop.decided() == {"CONFIRMED": 1}
    assert (await shop.stock(sku)).reserved == 1
    await shop.balances()


async def test_a_declined_card_gives_the_stock_back_and_says_why(shop: Shop) -> None:
    sku, (buyer,) = await shop.sells(1), await shop.buyers(1)
    await shop.buys(buyer, sku, method="pm_card_chargeDeclined")
    assert await shop.decided() == {"REJECTED": 1}
    order, payment = await shop.loaded(shop.orders[0])
    assert payment is not None
    assert (payment.status, "declined" in (order.reason or "")) == (PaymentStatus.DECLINED, True), order.reason
    await _eventually(partial(_held, shop, sku, 0))
    await shop.balances()


async def test_cancelling_races_shipping(shop: Shop) -> None:
    """One of them wins, and the money follows it."""
    sku, buyers = await shop.sells(40), await shop.buyers(40)
    placed = await asyncio.gather(*(shop.buys(buyer, sku) for buyer in buyers))
    assert await shop.decided() == {"CONFIRMED": 40}
    owners = dict(zip(placed, buyers, strict=True))

    async def tried(command: Any, actor: Actor) -> bool:
        try:
            await shop.kontor.pipeline.execute(command, actor=actor)
        except IllegalTransition:
            return False
        return True

    async def race(order_id: OrderId, number: int) -> list[bool]:
        ship = tried(ShipOrder(order_id=order_id, carrier="Post", tracking_number=str(number)), STAFF)
        cancel = tried(CancelOrder(order_id=order_id, reason="no"), owners[order_id])
        return list(await asyncio.gather(*((ship, cancel) if number % 2 else (cancel, ship))))

    won = await asyncio.gather(*(race(order_id, number) for number, order_id in enumerate(shop.orders)))
    assert all(sum(each) == 1 for each in won)
    shipped = (await shop.decided())["SHIPPED"]
    await shop.balances()
    item = await shop.stock(sku)
    assert (item.on_hand, item.reserved) == (40 - shipped, 0)


async def test_every_way_an_order_can_end_settles_its_payment(shop: Shop) -> None:
    """Cancelled before, during and after paying; shipped; delivered and given back."""
    sku, buyers = await shop.sells(200), await shop.buyers(60)
    dice = random.Random(str(shop.skus))

    async def way(number: int, buyer: Actor) -> None:
        order_id = await shop.buys(buyer, sku)
        execute = shop.kontor.pipeline.execute
        if number % 3 == 0:
            await asyncio.sleep(dice.uniform(0, 0.6))
            await execute(CancelOrder(order_id=order_id, reason="no"), actor=buyer)
            return
        async with asyncio.timeout(DECIDED_S):
            while (await shop.loaded(order_id))[0].status is not OrderStatus.CONFIRMED:
                await asyncio.sleep(0.5)
        await execute(ShipOrder(order_id=order_id, carrier="Post", tracking_number="1"), actor=STAFF)
        if number % 3 == 1:
            await asyncio.sleep(dice.uniform(0, 0.3))  # also before it is captured
            await execute(DeliverOrder(order_id=order_id), actor=STAFF)
            await execute(RefundOrder(order_id=order_id, reason="broken"), actor=STAFF)

    await asyncio.gather(*(way(number, buyer) for number, buyer in enumerate(buyers)))
    await shop.balances()
    assert await shop.decided() == {"CANCELLED": 20, "SHIPPED": 20, "REFUNDED": 20}


async def _held(shop: Shop, sku: str, units: int) -> bool:
    return (await shop.stock(sku)).reserved == units


async def _eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DECIDED_S):
        while not await holds():
            await asyncio.sleep(0.1)
