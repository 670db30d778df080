"""Money, when the provider has told something: the provider itself is asked, and its answer alone is believed.

So whoever has the secret that signs its webhooks moves no money and no order. Safe to repeat: what is known already is
nothing to record.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final
from uuid import UUID

import structlog

from adapters.wiring import Kontor
from commands.handling import Actor
from commands.payments import CapturePayment, Move, RefundPayment, VoidPayment
from commands.ports import ProviderPayment, ProviderStatus
from domain.errors import IllegalTransition
from domain.identity import OrderId, payment_id
from domain.orders import Order
from domain.payments import Payment, PaymentStatus
from streams.settling import NotYet, charge_of, gateway_of, settle

log = structlog.get_logger()

PROVIDER: Final = Actor.system("stripe")
_SAME: Final = {
    PaymentStatus.AUTHORISED: ProviderStatus.AUTHORISED,
    PaymentStatus.CAPTURED: ProviderStatus.CAPTURED,
    PaymentStatus.VOIDED: ProviderStatus.CANCELLED,
    PaymentStatus.REFUNDED: ProviderStatus.REFUNDED,
    PaymentStatus.DECLINED: ProviderStatus.DECLINED,
}


async def confirm(kontor: Kontor, order_id: UUID, *, correlation_id: UUID | None = None) -> None:
    """Bring our record of the order's payment to what the provider has of it.

    Raises GatewayAway, or GatewayRefused where it is not this payment's money, and what the pipeline raises."""
    found = await kontor.store.load([order_id, payment_id(OrderId(order_id))])
    order, payment = (found.get(each, (None,))[0] for each in (order_id, payment_id(OrderId(order_id))))
    if not isinstance(order, Order) or not isinstance(payment, Payment):
        return
    if payment.status is PaymentStatus.REQUESTED:
        # Asked to authorise again, the provider says what became of the first time.
        with suppress(NotYet):
            await settle(kontor, order_id, correlation_id=correlation_id)
        return
    if payment.reference is None:
        return
    answer = await gateway_of(kontor, payment).look_up(payment.reference, charge_of(order, payment))
    for command in _moves(payment, answer):
        try:
            await kontor.pipeline.execute(command, actor=PROVIDER, correlation_id=correlation_id)
        except IllegalTransition as late:  # it was recorded meanwhile
            log.info("payment_moved_meanwhile", payment=str(payment.id), error=str(late))
            return


def _moves(payment: Payment, answer: ProviderPayment) -> list[Move]:
    """What is to be recorded; nothing where the record says the same, or the contrary, which is logged."""
    capture = CapturePayment(payment_id=payment.id)
    refund = RefundPayment(payment_id=payment.id, reason="refunded at the provider")
    match payment.status, answer.status:
        case PaymentStatus.AUTHORISED, ProviderStatus.CAPTURED:
            return [capture]
        case PaymentStatus.AUTHORISED, ProviderStatus.REFUNDED:
            return [capture, refund]
        case PaymentStatus.AUTHORISED, ProviderStatus.CANCELLED:
            return [VoidPayment(payment_id=payment.id, reason="cancelled at the provider")]
        case PaymentStatus.CAPTURED, ProviderStatus.REFUNDED:
            return [refund]
    if _SAME.get(payment.status) is not answer.status:
        values = {"payment_id": str(payment.id), "reference": answer.reference, "recorded": payment.status.value}
        log.error("payment_provider_contradicts", **values, provider=answer.status.value)
    return []
