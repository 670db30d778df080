"""Orders and payments through the pipeline: every refusal by the state found, and what a repeated key answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from commands.handling import ANONYMOUS, Actor
from commands.inventory import ReserveOrders
from commands.orders import CancelOrder, DeliverOrder, RefundOrder, ShipOrder
from commands.payments import (
    AuthorisePayment,
    CapturePayment,
    DeclinePayment,
    RefundPayment,
    VoidPayment,
)
from domain.errors import (
    DomainError,
    Forbidden,
    IdempotencyKeyMismatch,
    IllegalTransition,
    Invalid,
    NotFound,
    Unauthenticated,
)
from domain.identity import OrderId, payment_id
from tests.given import STAFF, SYSTEM, InMemory

Made = Callable[[OrderId], Any]  # the command about this order


def reserve(order: OrderId) -> ReserveOrders:
    return ReserveOrders(order_ids=(order,))


def ship(order: OrderId, carrier: str = "Post", number: str = "RM1") -> ShipOrder:
    return ShipOrder(order_id=order, carrier=carrier, tracking_number=number)


def deliver(order: OrderId) -> DeliverOrder:
    return DeliverOrder(order_id=order)


def refund(order: OrderId, reason: str = "broken") -> RefundOrder:
    return RefundOrder(order_id=order, reason=reason)


def cancel(order: OrderId) -> CancelOrder:
    return CancelOrder(order_id=order, reason="no")


def authorise(order: OrderId, reference: str = "pi_1") -> AuthorisePayment:
    return AuthorisePayment(payment_id=payment_id(order), reference=reference)


def capture(order: OrderId) -> CapturePayment:
    return CapturePayment(payment_id=payment_id(order))


def decline(order: OrderId, reason: str = "no funds") -> DeclinePayment:
    return DeclinePayment(payment_id=payment_id(order), reason=reason)


def void(order: OrderId, reason: str = "cancelled") -> VoidPayment:
    return VoidPayment(payment_id=payment_id(order), reason=reason)


def give_back(order: OrderId, reason: str = "broken") -> RefundPayment:
    return RefundPayment(payment_id=payment_id(order), reason=reason)


async def after(*way: Made) -> tuple[InMemory, OrderId]:
    """An order of two mugs that these commands were executed about."""
    kontor = InMemory()
    await kontor.product("MUG", units=10)
    order_id = await kontor.placed(await kontor.customer(), ("MUG", 2))
    for each in way:
        await kontor.execute(each(order_id))
    return kontor, order_id


RESERVED: list[Made] = [reserve]
SHIPPED: list[Made] = [reserve, authorise, ship]
CAPTURED: list[Made] = [reserve, authorise, capture]
# What was done before, what is asked, what the refusal says.
REFUSED: dict[str, tuple[list[Made], Made, type[DomainError], str]] = {
    "a pending order is paid for": ([], authorise, NotFound, "There is no payment"),
    "a reserved order is shipped": (RESERVED, ship, IllegalTransition, "is RESERVED; only a CONFIRMED"),
    "a cancelled order is shipped": ([cancel], ship, IllegalTransition, r"is CANCELLED;"),
    "a shipped order is shipped by another": (
        SHIPPED,
        lambda order: ship(order, carrier="Rail"),
        IllegalTransition,
        "is SHIPPED",
    ),
    "a carrier without name": ([reserve, authorise], lambda order: ship(order, carrier=" "), Invalid, "carrier has 0"),
    "no tracking number": ([reserve, authorise], lambda order: ship(order, number=""), Invalid, "trackingNumber has 0"),
    "a confirmed order is delivered": ([reserve, authorise], deliver, IllegalTransition, "CONFIRMED; only a SHIPPED"),
    "a confirmed order is refunded": ([reserve, authorise], refund, IllegalTransition, "a SHIPPED or DELIVERED"),
    "a refund without reason": (SHIPPED, lambda order: refund(order, ""), Invalid, "reason has 0"),
    "a shipped order is cancelled": (SHIPPED, cancel, IllegalTransition, "a PENDING or RESERVED or CONFIRMED"),
    "another reference": (
        [reserve, authorise],
        lambda order: authorise(order, "pi_2"),
        IllegalTransition,
        "is AUTHORISED; .* must be REQUESTED",
    ),
    "no reference": ([reserve], lambda order: authorise(order, ""), Invalid, "reference has 0"),
    "a declined payment is authorised": ([reserve, decline], authorise, IllegalTransition, "is DECLINED"),
    "a voided authorisation is made again": (
        [reserve, authorise, void],
        authorise,
        IllegalTransition,
        "is VOIDED",
    ),
    "a requested payment is captured": (
        [reserve],
        capture,
        IllegalTransition,
        "is REQUESTED; .* must be AUTHORISED",
    ),
    "an authorised payment is declined": ([reserve, authorise], decline, IllegalTransition, "is AUTHORISED"),
    "a captured payment is voided": (CAPTURED, void, IllegalTransition, "is CAPTURED"),
    "an authorised payment is given back": (
        [reserve, authorise],
        give_back,
        IllegalTransition,
        "must be CAPTURED",
    ),
    "a refusal without reason": ([reserve], lambda order: decline(order, ""), Invalid, "reason has 0"),
    "a void without reason": ([reserve], lambda order: void(order, ""), Invalid, "reason has 0"),
    "money given back without reason": (CAPTURED, lambda order: give_back(order, ""), Invalid, "reason has 0"),
}


@pytest.mark.parametrize(("way", "wish", "kind", "message"), REFUSED.values(), ids=REFUSED)
async def test_what_the_state_does_not_allow_is_refused_and_stores_nothing(
    way: list[Made], wish: Made, kind: type[DomainError], message: str
) -> None:
    kontor, order_id = await after(*way)
    stored = len(kontor.store.stored)
    with pytest.raises(kind, match=message):
        await kontor.execute(wish(order_id))
    assert len(kontor.store.stored) == stored


# What was done before, who asks, what is asked, what it stores: the first time alone.
REPEATED: dict[str, tuple[list[Made], Actor, Made, list[str]]] = {
    "ship": ([reserve, authorise], STAFF, ship, ["order.shipped"]),
    "deliver": (SHIPPED, STAFF, deliver, ["order.delivered"]),
    "refund": (SHIPPED, STAFF, refund, ["order.refunded"]),
    "cancel": ([reserve, authorise], STAFF, cancel, ["order.cancelled"]),
    "reserve": ([], SYSTEM, reserve, ["order.reserved", "stock.reserved", "payment.requested"]),
    "authorise for a cancelled order": ([reserve, cancel], SYSTEM, authorise, ["payment.authorised"]),
    "decline for a cancelled order": ([reserve, cancel], SYSTEM, decline, ["payment.declined"]),
    "authorise": ([reserve], SYSTEM, authorise, ["payment.authorised", "order.confirmed"]),
    "capture": ([reserve, authorise], SYSTEM, capture, ["payment.captured"]),
    "decline": ([reserve], SYSTEM, decline, ["payment.declined", "order.rejected"]),
    "void": ([reserve, authorise], SYSTEM, void, ["payment.voided"]),
    "give back": (CAPTURED, SYSTEM, give_back, ["payment.refunded"]),
    "authorise after all of it was given back": ([*CAPTURED, give_back], SYSTEM, authorise, []),
}


@pytest.mark.parametrize(("way", "actor", "wish", "stores"), REPEATED.values(), ids=REPEATED)
async def test_a_wish_is_fulfilled_once_with_a_key_and_without(
    way: list[Made], actor: Actor, wish: Made, stores: list[str]
) -> None:
    kontor, order_id = await after(*way)
    stored = len(kontor.store.stored)
    first = await kontor.execute(wish(order_id), actor, key="k")
    again = await kontor.execute(wish(order_id), actor, key="k")
    another = await kontor.execute(wish(order_id), actor, key="another")
    await kontor.execute(wish(order_id), actor)
    assert kontor.store.event_types[stored:] == stores
    assert (first.replayed, again.replayed, another.replayed) == (False, True, False)
    assert again.command_id == first.command_id
    assert first.version == again.version == another.version


async def test_a_key_that_was_used_for_another_parcel_is_refused() -> None:
    kontor, order_id = await after(reserve, authorise)
    await kontor.execute(ship(order_id), STAFF, key="k")
    with pytest.raises(IdempotencyKeyMismatch):
        await kontor.execute(ship(order_id, number="RM2"), STAFF, key="k")


@pytest.mark.parametrize("wish", [ship, deliver, refund, cancel], ids=lambda each: each.__name__)
async def test_nobody_does_it_without_signing_in(wish: Made) -> None:
    kontor, order_id = await after(reserve)
    with pytest.raises(Unauthenticated):
        await kontor.execute(wish(order_id), ANONYMOUS)


@pytest.mark.parametrize("wish", [authorise, decline], ids=lambda each: each.__name__)
async def test_nobody_from_outside_moves_money(wish: Made) -> None:
    kontor, order_id = await after(reserve)
    with pytest.raises(Forbidden):
        await kontor.execute(wish(order_id), ANONYMOUS)


async def test_a_card_number_is_neither_taken_nor_stored() -> None:
    kontor, _ = await after()
    customer = await kontor.customer("grace@example.com")
    stored = len(kontor.store.stored)
    with pytest.raises(Invalid, match="never a card number") as refused:
        await kontor.placed(customer, ("MUG", 1), payment_method="4242 4242 4242 4242")
    assert (refused.value.field, len(kontor.store.stored)) == (("paymentMethod",), stored)
