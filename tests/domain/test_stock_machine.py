"""Random decisions about one SKU's stock, beside a model of plain numbers: the ledger balances after each."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from domain.errors import StockInsufficient
from domain.identity import OrderId
from domain.inventory import StockItem
from tests.given import NOW, replayed

orders = st.sampled_from([OrderId(UUID(int=number)) for number in range(1, 5)])
quantities = st.integers(1, 9)


class Ledger(RuleBasedStateMachine):
    """`sums` adds up what the events say; `held` and `until` are what each order should hold."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.item = StockItem.open(sku="MUG", now=NOW)
        self.events = list(self.item.collect_events())
        self.held: dict[OrderId, int] = {}
        self.until: dict[OrderId, Any] = {}
        self.on_hand = 0
        self.sums = dict.fromkeys(("received", "adjusted", "reserved", "released", "expired", "dispatched"), 0)

    @rule(quantity=quantities)
    def receive(self, quantity: int) -> None:
        self.item.receive(quantity=quantity, reference=None, now=self.now)
        self.on_hand += quantity

    @rule(on_hand=st.integers(0, 30))
    def adjust(self, on_hand: int) -> None:
        try:
            self.item.adjust(on_hand=on_hand, reason="counted", now=self.now)
        except StockInsufficient:
            assert on_hand < sum(self.held.values())
        else:
            assert on_hand >= sum(self.held.values())
            self.on_hand = on_hand

    @rule(order_id=orders, quantity=quantities, minutes=st.integers(0, 3))
    def reserve(self, order_id: OrderId, quantity: int, minutes: int) -> None:
        enough = order_id in self.held or sum(self.held.values()) + quantity <= self.on_hand
        assert self.item.can_reserve(order_id=order_id, quantity=quantity) is enough
        if not enough:
            self.item.refuse(order_id=order_id, quantity=quantity, now=self.now)
            return
        until = self.now + timedelta(minutes=minutes)
        self.item.reserve(order_id=order_id, quantity=quantity, expires_at=until, now=self.now)
        self.held.setdefault(order_id, quantity)
        self.until.setdefault(order_id, until)

    @rule(order_id=orders)
    def release(self, order_id: OrderId) -> None:
        self.item.release(order_id=order_id, now=self.now)
        self._forget(order_id)

    @rule(order_id=orders)
    def expire(self, order_id: OrderId) -> None:
        self.item.expire(order_id=order_id, now=self.now)
        if order_id in self.held and self.until[order_id] <= self.now:
            self._forget(order_id)

    @rule(order_id=orders)
    def dispatch(self, order_id: OrderId) -> None:
        self.item.dispatch(order_id=order_id, now=self.now)
        self.on_hand -= self._forget(order_id)

    @rule()
    def wait(self) -> None:
        self.now += timedelta(minutes=1)

    def _forget(self, order_id: OrderId) -> int:
        self.until.pop(order_id, None)
        return self.held.pop(order_id, 0)

    @invariant()
    def the_ledger_balances(self) -> None:
        for event in self.item.collect_events():
            self.events.append(event)
            self._add_up(event)
            sums = self.sums
            on_hand = sums["received"] + sums["adjusted"] - sums["dispatched"]
            reserved = sums["reserved"] - sums["released"] - sums["expired"] - sums["dispatched"]
            assert 0 <= reserved <= on_hand
        sums = self.sums
        assert self.item.on_hand == self.on_hand == sums["received"] + sums["adjusted"] - sums["dispatched"]
        assert {order_id: hold.quantity for order_id, hold in self.item.holds.items()} == self.held
        assert self.item.reserved == sum(self.held.values())

    def _add_up(self, event: Any) -> None:
        match event:
            case StockItem.Received():
                self.sums["received"] += event.quantity
            case StockItem.Adjusted():
                self.sums["adjusted"] += event.to - event.from_
            case StockItem.Reserved():
                self.sums["reserved"] += event.quantity
            case StockItem.Released():
                self.sums["released"] += event.quantity
            case StockItem.ReservationExpired():
                self.sums["expired"] += event.quantity
            case StockItem.Dispatched():
                self.sums["dispatched"] += event.quantity

    @invariant()
    def what_was_stored_makes_the_same_ledger(self) -> None:
        again = replayed(self.events)
        assert (again.on_hand, again.reserved, again.holds) == (self.item.on_hand, self.item.reserved, self.item.holds)
        assert again.version == self.item.version

    @invariant()
    def versions_have_no_holes(self) -> None:
        assert [event.originator_version for event in self.events] == list(range(1, self.item.version + 1))


TestLedger = Ledger.TestCase
TestLedger.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
