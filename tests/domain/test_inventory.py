"""The stock ledger: whatever happens in whatever order, no more is held than there is."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Invalid
from domain.identity import OrderId, stock_item_id
from domain.inventory import ON_HAND_MAX, REFERENCE_LENGTH_MAX, StockItem
from domain.quantity import QUANTITY_MAX
from tests.given import NOW, ORDER_ID

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
        assert all(quantity > 0 for quantity in replayed.holds.values())
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
    for reference in ("", "x" * (REFERENCE_LENGTH_MAX + 1)):
        with pytest.raises(Invalid) as refused:
            item.receive(quantity=1, reference=reference, now=NOW)
        assert refused.value.field == ("reference",)


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
