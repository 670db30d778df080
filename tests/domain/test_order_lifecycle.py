"""Every decision about an order in every state."""

from __future__ import annotations

from typing import Any

import pytest

from domain.errors import IllegalTransition, Invalid
from domain.orders import CARRIER_LENGTH_MAX, Order, OrderStatus
from tests.given import Decision, Told, decide, placed_order, told

S = OrderStatus
PAYMENT = "01900000-0000-7000-8000-000000000007"
RESERVE: Decision = ("reserve", {})
REJECT: Decision = ("reject", {"reason": "none left"})
CONFIRM: Decision = ("confirm", {"payment_id": None})
SHIP: Decision = ("ship", {"carrier": " Post ", "tracking_number": "RM1"})
DELIVER: Decision = ("deliver", {})
CANCEL: Decision = ("cancel", {"reason": "no", "by": "user:1"})
REFUND: Decision = ("refund", {"reason": "broken", "by": "user:1"})
DECISIONS = [RESERVE, REJECT, CONFIRM, SHIP, DELIVER, CANCEL, REFUND]

WAY: dict[OrderStatus, list[Decision]] = {
    S.PENDING: [],
    S.RESERVED: [RESERVE],
    S.CONFIRMED: [RESERVE, CONFIRM],
    S.SHIPPED: [RESERVE, CONFIRM, SHIP],
    S.DELIVERED: [RESERVE, CONFIRM, SHIP, DELIVER],
    S.REJECTED: [REJECT],
    S.CANCELLED: [CANCEL],
    S.REFUNDED: [RESERVE, CONFIRM, SHIP, REFUND],
}
SAID: dict[str, Told] = {
    "reserve": ("order.reserved", {}),
    "reject": ("order.rejected", {"reason": "none left"}),
    "confirm": ("order.confirmed", {"payment_id": None}),
    "ship": ("order.shipped", {"carrier": "Post", "tracking_number": "RM1"}),
    "deliver": ("order.delivered", {}),
    "cancel": ("order.cancelled", {"reason": "no", "by": "user:1"}),
    "refund": ("order.refunded", {"payment_id": None, "reason": "broken", "by": "user:1"}),
}
# What leads where; and who is silent instead of refusing, because the wish is fulfilled or the messenger late.
LEADS = {
    "reserve": {S.PENDING: S.RESERVED},
    "reject": {S.PENDING: S.REJECTED, S.RESERVED: S.REJECTED},
    "confirm": {S.RESERVED: S.CONFIRMED},
    "ship": {S.CONFIRMED: S.SHIPPED},
    "deliver": {S.SHIPPED: S.DELIVERED},
    "cancel": {S.PENDING: S.CANCELLED, S.RESERVED: S.CANCELLED, S.CONFIRMED: S.CANCELLED},
    "refund": {S.SHIPPED: S.REFUNDED, S.DELIVERED: S.REFUNDED},
}
SILENT = {
    "reserve": set(S) - {S.PENDING},
    "reject": set(S) - {S.PENDING, S.RESERVED},
    "confirm": {S.CONFIRMED},
    "ship": {S.SHIPPED},
    "deliver": {S.DELIVERED},
    "cancel": {S.CANCELLED},
    "refund": {S.REFUNDED},
}
PAIRS = [(status, decision) for status in S for decision in DECISIONS]


def in_status(status: OrderStatus) -> Order:
    order: Order = decide(placed_order(), *WAY[status])
    order.collect_events()
    assert order.status is status
    return order


@pytest.mark.parametrize(("status", "decision"), PAIRS, ids=lambda each: each if isinstance(each, str) else each[0])
def test_a_decision_leads_on_is_silent_or_is_refused_by_name(status: OrderStatus, decision: Decision) -> None:
    order, wish = in_status(status), decision[0]
    if status in LEADS[wish]:
        assert told(decide(order, decision)) == [SAID[wish]]
        assert order.status is LEADS[wish][status]
    elif status in SILENT[wish]:
        assert told(decide(order, decision)) == []
    else:
        allowed = " or ".join(each.value for each in LEADS[wish])
        with pytest.raises(IllegalTransition, match=f"K1 is {status.value}.*only a {allowed} order"):
            decide(order, decision)
        assert told(order) == []


REFUSED_THOUGH_LIKE: dict[str, tuple[OrderStatus, Decision]] = {
    "another payment": (S.CONFIRMED, ("confirm", {"payment_id": PAYMENT})),
    "another carrier": (S.SHIPPED, ("ship", {"carrier": "Rail", "tracking_number": "RM1"})),
    "another number": (S.SHIPPED, ("ship", {"carrier": "Post", "tracking_number": "RM2"})),
}


@pytest.mark.parametrize(("status", "decision"), REFUSED_THOUGH_LIKE.values(), ids=REFUSED_THOUGH_LIKE)
def test_the_same_decision_with_other_content_is_refused(status: OrderStatus, decision: Decision) -> None:
    with pytest.raises(IllegalTransition):
        decide(in_status(status), decision)


BAD: list[tuple[OrderStatus, str, dict[str, Any], str]] = [
    (S.CONFIRMED, "ship", {"carrier": "", "tracking_number": "1"}, "carrier"),
    (S.CONFIRMED, "ship", {"carrier": "x" * (CARRIER_LENGTH_MAX + 1), "tracking_number": "1"}, "carrier"),
    (S.CONFIRMED, "ship", {"carrier": "Post", "tracking_number": "\x00"}, "trackingNumber"),
]


@pytest.mark.parametrize(("status", "wish", "values", "field"), BAD)
def test_a_bad_value_is_invalid_and_records_nothing(
    status: OrderStatus, wish: str, values: dict[str, Any], field: str
) -> None:
    order = in_status(status)
    with pytest.raises(Invalid) as refused:
        decide(order, (wish, values))
    assert (refused.value.field, told(order)) == ((field,), [])
