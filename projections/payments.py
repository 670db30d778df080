"""Payments as the customer of their order and staff see them: present state, one row per payment."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from domain.payments import Payment, PaymentStatus
from projections.view import Recorded, View


class PaymentRow(Struct, frozen=True, kw_only=True):
    id: UUID
    order_id: UUID
    status: PaymentStatus
    amount_minor: int
    currency: str
    provider: str
    reference: str | None = None
    reason: str | None = None
    version: int = 0
    position: int = 0


STATUS_AFTER: Final[dict[type, PaymentStatus]] = {
    Payment.Captured: PaymentStatus.CAPTURED,
    Payment.Declined: PaymentStatus.DECLINED,
    Payment.Voided: PaymentStatus.VOIDED,
    Payment.Refunded: PaymentStatus.REFUNDED,
}


def evolve(row: PaymentRow | None, recorded: Recorded) -> PaymentRow:
    match recorded.event:
        case Payment.Created() as requested:
            return PaymentRow(
                id=recorded.aggregate_id,
                order_id=requested.order_id,
                status=PaymentStatus.REQUESTED,
                amount_minor=requested.amount.minor,
                currency=requested.amount.currency,
                provider=requested.provider,
            )
    assert row is not None, recorded
    match recorded.event:
        case Payment.Authorised(reference=reference):
            return replace(row, status=PaymentStatus.AUTHORISED, reference=reference)
        case Payment.Declined(reason=reason) | Payment.Voided(reason=reason) | Payment.Refunded(reason=reason):
            return replace(row, status=STATUS_AFTER[type(recorded.event)], reason=reason)
        case _:
            return replace(row, status=STATUS_AFTER.get(type(recorded.event), row.status))


PAYMENTS: Final = View(name="payments", version=1, row=PaymentRow, follows=frozenset({Payment.TOPIC}), evolve=evolve)
