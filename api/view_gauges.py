"""The views as figures at `/metrics`: every generation, so also one that another process is filling.

All of it comes from the database, and costs the same however long the log is. How far behind: at most COUNTED_EVENTS a
shard are counted, and where there are more the rest is estimated from how densely those stand in the log. How much is
done is told of a generation that is being filled: what lies below a position of the log never changes, so only what was
done since the last look is counted, at most SLICE_EVENTS a shard.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from psycopg.sql import SQL

from adapters.metrics import VIEW_EVENTS_BEHIND, VIEW_EVENTS_DONE, VIEW_PARKED, VIEW_STATE
from adapters.parked_events import PARKED_AGGREGATES_MAX
from adapters.read_store import ReadStore
from adapters.view_generations import STATES
from api.gauges import Gauges
from projections import VIEWS
from projections.view import View

COUNTED_EVENTS: Final = 10_000
SLICE_EVENTS: Final = 100_000

# Reads events_by_shard.
_BEHIND: Final = SQL(
    "SELECT p.view, p.context, p.shard, p.position, next.events, next.last,"
    " (SELECT coalesce(max(notification_id), 0) FROM events)"
    " FROM view_positions p CROSS JOIN LATERAL (SELECT count(*) AS events, max(notification_id) AS last FROM"
    "  (SELECT e.notification_id FROM events e WHERE e.context = p.context AND e.shard = p.shard"
    "   AND e.notification_id > p.position ORDER BY e.notification_id LIMIT %s) n) next"
    " WHERE p.view = ANY(%s)"
)
_DONE: Final = SQL(
    "SELECT u.context, u.shard, done.events, done.last"
    " FROM unnest(%s::text[], %s::smallint[], %s::bigint[], %s::bigint[]) AS u (context, shard, after, until)"
    " CROSS JOIN LATERAL (SELECT count(*) AS events, max(notification_id) AS last FROM"
    "  (SELECT e.notification_id FROM events e WHERE e.context = u.context AND e.shard = u.shard"
    "   AND e.notification_id > u.after AND e.notification_id <= u.until ORDER BY e.notification_id LIMIT %s) n) done"
)
_PARKED: Final = SQL(
    "SELECT follower, count(DISTINCT aggregate_id) FROM parked_events WHERE follower = ANY(%s) GROUP BY follower"
)


class ViewGauges(Gauges):
    """Figures of every generation of every view."""

    name = "views"
    gauges = (VIEW_EVENTS_BEHIND, VIEW_EVENTS_DONE, VIEW_PARKED, VIEW_STATE)

    def __init__(self, reads: ReadStore) -> None:
        super().__init__()
        self.reads = reads
        # Of what is being filled: (table, context, shard) -> (counted up to this position, so many events)
        self._done: dict[tuple[str, str, int], tuple[int, int]] = {}

    async def _look(self) -> None:
        known = self.reads.generations
        views = {
            generation.table: (generation, state)
            for view in VIEWS.values()
            for state in STATES
            if (generation := known.state(view, state) or (known.live(view) if state == "live" else None))
        }
        tables = list(views)
        shards = await self.reads.fetch(_BEHIND, [COUNTED_EVENTS, tables])
        parked = dict(await self.reads.fetch(_PARKED, [tables]))
        filling = [table for table, (_, state) in views.items() if state == "filling"]
        done = {table: await self._count_done(table, [row for row in shards if row[0] == table]) for table in filling}
        self._done = {key: counted for key, counted in self._done.items() if key[0] in filling}
        self._clear()
        for table, (view, state) in views.items():
            behind = sum(_left(*row[3:]) for row in shards if row[0] == table)
            _tell(view, state, behind=behind, parked=parked.get(table, 0), done=done.get(table))

    async def _count_done(self, table: str, shards: Sequence[tuple[Any, ...]]) -> int:
        asked = [
            (context, shard, self._done.get((table, context, shard), (0, 0))[0], position)
            for _, context, shard, position, *_ in shards
        ]
        if not asked:
            return 0
        columns = [list(column) for column in zip(*asked, strict=True)]
        for context, shard, events, last in await self.reads.fetch(_DONE, [*columns, SLICE_EVENTS]):
            if events:
                before = self._done.get((table, context, shard), (0, 0))[1]
                self._done[table, context, shard] = (last, before + events)
        return sum(events for key, (_, events) in self._done.items() if key[0] == table)


def _left(position: int, events: int, last: int | None, end: int) -> int:
    """Events of one shard behind a position: as counted, or as many more as the log is longer than what was."""
    if events < COUNTED_EVENTS or last is None:
        return events
    return round(events * (end - position) / (last - position))


def _tell(view: View[Any], state: str, *, behind: int, parked: int, done: int | None) -> None:
    named = (view.base, str(view.generation))
    VIEW_EVENTS_BEHIND.labels(*named).set(behind)
    VIEW_PARKED.labels(*named).set(parked)
    VIEW_STATE.labels(*named, "stopped" if parked >= PARKED_AGGREGATES_MAX else state).set(1)
    if done is not None:
        VIEW_EVENTS_DONE.labels(*named).set(done)
