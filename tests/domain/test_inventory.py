"""The stock ledger: whatever happens in whatever order, no more is held than there is."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import DomainError, Invalid, StockInsufficient
from domain.identity import OrderId, stock_item_id
from domain.inventory import ON_HAND_MAX, REASON_LENGTH_MAX, REFERENCE_LENGTH_MAX, Hold, StockItem
from domain.quantity import QUANTITY_MAX
from tests.given import NOW, ORDER_ID, Decision, Told, decide, told

ORDERS = [OrderId(UUID(int=number)) for number in range(1, 5)]
Step = tuple[str, OrderId, int]
steps = st.lists(
    st.tuples(st.sampled_from(["receive", "reserve", "release"]), st.sampled_from(ORDERS), st.integers(1, 9)),
    max_size=40,
)


def stocked(units: int) -> StockItem:
    item = StockItem.open(sku="MUG", now=NOW)
    if units:
        item.receive(quantity=units, reference=None, now=NOW)
    item.collect_events()
    return item


def take(item: StockItem, step: Step) -> None:
    """One step as the handlers take it: they ask before they reserve."""
    what, order_id, quantity = step
    match what:
        case "receive":
            item.receive(quantity=quantity, reference=None, now=NOW)
        case "reserve" if item.can_reserve(order_id=order_id, quantity=quantity):
            item.reserve(order_id=order_id, quantity=quantity, expires_at=NOW, now=NOW)
        case "reserve":
            item.refuse(order_id=order_id, quantity=quantity, now=NOW)
        case "release":
            item.release(order_id=order_id, now=NOW)


@given(steps)
def test_after_every_prefix_of_events_no_more_is_held_than_there_is(taken: list[Step]) -> None:
    item = StockItem.open(sku="MUG", now=NOW)
    for step in taken:
        take(item, step)
    replayed = None
    for event in item.collect_events():
        replayed = event.mutate(replayed)
        assert isinstance(replayed, StockItem)
        assert 0 <= replayed.reserved <= replayed.on_hand
        assert replayed.available == replayed.on_hand - replayed.reserved
        assert all(hold.quantity > 0 for hold in replayed.holds.values())
    assert replayed is not None
    assert (replayed.on_hand, replayed.holds) == (item.on_hand, item.holds)


@given(steps, st.sampled_from(["reserve", "release"]), st.sampled_from(ORDERS), st.integers(1, 9))
def test_repeating_what_concerns_a_hold_changes_nothing(
    taken: list[Step], what: str, order_id: OrderId, quantity: int
) -> None:
    item = StockItem.open(sku="MUG", now=NOW)
    for step in taken:
        take(item, step)
    take(item, (what, order_id, quantity))
    held = dict(item.holds)
    refused = what == "reserve" and order_id not in item.holds
    item.collect_events()
    take(item, (what, order_id, quantity))
    assert item.holds == held
    assert refused or item.collect_events() == []


def test_a_ledger_has_the_id_of_its_sku_and_starts_empty() -> None:
    item = stocked(0)
    assert (item.id, item.on_hand, item.reserved, item.available) == (stock_item_id("MUG"), 0, 0, 0)


@pytest.mark.parametrize("quantity", [0, -1, QUANTITY_MAX + 1])
def test_a_quantity_outside_its_bounds_is_not_received(quantity: int) -> None:
    item = stocked(0)
    with pytest.raises(Invalid):
        item.receive(quantity=quantity, reference=None, now=NOW)
    assert item.collect_events() == []


def test_a_ledger_is_filled_up_to_its_bound_and_no_further() -> None:
    item = stocked(0)
    for _ in range(ON_HAND_MAX // QUANTITY_MAX):
        item.receive(quantity=QUANTITY_MAX, reference=None, now=NOW)
    item.receive(quantity=ON_HAND_MAX % QUANTITY_MAX, reference=None, now=NOW)
    assert item.on_hand == ON_HAND_MAX
    with pytest.raises(Invalid) as refused:
        item.receive(quantity=1, reference=None, now=NOW)
    assert refused.value.field == ("quantity",)


def test_a_reference_is_trimmed_and_bounded() -> None:
    item = stocked(0)
    item.receive(quantity=1, reference=" PO-1 ", now=NOW)
    assert item.collect_events()[0].reference == "PO-1"
    for reference in ("x" * (REFERENCE_LENGTH_MAX + 1), "a\0"):
        with pytest.raises(Invalid) as refused:
            item.receive(quantity=1, reference=reference, now=NOW)
        assert refused.value.field == ("reference",)


@pytest.mark.parametrize("reference", [None, "", " "])
def test_no_reference_is_the_empty_one(reference: str | None) -> None:
    item = stocked(0)
    item.receive(quantity=1, reference=reference, now=NOW)
    assert item.collect_events()[0].reference == ""


@pytest.mark.parametrize(("quantity", "enough"), [(5, True), (6, False)])
def test_there_is_enough_up_to_the_last_unit(quantity: int, enough: bool) -> None:
    assert stocked(5).can_reserve(order_id=ORDER_ID, quantity=quantity) is enough


def test_an_order_that_holds_has_enough() -> None:
    item = stocked(5)
    item.reserve(order_id=ORDER_ID, quantity=5, expires_at=NOW, now=NOW)
    assert item.can_reserve(order_id=ORDER_ID, quantity=5)
    assert not item.can_reserve(order_id=ORDERS[0], quantity=1)


def test_holding_without_asking_for_more_than_there_is_is_a_programming_error() -> None:
    with pytest.raises(AssertionError):
        stocked(5).reserve(order_id=ORDER_ID, quantity=6, expires_at=NOW, now=NOW)


def test_a_hold_says_until_when() -> None:
    item = stocked(5)
    item.reserve(order_id=ORDER_ID, quantity=2, expires_at=NOW + timedelta(hours=1), now=NOW)
    (event,) = item.collect_events()
    assert (event.order_id, event.quantity, event.expires_at) == (ORDER_ID, 2, NOW + timedelta(hours=1))


def test_a_refusal_says_what_there_was_and_changes_no_number() -> None:
    item = stocked(5)
    item.refuse(order_id=ORDER_ID, quantity=6, now=NOW)
    (event,) = item.collect_events()
    assert (event.order_id, event.quantity, event.available) == (ORDER_ID, 6, 5)
    assert (item.on_hand, item.holds) == (5, {})


def test_a_release_says_how_much_came_back() -> None:
    item = stocked(5)
    item.reserve(order_id=ORDER_ID, quantity=2, expires_at=NOW, now=NOW)
    item.release(order_id=ORDER_ID, now=NOW)
    assert (item.collect_events()[-1].quantity, item.available) == (2, 5)


SOON = NOW + timedelta(minutes=15)
OTHER = ORDERS[0]
FREE: list[Decision] = []
HELD: list[Decision] = [("reserve", {"order_id": ORDER_ID, "quantity": 2, "expires_at": SOON})]
LAPSED: list[Decision] = [("reserve", {"order_id": ORDER_ID, "quantity": 2, "expires_at": NOW})]
RELEASED: list[Decision] = [*HELD, ("release", {"order_id": ORDER_ID})]
EXPIRED: list[Decision] = [*LAPSED, ("expire", {"order_id": ORDER_ID})]
DISPATCHED: list[Decision] = [*HELD, ("dispatch", {"order_id": ORDER_ID})]


def of_hold(what: str) -> Told:
    return (f"stock.{what}", {"order_id": str(ORDER_ID), "quantity": 2})


def received(quantity: int, reference: str) -> Told:
    return ("stock.received", {"quantity": quantity, "reference": reference})


def reserved() -> Told:
    return ("stock.reserved", {"order_id": str(ORDER_ID), "quantity": 2, "expires_at": "2026-01-01T12:15:00Z"})


def adjusted(before: int, after: int, reason: str = "counted") -> Told:
    return ("stock.adjusted", {"from": before, "to": after, "reason": reason})


def adjust(on_hand: int, reason: str = "counted") -> Decision:
    return ("adjust", {"on_hand": on_hand, "reason": reason})


def about_hold(what: str) -> Decision:
    return (what, {"order_id": ORDER_ID})


# What was decided about five units before, what is decided now, what it says.
RECORDED: dict[str, tuple[list[Decision], Decision, list[Told]]] = {
    "more is received": (FREE, ("receive", {"quantity": 3, "reference": "PO-1"}), [received(3, "PO-1")]),
    "more is received without reference": (HELD, ("receive", {"quantity": 3, "reference": None}), [received(3, "")]),
    "more is counted": (FREE, adjust(7, " counted "), [adjusted(5, 7)]),
    "none is counted": (FREE, adjust(0), [adjusted(5, 0)]),
    "as many as can be are counted": (FREE, adjust(ON_HAND_MAX), [adjusted(5, ON_HAND_MAX)]),
    "the same is counted": (FREE, adjust(5), []),
    "what is held is counted": (HELD, adjust(2), [adjusted(5, 2)]),
    "the rest is counted": (DISPATCHED, adjust(5), [adjusted(3, 5)]),
    "nothing held is released": (FREE, about_hold("release"), []),
    "a hold is released": (HELD, about_hold("release"), [of_hold("released")]),
    "a lapsed hold is released": (LAPSED, about_hold("release"), [of_hold("released")]),
    "a released hold is released": (RELEASED, about_hold("release"), []),
    "an expired hold is released": (EXPIRED, about_hold("release"), []),
    "a dispatched hold is released": (DISPATCHED, about_hold("release"), []),
    "nothing held expires": (FREE, about_hold("expire"), []),
    "a hold expires too early": (HELD, about_hold("expire"), []),
    "a lapsed hold expires": (LAPSED, about_hold("expire"), [of_hold("reservation_expired")]),
    "a released hold expires": (RELEASED, about_hold("expire"), []),
    "an expired hold expires": (EXPIRED, about_hold("expire"), []),
    "a dispatched hold expires": (DISPATCHED, about_hold("expire"), []),
    "nothing held is dispatched": (FREE, about_hold("dispatch"), []),
    "a hold is dispatched": (HELD, about_hold("dispatch"), [of_hold("dispatched")]),
    "a lapsed hold is dispatched": (LAPSED, about_hold("dispatch"), [of_hold("dispatched")]),
    "a released hold is dispatched": (RELEASED, about_hold("dispatch"), []),
    "an expired hold is dispatched": (EXPIRED, about_hold("dispatch"), []),
    "a dispatched hold is dispatched": (DISPATCHED, about_hold("dispatch"), []),
    "what is held is held again": (HELD, HELD[0], []),
    "what was released is held again": (RELEASED, HELD[0], [reserved()]),
    "what has expired is held again": (EXPIRED, HELD[0], [reserved()]),
}


@pytest.mark.parametrize(("before", "now", "says"), RECORDED.values(), ids=RECORDED)
def test_a_decision_records_what_it_changes(before: list[Decision], now: Decision, says: list[Told]) -> None:
    item = decide(stocked(5), *before)
    item.collect_events()
    assert told(decide(item, now)) == says


REFUSED: dict[str, tuple[list[Decision], Decision, type[DomainError], str, str]] = {
    "less is counted than is held": (
        HELD,
        adjust(1),
        StockInsufficient,
        "onHand",
        "MUG has 2 units held for orders, so it cannot have only 1 on hand",
    ),
    "less than nothing is counted": (FREE, adjust(-1), Invalid, "onHand", "-1 is outside 0 to 2147483647"),
    "more is counted than can be": (FREE, adjust(ON_HAND_MAX + 1), Invalid, "onHand", "is outside 0 to"),
    "no reason is given": (FREE, adjust(7, " "), Invalid, "reason", "0 characters"),
    "no reason is given for what is so already": (FREE, adjust(5, ""), Invalid, "reason", "0 characters"),
    "too long a reason is given": (FREE, adjust(7, "x" * (REASON_LENGTH_MAX + 1)), Invalid, "reason", "501"),
}


@pytest.mark.parametrize(("before", "now", "error", "field", "message"), REFUSED.values(), ids=REFUSED)
def test_a_refused_decision_records_nothing(
    before: list[Decision], now: Decision, error: type[DomainError], field: str, message: str
) -> None:
    item = decide(stocked(5), *before)
    item.collect_events()
    with pytest.raises(error, match=message) as refused:
        decide(item, now)
    assert (refused.value.field, told(item)) == ((field,), [])


@pytest.mark.parametrize(
    ("before", "on_hand", "reserved"),
    [(HELD, 5, 2), (RELEASED, 5, 0), (EXPIRED, 5, 0), (DISPATCHED, 3, 0), ([*HELD, adjust(4)], 4, 2)],
)
def test_the_numbers_after_a_decision(before: list[Decision], on_hand: int, reserved: int) -> None:
    item = decide(stocked(5), *before)
    assert (item.on_hand, item.reserved, item.available) == (on_hand, reserved, on_hand - reserved)


def test_a_hold_lapses_at_its_moment_and_not_before() -> None:
    item = decide(stocked(5), *HELD)
    assert item.holds == {ORDER_ID: Hold(2, SOON)}
    assert not item.has_lapsed(order_id=ORDER_ID, now=SOON - timedelta(microseconds=1))
    assert item.has_lapsed(order_id=ORDER_ID, now=SOON)
    assert not item.has_lapsed(order_id=OTHER, now=SOON)


def test_what_one_order_loses_another_keeps() -> None:
    for what in ("release", "expire", "dispatch"):
        item = decide(stocked(5), *LAPSED, ("reserve", {"order_id": OTHER, "quantity": 3, "expires_at": NOW}))
        decide(item, about_hold(what))
        assert item.holds == {OTHER: Hold(3, NOW)}
