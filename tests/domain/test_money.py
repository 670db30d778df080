"""Money: exact, bounded, in a currency that exists."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Invalid
from domain.money import CURRENCIES, MINOR_MAX, Money, minor_digits

monies = st.builds(Money, st.integers(0, MINOR_MAX), st.sampled_from(sorted(CURRENCIES)))


@given(monies)
def test_an_amount_and_its_currency_are_the_money_again(money: Money) -> None:
    assert Money.of(money.amount, money.currency) == money
    assert Money.of(str(money.amount), money.currency) == money


@given(monies)
def test_an_amount_has_the_decimals_of_its_currency(money: Money) -> None:
    assert -money.amount.as_tuple().exponent == minor_digits(money.currency)


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("2.55", "GBP", 255),
        ("2.5", "GBP", 250),
        ("2.500", "GBP", 250),
        ("0", "GBP", 0),
        ("255", "JPY", 255),
        ("255.0", "JPY", 255),
        ("2.555", "KWD", 2555),
        ("1e2", "GBP", 10_000),
        ("21474836.47", "GBP", MINOR_MAX),
        ("2147483647", "JPY", MINOR_MAX),
        ("2147483.647", "KWD", MINOR_MAX),
    ],
)
def test_an_amount_is_counted_in_minor_units(amount: str, currency: str, minor: int) -> None:
    assert Money.of(amount, currency) == Money(minor, currency)


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        ("-0.01", "GBP"),
        ("21474836.48", "GBP"),
        ("2147483648", "JPY"),
        ("2147483.648", "KWD"),
        ("2.555", "GBP"),
        ("2.5", "JPY"),
        ("2.5555", "KWD"),
        ("0.001", "GBP"),
        ("2.550000000000000000000000000001", "GBP"),
        ("1e999999", "GBP"),
        ("1e-999999", "GBP"),
        ("NaN", "GBP"),
        ("sNaN", "GBP"),
        ("Infinity", "GBP"),
        ("-Infinity", "GBP"),
        ("", "GBP"),
        ("two", "GBP"),
        ("2,55", "GBP"),
    ],
)
def test_an_amount_that_cannot_be_held_exactly_is_invalid(amount: str, currency: str) -> None:
    with pytest.raises(Invalid) as refused:
        Money.of(amount, currency, field="unitPrice")
    assert refused.value.field == ("unitPrice",)


@given(st.decimals(allow_nan=True, allow_infinity=True))
def test_any_decimal_is_either_held_exactly_or_invalid(amount: Decimal) -> None:
    try:
        money = Money.of(amount, "GBP")
    except Invalid:
        return
    assert money.amount == amount
    assert 0 <= money.minor <= MINOR_MAX


@pytest.mark.parametrize("currency", ["", "gbp", "XXX", "GB", "GBPX", " GBP"])
def test_an_unknown_currency_is_invalid(currency: str) -> None:
    with pytest.raises(Invalid) as refused:
        Money.of("1", currency)
    assert refused.value.field == ("currency",)


@pytest.mark.parametrize(("currency", "digits"), [("GBP", 2), ("EUR", 2), ("JPY", 0), ("KWD", 3)])
def test_currencies_have_their_own_number_of_decimals(currency: str, digits: int) -> None:
    assert minor_digits(currency) == digits


@given(monies, st.integers(1, 1000))
def test_a_multiple_is_that_many_times_the_minor_units(money: Money, quantity: int) -> None:
    assert money.times(quantity) == Money(money.minor * quantity, money.currency)
