"""The stock ledger of one SKU. For every prefix of its events: 0 <= reserved <= on_hand.

A hold belongs to an order, and an order holds a SKU at most once: every decision about a hold may be
repeated and changes nothing the second time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from eventsourcing.domain import Aggregate

from domain.audience import Audience
from domain.disclosure import Plain
from domain.errors import Invalid, StockInsufficient
from domain.identity import OrderId, stock_item_id
from domain.quantity import valid_quantity
from domain.text import plain_text

HOLD_S_MAX: Final = 900
ON_HAND_MAX: Final = 2**31 - 1  # the API's 32 bit Int
REFERENCE_LENGTH_MAX: Final = 200
REASON_LENGTH_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class Hold:
    """`quantity` units kept for one order; from `expires_at` on they may be given to others.

    Whether the order is confirmed, and its hold therefore kept beyond that, the order knows."""

    quantity: int
    expires_at: datetime


class StockItem(Aggregate):
    """How many units of a SKU there are, and for which orders some of them are held."""

    TOPIC = "stock"

    # TOPICs and field names are stored for ever: a changed shape is a new class_version with an upcaster.
    class Created(Aggregate.Created):
        TOPIC = "stock.opened"
        AUDIENCE = Audience.BUSINESS
        sku: Plain

        def apply(self, aggregate: StockItem) -> None:
            aggregate.sku, aggregate.on_hand, aggregate.reserved, aggregate.holds = self.sku, 0, 0, {}

    class Received(Aggregate.Event):
        TOPIC = "stock.received"
        AUDIENCE = Audience.BUSINESS
        class_version = 2
        quantity: int
        reference: Plain  # empty for none

        def apply(self, aggregate: StockItem) -> None:
            aggregate.on_hand += self.quantity

        @staticmethod
        def upcast_v1_v2(state: dict[str, Any]) -> None:
            """In version 1 no reference was null."""
            if state["reference"] is None:
                state["reference"] = ""

    class Adjusted(Aggregate.Event):
        TOPIC = "stock.adjusted"
        AUDIENCE = Audience.BUSINESS
        from_: int  # stored as `from`, which no Python field can be called
        to: int
        reason: Plain

        def apply(self, aggregate: StockItem) -> None:
            aggregate.on_hand = self.to

    class Reserved(Aggregate.Event):
        TOPIC = "stock.reserved"
        AUDIENCE = Audience.BUSINESS
        order_id: UUID
        quantity: int
        expires_at: datetime

        def apply(self, aggregate: StockItem) -> None:
            aggregate.holds[OrderId(self.order_id)] = Hold(self.quantity, self.expires_at)
            aggregate.reserved += self.quantity

    class ReservationRefused(Aggregate.Event):
        TOPIC = "stock.reservation_refused"
        AUDIENCE = Audience.BUSINESS
        order_id: UUID
        quantity: int
        available: int

    class Released(Aggregate.Event):
        TOPIC = "stock.released"
        AUDIENCE = Audience.BUSINESS
        order_id: UUID
        quantity: int

        def apply(self, aggregate: StockItem) -> None:
            del aggregate.holds[OrderId(self.order_id)]
            aggregate.reserved -= self.quantity

    class ReservationExpired(Aggregate.Event):
        TOPIC = "stock.reservation_expired"
        AUDIENCE = Audience.BUSINESS
        order_id: UUID
        quantity: int

        def apply(self, aggregate: StockItem) -> None:
            del aggregate.holds[OrderId(self.order_id)]
            aggregate.reserved -= self.quantity

    class Dispatched(Aggregate.Event):
        TOPIC = "stock.dispatched"
        AUDIENCE = Audience.BUSINESS
        order_id: UUID
        quantity: int

        def apply(self, aggregate: StockItem) -> None:
            del aggregate.holds[OrderId(self.order_id)]
            aggregate.reserved -= self.quantity
            aggregate.on_hand -= self.quantity

    sku: str
    on_hand: int
    reserved: int  # the sum of the holds, kept because a SKU in demand has thousands
    holds: dict[OrderId, Hold]

    def __init__(self) -> None:
        """State comes from events alone."""

    @property
    def available(self) -> int:
        return self.on_hand - self.reserved

    @classmethod
    def open(cls, *, sku: str, now: datetime) -> StockItem:
        return cls._create(cls.Created, id=stock_item_id(sku), timestamp=now, sku=sku)

    def receive(self, *, quantity: int, reference: str | None, now: datetime) -> None:
        """Add units. Raises Invalid outside 1 to QUANTITY_MAX, or when the sum would pass ON_HAND_MAX.

        A reference of None is stored as the empty one."""
        valid_quantity(quantity)
        if self.on_hand + quantity > ON_HAND_MAX:
            raise Invalid(
                f"{self.sku} has {self.on_hand} units; {quantity} more would pass {ON_HAND_MAX}.", field=("quantity",)
            )
        reference = plain_text(reference or "", field="reference", length_max=REFERENCE_LENGTH_MAX, length_min=0)
        self.trigger_event(self.Received, timestamp=now, quantity=quantity, reference=reference)

    def adjust(self, *, on_hand: int, reason: str, now: datetime) -> None:
        """Set the number of units to what was counted; nothing happens when it is the number already.

        Raises Invalid outside 0 to ON_HAND_MAX or without a reason, StockInsufficient below what is held."""
        reason = plain_text(reason, field="reason", length_max=REASON_LENGTH_MAX)
        if not 0 <= on_hand <= ON_HAND_MAX:
            raise Invalid(f"onHand {on_hand} is outside 0 to {ON_HAND_MAX}.", field=("onHand",))
        if on_hand < self.reserved:
            raise StockInsufficient(
                f"{self.sku} has {self.reserved} units held for orders, so it cannot have only {on_hand} on hand; "
                "cancel orders first.",
                field=("onHand",),
            )
        if on_hand != self.on_hand:
            self.trigger_event(self.Adjusted, timestamp=now, from_=self.on_hand, to=on_hand, reason=reason)

    def can_reserve(self, *, order_id: OrderId, quantity: int) -> bool:
        """Is there enough for this order, counting what it already holds?"""
        return order_id in self.holds or quantity <= self.available

    def reserve(self, *, order_id: OrderId, quantity: int, expires_at: datetime, now: datetime) -> None:
        """Hold units for an order until `expires_at`; a second call for the order changes nothing.

        The caller has asked `can_reserve`: without enough units this is a programming error."""
        if order_id in self.holds:
            return
        assert quantity <= self.available, (self.sku, quantity, self.available)
        self.trigger_event(self.Reserved, timestamp=now, order_id=order_id, quantity=quantity, expires_at=expires_at)

    def refuse(self, *, order_id: OrderId, quantity: int, now: datetime) -> None:
        """Record that an order asked for more than there was: demand nobody could meet is a fact too."""
        self.trigger_event(
            self.ReservationRefused, timestamp=now, order_id=order_id, quantity=quantity, available=self.available
        )

    def release(self, *, order_id: OrderId, now: datetime) -> None:
        """Give back what the order holds; nothing happens when it holds nothing."""
        if hold := self.holds.get(order_id):
            self.trigger_event(self.Released, timestamp=now, order_id=order_id, quantity=hold.quantity)

    def has_lapsed(self, *, order_id: OrderId, now: datetime) -> bool:
        """Is the time of what the order holds up? False when it holds nothing."""
        hold = self.holds.get(order_id)
        return hold is not None and hold.expires_at <= now

    def expire(self, *, order_id: OrderId, now: datetime) -> None:
        """Give back what the order holds when its time is up; nothing happens before that, or without a hold.

        The caller has asked whether the order is confirmed: its hold does not expire."""
        if self.has_lapsed(order_id=order_id, now=now):
            quantity = self.holds[order_id].quantity
            self.trigger_event(self.ReservationExpired, timestamp=now, order_id=order_id, quantity=quantity)

    def dispatch(self, *, order_id: OrderId, now: datetime) -> None:
        """Send off what the order holds: the units leave the house. Nothing happens when it holds nothing."""
        if hold := self.holds.get(order_id):
            self.trigger_event(self.Dispatched, timestamp=now, order_id=order_id, quantity=hold.quantity)
