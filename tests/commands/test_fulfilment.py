"""Orders and payments through the pipeline: every refusal by the state found, and what a repeated key answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from commands.handling import ANONYMOUS, Actor
from commands.inventory import ReserveOrder
from commands.orders import CancelOrder, ConfirmOrder, DeliverOrder, RefundOrder, RejectOrder, ShipOrder
from commands.payments import (
    AuthorisePayment,
    CapturePayment,
    DeclinePayment,
    RefundPayment,
    RequestPayment,
    VoidPayment,
)
from domain.errors import DomainError, Forbidden, IdempotencyKeyMismatch, IllegalTransition, Invalid, Unauthenticated
from domain.identity import OrderId, payment_id
from tests.given import STAFF, SYSTEM, InMemory

Made = Callable[[OrderId], Any]  # the command about this order


def reserve(order: OrderId) -> ReserveOrder:
    return ReserveOrder(order_id=order)


def confirm(order: OrderId) -> ConfirmOrder:
    return ConfirmOrder(order_id=order, payment_id=payment_id(order))


def reject(order: OrderId) -> RejectOrder:
    return RejectOrder(order_id=order, reason="declined")


def ship(order: OrderId, carrier: str = "Post", number: str = "RM1") -> ShipOrder:
    return ShipOrder(order_id=order, carrier=carrier, tracking_number=number)


def deliver(order: OrderId) -> DeliverOrder:
    return DeliverOrder(order_id=order)


def refund(order: OrderId, reason: str = "broken") -> RefundOrder:
    return RefundOrder(order_id=order, reason=reason)


def cancel(order: OrderId) -> CancelOrder:
    return CancelOrder(order_id=order, reason="no")


def request(order: OrderId, provider: str = "stripe") -> RequestPayment:
    return RequestPayment(order_id=order, provider=provider)


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
SHIPPED: list[Made] = [reserve, confirm, ship]
CAPTURED: list[Made] = [reserve, request, authorise, capture]
# What was done before, what is asked, what the refusal says.
REFUSED: dict[str, tuple[list[Made], Made, type[DomainError], str]] = {
    "a pending order is confirmed": ([], confirm, IllegalTransition, "is PENDING; only a RESERVED"),
    "an order is confirmed with another's payment": (
        [reserve],
        lambda order: ConfirmOrder(order_id=order, payment_id=order),
        Invalid,
        "is not order",
    ),
    "a payment of a pending order": ([], request, IllegalTransition, "is PENDING; only a RESERVED order can be paid"),
    "a payment of a cancelled order": ([cancel], request, IllegalTransition, r"is CANCELLED \(no\); only a RESERVED"),
    "a rejected order is confirmed": ([reject], confirm, IllegalTransition, r"is REJECTED \(declined\)"),
    "a reserved order is shipped": (RESERVED, ship, IllegalTransition, "is RESERVED; only a CONFIRMED"),
    "a cancelled order is shipped": ([cancel], ship, IllegalTransition, r"is CANCELLED \(no\)"),
    "a shipped order is shipped by another": (
        SHIPPED,
        lambda order: ship(order, carrier="Rail"),
        IllegalTransition,
        "is SHIPPED",
    ),
    "a carrier without name": ([reserve, confirm], lambda order: ship(order, carrier=" "), Invalid, "carrier has 0"),
    "no tracking number": ([reserve, confirm], lambda order: ship(order, number=""), Invalid, "trackingNumber has 0"),
    "a confirmed order is delivered": ([reserve, confirm], deliver, IllegalTransition, "CONFIRMED; only a SHIPPED"),
    "a confirmed order is refunded": ([reserve, confirm], refund, IllegalTransition, "a SHIPPED or DELIVERED"),
    "a refund without reason": (SHIPPED, lambda order: refund(order, ""), Invalid, "reason has 0"),
    "a shipped order is cancelled": (SHIPPED, cancel, IllegalTransition, "a PENDING or RESERVED or CONFIRMED"),
    "a rejection without reason": (
        RESERVED,
        lambda order: RejectOrder(order_id=order, reason=" "),
        Invalid,
        "reason has 0",
    ),
    "a provider without name": ([reserve], lambda order: request(order, ""), Invalid, "provider has 0"),
    "another reference": (
        [reserve, request, authorise],
        lambda order: authorise(order, "pi_2"),
        IllegalTransition,
        "is AUTHORISED; .* must be REQUESTED",
    ),
    "no reference": ([reserve, request], lambda order: authorise(order, ""), Invalid, "reference has 0"),
    "a declined payment is authorised": ([reserve, request, decline], authorise, IllegalTransition, "is DECLINED"),
    "a voided authorisation is made again": (
        [reserve, request, authorise, void],
        authorise,
        IllegalTransition,
        "is VOIDED",
    ),
    "a requested payment is captured": (
        [reserve, request],
        capture,
        IllegalTransition,
        "is REQUESTED; .* must be AUTHORISED",
    ),
    "an authorised payment is declined": ([reserve, request, authorise], decline, IllegalTransition, "is AUTHORISED"),
    "a captured payment is voided": (CAPTURED, void, IllegalTransition, "is CAPTURED"),
    "an authorised payment is given back": (
        [reserve, request, authorise],
        give_back,
        IllegalTransition,
        "must be CAPTURED",
    ),
    "a refusal without reason": ([reserve, request], lambda order: decline(order, ""), Invalid, "reason has 0"),
    "a void without reason": ([reserve, request], lambda order: void(order, ""), Invalid, "reason has 0"),
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
    "confirm": ([reserve], SYSTEM, confirm, ["order.confirmed"]),
    "reject": ([reserve], SYSTEM, reject, ["order.rejected"]),
    "ship": ([reserve, confirm], STAFF, ship, ["order.shipped"]),
    "deliver": (SHIPPED, STAFF, deliver, ["order.delivered"]),
    "refund": (SHIPPED, STAFF, refund, ["order.refunded"]),
    "cancel": ([reserve, confirm], STAFF, cancel, ["order.cancelled"]),
    "a late reject": (SHIPPED, SYSTEM, reject, []),
    "request": ([reserve], SYSTEM, request, ["payment.requested"]),
    "authorise": ([reserve, request], SYSTEM, authorise, ["payment.authorised"]),
    "capture": ([reserve, request, authorise], SYSTEM, capture, ["payment.captured"]),
    "decline": ([reserve, request], SYSTEM, decline, ["payment.declined"]),
    "void": ([reserve, request, authorise], SYSTEM, void, ["payment.voided"]),
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
    kontor, order_id = await after(reserve, confirm)
    await kontor.execute(ship(order_id), STAFF, key="k")
    with pytest.raises(IdempotencyKeyMismatch):
        await kontor.execute(ship(order_id, number="RM2"), STAFF, key="k")


@pytest.mark.parametrize("wish", [ship, deliver, refund, cancel], ids=lambda each: each.__name__)
async def test_nobody_does_it_without_signing_in(wish: Made) -> None:
    kontor, order_id = await after(reserve)
    with pytest.raises(Unauthenticated):
        await kontor.execute(wish(order_id), ANONYMOUS)


@pytest.mark.parametrize("wish", [confirm, reject, request, authorise], ids=lambda each: each.__name__)
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
