"""Payments: what the checkout and the payment provider's answers make of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from commands.handling import Result, Work
from commands.orders import required_order
from domain.disclosure import Plain
from domain.errors import DomainError, NotFound
from domain.identity import OrderId
from domain.orders import PAID_OUTSIDE, REASON_LENGTH_MAX, Order, OrderStatus
from domain.payments import Payment


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorisePayment:
    """The provider holds the money, under its reference."""

    payment_id: UUID
    reference: Plain


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturePayment:
    """The money is taken."""

    payment_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclinePayment:
    """The provider refuses."""

    payment_id: UUID
    reason: Plain


@dataclass(frozen=True, slots=True, kw_only=True)
class VoidPayment:
    """Nothing will be taken."""

    payment_id: UUID
    reason: Plain


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundPayment:
    """All of it is given back."""

    payment_id: UUID
    reason: Plain


Move = AuthorisePayment | CapturePayment | DeclinePayment | RefundPayment | VoidPayment


def begin_payment(order: Order, work: Work) -> list[Payment]:
    """What follows when an order's stock is held, in the same save: an order that is paid outside is confirmed, any
    other one's total is asked for. Without a provider nobody can pay it, and its time runs out.

    Returns what was begun."""
    provider = work.ports.payment_provider
    if order.payment_method == PAID_OUTSIDE:
        order.confirm(payment_id=None, now=work.now)
    elif provider is not None:
        begun = Payment.request(order_id=OrderId(order.id), amount=order.total, provider=provider, now=work.now)
        return [work.add(begun)]
    return []


async def authorise_payment(command: AuthorisePayment, work: Work) -> Result:
    """Its order is confirmed in the same save, unless it was cancelled or rejected meanwhile: then the money is to be
    let go. Raises NotFound, Invalid, or IllegalTransition unless it is REQUESTED."""
    payment = await _required(command.payment_id, work)
    order = await required_order(payment.order_id, work)
    _moved(payment, command, work.now)
    if order.status is OrderStatus.RESERVED:
        order.confirm(payment_id=payment.id, now=work.now)
    return Result(payment)


async def decline_payment(command: DeclinePayment, work: Work) -> Result:
    """Its order is rejected in the same save. Raises NotFound, Invalid, or IllegalTransition unless it is REQUESTED."""
    payment = await _required(command.payment_id, work)
    order = await required_order(payment.order_id, work)
    _moved(payment, command, work.now)
    order.reject(reason=f"payment declined: {payment.reason}"[:REASON_LENGTH_MAX], now=work.now)
    return Result(payment)


async def capture_payment(command: CapturePayment, work: Work) -> Result:
    """Raises NotFound, or IllegalTransition unless it is AUTHORISED."""
    return Result(_moved(await _required(command.payment_id, work), command, work.now))


async def void_payment(command: VoidPayment, work: Work) -> Result:
    """Raises NotFound, Invalid, or IllegalTransition once it was captured or declined."""
    return Result(_moved(await _required(command.payment_id, work), command, work.now))


async def refund_payment(command: RefundPayment, work: Work) -> Result:
    """Raises NotFound, Invalid, or IllegalTransition unless it is CAPTURED."""
    return Result(_moved(await _required(command.payment_id, work), command, work.now))


def is_known(payment: Payment, command: Move, now: datetime) -> bool:
    """Whether the payment already is as the command wants it, and its order with it: they were saved together.

    Takes a payment that nobody else uses."""
    try:
        return not _moved(payment, command, now).pending_events
    except DomainError:
        return False


def _moved(payment: Payment, command: Move, now: datetime) -> Payment:
    match command:
        case AuthorisePayment():
            payment.authorise(reference=command.reference, now=now)
        case DeclinePayment():
            payment.decline(reason=command.reason, now=now)
        case CapturePayment():
            payment.capture(now=now)
        case VoidPayment():
            payment.void(reason=command.reason, now=now)
        case RefundPayment():
            payment.refund(reason=command.reason, now=now)
    return payment


async def _required(wanted: UUID, work: Work) -> Payment:
    payment = await work.load(Payment, wanted)
    if payment is None:
        raise NotFound(f"There is no payment {wanted}.", field=("paymentId",))
    return payment
