"""Building a generation of a view from the log, beside the one that is read, while both and the system are live.

It is the refill that also closes gaps: bounded transactions, resumed from the stored positions. Poison ends it: a view
that is built anew is to be whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar
from uuid import UUID

from psycopg.sql import SQL, Identifier

from adapters.wiring import Kontor
from domain.identity import SHARDS
from projections.view import Row, View
from streams.applying import Chain
from streams.views import view_follower

R = TypeVar("R", bound=Row)

NEAR_EVENTS: Final = 2_000  # so few left are the workers' to apply
SETTLING_S_MAX: Final = 10.0
LOOK_S: Final = 0.2
TELL_S: Final = 2.0  # counting what is left of millions costs Postgres a tenth of a second
DIFFERENCES_MAX: Final = 1_000

# While both follow the log one may be an event ahead: only what stands at the same version can differ.
_DIFFERING: Final = SQL(
    "SELECT id, to_jsonb(a), to_jsonb(b) FROM {live} a FULL JOIN {other} b USING (id)"
    " WHERE (a.id IS NULL) <> (b.id IS NULL) OR (a.version = b.version AND to_jsonb(a) <> to_jsonb(b)) LIMIT %s"
)


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that two generations have differently: column to (live, other); None where there is no row."""

    id: UUID
    columns: dict[str, tuple[Any, Any]]


async def rebuild(kontor: Kontor, view: View[R], *, progress: Callable[[int, int], None]) -> View[R]:
    """Build a generation and leave it to the workers; goes on with one that was begun. `progress` is told events done
    and to do. Raises what an event that cannot be applied raises."""
    candidate = await kontor.reads.generations.begin(view)
    # Nobody reads it yet: copies are made of what will be read, and there is none that could be old.
    follower = replace(view_follower(candidate, None), parks=False)
    chain = Chain(kontor.followers)
    first = await _remaining(kontor, candidate)
    progress(0, first)

    async def tell() -> None:
        while True:
            await asyncio.sleep(TELL_S)
            progress(first - await _remaining(kontor, candidate), first)

    teller = asyncio.create_task(tell(), name="rebuild-progress")
    try:
        while True:
            end = await kontor.log.end()
            async with asyncio.TaskGroup() as group:
                for context in sorted(candidate.contexts):
                    for shard in range(SHARDS):
                        group.create_task(chain.catch_up([follower], context, shard, until=end))
            if await _remaining(kontor, candidate) <= NEAR_EVENTS:
                break
    finally:
        teller.cancel()
        await asyncio.gather(teller, return_exceptions=True)
    await kontor.reads.generations.beside(candidate)
    progress(first, first)
    return candidate


async def differences(kontor: Kontor, live: View[Any], other: View[Any]) -> AsyncIterator[Difference]:
    """Rows that differ for good: what is only on its way is looked at again. At most DIFFERENCES_MAX."""
    query = _DIFFERING.format(live=Identifier(live.table), other=Identifier(other.table))
    give_up_at = asyncio.get_running_loop().time() + SETTLING_S_MAX
    found = {row[0]: row for row in await kontor.reads.fetch(query, [DIFFERENCES_MAX])}
    while any(None in row for row in found.values()) and asyncio.get_running_loop().time() < give_up_at:
        await asyncio.sleep(LOOK_S)
        again = {row[0]: row for row in await kontor.reads.fetch(query, [DIFFERENCES_MAX])}
        found = {row_id: row for row_id, row in again.items() if row_id in found}
    for row_id, mine, theirs in found.values():
        names = (mine or theirs).keys()
        values = {name: ((mine or {}).get(name), (theirs or {}).get(name)) for name in names}
        yield Difference(row_id, {name: pair for name, pair in values.items() if pair[0] != pair[1]})


async def _remaining(kontor: Kontor, view: View[Any]) -> int:
    return (await kontor.reads.standing(view))[0]
