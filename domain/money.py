"""Money: integer minor units and an ISO 4217 currency; no float anywhere, no silent rounding."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Final

from domain.disclosure import Plain
from domain.errors import Invalid

# ISO 4217 (2024): the currencies whose minor unit is not a hundredth.
_EXPONENTS: Final = {
    **dict.fromkeys(
        (
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ),
        0,
    ),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}
_HUNDREDTHS: Final = frozenset(
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP "
    "CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR "
    "JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN "
    "NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP "
    "SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VES WST XCD YER ZAR ZMW ZWG".split()
)
CURRENCIES: Final = _HUNDREDTHS | frozenset(_EXPONENTS)

# A sum must fit the API's 32 bit Int (`Money.minorUnits`).
MINOR_MAX: Final = 2**31 - 1
DIGITS_MAX: Final = 12


@dataclass(frozen=True, slots=True)
class Money:
    """`minor` units (pence, cents, yen) of `currency`."""

    minor: int
    currency: Plain

    @classmethod
    def of(cls, amount: Decimal | str, currency: str, *, field: str = "price") -> Money:
        """The exact amount. Raises Invalid for an unknown currency, a negative, a fraction of a minor
        unit, or more than 21,474,836.47 of a currency with hundredths."""
        exponent = minor_digits(currency)
        try:
            value = Decimal(amount)
        except (InvalidOperation, ValueError):
            value = Decimal("NaN")
        if not value.is_finite():
            raise Invalid(f"{field} {amount!r} is not a decimal number like 2.55.", field=(field,))
        # Before any arithmetic: 1e999999 as an integer would fill the memory, and decimals past the context's
        # precision would be rounded away.
        if value and not -DIGITS_MAX <= value.adjusted() <= DIGITS_MAX:
            raise Invalid(f"{field} {amount} {currency} is outside 0 to {MINOR_MAX} minor units.", field=(field,))
        whole, rest = divmod(Fraction(value) * 10**exponent, 1)
        if rest:
            raise Invalid(f"{field} {amount} has more than the {exponent} decimals {currency} has.", field=(field,))
        if not 0 <= whole <= MINOR_MAX:
            raise Invalid(f"{field} {amount} {currency} is outside 0 to {MINOR_MAX} minor units.", field=(field,))
        return cls(whole, currency)

    @property
    def amount(self) -> Decimal:
        """The amount in major units, with the currency's number of decimals: 255 GBP is `2.55`."""
        return Decimal(self.minor).scaleb(-minor_digits(self.currency))

    def times(self, quantity: int) -> Money:
        return Money(self.minor * quantity, self.currency)


def minor_digits(currency: str) -> int:
    """Decimals of the currency's minor unit. Raises Invalid for a code ISO 4217 does not have."""
    if currency not in CURRENCIES:
        raise Invalid(f"{currency!r} is not an ISO 4217 currency code like GBP.", field=("currency",))
    return _EXPONENTS.get(currency, 2)
