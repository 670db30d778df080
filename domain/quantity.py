"""Quantities of goods: whole units, at least one, bounded."""

from __future__ import annotations

from typing import Final

from domain.errors import Invalid

QUANTITY_MAX: Final = 10_000_000


def valid_quantity(quantity: int) -> int:
    """Raises Invalid outside 1 to QUANTITY_MAX."""
    if not 1 <= quantity <= QUANTITY_MAX:
        raise Invalid(f"quantity {quantity} is outside 1 to {QUANTITY_MAX}.", field=("quantity",))
    return quantity
