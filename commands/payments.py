"""Payments: what the checkout and the payment provider's answers make of them."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from commands.handling import Result, Work
from commands.orders import required_order
from domain.errors import NotFound
from domain.identity import OrderId, payment_id
from domain.payments import Payment


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPayment:
    """Ask for the order's total at a provider."""

    order_id: OrderId
    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorisePayment:
    """The provider holds the money, under its reference."""

    payment_id: UUID
    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturePayment:
    """The money is taken."""

    payment_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclinePayment:
    """The provider refuses."""

    payment_id: UUID
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VoidPayment:
    """Nothing will be taken."""

    payment_id: UUID
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundPayment:
    """All of it is given back."""

    payment_id: UUID
    reason: str


async def request_payment(command: RequestPayment, work: Work) -> Result:
    """A payment that was requested before stays as it is.

    Raises NotFound for an unknown order, IllegalTransition unless it is RESERVED: nothing else is to be paid."""
    order = await required_order(command.order_id, work)
    known = await work.load(Payment, payment_id(command.order_id))
    if known is not None:
        return Result(known)
    order.require_payable()
    payment = Payment.request(order_id=command.order_id, amount=order.total, provider=command.provider, now=work.now)
    return Result(work.add(payment))


async def authorise_payment(command: AuthorisePayment, work: Work) -> Result:
    """Raises NotFound, Invalid, or IllegalTransition unless it is REQUESTED."""
    payment = await _required(command.payment_id, work)
    payment.authorise(reference=command.reference, now=work.now)
    return Result(payment)


async def capture_payment(command: CapturePayment, work: Work) -> Result:
    """Raises NotFound, or IllegalTransition unless it is AUTHORISED."""
    payment = await _required(command.payment_id, work)
    payment.capture(now=work.now)
    return Result(payment)


async def decline_payment(command: DeclinePayment, work: Work) -> Result:
    """Raises NotFound, Invalid, or IllegalTransition unless it is REQUESTED."""
    payment = await _required(command.payment_id, work)
    payment.decline(reason=command.reason, now=work.now)
    return Result(payment)


async def void_payment(command: VoidPayment, work: Work) -> Result:
    """Raises NotFound, Invalid, or IllegalTransition once it was captured or declined."""
    payment = await _required(command.payment_id, work)
    payment.void(reason=command.reason, now=work.now)
    return Result(payment)


async def refund_payment(command: RefundPayment, work: Work) -> Result:
    """Raises NotFound, Invalid, or IllegalTransition unless it is CAPTURED."""
    payment = await _required(command.payment_id, work)
    payment.refund(reason=command.reason, now=work.now)
    return Result(payment)


async def _required(wanted: UUID, work: Work) -> Payment:
    payment = await work.load(Payment, wanted)
    if payment is None:
        raise NotFound(f"There is no payment {wanted}.", field=("paymentId",))
    return payment
