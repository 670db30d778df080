"""Payments through the pipeline: who may, what repeats, what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from adapters.memory import memory_ports
from commands.handling import Actor
from commands.inventory import DispatchOrder, ReserveOrders
from commands.orders import CancelOrder, DeliverOrder, RefundOrder, ShipOrder
from commands.payments import (
    AuthorisePayment,
    CapturePayment,
    DeclinePayment,
    RefundPayment,
    VoidPayment,
)
from domain.errors import Forbidden, IllegalTransition, NotFound
from domain.identity import OrderId, payment_id
from domain.money import Money
from domain.orders import OrderStatus
from domain.payments import PaymentStatus
from tests.given import ADMIN, ORDER_ID, STAFF, InMemory

NOBODY = UUID(int=0xBAD)
FOR_SYSTEM = [
    AuthorisePayment(payment_id=NOBODY, reference="pi_1"),
    CapturePayment(payment_id=NOBODY),
    DeclinePayment(payment_id=NOBODY, reason="no"),
    VoidPayment(payment_id=NOBODY, reason="no"),
    RefundPayment(payment_id=NOBODY, reason="no"),
]
FOR_STAFF = [
    ShipOrder(order_id=ORDER_ID, carrier="Post", tracking_number="1"),
    DeliverOrder(order_id=ORDER_ID),
    RefundOrder(order_id=ORDER_ID, reason="broken"),
]


async def reserved() -> tuple[InMemory, Actor, OrderId]:
    """An order of two mugs at 2.55, reserved."""
    kontor = InMemory()
    await kontor.product("MUG", units=10)
    customer = await kontor.customer()
    order_id = await kontor.placed(customer, ("MUG", 2))
    await kontor.execute(ReserveOrders(order_ids=(order_id,)))
    return kontor, customer, order_id


@pytest.mark.parametrize("request_", FOR_SYSTEM, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("actor", [STAFF, ADMIN], ids=["staff", "admin"])
async def test_only_the_system_moves_money(request_: Any, actor: Actor) -> None:
    with pytest.raises(Forbidden):
        await InMemory().execute(request_, actor)


@pytest.mark.parametrize("request_", FOR_STAFF, ids=lambda each: type(each).__name__)
async def test_a_customer_neither_ships_nor_refunds(request_: Any) -> None:
    kontor, customer, _ = await reserved()
    with pytest.raises(Forbidden):
        await kontor.execute(request_, customer)


@pytest.mark.parametrize("request_", [*FOR_SYSTEM, *FOR_STAFF], ids=lambda each: type(each).__name__)
async def test_what_does_not_exist_is_not_found(request_: Any) -> None:
    with pytest.raises(NotFound):
        await InMemory().execute(request_)


async def test_the_whole_way_of_an_order_and_its_payment() -> None:
    kontor, _, order_id = await reserved()
    payment = payment_id(order_id)
    for request, actor in (
        (AuthorisePayment(payment_id=payment, reference="pi_1"), None),
        (ShipOrder(order_id=order_id, carrier="Post", tracking_number="RM1"), STAFF),
        (CapturePayment(payment_id=payment), None),
        (DispatchOrder(order_id=order_id), None),
        (DeliverOrder(order_id=order_id), STAFF),
        (RefundOrder(order_id=order_id, reason="broken"), STAFF),
        (RefundPayment(payment_id=payment, reason="broken"), None),
    ):
        for _ in range(2):  # each wish twice: the second changes nothing
            await (kontor.execute(request, actor) if actor else kontor.execute(request))
    assert kontor.store.event_types[-9:] == [
        "payment.requested",
        "payment.authorised",
        "order.confirmed",
        "order.shipped",
        "payment.captured",
        "stock.dispatched",
        "order.delivered",
        "order.refunded",
        "payment.refunded",
    ]
    order, paid, stock = await kontor.order(order_id), await kontor.loaded(payment), await kontor.stock("MUG")
    assert (order.status, order.payment_id, order.tracking_number) == (OrderStatus.REFUNDED, payment, "RM1")
    assert (paid.status, paid.amount) == (PaymentStatus.REFUNDED, Money(510, "GBP"))
    assert (stock.on_hand, stock.reserved) == (8, 0)


@pytest.mark.parametrize(
    ("provider", "method", "status", "asked"),
    [
        ("stripe", "pm_card_visa", OrderStatus.RESERVED, ["payment.requested"]),
        ("stripe", "account", OrderStatus.CONFIRMED, []),
        (None, "account", OrderStatus.CONFIRMED, []),
        (None, "pm_card_visa", OrderStatus.RESERVED, []),
    ],
)
async def test_a_payment_is_begun_where_stock_is_held_unless_it_is_paid_outside(
    provider: str | None, method: str, status: OrderStatus, asked: list[str]
) -> None:
    kontor = InMemory(replace(memory_ports(), payment_provider=provider))
    await kontor.product("MUG", units=10)
    customer = await kontor.customer()
    order_id = await kontor.placed(STAFF, ("MUG", 2), payment_method=method, customer_id=customer.user_id)
    for _ in range(2):
        await kontor.execute(ReserveOrders(order_ids=(order_id,)))
    assert (await kontor.order(order_id)).status is status
    assert [each for each in kontor.store.event_types if each.startswith("payment.")] == asked


async def test_a_late_authorisation_of_a_void_payment_is_refused_by_name() -> None:
    kontor, _, order_id = await reserved()
    await kontor.execute(VoidPayment(payment_id=payment_id(order_id), reason="cancelled"))
    with pytest.raises(IllegalTransition, match="VOIDED"):
        await kontor.execute(AuthorisePayment(payment_id=payment_id(order_id), reference="pi_1"))


async def test_a_reserved_order_that_is_rejected_gives_back_what_it_holds() -> None:
    kontor, _, order_id = await reserved()
    await kontor.execute(DeclinePayment(payment_id=payment_id(order_id), reason="no funds"))
    await kontor.release(order_id)
    assert ((await kontor.order(order_id)).status, (await kontor.stock("MUG")).reserved) == (OrderStatus.REJECTED, 0)


async def test_a_customer_cancels_a_confirmed_order_but_not_a_shipped_one() -> None:
    kontor, customer, order_id = await reserved()
    await kontor.execute(AuthorisePayment(payment_id=payment_id(order_id), reference="pi_1"))
    other = await kontor.placed(customer, ("MUG", 1))
    await kontor.execute(ReserveOrders(order_ids=(other,)))
    await kontor.execute(AuthorisePayment(payment_id=payment_id(other), reference="pi_2"))
    await kontor.execute(ShipOrder(order_id=other, carrier="Post", tracking_number="1"), STAFF)
    await kontor.execute(CancelOrder(order_id=order_id, reason="no"), customer)
    with pytest.raises(IllegalTransition, match="SHIPPED"):
        await kontor.execute(CancelOrder(order_id=other, reason="no"), customer)
