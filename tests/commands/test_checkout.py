"""Which command follows from which event, and what is owed to the provider."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from commands.checkout import (
    CAPTURE,
    EXPIRE,
    RETURN,
    Dropped,
    PaymentStep,
    Planned,
    effects_of,
    follow_up,
    owed,
    reservations,
)
from commands.inventory import DispatchOrder, ReleaseOrder, ReserveOrders
from domain import CONTEXTS
from domain.identity import OrderId
from domain.orders import Order, OrderStatus
from domain.payments import PaymentStatus
from tests.given import NOW, ORDER_ID, Decision, decide, order_line, placed_order

EXPECTED: dict[Any, ReleaseOrder | DispatchOrder | None] = {
    Order.Created: None,
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


def placed(number: int, *, lines: int = 1) -> Any:
    order_lines = [order_line(f"SKU-{number}-{line}") for line in range(lines)]
    return placed_order(*order_lines, order_id=OrderId(UUID(int=number))).collect_events()[0]


def test_orders_that_were_placed_together_are_reserved_together_in_order_and_within_bounds() -> None:
    assert reservations(events()) == [ReserveOrders(order_ids=(ORDER_ID,))]
    many = [placed(number) for number in range(250)]
    commands = reservations(many)
    assert [len(command.order_ids) for command in commands] == [100, 100, 50]
    assert [each.int for command in commands for each in command.order_ids] == list(range(250))
    large = [placed(number, lines=300) for number in range(5)]
    assert [len(command.order_ids) for command in reservations(large)] == [2, 2, 1]
    assert reservations([]) == []


def test_every_event_of_an_order_is_in_the_table() -> None:
    assert {type(event) for event in events()} == set(EXPECTED)


def test_nothing_follows_from_events_of_other_contexts() -> None:
    for context, aggregates in CONTEXTS.items():
        for aggregate in aggregates.values():
            event = aggregate.Created.__new__(aggregate.Created)
            assert context == "orders" or follow_up(event) is None


Of, P, S = OrderStatus, PaymentStatus, PaymentStep
ENDED = (Of.CANCELLED, Of.REJECTED, Of.REFUNDED)
OWED: dict[tuple[OrderStatus, PaymentStatus], PaymentStep] = {
    (Of.RESERVED, P.REQUESTED): S.AUTHORISE,
    (Of.SHIPPED, P.AUTHORISED): S.CAPTURE,
    (Of.DELIVERED, P.AUTHORISED): S.CAPTURE,
    **{(order, payment): S.VOID for order in ENDED for payment in (P.REQUESTED, P.AUTHORISED)},
    **{(order, P.CAPTURED): S.REFUND for order in ENDED},
}


@pytest.mark.parametrize("order", OrderStatus)
@pytest.mark.parametrize("payment", PaymentStatus)
def test_what_is_owed_to_the_provider(order: OrderStatus, payment: PaymentStatus) -> None:
    assert owed(order, payment) == OWED.get((order, payment))


# Where a step ends, as the provider's answer leaves it.
AFTER = {S.AUTHORISE: [P.AUTHORISED, P.DECLINED], S.CAPTURE: [P.CAPTURED], S.VOID: [P.VOIDED], S.REFUND: [P.REFUNDED]}


@pytest.mark.parametrize("order", OrderStatus)
@pytest.mark.parametrize("payment", PaymentStatus)
def test_whatever_is_owed_is_settled_in_a_few_steps(order: OrderStatus, payment: PaymentStatus) -> None:
    reached = {payment}
    for _ in range(3):
        steps = {each: owed(order, each) for each in reached}
        reached = {after for each, step in steps.items() for after in (AFTER[step] if step else [each])}
    assert all(owed(order, each) is None for each in reached)


@pytest.mark.parametrize(
    ("event", "planned", "dropped"),
    [
        ("order.placed", [], []),
        ("order.reserved", [EXPIRE], []),
        ("order.confirmed", [], [EXPIRE]),
        ("order.shipped", [CAPTURE], []),
        ("order.delivered", [], []),
        ("order.refunded", [RETURN], []),
        ("order.cancelled", [RETURN], [EXPIRE]),
        ("order.rejected", [RETURN], [EXPIRE]),
    ],
)
def test_what_each_event_of_an_order_does_in_the_world(event: str, planned: list[str], dropped: list[str]) -> None:
    (found,) = {each.TOPIC: each for each in events() if event == each.TOPIC}.values()
    changes = list(effects_of(found, UUID(int=1), NOW))
    assert [each.effect for each in changes if isinstance(each, Planned)] == planned
    assert [each.effect for each in changes if isinstance(each, Dropped)] == dropped
    assert {each.subject_id for each in changes} <= {ORDER_ID}
    for each in changes:
        if isinstance(each, Planned):
            assert (each.due_at == NOW + timedelta(minutes=15)) is (each.effect == EXPIRE)
            assert (each.give_up_at is None) is (each.effect == EXPIRE)
