"""The contract's scalars: what they accept, and how they look on the wire."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, NewType

import strawberry
from graphql import GraphQLError
from strawberry.scalars import JSON

CurrencyCode = NewType("CurrencyCode", str)
ConsistencyToken = NewType("ConsistencyToken", str)
Cursor = NewType("Cursor", str)

# No exponents: "1e999999" is a short text and a very long number.
_DECIMAL: Final = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,10})?")


def parsed_decimal(value: Any) -> Decimal:
    """Raises GraphQLError for a float, which has lost digits before it arrives, and for what is no number."""
    if isinstance(value, float):
        raise GraphQLError(f'Decimal cannot be the float {value}, which is not exact: send it as a string like "2.55".')
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**20 else value
    if not isinstance(text, str) or not _DECIMAL.fullmatch(text):
        raise GraphQLError('Decimal needs a string like "2.55", with at most 20 digits before and 10 after the point.')
    return Decimal(text)


def serialized_decimal(value: Decimal) -> str:
    """With all its decimals and never with an exponent: `7.65`, `2.50`, `0.00`."""
    return format(value, "f")


def parsed_moment(value: Any) -> datetime:
    """Raises GraphQLError unless it is RFC 3339 with an offset."""
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError
        return moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise GraphQLError('DateTime needs RFC 3339 with an offset, like "2026-01-31T09:30:00Z".') from None


def serialized_moment(value: datetime) -> str:
    """RFC 3339 in UTC."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise GraphQLError("Give a string.")
    return value


SCALARS: Final[dict[object, Any]] = {
    Decimal: strawberry.scalar(
        name="Decimal",
        description='An exact decimal number, as a string: "7.65". A whole number is accepted too, a float is not.',
        serialize=serialized_decimal,
        parse_value=parsed_decimal,
    ),
    datetime: strawberry.scalar(
        name="DateTime",
        description="A moment, RFC 3339 in UTC.",
        serialize=serialized_moment,
        parse_value=parsed_moment,
    ),
    CurrencyCode: strawberry.scalar(
        name="CurrencyCode", description="An ISO 4217 currency code.", serialize=str, parse_value=_text
    ),
    ConsistencyToken: strawberry.scalar(
        name="ConsistencyToken",
        description="Names what was written, so that a reader can wait for it. Opaque: pass it on as it is.",
        serialize=str,
        parse_value=_text,
    ),
    Cursor: strawberry.scalar(
        name="Cursor", description="A position in the event log. Opaque.", serialize=str, parse_value=_text
    ),
    JSON: strawberry.scalar(name="JSON", description="Any JSON value.", serialize=lambda value: value),
}
