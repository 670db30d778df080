"""Generations of a view: the one that is read, the one that is built or waits beside it, and the one before.

Each is a table with positions of its own, all followed by the workers, so that changing over loses nothing and can be
taken back. What is read is chosen in one transaction; every process knows of it a moment later, and until then reads
the other generation, which is as far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

from psycopg import AsyncConnection
from psycopg.sql import SQL, Identifier
from psycopg_pool import AsyncConnectionPool

from adapters.database_roles import grant_like
from adapters.view_notices import CHANNEL, GENERATIONS
from domain.identity import SHARDS
from projections.view import Row, View

R = TypeVar("R", bound=Row)

STATES: Final = ("live", "filling", "beside", "previous")

_LOCK: Final = "SELECT pg_advisory_xact_lock(7310110114114)"
_POSITIONS: Final = (
    "SELECT view, context, shard, position FROM view_positions WHERE view = ANY(%s) ORDER BY view, context, shard"
    " FOR UPDATE"
)


class NoCandidate(Exception):
    """There is no generation in that state."""


class ViewGenerations:
    """What this process knows of the generations; `refresh` brings it up to date."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool
        self._known: dict[str, dict[str, int]] = {}  # base -> state -> generation

    async def refresh(self) -> None:
        """Read them anew."""
        async with self._pool.connection() as connection:
            self._known = await _states(connection)

    def live(self, view: View[R]) -> View[R]:
        """The generation that is read."""
        return _generation(view, self._of(view)["live"])

    def followed(self, view: View[R]) -> list[View[R]]:
        """Those that workers keep up to date, the live one first."""
        states = self._of(view)
        return [_generation(view, states[state]) for state in ("live", "beside", "previous") if state in states]

    def state(self, view: View[Any], state: str) -> View[Any] | None:
        """The generation in this state."""
        generation = self._of(view).get(state)
        return None if generation is None else _generation(view, generation)

    def _of(self, view: View[Any]) -> dict[str, int]:
        return self._known.get(view.base, {"live": 1})

    async def begin(self, view: View[R]) -> View[R]:
        """The generation that is being built, a new one unless there is one. The one before the live one goes."""
        async with self._pool.connection() as connection, connection.transaction():
            states = await self._locked(connection, view)
            found = states.get("filling") or states.get("beside")
            if found is not None:
                return replace(view, generation=found)
            ((number,),) = await _fetch(connection, "SELECT nextval('view_generation_numbers')", [])
            candidate: View[R] = replace(view, generation=number)
            if "previous" in states:
                await _drop(connection, replace(view, generation=states["previous"]))
            await _set_state(connection, candidate, "filling")
            await connection.execute(
                SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(
                    Identifier(candidate.table), Identifier(replace(view, generation=states["live"]).table)
                )
            )
            await grant_like(connection, candidate.table, replace(view, generation=states["live"]).table)
            for context in sorted(view.contexts):
                await connection.execute(
                    "INSERT INTO view_positions (view, context, shard) SELECT %s, %s, generate_series(0, %s)",
                    [candidate.table, context, SHARDS - 1],
                )
        await self.refresh()
        return candidate

    async def beside(self, candidate: View[Any]) -> None:
        """It is filled: from now on the workers follow the log with it and copy its rows."""
        async with self._pool.connection() as connection, connection.transaction():
            await self._locked(connection, candidate)
            await connection.execute("UPDATE view_positions SET copied = position WHERE view = %s", [candidate.table])
            await _set_state(connection, candidate, "beside")
        await self.refresh()

    async def promote(self, view: View[Any]) -> bool:
        """Read the one beside from now on; False while it is not as far. Raises NoCandidate."""
        return await self._change_over(view, "beside")

    async def rollback(self, view: View[Any]) -> bool:
        """Read the one before again; False while it is not as far. Raises NoCandidate."""
        return await self._change_over(view, "previous")

    async def drop(self, view: View[Any]) -> None:
        """Give up the one that is built or waits beside. Raises NoCandidate."""
        async with self._pool.connection() as connection, connection.transaction():
            states = await self._locked(connection, view)
            found = states.get("filling") or states.get("beside")
            if found is None:
                raise NoCandidate(f"No generation of {view.name} is being built or waits beside the live one.")
            await _drop(connection, replace(view, generation=found))
        await self.refresh()

    async def _change_over(self, view: View[Any], state: str) -> bool:
        async with self._pool.connection() as connection, connection.transaction():
            states = await self._locked(connection, view)
            if state not in states:
                raise NoCandidate(f"No generation of {view.name} is {state}; `kontor views list` shows what there is.")
            live, other = (replace(view, generation=states[each]) for each in ("live", state))
            # Workers store their positions before this or after: in between nobody moves.
            at: dict[str, list[int]] = {live.table: [], other.table: []}
            for table, _, _, position in await _fetch(connection, _POSITIONS, [[live.table, other.table]]):
                at[table].append(position)
            if any(mine < theirs for mine, theirs in zip(at[other.table], at[live.table], strict=True)):
                return False
            # First away with both: of each state there is one at any moment.
            await connection.execute(
                "DELETE FROM view_generations WHERE base = %s AND state = ANY(%s)",
                [view.base, ["live", "previous", state]],
            )
            for each, then in ((other, "live"), (live, "previous")):
                await _set_state(connection, each, then)
        await self.refresh()
        return True

    async def _locked(self, connection: AsyncConnection[Any], view: View[Any]) -> dict[str, int]:
        """The view's generations by state, for this transaction alone to change; who reads is told at its end."""
        await connection.execute(_LOCK)
        await connection.execute("SELECT pg_notify(%s, %s)", [CHANNEL, GENERATIONS])
        states = (await _states(connection)).get(view.base)
        if states is None:
            await _set_state(connection, replace(view, generation=1), "live")
        return states or {"live": 1}


def _generation(view: View[R], generation: int) -> View[R]:
    return view if view.generation == generation else replace(view, generation=generation)


async def _states(connection: AsyncConnection[Any]) -> dict[str, dict[str, int]]:
    known: dict[str, dict[str, int]] = {}
    for base, generation, state in await _fetch(connection, "SELECT base, generation, state FROM view_generations", []):
        known.setdefault(base, {})[state] = generation
    return known


async def _set_state(connection: AsyncConnection[Any], view: View[Any], state: str) -> None:
    await connection.execute(
        "INSERT INTO view_generations (base, generation, state) VALUES (%s, %s, %s)"
        " ON CONFLICT (base, generation) DO UPDATE SET state = excluded.state, changed_at = clock_timestamp()",
        [view.base, view.generation, state],
    )


async def _drop(connection: AsyncConnection[Any], view: View[Any]) -> None:
    """Its rows stay no longer; nor what is parked for it."""
    await connection.execute(SQL("DROP TABLE IF EXISTS {}").format(Identifier(view.table)))
    await connection.execute("DELETE FROM view_positions WHERE view = %s", [view.table])
    await connection.execute("DELETE FROM parked_events WHERE follower = %s", [view.table])
    await connection.execute(
        "DELETE FROM view_generations WHERE base = %s AND generation = %s", [view.base, view.generation]
    )


async def _fetch(connection: AsyncConnection[Any], query: str, parameters: Sequence[Any]) -> list[Any]:
    return await (await connection.execute(query.encode(), parameters)).fetchall()
