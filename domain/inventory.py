"""The stock ledger of one SKU. For every prefix of its events: 0 <= reserved <= on_hand.

A hold belongs to an order, and an order holds a SKU at most once: every decision about a hold may be
repeated and changes nothing the second time.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from eventsourcing.domain import Aggregate

from domain.errors import Invalid
from domain.identity import OrderId, stock_item_id
from domain.quantity import valid_quantity
from domain.text import plain_text

HOLD_S_MAX: Final = 900
ON_HAND_MAX: Final = 2**31 - 1  # the API's 32 bit Int
REFERENCE_LENGTH_MAX: Final = 200


class StockItem(Aggregate):
    """How many units of a SKU there are, and for which orders some of them are held."""

    TOPIC = "stock"

    # TOPICs and field names are stored for ever: a changed shape is a new class_version with an upcaster.
    class Created(Aggregate.Created):
        TOPIC = "stock.opened"
        sku: str

        def apply(self, aggregate: StockItem) -> None:
            aggregate.sku, aggregate.on_hand, aggregate.holds = self.sku, 0, {}

    class Received(Aggregate.Event):
        TOPIC = "stock.received"
        quantity: int
        reference: str | None

        def apply(self, aggregate: StockItem) -> None:
            aggregate.on_hand += self.quantity

    class Reserved(Aggregate.Event):
        TOPIC = "stock.reserved"
        order_id: UUID
        quantity: int
        expires_at: datetime

        def apply(self, aggregate: StockItem) -> None:
            aggregate.holds[OrderId(self.order_id)] = self.quantity

    class ReservationRefused(Aggregate.Event):
        TOPIC = "stock.reservation_refused"
        order_id: UUID
        quantity: int
        available: int

    class Released(Aggregate.Event):
        TOPIC = "stock.released"
        order_id: UUID
        quantity: int

        def apply(self, aggregate: StockItem) -> None:
            del aggregate.holds[OrderId(self.order_id)]

    sku: str
    on_hand: int
    holds: dict[OrderId, int]

    def __init__(self) -> None:
        """State comes from events alone."""

    @property
    def reserved(self) -> int:
        return sum(self.holds.values())

    @property
    def available(self) -> int:
        return self.on_hand - self.reserved

    @classmethod
    def open(cls, *, sku: str, now: datetime) -> StockItem:
        return cls._create(cls.Created, id=stock_item_id(sku), timestamp=now, sku=sku)

    def receive(self, *, quantity: int, reference: str | None, now: datetime) -> None:
        """Add units. Raises Invalid outside 1 to QUANTITY_MAX, or when the sum would pass ON_HAND_MAX."""
        valid_quantity(quantity)
        if self.on_hand + quantity > ON_HAND_MAX:
            raise Invalid(
                f"{self.sku} has {self.on_hand} units; {quantity} more would pass {ON_HAND_MAX}.", field=("quantity",)
            )
        if reference is not None:
            reference = plain_text(reference, field="reference", length_max=REFERENCE_LENGTH_MAX)
        self.trigger_event(self.Received, timestamp=now, quantity=quantity, reference=reference)

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
        quantity = self.holds.get(order_id)
        if quantity is not None:
            self.trigger_event(self.Released, timestamp=now, order_id=order_id, quantity=quantity)
