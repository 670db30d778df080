"""Orders: their lines, totals and states."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Invalid
from domain.money import MINOR_MAX, Money
from domain.orders import LINES_MAX, Order, OrderLine, OrderStatus, merge_lines, total_of, valid_payment_method
from domain.quantity import QUANTITY_MAX
from tests.given import CUSTOMER_ID, GBP_2_55, NOW, ORDER_ID, order_line, placed_order

PENNY = Money(1, "GBP")
some_lines = st.lists(
    st.builds(
        order_line, st.sampled_from("ABC"), st.integers(1, 100), st.builds(Money, st.integers(1, 9), st.just("GBP"))
    ),
    min_size=1,
    max_size=12,
)


def test_lines_of_one_sku_at_one_price_become_one_in_order_of_first_appearance() -> None:
    cheap = Money(100, "GBP")
    lines = [order_line("B", 1), order_line("A", 2), order_line("B", 3), order_line("B", 4, cheap), order_line("A", 5)]
    assert merge_lines(lines) == (order_line("B", 4), order_line("A", 7), order_line("B", 4, cheap))


@given(some_lines)
def test_merging_changes_neither_units_nor_total(lines: list[OrderLine]) -> None:
    merged = merge_lines(lines)
    assert total_of(merged) == total_of(lines)
    assert sum(line.quantity for line in merged) == sum(line.quantity for line in lines)
    assert merge_lines(merged) == merged
    assert len({(line.sku, line.unit_price) for line in merged}) == len(merged)


@given(some_lines)
def test_an_order_knows_its_units_per_sku(lines: list[OrderLine]) -> None:
    units = placed_order(*lines).quantities()
    assert units == {sku: sum(line.quantity for line in lines if line.sku == sku) for sku in {x.sku for x in lines}}


@pytest.mark.parametrize("count", [1, LINES_MAX])
def test_the_number_of_lines_at_its_bounds_is_good(count: int) -> None:
    assert len(merge_lines([order_line(str(number)) for number in range(count)])) == count


@pytest.mark.parametrize("count", [0, LINES_MAX + 1])
def test_the_number_of_lines_outside_its_bounds_is_invalid(count: int) -> None:
    with pytest.raises(Invalid) as refused:
        merge_lines([order_line("A")] * count)
    assert refused.value.field == ("lines",)


@pytest.mark.parametrize("quantities", [[0], [-1], [QUANTITY_MAX + 1], [QUANTITY_MAX, 1], [5, -1]])
def test_a_quantity_outside_its_bounds_is_invalid_also_when_it_is_a_sum(quantities: list[int]) -> None:
    with pytest.raises(Invalid) as refused:
        merge_lines([order_line("A", quantity) for quantity in quantities])
    assert refused.value.field == ("quantity",)


def test_the_largest_total_is_good_and_one_more_is_invalid() -> None:
    largest = order_line("A", 1, Money(MINOR_MAX, "GBP"))
    assert placed_order(largest).total == Money(MINOR_MAX, "GBP")
    with pytest.raises(Invalid) as refused:
        placed_order(largest, order_line("B", 1, PENNY))
    assert refused.value.field == ("lines",)


def test_two_currencies_are_invalid_and_named() -> None:
    with pytest.raises(Invalid, match="EUR, GBP") as refused:
        placed_order(order_line("A"), order_line("B", 1, Money(255, "EUR")))
    assert refused.value.field == ("lines",)


@pytest.mark.parametrize("method", ["", " ", "x" * 101])
def test_a_payment_method_that_cannot_be_one_is_invalid(method: str) -> None:
    with pytest.raises(Invalid) as refused:
        Order.place(
            order_id=ORDER_ID,
            number="K1",
            customer_id=CUSTOMER_ID,
            lines=[order_line()],
            payment_method=method,
            placed_at=NOW,
            now=NOW,
        )
    assert refused.value.field == ("paymentMethod",)


def test_a_new_order_is_pending_with_its_total() -> None:
    order = placed_order(order_line("A", 2), order_line("B", 1, PENNY))
    assert (order.status, order.reason, order.total) == (OrderStatus.PENDING, None, Money(511, "GBP"))
    assert (order.id, order.version, order_line("A", 2).total) == (ORDER_ID, 1, GBP_2_55.times(2))


@pytest.mark.parametrize(
    "number",
    ["4242424242424242", " 4242 4242-4242 4242 ", "378282246310005", "4222222222222", "4444444444444444442"],
)
def test_a_card_number_is_never_taken(number: str) -> None:
    with pytest.raises(Invalid, match="never a card number") as refused:
        valid_payment_method(number)
    assert refused.value.field == ("paymentMethod",)
    assert number.strip() not in refused.value.message


@pytest.mark.parametrize(
    "number",
    [
        "4242\u00a04242\u00a04242\u00a04242",
        "4242\t4242\n4242\u20094242",
        "4242\u20134242\u20114242\u20144242",
        "4242\u200b424242424242",
        "\uff14\uff12" * 8,
    ],
    ids=ascii,
)
def test_no_kind_of_space_dash_or_digit_hides_a_card_number(number: str) -> None:
    with pytest.raises(Invalid, match="never a card number"):
        valid_payment_method(number)


# The digits alone would pass the check with 12 and with 20 of them.
@pytest.mark.parametrize(
    "method",
    ["pm_1Nv0", "account", "4242424242424241", "444444444442", "4" * 20, "tok_4242424242424242"],
)
def test_what_is_no_card_number_is_taken(method: str) -> None:
    assert valid_payment_method(method) == method
