"""How far each view is behind the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from psycopg.sql import SQL

from adapters.parked_events import PARKED_AGGREGATES_MAX
from adapters.read_store import ReadStore
from domain.identity import SHARDS
from projections import VIEWS

# Per view, over every shard of every context it follows, what the log has past the view's position. A shard the
# view has never touched counts from 0. Reads events_by_shard.
_LAG: Final = SQL(
    "SELECT s.view, coalesce(min(behind.first) - 1, (SELECT coalesce(max(notification_id), 0) FROM events)),"
    " coalesce(sum(behind.events), 0)::bigint,"
    " coalesce(greatest(extract(epoch FROM clock_timestamp() - min(oldest.recorded_at)), 0), 0)::float8,"
    " (SELECT count(DISTINCT aggregate_id) FROM parked_events WHERE follower = s.view)"
    " FROM unnest(%s::text[], %s::text[]) AS s (view, context)"
    " CROSS JOIN generate_series(0, %s::int) AS g (shard)"
    " LEFT JOIN view_positions p ON p.view = s.view AND p.context = s.context AND p.shard = g.shard"
    " CROSS JOIN LATERAL (SELECT count(*) AS events, min(e.notification_id) AS first FROM events e"
    "  WHERE e.context = s.context AND e.shard = g.shard AND e.notification_id > coalesce(p.position, 0)) behind"
    " LEFT JOIN events oldest ON oldest.notification_id = behind.first"
    " GROUP BY s.view"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewLag:
    """A view and the log: it has applied everything up to `position`; `events` are not applied yet, the oldest
    of them `seconds` ago. `parked` aggregates wait for an operator; with too many the view stands still. It is
    `rebuilding` while a generation beside the one that is read is being filled, or waits for its rebuild to go on."""

    name: str
    version: int
    position: int
    events: int
    seconds: float
    parked: int
    rebuilding: bool

    @property
    def stopped(self) -> bool:
        """Does it go no further until parked events are released?"""
        return self.parked >= PARKED_AGGREGATES_MAX


async def view_lags(reads: ReadStore) -> list[ViewLag]:
    """Every view's lag, in the order of VIEWS, in one query."""
    views = [reads.generations.live(view) for view in VIEWS.values()]
    followed = [(view.table, context) for view in views for context in sorted(view.contexts)]
    names, contexts = [name for name, _ in followed], [context for _, context in followed]
    rows = {row[0]: row for row in await reads.fetch(_LAG, [names, contexts, SHARDS - 1])}
    return [
        ViewLag(
            name=view.name,
            version=view.version,
            position=int(rows[view.table][1]),
            events=int(rows[view.table][2]),
            seconds=float(rows[view.table][3]),
            parked=int(rows[view.table][4]),
            rebuilding=reads.generations.state(view, "filling") is not None,
        )
        for view in views
    ]
