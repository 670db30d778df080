"""A payment of one order: requested, authorised, captured; declined, voided or refunded on the way.

The provider's answers may come twice, late and out of order: one that is known changes nothing, one that contradicts
what is known is refused, so that whoever brought it can undo it at the provider.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from eventsourcing.domain import Aggregate

from domain.audience import Audience
from domain.disclosure import Plain
from domain.errors import IllegalTransition, Invalid
from domain.identity import OrderId, payment_id
from domain.money import Money
from domain.text import plain_text

PROVIDER_LENGTH_MAX: Final = 50
REFERENCE_LENGTH_MAX: Final = 255
REASON_LENGTH_MAX: Final = 500


class PaymentStatus(StrEnum):
    REQUESTED = "REQUESTED"
    AUTHORISED = "AUTHORISED"
    CAPTURED = "CAPTURED"
    DECLINED = "DECLINED"
    VOIDED = "VOIDED"
    REFUNDED = "REFUNDED"


class Payment(Aggregate):
    """The money of one order at one provider. Its id is derived from the order's: an order is paid once."""

    TOPIC = "payment"

    # TOPICs and field names are stored for ever: a changed shape is a new class_version with an upcaster.
    class Created(Aggregate.Created):
        TOPIC = "payment.requested"
        AUDIENCE = Audience.BUSINESS
        order_id: OrderId
        amount: Money
        provider: Plain

        def apply(self, aggregate: Payment) -> None:
            aggregate.order_id, aggregate.amount, aggregate.provider = self.order_id, self.amount, self.provider
            aggregate.status, aggregate.reference, aggregate.reason = PaymentStatus.REQUESTED, None, None

    class Authorised(Aggregate.Event):
        TOPIC = "payment.authorised"
        AUDIENCE = Audience.BUSINESS
        order_id: UUID
        reference: Plain

        def apply(self, aggregate: Payment) -> None:
            aggregate.status, aggregate.reference = PaymentStatus.AUTHORISED, self.reference

    class Captured(Aggregate.Event):
        TOPIC = "payment.captured"
        AUDIENCE = Audience.BUSINESS
        order_id: UUID
        amount: Money

        def apply(self, aggregate: Payment) -> None:
            aggregate.status = PaymentStatus.CAPTURED

    class Declined(Aggregate.Event):
        TOPIC = "payment.declined"
        AUDIENCE = Audience.BUSINESS
        order_id: UUID
        reason: Plain

        def apply(self, aggregate: Payment) -> None:
            aggregate.status, aggregate.reason = PaymentStatus.DECLINED, self.reason

    class Voided(Aggregate.Event):
        TOPIC = "payment.voided"
        AUDIENCE = Audience.BUSINESS
        order_id: UUID
        reason: Plain

        def apply(self, aggregate: Payment) -> None:
            aggregate.status, aggregate.reason = PaymentStatus.VOIDED, self.reason

    class Refunded(Aggregate.Event):
        TOPIC = "payment.refunded"
        AUDIENCE = Audience.BUSINESS
        order_id: UUID
        amount: Money
        reason: Plain

        def apply(self, aggregate: Payment) -> None:
            aggregate.status, aggregate.reason = PaymentStatus.REFUNDED, self.reason

    order_id: OrderId
    amount: Money
    provider: str
    status: PaymentStatus
    reference: str | None
    reason: str | None

    def __init__(self) -> None:
        """State comes from events alone."""

    @classmethod
    def request(cls, *, order_id: OrderId, amount: Money, provider: str, now: datetime) -> Payment:
        """A payment to be authorised. Raises Invalid for an amount of zero or a provider without name."""
        if amount.minor <= 0:
            raise Invalid(f"amount {amount.amount} {amount.currency} is not above zero.", field=("amount",))
        provider = plain_text(provider, field="provider", length_max=PROVIDER_LENGTH_MAX)
        return cls._create(
            cls.Created,
            id=payment_id(order_id),
            timestamp=now,
            order_id=order_id,
            amount=amount,
            provider=provider,
        )

    def authorise(self, *, reference: str, now: datetime) -> None:
        """The provider holds the money, under this reference; the same answer again changes nothing.

        Raises IllegalTransition unless it is REQUESTED: for another reference, and for the same one of a VOIDED
        payment, whose money the provider must let go."""
        reference = plain_text(reference, field="reference", length_max=REFERENCE_LENGTH_MAX)
        if reference == self.reference and self.status is not PaymentStatus.VOIDED:
            return
        self._require("authorised", PaymentStatus.REQUESTED)
        self.trigger_event(self.Authorised, timestamp=now, order_id=self.order_id, reference=reference)

    def capture(self, *, now: datetime) -> None:
        """The money is taken. Raises IllegalTransition unless it is AUTHORISED."""
        if self.status is PaymentStatus.CAPTURED:
            return
        self._require("captured", PaymentStatus.AUTHORISED)
        self.trigger_event(self.Captured, timestamp=now, order_id=self.order_id, amount=self.amount)

    def decline(self, *, reason: str, now: datetime) -> None:
        """The provider refuses. Raises IllegalTransition unless it is REQUESTED."""
        if self.status is PaymentStatus.DECLINED:
            return
        self._require("declined", PaymentStatus.REQUESTED)
        self.trigger_event(self.Declined, timestamp=now, order_id=self.order_id, reason=_reason(reason))

    def void(self, *, reason: str, now: datetime) -> None:
        """Nothing will be taken. Raises IllegalTransition once it was captured or declined."""
        if self.status is PaymentStatus.VOIDED:
            return
        self._require("voided", PaymentStatus.REQUESTED, PaymentStatus.AUTHORISED)
        self.trigger_event(self.Voided, timestamp=now, order_id=self.order_id, reason=_reason(reason))

    def refund(self, *, reason: str, now: datetime) -> None:
        """All of it is given back, once. Raises IllegalTransition unless it is CAPTURED."""
        if self.status is PaymentStatus.REFUNDED:
            return
        self._require("refunded", PaymentStatus.CAPTURED)
        self.trigger_event(
            self.Refunded, timestamp=now, order_id=self.order_id, amount=self.amount, reason=_reason(reason)
        )

    def _require(self, wish: str, *allowed: PaymentStatus) -> None:
        if self.status not in allowed:
            why = f" ({self.reason})" if self.reason else ""
            names = " or ".join(status.value for status in allowed)
            raise IllegalTransition(
                f"the payment of order {self.order_id} is {self.status.value}{why}; to be {wish} it must be {names}."
            )


def _reason(text: str) -> str:
    return plain_text(text, field="reason", length_max=REASON_LENGTH_MAX)
