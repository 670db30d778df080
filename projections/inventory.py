"""Stock as it stands: one row per SKU."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from domain.inventory import StockItem
from projections.view import Recorded, View


class StockRow(Struct, frozen=True, kw_only=True):
    """`available` is `on_hand - reserved`."""

    id: UUID
    sku: str
    on_hand: int = 0
    reserved: int = 0
    version: int = 0
    position: int = 0


def evolve(row: StockRow | None, recorded: Recorded) -> StockRow:
    match recorded.event:
        case StockItem.Created(sku=sku):
            return StockRow(id=recorded.aggregate_id, sku=sku)
    assert row is not None, recorded
    return _counted(row, recorded.event)


def _counted(row: StockRow, event: object) -> StockRow:
    match event:
        case StockItem.Received(quantity=quantity):
            return replace(row, on_hand=row.on_hand + quantity)
        case StockItem.Reserved(quantity=quantity):
            return replace(row, reserved=row.reserved + quantity)
        case StockItem.Released(quantity=quantity) | StockItem.ReservationExpired(quantity=quantity):
            return replace(row, reserved=row.reserved - quantity)
        case StockItem.Dispatched(quantity=quantity):
            return replace(row, on_hand=row.on_hand - quantity, reserved=row.reserved - quantity)
        case StockItem.Adjusted(to=on_hand):
            return replace(row, on_hand=on_hand)
        case _:
            return row


STOCK: Final = View(name="stock", version=1, row=StockRow, follows=frozenset({StockItem.TOPIC}), evolve=evolve)
