"""Money follows the order, whatever comes late, twice, out of order or never; and holds that are not paid for end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from adapters.memory import FixedClock
from adapters.wiring import Kontor
from commands import COMMANDS
from commands.catalogue import AddProduct
from commands.handling import Actor, Pipeline
from commands.inventory import ReceiveStock, ReserveOrders
from commands.orders import CancelOrder, PlaceOrder, RefundOrder, ShipOrder, WantedLine
from commands.payments import AuthorisePayment
from commands.ports import GatewayAway, GatewayRefused
from commands.users import RegisterUser
from domain.identity import OrderId, payment_id, stock_item_id
from domain.money import Money
from domain.orders import Order, OrderStatus
from domain.payments import Payment, PaymentStatus
from domain.users import Role
from streams.doing import doers
from streams.settling import NotYet, settle
from tests.gateways import GatewayProcess
from tests.given import STAFF

pytestmark = pytest.mark.servers

SYSTEM = Actor.system("test")
TOTAL = 255
HANG_S = 1.0


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    running = GatewayProcess(tmp_path_factory.mktemp("gateway"))
    running.start()
    yield running
    running.end()


@dataclass
class Shop:
    """One order, RESERVED, of one cup; nothing is done about its payment but by the test."""

    kontor: Kontor
    gateway: GatewayProcess
    order_id: OrderId
    buyer: Actor
    sku: str

    async def now(self) -> tuple[OrderStatus, PaymentStatus]:
        """As the log has them."""
        found = await self.kontor.store.load([self.order_id, payment_id(self.order_id)])
        order, payment = found[self.order_id][0], found[payment_id(self.order_id)][0]
        assert isinstance(order, Order)
        assert isinstance(payment, Payment)
        return order.status, payment.status

    async def settle(self) -> tuple[OrderStatus, PaymentStatus]:
        await settle(self.kontor, self.order_id)
        return await self.now()

    async def do(self, command: Any, actor: Actor = STAFF) -> None:
        await self.kontor.pipeline.execute(command, actor=actor)

    async def cancel(self) -> None:
        await self.do(CancelOrder(order_id=self.order_id, reason="no"), self.buyer)

    async def ship(self) -> None:
        await self.do(ShipOrder(order_id=self.order_id, carrier="Post", tracking_number="1"))

    async def refund(self) -> None:
        await self.do(RefundOrder(order_id=self.order_id, reason="broken"))

    async def settle_in_vain(self) -> None:
        """It is not answered, or wrongly."""
        async with self.gateway.adapter(timeout_s=HANG_S) as hurried:
            with pytest.raises(GatewayAway):
                await settle(replace(self.kontor, gateway=hurried), self.order_id)

    async def money(self) -> tuple[int, int, int, int]:
        """Authorised, captured, refunded and held at the provider; all 0 where it knows nothing of it."""
        if not await self.gateway.rows_of(payment_id(self.order_id)):
            return (0, 0, 0, 0)
        return await self.gateway.money_of(payment_id(self.order_id))

    async def reference(self) -> str:
        (row,) = await self.gateway.rows_of(payment_id(self.order_id))
        return str(row["intent"])


Opened = Callable[..., Awaitable[Shop]]


@pytest.fixture
async def opened(kontor: Kontor, process: GatewayProcess) -> AsyncIterator[Opened]:
    async with process.adapter(timeout_s=30.0) as gateway:

        async def open_shop(method: str = "pm_card_visa", clock: Any = None) -> Shop:
            ports = replace(kontor.ports, payment_provider=gateway.name, clock=clock or kontor.ports.clock)
            ours = replace(kontor, gateway=gateway, ports=ports, pipeline=Pipeline(COMMANDS, ports))
            run, sku = ours.pipeline.execute, f"S-{uuid4().hex[:8]}"
            await run(AddProduct(sku=sku, name="Cup", price=Money(TOTAL, "GBP")), actor=STAFF)
            await run(ReceiveStock(sku=sku, quantity=5), actor=STAFF)
            person = RegisterUser(email=f"{uuid4().hex}@example.com", name="Ada", password=None)
            buyer = Actor.user((await run(person, actor=SYSTEM)).aggregate_id, [Role.CUSTOMER])
            line = WantedLine(sku=sku, quantity=1)
            placed = await run(PlaceOrder(lines=(line,), currency="GBP", payment_method=method), actor=buyer)
            order_id = OrderId(placed.aggregate_id)
            await run(ReserveOrders(order_ids=(order_id,)), actor=SYSTEM)
            return Shop(ours, process, order_id, buyer, sku)

        yield open_shop
    await process.clear()


async def test_the_money_goes_the_way_of_the_order(opened: Opened) -> None:
    shop = await opened()
    for step, status, payment, money in (
        (None, OrderStatus.CONFIRMED, PaymentStatus.AUTHORISED, (TOTAL, 0, 0, TOTAL)),
        (shop.ship, OrderStatus.SHIPPED, PaymentStatus.CAPTURED, (TOTAL, TOTAL, 0, 0)),
        (shop.refund, OrderStatus.REFUNDED, PaymentStatus.REFUNDED, (TOTAL, TOTAL, TOTAL, 0)),
    ):
        if step is not None:
            await step()
        for _ in range(2):  # the second finds that nothing is owed
            assert await shop.settle() == (status, payment)
        assert await shop.money() == money


async def test_a_decline_rejects_the_order_and_is_not_asked_again(opened: Opened) -> None:
    shop = await opened("pm_card_chargeDeclined")
    for _ in range(2):
        assert await shop.settle() == (OrderStatus.REJECTED, PaymentStatus.DECLINED)
    assert await shop.money() == (0, 0, 0, 0)


@pytest.mark.parametrize("operation", ["create", "capture", "refund"])
@pytest.mark.parametrize("wrong", [{"kind": "hang"}, {"kind": "answer", "status": 500}], ids=["silence", "500"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_answer_that_is_lost_moves_no_money_twice(
    opened: Opened, operation: str, wrong: dict[str, Any], when: str
) -> None:
    shop = await opened()
    if operation in ("capture", "refund"):
        await shop.settle()
        await shop.ship()
    if operation == "refund":
        await shop.settle()
        await shop.refund()
    await shop.gateway.tell(**wrong, on=operation, when=when)
    await shop.settle_in_vain()
    await shop.settle()
    expected = {
        "capture": (PaymentStatus.CAPTURED, (TOTAL, TOTAL, 0, 0)),
        "refund": (PaymentStatus.REFUNDED, (TOTAL, TOTAL, TOTAL, 0)),
    }.get(operation, (PaymentStatus.AUTHORISED, (TOTAL, 0, 0, TOTAL)))
    assert ((await shop.now())[1], await shop.money()) == expected


async def test_a_worker_killed_between_the_answer_and_the_record_repeats_and_nothing_is_held_twice(
    opened: Opened,
) -> None:
    shop = await opened()

    class Killed(BaseException):
        pass

    class Dying:
        async def execute(self, *_: Any, **__: Any) -> Any:
            raise Killed

    with pytest.raises(Killed):
        await settle(replace(shop.kontor, pipeline=Dying()), shop.order_id)  # type: ignore[arg-type]
    assert (await shop.money(), (await shop.now())[1]) == ((TOTAL, 0, 0, TOTAL), PaymentStatus.REQUESTED)
    assert await shop.settle() == (OrderStatus.CONFIRMED, PaymentStatus.AUTHORISED)
    assert await shop.money() == (TOTAL, 0, 0, TOTAL)


async def test_cancelled_before_it_was_asked_for_nothing_stays_held(opened: Opened) -> None:
    shop = await opened()
    await shop.cancel()
    assert await shop.settle() == (OrderStatus.CANCELLED, PaymentStatus.VOIDED)
    assert (await shop.money())[3] == 0


async def test_cancelled_while_it_is_authorised_the_money_is_let_go(opened: Opened) -> None:
    shop = await opened()
    await shop.gateway.tell("delay", on="create", seconds=1.5)
    settling = asyncio.create_task(shop.settle())
    await shop.gateway.struck()
    await shop.cancel()
    assert await settling == (OrderStatus.CANCELLED, PaymentStatus.VOIDED)
    assert await shop.money() == (TOTAL, 0, 0, 0)


async def test_an_authorisation_that_nobody_heard_of_is_let_go_with_the_order(opened: Opened) -> None:
    shop = await opened()
    await shop.gateway.tell("hang", on="create", when="after")
    await shop.settle_in_vain()
    await shop.cancel()
    assert await shop.settle() == (OrderStatus.CANCELLED, PaymentStatus.VOIDED)
    assert await shop.money() == (TOTAL, 0, 0, 0)


async def test_a_webhook_that_is_faster_than_the_answer_changes_nothing(opened: Opened) -> None:
    shop = await opened()
    await shop.gateway.tell("delay", on="create", seconds=1.5)
    settling = asyncio.create_task(shop.settle())
    await shop.gateway.struck()
    told = AuthorisePayment(payment_id=payment_id(shop.order_id), reference=await shop.reference())
    await shop.do(told, Actor.system("stripe"))
    assert await settling == (OrderStatus.CONFIRMED, PaymentStatus.AUTHORISED)
    assert await shop.money() == (TOTAL, 0, 0, TOTAL)


async def test_what_the_customer_has_to_allow_is_waited_for(opened: Opened) -> None:
    allowed, given_up = [await opened("pm_card_authenticationRequired") for _ in range(2)]
    for shop in (allowed, given_up):
        with pytest.raises(NotYet):
            await shop.settle()
    place = f"/_gateway/payment_intents/{await allowed.reference()}/complete"
    assert (await allowed.gateway.ask("POST", place, json={"succeeds": True}))[0] == 200
    assert await allowed.settle() == (OrderStatus.CONFIRMED, PaymentStatus.AUTHORISED)
    await given_up.cancel()
    assert await given_up.settle() == (OrderStatus.CANCELLED, PaymentStatus.VOIDED)


async def test_refunded_before_it_was_taken_it_is_let_go(opened: Opened) -> None:
    shop = await opened()
    await shop.settle()
    await shop.ship()
    await shop.refund()
    assert await shop.settle() == (OrderStatus.REFUNDED, PaymentStatus.VOIDED)
    assert await shop.money() == (TOTAL, 0, 0, 0)


async def test_taken_without_our_knowing_it_is_given_back(opened: Opened) -> None:
    shop = await opened()
    await shop.settle()
    await shop.gateway.ask("POST", f"/v1/payment_intents/{await shop.reference()}/capture", key=uuid4().hex)
    await shop.cancel()
    assert await shop.settle() == (OrderStatus.CANCELLED, PaymentStatus.REFUNDED)
    assert await shop.money() == (TOTAL, TOTAL, TOTAL, 0)


async def test_without_the_provider_it_is_said_what_to_do(opened: Opened) -> None:
    shop = await opened()
    with pytest.raises(GatewayRefused, match="KONTOR_STRIPE_KEY"):
        await settle(replace(shop.kontor, gateway=None), shop.order_id)


@pytest.mark.parametrize(
    ("clock_ahead", "paid", "status", "held"),
    [
        (timedelta(minutes=14), False, OrderStatus.RESERVED, 1),
        (timedelta(minutes=16), False, OrderStatus.REJECTED, 0),
        (timedelta(minutes=16), True, OrderStatus.CONFIRMED, 1),
        (timedelta(hours=-1), False, OrderStatus.RESERVED, 1),  # a clock that jumped back waits
        (timedelta(hours=1), False, OrderStatus.REJECTED, 0),  # and one that jumped ahead loses nobody's money
    ],
)
async def test_a_hold_that_is_not_paid_for_ends_with_its_time(
    opened: Opened, clock_ahead: timedelta, paid: bool, status: OrderStatus, held: int
) -> None:
    clock = FixedClock()
    shop = await opened(clock=clock)
    if paid:
        await shop.settle()
    clock.advance(clock_ahead)
    planned: Any = type("Row", (), {"subject_id": shop.order_id, "event_id": UUID(int=1), "correlation_id": None})
    expire = doers(shop.kontor)["order"]
    if status is OrderStatus.RESERVED:
        with pytest.raises(NotYet):
            await expire(planned)
    else:
        for _ in range(2):
            await expire(planned)
    item = (await shop.kontor.store.load([stock_item_id(shop.sku)]))[stock_item_id(shop.sku)][0]
    assert ((await shop.now())[0], item.reserved) == (status, held)
    if status is OrderStatus.REJECTED:
        await shop.settle()
        assert (await shop.now())[1] is PaymentStatus.VOIDED
        assert (await shop.money())[3] == 0
