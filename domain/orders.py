"""An order: placed, then reserved or rejected; cancelled as long as nothing has left the house.

Lines keep the name and price of the moment of sale. Repeating a decision changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from eventsourcing.domain import Aggregate

from domain.errors import IllegalTransition, Invalid
from domain.identity import OrderId, ProductId, UserId
from domain.money import MINOR_MAX, Money
from domain.quantity import valid_quantity
from domain.text import plain_text

LINES_MAX: Final = 2_000
REASON_LENGTH_MAX: Final = 500
PAYMENT_METHOD_LENGTH_MAX: Final = 100


class OrderStatus(StrEnum):
    PENDING = "PENDING"
    RESERVED = "RESERVED"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True, slots=True)
class OrderLine:
    """`quantity` units of one SKU at one price."""

    sku: str
    product_id: ProductId
    name: str
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
        number: str
        customer_id: UserId
        lines: tuple[OrderLine, ...]
        total: Money
        payment_method: str
        placed_at: datetime

        def apply(self, aggregate: Order) -> None:
            aggregate.number, aggregate.customer_id, aggregate.lines = self.number, self.customer_id, self.lines
            aggregate.total, aggregate.placed_at = self.total, self.placed_at
            aggregate.status, aggregate.reason = OrderStatus.PENDING, None

    class Reserved(Aggregate.Event):
        TOPIC = "order.reserved"

        def apply(self, aggregate: Order) -> None:
            aggregate.status = OrderStatus.RESERVED

    class Rejected(Aggregate.Event):
        TOPIC = "order.rejected"
        reason: str

        def apply(self, aggregate: Order) -> None:
            aggregate.status, aggregate.reason = OrderStatus.REJECTED, self.reason

    class Cancelled(Aggregate.Event):
        TOPIC = "order.cancelled"
        reason: str
        by: str

        def apply(self, aggregate: Order) -> None:
            aggregate.status, aggregate.reason = OrderStatus.CANCELLED, self.reason

    number: str
    customer_id: UserId
    lines: tuple[OrderLine, ...]
    total: Money
    placed_at: datetime
    status: OrderStatus
    reason: str | None

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
        bounds, or a total above MINOR_MAX minor units."""
        merged = merge_lines(lines)
        return cls._create(
            cls.Created,
            id=order_id,
            timestamp=now,
            number=number,
            customer_id=customer_id,
            lines=merged,
            total=total_of(merged),
            payment_method=plain_text(payment_method, field="paymentMethod", length_max=PAYMENT_METHOD_LENGTH_MAX),
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
        """The order cannot be met. Nothing happens unless it is PENDING."""
        if self.status is OrderStatus.PENDING:
            self.trigger_event(self.Rejected, timestamp=now, reason=reason)

    def cancel(self, *, reason: str, by: str, now: datetime) -> None:
        """Give the order up; a cancelled order stays as it is. Raises IllegalTransition for a rejected one."""
        if self.status is OrderStatus.CANCELLED:
            return
        if self.status is OrderStatus.REJECTED:
            raise IllegalTransition(
                f"order {self.number} is REJECTED ({self.reason}); only a PENDING or RESERVED order can be cancelled."
            )
        reason = plain_text(reason, field="reason", length_max=REASON_LENGTH_MAX)
        self.trigger_event(self.Cancelled, timestamp=now, reason=reason, by=by)


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
