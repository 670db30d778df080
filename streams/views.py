"""Views as followers: rows in the transaction of the position, Redis copies after it.

A copy can be lost: the process dies after the commit, nobody learns that the commit was done, Redis is away.
`view_positions.copied` says up to where copies are known to be there. It moves only from where a copied transaction
began, so it stands before whatever is missing; what it stands before for a while is copied again. What is lost of
copies that were there is missing, never old: `adapters.redis_views` says how.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final
from uuid import UUID

import structlog

from adapters.away import AWAY, pause
from domain.identity import shard_of
from projections import VIEWS
from projections.view import Recorded, Row, View
from streams.following import Follower
from streams.ports import Changes, CopiedRows, Copies, FollowerTransaction, Place, Span

log = structlog.get_logger()

COPY_ROWS: Final = 500
RECOPY_S: Final = 2.0


class Copier:
    """Brings rows to Redis, and knows what is not there yet."""

    def __init__(self, reads: CopiedRows, copies: Copies) -> None:
        self._reads = reads
        self._copies = copies
        # Per incarnation, view and place, from where to where copies were made and it is not noted yet.
        self._copied: dict[bytes, dict[str, dict[Place, Span]]] = {}
        # Up to where copies could not be made.
        self._failed: dict[tuple[str, Place], int] = {}
        # Where the marks stood when they were looked at last.
        self._seen: dict[tuple[str, str, int], int] = {}

    @property
    def incarnation(self) -> bytes:
        """What copies of rows that are not yet committed have to be for."""
        return self._copies.incarnation

    async def copy(self, view: View[Any], rows: Sequence[Row], spans: Mapping[Place, Span], incarnation: bytes) -> None:
        """Copy what a commit has changed that moved these shards; what fails is copied again later."""
        for start in range(0, len(rows), COPY_ROWS):
            if not await self._copies.copy(view, rows[start : start + COPY_ROWS], incarnation=incarnation):
                self._failed |= {(view.table, place): until for place, (_, until) in spans.items()}
                return
        copied = self._copied.setdefault(incarnation, {}).setdefault(view.table, {})
        for place, (since, until) in spans.items():
            if self._failed.get((view.table, place), 0) <= since < until:
                copied[place] = joined(copied.get(place), (since, until))

    async def run(self) -> None:
        """Every RECOPY_S: note what is copied, and copy again what may be missing."""
        while True:
            with contextlib.suppress(*AWAY):
                await self._look()
            await pause(RECOPY_S)

    async def _look(self) -> None:
        await self._copies.begin()
        followed = {each.table: each for view in VIEWS.values() for each in self._reads.followed(view)}
        copied = self._copied.pop(self._copies.incarnation, {})
        self._copied.clear()  # those are gone
        for table in followed.keys() & copied.keys():
            await self._reads.note_copied(followed[table], copied[table])
        uncopied = await self._reads.uncopied()
        standing: dict[str, dict[Place, Span]] = {}
        for (table, context, shard), span in uncopied.items():
            if table in followed and self._seen.get((table, context, shard)) == span[0]:
                standing.setdefault(table, {})[context, shard] = span
        self._seen = {key: mark for key, (mark, _) in uncopied.items()}
        for table, spans in standing.items():
            if await self._copy_after(followed[table], min(mark for mark, _ in spans.values())):
                await self._reads.note_copied(followed[table], spans)

    async def _copy_after(self, view: View[Any], position: int) -> bool:
        """Copy all rows changed after a position; True when all went well."""
        incarnation = self._copies.incarnation
        while rows := await self._reads.changed_after(view, position, limit=COPY_ROWS):
            if not await self._copies.copy(view, rows, incarnation=incarnation):
                return False
            position = rows[-1].position
        return True


def joined(span: Span | None, other: Span) -> Span:
    """Both where they meet, else the earlier: what is between them may be missing."""
    if span is None:
        return other
    first, second = sorted([span, other])
    return (first[0], max(first[1], second[1])) if second[0] <= first[1] else first


def view_follower(view: View[Any], copier: Copier | None) -> Follower:
    """The view as something that follows its contexts; without a copier nothing is copied."""

    async def apply(transaction: Changes, events: Sequence[Recorded]) -> Callable[[], Awaitable[None]] | None:
        rows = await transaction.write(view, events)
        if copier is None:
            return None
        context = next(iter(view.contexts))
        stood = transaction.positions
        if len(stood) == 1:  # in bulk there are thousands of events, of one shard
            reached = dict.fromkeys(stood, events[-1].position)
        else:
            reached = {shard_of(recorded.aggregate_id): recorded.position for recorded in events}
        spans = {(context, shard): (stood[shard], until) for shard, until in reached.items()}
        return partial(copier.copy, view, rows, spans, copier.incarnation)

    async def skip(transaction: FollowerTransaction, aggregate_id: UUID, version: int, position: int) -> None:
        # The row has seen the event, so that it takes the next one.
        await transaction.skip(view, aggregate_id, version, position)

    assert len(view.contexts) == 1, view.name
    return Follower(name=view.table, follows=view.follows, apply=apply, skip=skip, view=view)
