"""An order: placed, reserved, confirmed, shipped, delivered; rejected, cancelled or refunded on the way.

Lines keep the name and price of the moment of sale. A wish that is fulfilled already changes nothing, so every
decision may be repeated; `reserve` and `reject` come from processes that may be late, and are silent when they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from unicodedata import category
from uuid import UUID

from eventsourcing.domain import Aggregate

from domain.audience import Audience
from domain.disclosure import Plain, Sealed
from domain.errors import IllegalTransition, Invalid
from domain.identity import OrderId, ProductId, UserId
from domain.money import MINOR_MAX, Money
from domain.quantity import valid_quantity
from domain.text import plain_text

LINES_MAX: Final = 2_000
REASON_LENGTH_MAX: Final = 500
PAYMENT_METHOD_LENGTH_MAX: Final = 100
CARRIER_LENGTH_MAX: Final = 100
TRACKING_NUMBER_LENGTH_MAX: Final = 100
CARD_DIGITS: Final = range(13, 20)
PAID_OUTSIDE: Final = "account"  # the payment method of an order that no provider is asked for
# Unicode's categories of spaces, of dashes, and of what nobody sees.
_BETWEEN_DIGITS: Final = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf", "Pd"})


class OrderStatus(StrEnum):
    PENDING = "PENDING"
    RESERVED = "RESERVED"
    CONFIRMED = "CONFIRMED"
    SHIPPED = "SHIPPED"
    DELIVERED = "DELIVERED"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"
    REFUNDED = "REFUNDED"


@dataclass(frozen=True, slots=True)
class OrderLine:
    """`quantity` units of one SKU at one price."""

    sku: Plain
    product_id: ProductId
    name: Plain
    quantity: int
    unit_price: Money

    @property
    def total(self) -> Money:
        return self.unit_price.times(self.quantity)


class Order(Aggregate):
    """What a customer wants, and how far it got."""

    TOPIC = "order"

    # TOPICs and field names are stored for ever: a changed shape is a new class_version with an upcaster.
    class Created(Aggregate.Created):
        TOPIC = "order.placed"
        AUDIENCE = Audience.BUSINESS
        number: Plain
        customer_id: UserId
        lines: tuple[OrderLine, ...]
        total: Money
        payment_method: Plain
        placed_at: datetime

        def apply(self, aggregate: Order) -> None:
            aggregate.number, aggregate.customer_id, aggregate.lines = self.number, self.customer_id, self.lines
            aggregate.total, aggregate.placed_at = self.total, self.placed_at
            aggregate.payment_method = self.payment_method
            aggregate.status, aggregate.reason = OrderStatus.PENDING, None
            aggregate.carrier, aggregate.tracking_number, aggregate.payment_id = None, None, None

    class Reserved(Aggregate.Event):
        TOPIC = "order.reserved"
        AUDIENCE = Audience.BUSINESS

        def apply(self, aggregate: Order) -> None:
            aggregate.status = OrderStatus.RESERVED

    class Rejected(Aggregate.Event):
        TOPIC = "order.rejected"
        AUDIENCE = Audience.BUSINESS
        reason: Plain

        def apply(self, aggregate: Order) -> None:
            aggregate.status, aggregate.reason = OrderStatus.REJECTED, self.reason

    class Cancelled(Aggregate.Event):
        TOPIC = "order.cancelled"
        AUDIENCE = Audience.BUSINESS
        class_version = 2
        reason: Sealed
        by: Plain

        def apply(self, aggregate: Order) -> None:
            aggregate.status, aggregate.reason = OrderStatus.CANCELLED, self.reason

        @staticmethod
        def upcast_v1_v2(state: dict[str, Any]) -> None:
            """Version 1 stored the reason in clear; it stays as it is, and is no token of anyone."""

    class Confirmed(Aggregate.Event):
        TOPIC = "order.confirmed"
        AUDIENCE = Audience.BUSINESS
        payment_id: UUID | None

        def apply(self, aggregate: Order) -> None:
            aggregate.status, aggregate.payment_id = OrderStatus.CONFIRMED, self.payment_id

    class Shipped(Aggregate.Event):
        TOPIC = "order.shipped"
        AUDIENCE = Audience.BUSINESS
        carrier: Plain
        tracking_number: Plain

        def apply(self, aggregate: Order) -> None:
            aggregate.status = OrderStatus.SHIPPED
            aggregate.carrier, aggregate.tracking_number = self.carrier, self.tracking_number

    class Delivered(Aggregate.Event):
        TOPIC = "order.delivered"
        AUDIENCE = Audience.BUSINESS

        def apply(self, aggregate: Order) -> None:
            aggregate.status = OrderStatus.DELIVERED

    class Refunded(Aggregate.Event):
        TOPIC = "order.refunded"
        AUDIENCE = Audience.BUSINESS
        class_version = 2
        payment_id: UUID | None
        reason: Sealed
        by: Plain

        def apply(self, aggregate: Order) -> None:
            aggregate.status, aggregate.reason = OrderStatus.REFUNDED, self.reason

        @staticmethod
        def upcast_v1_v2(state: dict[str, Any]) -> None:
            """Version 1 stored the reason in clear; it stays as it is, and is no token of anyone."""

    number: str
    customer_id: UserId
    lines: tuple[OrderLine, ...]
    total: Money
    placed_at: datetime
    payment_method: str
    status: OrderStatus
    reason: str | None  # sealed for the customer where somebody typed it: not of a REJECTED order
    carrier: str | None
    tracking_number: str | None
    payment_id: UUID | None

    def __init__(self) -> None:
        """State comes from events alone."""

    @classmethod
    def place(
        cls,
        *,
        order_id: OrderId,
        number: str,
        customer_id: UserId,
        lines: Sequence[OrderLine],
        payment_method: str,
        placed_at: datetime,
        now: datetime,
    ) -> Order:
        """A new order, PENDING until its stock is reserved; lines of one SKU at one price become one line.

        Raises Invalid without lines, above LINES_MAX of them, with two currencies, a quantity outside its
        bounds, a total above MINOR_MAX minor units, or a payment method that looks like a card number."""
        merged = merge_lines(lines)
        return cls._create(
            cls.Created,
            id=order_id,
            timestamp=now,
            number=number,
            customer_id=customer_id,
            lines=merged,
            total=total_of(merged),
            payment_method=valid_payment_method(payment_method),
            placed_at=placed_at,
        )

    def quantities(self) -> dict[str, int]:
        """Units per SKU over all lines: what has to be reserved."""
        units: dict[str, int] = {}
        for line in self.lines:
            units[line.sku] = units.get(line.sku, 0) + line.quantity
        return units

    def reserve(self, *, now: datetime) -> None:
        """Every line is held. Nothing happens unless the order is PENDING."""
        if self.status is OrderStatus.PENDING:
            self.trigger_event(self.Reserved, timestamp=now)

    def reject(self, *, reason: str, now: datetime) -> None:
        """The order cannot be met. Nothing happens unless it is PENDING or RESERVED."""
        if self.status in (OrderStatus.PENDING, OrderStatus.RESERVED):
            self.trigger_event(self.Rejected, timestamp=now, reason=reason)

    def confirm(self, *, payment_id: UUID | None, now: datetime) -> None:
        """It is paid for, or will be outside (`payment_id` None). Raises IllegalTransition unless it is RESERVED."""
        if self.status is OrderStatus.CONFIRMED and payment_id == self.payment_id:
            return
        self._require("confirmed", OrderStatus.RESERVED)
        self.trigger_event(self.Confirmed, timestamp=now, payment_id=payment_id)

    def ship(self, *, carrier: str, tracking_number: str, now: datetime) -> None:
        """It has left the house. Raises IllegalTransition unless it is CONFIRMED, Invalid for an empty name."""
        carrier = plain_text(carrier, field="carrier", length_max=CARRIER_LENGTH_MAX)
        tracking_number = plain_text(tracking_number, field="trackingNumber", length_max=TRACKING_NUMBER_LENGTH_MAX)
        if self.status is OrderStatus.SHIPPED and (carrier, tracking_number) == (self.carrier, self.tracking_number):
            return
        self._require("shipped", OrderStatus.CONFIRMED)
        self.trigger_event(self.Shipped, timestamp=now, carrier=carrier, tracking_number=tracking_number)

    def deliver(self, *, now: datetime) -> None:
        """The customer has it. Raises IllegalTransition unless it is SHIPPED."""
        if self.status is OrderStatus.DELIVERED:
            return
        self._require("delivered", OrderStatus.SHIPPED)
        self.trigger_event(self.Delivered, timestamp=now)

    def cancel(self, *, reason: str, by: str, now: datetime) -> None:
        """Give the order up. The reason is sealed for the customer, or empty. Raises IllegalTransition once it was
        shipped or rejected."""
        if self.status is OrderStatus.CANCELLED:
            return
        self._require("cancelled", OrderStatus.PENDING, OrderStatus.RESERVED, OrderStatus.CONFIRMED)
        self.trigger_event(self.Cancelled, timestamp=now, reason=reason, by=by)

    def refund(self, *, reason: str, by: str, now: datetime) -> None:
        """The customer gets the money back. The reason is sealed for the customer, or empty. Raises IllegalTransition
        unless it is SHIPPED or DELIVERED."""
        if self.status is OrderStatus.REFUNDED:
            return
        self._require("refunded", OrderStatus.SHIPPED, OrderStatus.DELIVERED)
        self.trigger_event(self.Refunded, timestamp=now, payment_id=self.payment_id, reason=reason, by=by)

    def _require(self, wish: str, *allowed: OrderStatus) -> None:
        if self.status not in allowed:
            why = f" ({self.reason})" if self.reason and self.status is OrderStatus.REJECTED else ""
            names = " or ".join(status.value for status in allowed)
            raise IllegalTransition(
                f"order {self.number} is {self.status.value}{why}; only a {names} order can be {wish}."
            )


def valid_reason(text: str) -> str:
    """A reason that somebody typed, trimmed. Raises Invalid."""
    return plain_text(text, field="reason", length_max=REASON_LENGTH_MAX)


def valid_payment_method(text: str) -> str:
    """A gateway's token, or `account`. Raises Invalid for what looks like a card number."""
    method = plain_text(text, field="paymentMethod", length_max=PAYMENT_METHOD_LENGTH_MAX)
    digits = "".join(char for char in method if category(char) not in _BETWEEN_DIGITS)
    if digits.isdecimal() and len(digits) in CARD_DIGITS and _has_check_digit(digits):
        raise Invalid(
            "paymentMethod looks like a card number: send the token that the payment provider gave for it, never a"
            " card number.",
            field=("paymentMethod",),
        )
    return method


def _has_check_digit(digits: str) -> bool:
    """Luhn's rule, which every card number obeys."""
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(number // 10 + number % 10 for number in doubled) % 10 == 0


def merge_lines(lines: Sequence[OrderLine]) -> tuple[OrderLine, ...]:
    """The lines with those of one SKU at one price added up, in order of first appearance."""
    if not 1 <= len(lines) <= LINES_MAX:
        raise Invalid(f"the order has {len(lines)} lines; give 1 to {LINES_MAX}.", field=("lines",))
    merged: dict[tuple[str, Money], OrderLine] = {}
    for line in lines:
        valid_quantity(line.quantity)
        seen = merged.get((line.sku, line.unit_price))
        quantity = valid_quantity(line.quantity + (seen.quantity if seen else 0))
        merged[line.sku, line.unit_price] = OrderLine(line.sku, line.product_id, line.name, quantity, line.unit_price)
    return tuple(merged.values())


def total_of(lines: Sequence[OrderLine]) -> Money:
    """The sum of the lines. Raises Invalid for two currencies or a sum above MINOR_MAX."""
    currencies = {line.unit_price.currency for line in lines}
    if len(currencies) != 1:
        raise Invalid(f"the lines have the currencies {', '.join(sorted(currencies))}; use one.", field=("lines",))
    minor = sum(line.total.minor for line in lines)
    if minor > MINOR_MAX:
        raise Invalid(f"the total of {minor} minor units is above {MINOR_MAX}; split the order.", field=("lines",))
    return Money(minor, currencies.pop())
