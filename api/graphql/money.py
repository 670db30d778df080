"""Money on the wire: exact amount, currency, and the same in minor units."""

from __future__ import annotations

from decimal import Decimal

import strawberry

from api.graphql.scalars import CurrencyCode, serialized_decimal
from domain import money as domain


@strawberry.type(description="An exact amount of money.")
class Money:
    amount: Decimal = strawberry.field(description="In major units, with the currency's number of decimals.")
    currency: CurrencyCode = strawberry.field(description="The currency.")
    minor_units: int = strawberry.field(description="The same amount in pence, cents, yen.")

    @classmethod
    def of(cls, money: domain.Money) -> Money:
        """The domain's money as it is shown."""
        return cls(amount=money.amount, currency=CurrencyCode(money.currency), minor_units=money.minor)


def amount_text(minor: int, currency: str) -> str:
    """`Money.amount` as it is on the wire, without making a Decimal for the usual currencies."""
    if minor >= 0 and domain.minor_digits(currency) == 2:
        return f"{minor // 100}.{minor % 100:02d}"
    return serialized_decimal(domain.Money(minor, currency).amount)


@strawberry.input(description="An amount of money somebody names.")
class MoneyInput:
    amount: Decimal = strawberry.field(description='In major units, as a string: "2.55".')
    currency: CurrencyCode = strawberry.field(description="An ISO 4217 code.")

    def money(self, *, field: str) -> domain.Money:
        """Raises Invalid for an unknown currency, a negative, too many decimals, or too much."""
        return domain.Money.of(self.amount, self.currency, field=field)
