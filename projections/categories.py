"""The catalogue's tree: one row per category, a removed one among them, so that its id is known to be gone."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from domain.catalogue import Category
from projections.view import Recorded, View


class CategoryRow(Struct, frozen=True, kw_only=True):
    id: UUID
    name: str
    slug: str
    description: str
    parent_id: UUID | None
    removed: bool = False
    version: int = 0
    position: int = 0


def evolve(row: CategoryRow | None, recorded: Recorded) -> CategoryRow:
    match recorded.event:
        case Category.Created() as added:
            return CategoryRow(
                id=recorded.aggregate_id,
                name=added.name,
                slug=added.slug,
                description=added.description,
                parent_id=added.parent_id,
            )
    assert row is not None, recorded
    match recorded.event:
        case Category.Updated() as updated:
            return replace(
                row,
                name=row.name if updated.name is None else updated.name,
                description=row.description if updated.description is None else updated.description,
                parent_id=row.parent_id if updated.parent_id is None else updated.parent_id,
            )
        case Category.Removed():
            return replace(row, removed=True)
        case _:
            return row


CATEGORIES: Final = View(
    name="categories", version=1, row=CategoryRow, follows=frozenset({Category.TOPIC}), evolve=evolve
)
