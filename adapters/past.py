"""Rows of views as they once were: folded from the log by the view's own code, whatever its table says.

A moment is a position of the log: everything up to it had happened, in every aggregate. The views' tables and copies
are not asked, so what they show now or have lost makes no difference. A fold begins at the nearest row that an earlier
fold kept on its way (`adapters.past_rows`), and says how many events it will read before it reads one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, TypeVar
from uuid import UUID

from adapters.log import EventLog
from adapters.past_rows import PastRows
from domain.errors import Invalid
from projections.view import Row, View, folded

R = TypeVar("R", bound=Row)

EVENTS_MAX: Final = 100_000  # of one aggregate, from the nearest kept row on; some seconds
EVENTS_A_READ: Final = 1_000  # so many are held in memory, and after each so many a row is kept
AGGREGATES_A_READ: Final = 100

Charge = Callable[[int], Awaitable[None]]  # is told how many events are to be read, and may refuse


async def row_at(
    log: EventLog,
    kept: PastRows,
    view: View[R],
    aggregate_id: UUID,
    *,
    charge: Charge,
    position: int | None = None,
    version: int | None = None,
) -> R | None:
    """The row after the aggregate's last event up to a position of the log, or after that version of it; None where
    there was none yet. Raises Invalid where EVENTS_MAX events do not get there, and what `charge` raises, before
    anything is read."""
    last = await _last_version(log, aggregate_id, position, version)
    if last == 0:
        return None
    row = await kept.nearest(view, aggregate_id, last)
    seen = 0 if row is None else row.version
    if last - seen > EVENTS_MAX:
        raise Invalid(
            f"{aggregate_id} has more than {EVENTS_MAX} events up to then that were never folded, which are too many "
            f"for one answer; ask for a version up to {seen + EVENTS_MAX} or an earlier moment first."
        )
    await charge(last - seen)
    while seen < last:
        records = await log.of_aggregate(aggregate_id, limit=min(EVENTS_A_READ, last - seen), after_version=seen)
        before = {} if row is None else {aggregate_id: row}
        for row in folded(view, before, [record.decoded() for record in records]):
            seen = row.version
        if row is not None and seen % EVENTS_A_READ == 0:
            await kept.keep(view, row)
    return row


async def rows_at(log: EventLog, view: View[R], aggregate_ids: Sequence[UUID], *, position: int) -> AsyncIterator[R]:
    """The rows of aggregates of a few events each, as they were at a position; those that were not there yet are left
    out."""
    for start in range(0, len(aggregate_ids), AGGREGATES_A_READ):
        records = await log.of_aggregates(aggregate_ids[start : start + AGGREGATES_A_READ], until=position)
        for row in folded(view, {}, [record.decoded() for record in records]):
            yield row


async def _last_version(log: EventLog, aggregate_id: UUID, position: int | None, version: int | None) -> int:
    """The version that is asked for; 0 where there is none such."""
    if position is not None:
        return max(0, await log.version_after(aggregate_id, position) - 1)
    assert version is not None
    return version if version <= await log.last_version(aggregate_id) else 0
