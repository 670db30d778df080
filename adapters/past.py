"""Rows of views as they once were: folded from the log by the view's own code, whatever its table says.

A moment is a position of the log: everything up to it had happened, in every aggregate. The views' tables, copies and
snapshots are not asked, so what they show now or have lost makes no difference.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final, TypeVar
from uuid import UUID

from adapters.log import EventLog
from domain.errors import Invalid
from projections.view import Row, View, folded

R = TypeVar("R", bound=Row)

EVENTS_MAX: Final = 100_000  # of one aggregate; some seconds
EVENTS_A_READ: Final = 1_000  # so many are held in memory
AGGREGATES_A_READ: Final = 100


async def row_at(
    log: EventLog,
    view: View[R],
    aggregate_id: UUID,
    *,
    position: int | None = None,
    version: int | None = None,
) -> R | None:
    """The row after the aggregate's last event up to a position of the log, or after that version of it; None where
    there was none yet. Raises Invalid where EVENTS_MAX events do not get there."""
    row: R | None = None
    seen = 0
    while True:
        records = await log.of_aggregate(aggregate_id, limit=EVENTS_A_READ, after_version=seen)
        wanted = [
            record
            for record in records
            if (position is None or record.position <= position) and (version is None or record.version <= version)
        ]
        if wanted and seen >= EVENTS_MAX:
            raise Invalid(
                f"{aggregate_id} has more than {EVENTS_MAX} events up to then, which are too many to be folded for one "
                f"answer; ask for a version up to {EVENTS_MAX} or an earlier moment."
            )
        before = {} if row is None else {aggregate_id: row}
        for row in folded(view, before, [record.decoded() for record in wanted]):
            seen = row.version
        if len(wanted) < EVENTS_A_READ:
            return row if version is None or seen == version else None


async def rows_at(log: EventLog, view: View[R], aggregate_ids: Sequence[UUID], *, position: int) -> AsyncIterator[R]:
    """The rows of aggregates of a few events each, as they were at a position; those that were not there yet are left
    out."""
    for start in range(0, len(aggregate_ids), AGGREGATES_A_READ):
        records = await log.of_aggregates(aggregate_ids[start : start + AGGREGATES_A_READ], until=position)
        for row in folded(view, {}, [record.decoded() for record in records]):
            yield row
