"""Scalars on the wire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from graphql import GraphQLError

from api.graphql.money import Money
from api.graphql.scalars import parsed_decimal, parsed_moment, serialized_decimal, serialized_moment
from domain.money import Money as DomainMoney


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [(765, "GBP", "7.65"), (250, "GBP", "2.50"), (0, "GBP", "0.00"), (1, "JPY", "1"), (1, "KWD", "0.001")],
)
def test_an_amount_shows_all_decimals_of_its_currency(minor: int, currency: str, text: str) -> None:
    shown = Money.of(DomainMoney(minor, currency))
    assert (serialized_decimal(shown.amount), shown.minor_units) == (text, minor)


@pytest.mark.parametrize(("value", "number"), [("2.55", "2.55"), (3, "3"), ("-1", "-1"), ("0.001", "0.001")])
def test_a_decimal_is_a_string_or_a_whole_number(value: Any, number: str) -> None:
    assert parsed_decimal(value) == Decimal(number)


def test_a_float_is_refused_with_the_way_out() -> None:
    with pytest.raises(GraphQLError, match="send it as a string"):
        parsed_decimal(2.55)


@pytest.mark.parametrize(
    "value", ["", "NaN", "Infinity", "1e999999", "1,5", "٣", "1" * 21, True, None, [], 10**20, "1\n"]
)
def test_what_is_no_decimal_is_refused(value: Any) -> None:
    with pytest.raises(GraphQLError):
        parsed_decimal(value)


def test_a_moment_is_shown_in_utc() -> None:
    moment = datetime(2026, 1, 31, 10, 30, tzinfo=timezone(timedelta(hours=1)))
    assert serialized_moment(moment) == "2026-01-31T09:30:00Z"
    assert parsed_moment("2026-01-31T10:30:00+01:00") == moment
    assert parsed_moment("2026-01-31T09:30:00Z").tzinfo is UTC


@pytest.mark.parametrize("value", ["2026-01-31", "2026-01-31T10:30:00", "now", 5, None, "0001-01-01T00:00:00+10:00"])
def test_a_moment_without_offset_is_refused(value: Any) -> None:
    with pytest.raises(GraphQLError, match="RFC 3339"):
        parsed_moment(value)
