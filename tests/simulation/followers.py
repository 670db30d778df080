"""Twins of `streams.ports.FollowerStore`, `Wishes` and `CopiedRows`, on the simulated database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from adapters.log import LogRecord
from adapters.parked_events import ParkedEvent, Wish
from adapters.relay_store import LOST
from projections.view import Recorded, Row, View, folded
from streams.ports import Place, Span
from tests.simulation.database import Database
from tests.simulation.world import Process

R = TypeVar("R", bound=Row)


class SimulatedTransaction:
    """See `streams.ports.FollowerTransaction`. Its changes are its own until they are committed."""

    def __init__(self, process: Process, database: Database, follower: str, context: str) -> None:
        self._process = process
        self._database = database
        self._follower = follower
        self._context = context
        self._connection = database.connections
        self._changes: dict[tuple[str, tuple[Any, ...]], Any] = {}
        self.positions: dict[int, int] = {}
        self.log_end = 0
        self.parked: set[UUID] = set()

    async def lock(self, shards: Iterable[int], held: AsyncExitStack) -> None:
        await self._call()
        for shard in shards:
            await held.enter_async_context(self._database.locks[self._follower, self._context, shard])
        await self._call()
        self.log_end = len(self._database.log)
        positions = self._database.rows["position"]
        self.positions = {shard: positions.get((self._follower, self._context, shard), 0) for shard in shards}
        self.parked = {key[1] for key in self._database.rows["parked"] if key[0] == self._follower}

    def share(self, changes: dict[tuple[str, tuple[Any, ...]], Any]) -> None:
        """One of several that are kept together."""
        self._changes = changes

    async def commit(self) -> None:
        await self._database.commit(self._process, lambda: self._changes, self._connection)

    async def after(self, shard: int, position: int, *, limit: int, until: int) -> list[LogRecord]:
        await self._call()
        return self._database.shard_after(self._context, shard, position, limit, until)

    async def of_versions(self, aggregate_id: UUID, versions: Sequence[int]) -> list[LogRecord]:
        await self._call()
        return [record for record in self._database.streams[aggregate_id] if record.version in versions]

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        before = dict(self._changes)
        try:
            yield
        except BaseException:
            self._changes = before
            raise

    async def write(self, view: View[R], events: Sequence[Recorded]) -> list[R]:
        await self._call()
        rows = {recorded.aggregate_id: self._get("row", view.table, recorded.aggregate_id) for recorded in events}
        changed = folded(view, rows, events)
        self._changes |= {("row", (view.table, row.id)): row for row in changed}
        return changed

    async def skip(self, view: View[Any], aggregate_id: UUID, version: int, position: int) -> None:
        await self._call()
        row = self._get("row", view.table, aggregate_id)
        if row is not None and row.version == version - 1:
            self._changes["row", (view.table, aggregate_id)] = msgspec.structs.replace(
                row, version=version, position=position
            )

    async def erase(self, person_id: UUID) -> None:
        await self._call()
        self._changes["erased", (person_id,)] = True

    async def note_uncopied(self, shard: int, position: int) -> None:
        await self._call()
        key = (self._follower, self._context, shard)
        self._changes["copied", key] = min(position, self._database.rows["copied"].get(key, 0))

    async def park(self, records: Sequence[LogRecord], reason: str) -> None:
        await self._call()
        for record in records:
            key = (self._follower, record.aggregate_id, record.version)
            if self._get("parked", *key) is None:
                self._changes["parked", key] = ParkedEvent(
                    follower=self._follower, aggregate_id=record.aggregate_id, version=record.version,
                    position=record.position, context=record.context, shard=record.shard, event_type=record.event_type,
                    reason=reason, attempts=int(bool(reason)), wish=None, parked_at=self._process.world.now(),
                )  # fmt: skip

    async def parked_of(self, aggregate_id: UUID, *, limit: int) -> list[ParkedEvent]:
        await self._call()
        return parked_of(self._database, self._follower, aggregate_id)[:limit]

    async def release(self, event: ParkedEvent) -> None:
        await self._call()
        self._changes["parked", (event.follower, event.aggregate_id, event.version)] = None

    async def failed_again(self, event: ParkedEvent, reason: str) -> None:
        await self._call()
        for each in parked_of(self._database, event.follower, event.aggregate_id):
            first = each.version == event.version
            stays = replace(each, wish=None, reason=reason if first else each.reason, attempts=each.attempts + first)
            if ("parked", (each.follower, each.aggregate_id, each.version)) not in self._changes:
                self._changes["parked", (each.follower, each.aggregate_id, each.version)] = stays

    async def move(self, positions: Mapping[int, int]) -> None:
        # Sent with the commit, which is the next that is answered.
        self._changes |= {
            ("position", (self._follower, self._context, shard)): position for shard, position in positions.items()
        }

    def _get(self, kind: str, *key: Any) -> Any:
        if (kind, key) in self._changes:
            return self._changes[kind, key]
        return self._database.rows[kind].get(key)

    async def _call(self) -> None:
        await self._database.call(self._process, self._connection)


class SimulatedFollowerStore:
    """See `streams.ports.FollowerStore` and `Wishes`."""

    def __init__(self, process: Process, database: Database) -> None:
        self._process = process
        self._database = database

    @asynccontextmanager
    async def begin(
        self, follower: str, context: str, shards: Iterable[int], *, careful: bool = False
    ) -> AsyncIterator[SimulatedTransaction]:
        transaction = SimulatedTransaction(self._process, self._database, follower, context)
        async with AsyncExitStack() as held:
            await transaction.lock(sorted(shards), held)
            yield transaction
            await transaction.commit()

    @asynccontextmanager
    async def together(
        self, context: str, shards: Iterable[int], reads: Mapping[str, Any]
    ) -> AsyncIterator[dict[str, SimulatedTransaction]]:
        transactions = {
            name: SimulatedTransaction(self._process, self._database, name, context) for name in sorted(reads)
        }
        changes: dict[tuple[str, tuple[Any, ...]], Any] = {}
        async with AsyncExitStack() as held:
            for transaction in transactions.values():
                transaction.share(changes)
                await transaction.lock(sorted(shards), held)
            yield transactions
            await next(iter(transactions.values())).commit()  # what all have changed

    async def standing(self, followers: Sequence[str], context: str, shard: int) -> dict[str, int]:
        await self._database.call(self._process)
        there = set(followers_of(self._database, context))
        rows = self._database.rows["position"]
        return {each: rows.get((each, context, shard), 0) for each in followers if each in there}

    async def after(self, context: str, shard: int, position: int, *, limit: int, until: int) -> list[LogRecord]:
        await self._database.call(self._process)
        return self._database.shard_after(context, shard, position, limit, until)

    async def published(self, context: str, shard: int) -> tuple[int, int] | None:
        await self._database.call(self._process)
        published = self._database.rows["published"].get((context, shard))
        return None if published is None or published[1] == LOST else published

    async def behind(self) -> dict[tuple[str, str, int], tuple[int, int]]:
        await self._database.call(self._process)
        rows = self._database.rows
        return {
            (follower, context, shard): (position, published[0])
            for (context, shard), published in rows["published"].items()
            for follower in followers_of(self._database, context)
            if (position := rows["position"].get((follower, context, shard), 0)) < published[0]
        }

    async def wished(self) -> list[tuple[str, UUID, str, int]]:
        await self._database.call(self._process)
        wished = [event for event in self._database.rows["parked"].values() if event.wish is not None]
        return sorted({(each.follower, each.aggregate_id, each.context, each.shard) for each in wished})


class SimulatedRows:
    """See `streams.ports.CopiedRows`."""

    def __init__(self, process: Process, database: Database) -> None:
        self._process = process
        self._database = database

    def followed(self, view: View[R]) -> list[View[R]]:
        return [view] if any(view.table in names for names in self._database.followers.values()) else []

    async def uncopied(self) -> dict[tuple[str, str, int], Span]:
        await self._database.call(self._process)
        copied = self._database.rows["copied"]
        return {
            key: (copied.get(key, 0), position)
            for key, position in self._database.rows["position"].items()
            if copied.get(key, 0) < position
        }

    async def changed_after(self, view: View[R], position: int, *, limit: int) -> list[R]:
        await self._database.call(self._process)
        rows = [row for (table, _), row in self._database.rows["row"].items() if table == view.table]
        return sorted((row for row in rows if row.position > position), key=lambda row: row.position)[:limit]

    async def note_copied(self, view: View[Any], spans: Mapping[Place, Span]) -> None:
        copied, positions = self._database.rows["copied"], self._database.rows["position"]
        await self._database.commit(
            self._process,
            lambda: {
                ("copied", (view.table, *place)): until
                for place, (since, until) in spans.items()
                if since <= copied.get((view.table, *place), 0) < until <= positions.get((view.table, *place), 0)
            },
            self._database.connections,
            durable=True,
        )


def followers_of(database: Database, context: str) -> list[str]:
    """The followers of a context in this run."""
    return database.followers.get(context, [])


def parked_of(database: Database, follower: str, aggregate_id: UUID) -> list[ParkedEvent]:
    """What is parked of an aggregate, in order."""
    found = [event for key, event in database.rows["parked"].items() if key[:2] == (follower, aggregate_id)]
    return sorted(found, key=lambda event: event.version)


async def wish(process: Process, database: Database, follower: str, aggregate_id: UUID, wished: Wish) -> None:
    """What an operator does with `kontor parked retry` or `discard`."""
    await database.commit(
        process,
        lambda: {
            ("parked", (follower, aggregate_id, event.version)): replace(event, wish="retry" if place else wished)
            for place, event in enumerate(parked_of(database, follower, aggregate_id))
        },
        database.connections,
        durable=True,
    )
