"""Money: brings a payment at its provider to what its order says, step by step.

Which step is owed is asked of the aggregates each time, so an effect that comes late, twice or after another one does
what is to be done now, or nothing. Every step has its own idempotency key at the provider, derived from the event that
requested the payment: whoever dies between the provider's answer and the command below repeats the call, gets the
same answer, and no money moves twice.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

import structlog

from adapters.wiring import Kontor
from commands.checkout import PaymentStep, owed
from commands.handling import Actor
from commands.payments import AuthorisePayment, CapturePayment, DeclinePayment, Move, RefundPayment, VoidPayment
from commands.ports import Charge, GatewayRefused, PaymentGateway, ProviderPayment, ProviderStatus
from domain.errors import IllegalTransition
from domain.identity import OrderId, event_id, payment_id
from domain.orders import Order
from domain.payments import Payment

log = structlog.get_logger()

ACTOR: Final = Actor.system("checkout")
STEPS_MAX: Final = 4  # authorise, capture, refund, and one that found things changed


class NotYet(Exception):
    """What is wanted is neither done nor refused: look again later."""


async def settle(kontor: Kontor, order_id: UUID, *, correlation_id: UUID | None = None) -> None:
    """Returns when nothing is owed for the order's payment any more; what it records has this correlation.

    Raises NotYet, GatewayAway or GatewayRefused, and what the pipeline raises. Safe to repeat."""
    for _ in range(STEPS_MAX):
        found = await kontor.store.load([order_id, payment_id(OrderId(order_id))])
        order, payment = (found.get(each, (None,))[0] for each in (order_id, payment_id(OrderId(order_id))))
        if not isinstance(order, Order) or not isinstance(payment, Payment):
            return
        step = owed(order.status, payment.status)
        if step is None:
            return
        command = await _done(gateway_of(kontor, payment), step, order, payment)
        causation_id = event_id(payment.id, payment.version)
        try:
            outcome = await kontor.pipeline.execute(
                command, actor=ACTOR, causation_id=causation_id, correlation_id=correlation_id
            )
        except IllegalTransition as late:  # a webhook was faster, or the order changed: the next look says what now
            log.info("payment_moved_meanwhile", payment=str(payment.id), step=step, error=str(late))
            continue
        if any(head.aggregate_id == order.id for head in outcome.heads):
            return  # confirmed or rejected in the same save
    raise NotYet(f"the payment of order {order_id} kept changing")


def gateway_of(kontor: Kontor, payment: Payment) -> PaymentGateway:
    """The payment's provider. Raises GatewayRefused where it is not set up."""
    if kontor.gateway is None or kontor.gateway.name != payment.provider:
        raise GatewayRefused(
            f"payment {payment.id} is at {payment.provider}, and that provider is not set up here: give its key"
            " (KONTOR_STRIPE_KEY), then `kontor effects retry`."
        )
    return kontor.gateway


def charge_of(order: Order, payment: Payment) -> Charge:
    """What is asked of the provider for this payment, each time the same."""
    return Charge(
        payment_id=payment.id,
        order_id=order.id,
        amount=payment.amount,
        payment_method=order.payment_method,
        key=str(event_id(payment.id, 1)),
    )


async def _done(gateway: PaymentGateway, step: PaymentStep, order: Order, payment: Payment) -> Move:
    """Do the step at the provider; the command that says what came of it."""
    charge = charge_of(order, payment)
    match step:
        case PaymentStep.AUTHORISE:
            answer = await gateway.authorise(charge)
        case PaymentStep.CAPTURE:
            answer = await gateway.capture(charge, _reference(payment))
        case PaymentStep.VOID:
            answer = await _cancelled(gateway, charge, payment.reference)
        case PaymentStep.REFUND:
            answer = await gateway.refund(charge, _reference(payment))
    if answer.status is ProviderStatus.PENDING:  # the key's answer is that of the first call, for a day
        answer = await gateway.look_up(answer.reference)
    return _said(step, order, payment, answer)


async def _cancelled(gateway: PaymentGateway, charge: Charge, reference: str | None) -> ProviderPayment:
    """What was taken meanwhile is found to be so."""
    try:
        return await gateway.cancel(charge, reference)
    except GatewayRefused:
        if reference is not None and (known := await gateway.look_up(reference)).status is ProviderStatus.CAPTURED:
            return known
        raise


def _said(step: PaymentStep, order: Order, payment: Payment, answer: ProviderPayment) -> Move:
    """What the answer makes of the payment, which need not be what was asked for."""
    move: Move | None = None
    match step, answer.status:
        case (
            (_, ProviderStatus.PENDING)
            | (PaymentStep.CAPTURE, ProviderStatus.AUTHORISED)
            | (PaymentStep.REFUND, ProviderStatus.CAPTURED)
        ):
            raise NotYet(f"payment {payment.id} ({answer.reference}) waits at {payment.provider}: {answer.reason}")
        case PaymentStep.AUTHORISE, ProviderStatus.AUTHORISED:
            move = AuthorisePayment(payment_id=payment.id, reference=answer.reference)
        case PaymentStep.AUTHORISE, ProviderStatus.DECLINED:
            move = DeclinePayment(payment_id=payment.id, reason=answer.reason or "the provider declined it")
        case PaymentStep.AUTHORISE, ProviderStatus.CANCELLED:
            move = DeclinePayment(payment_id=payment.id, reason="it was cancelled at the provider")
        case PaymentStep.VOID, (ProviderStatus.CANCELLED | ProviderStatus.DECLINED):
            move = VoidPayment(payment_id=payment.id, reason=_reason(order))
        # After a VOID the next look finds that it is to be refunded.
        case ((PaymentStep.CAPTURE | PaymentStep.VOID), ProviderStatus.CAPTURED):
            move = CapturePayment(payment_id=payment.id)
        case PaymentStep.REFUND, ProviderStatus.REFUNDED:
            move = RefundPayment(payment_id=payment.id, reason=_reason(order))
    if move is None:
        raise GatewayRefused(
            f"payment {payment.id} ({answer.reference}) is {answer.status.value} at {payment.provider}, and"
            f" {step.value} is owed: settle it there by hand."
        )
    return move


def _reference(payment: Payment) -> str:
    if payment.reference is None:
        raise GatewayRefused(f"payment {payment.id} is {payment.status.value} and has no reference.")
    return payment.reference


def _reason(order: Order) -> str:
    """In our own words: what somebody typed is sealed, and stays with the order."""
    return f"order {order.number} is {order.status.value}"
