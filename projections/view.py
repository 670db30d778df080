"""What a view is: a row type and a pure `evolve`, one row per aggregate.

Rows are msgspec structs: made, changed and written as JSON several times as fast as dataclasses, and by the million.

`evolve(row, recorded)` gives the next row. The fold adds `version` and `position`, so a row always says
which event of its aggregate it has seen last. Rebuilding is folding again from the start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from domain import CONTEXT_OF


class Recorded(Struct, frozen=True, kw_only=True):
    """A domain event as the log has it."""

    event: Any  # one of the domain's event classes; `evolve` matches on it
    event_type: str
    aggregate_id: UUID
    version: int
    position: int
    recorded_at: datetime
    correlation_id: UUID | None = None  # always there in the log


class Row(Protocol):
    """What every row has. `id` is the aggregate's."""

    @property
    def id(self) -> UUID: ...
    @property
    def version(self) -> int: ...
    @property
    def position(self) -> int: ...


R = TypeVar("R", bound=Row)


@dataclass(frozen=True, slots=True, kw_only=True)
class View(Generic[R]):
    """`follows` lists the aggregate types whose every event goes through `evolve`; `version` goes up with
    the shape or meaning of the row, and names the table: `orders_v1`. Built again beside the one in use, it is
    another generation of the same: `orders_v1_2`."""

    name: str
    version: int
    row: type[R]
    follows: frozenset[str]
    evolve: Callable[[R | None, Recorded], R]
    generation: int = 1

    @property
    def base(self) -> str:
        """The table of the first generation."""
        return f"{self.name}_v{self.version}"

    @property
    def table(self) -> str:
        """Its table, and its name as a follower of the log."""
        return self.base if self.generation == 1 else f"{self.base}_{self.generation}"

    @property
    def contexts(self) -> frozenset[str]:
        return frozenset(CONTEXT_OF[aggregate_type] for aggregate_type in self.follows)

    def fold(self, row: R | None, recorded: Recorded) -> R:
        """The row after the event."""
        evolved: Any = self.evolve(row, recorded)
        folded: R = replace(evolved, version=recorded.version, position=recorded.position)
        return folded


def folded(view: View[R], rows: Mapping[UUID, R], events: Iterable[Recorded]) -> list[R]:
    """The rows that these events change, as they are then, given the present rows of their aggregates.

    Events must come in order per aggregate. One that its row has seen changes nothing. Raises OutOfOrder for one that
    is not the next of its row."""
    changed: dict[UUID, R] = {}
    for recorded in events:
        aggregate_id = recorded.aggregate_id
        row = changed[aggregate_id] if aggregate_id in changed else rows.get(aggregate_id)
        seen = row.version if row is not None else 0
        if recorded.version <= seen:
            continue
        if recorded.version != seen + 1:
            raise OutOfOrder(view.name, recorded, seen)
        changed[aggregate_id] = view.fold(row, recorded)
    return list(changed.values())


class OutOfOrder(Exception):
    """An event reached a view before its predecessor: the chain of its partition is broken."""

    def __init__(self, view: str, recorded: Recorded, seen: int) -> None:
        super().__init__(
            f"{view} has seen version {seen} of {recorded.aggregate_id} and was given version {recorded.version} "
            f"({recorded.event_type}, position {recorded.position})"
        )
