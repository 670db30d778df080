"""Which command follows from which event."""

from __future__ import annotations

from typing import Any

import pytest

from commands.checkout import follow_up
from commands.inventory import DispatchOrder, ReleaseOrder, ReserveOrder
from domain import CONTEXTS
from domain.orders import Order
from tests.given import ORDER_ID, Decision, decide, placed_order

EXPECTED: dict[Any, ReserveOrder | ReleaseOrder | DispatchOrder | None] = {
    Order.Created: ReserveOrder(order_id=ORDER_ID),
    Order.Reserved: None,
    Order.Rejected: ReleaseOrder(order_id=ORDER_ID),
    Order.Cancelled: ReleaseOrder(order_id=ORDER_ID),
    Order.Confirmed: None,
    Order.Shipped: DispatchOrder(order_id=ORDER_ID),
    Order.Delivered: None,
    Order.Refunded: None,
}


def events() -> list[Any]:
    """One of each event of an order."""
    way: list[Decision] = [
        ("reserve", {}),
        ("confirm", {"payment_id": None}),
        ("ship", {"carrier": "Post", "tracking_number": "1"}),
    ]
    whole = decide(placed_order(), *way, ("deliver", {}), ("refund", {"reason": "broken", "by": "user:1"}))
    cancelled = decide(placed_order(), ("cancel", {"reason": "no", "by": "user:1"}))
    rejected = decide(placed_order(), ("reject", {"reason": "none left"}))
    return [*whole.collect_events(), cancelled.collect_events()[-1], rejected.collect_events()[-1]]


@pytest.mark.parametrize("event", events(), ids=lambda event: event.TOPIC)
def test_what_follows_from_each_event_of_an_order(event: Any) -> None:
    assert follow_up(event) == EXPECTED[type(event)]


def test_every_event_of_an_order_is_in_the_table() -> None:
    assert {type(event) for event in events()} == set(EXPECTED)


def test_nothing_follows_from_events_of_other_contexts() -> None:
    for context, aggregates in CONTEXTS.items():
        for aggregate in aggregates.values():
            event = aggregate.Created.__new__(aggregate.Created)
            assert context == "orders" or follow_up(event) is None
