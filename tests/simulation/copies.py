"""The twin of Redis: `streams.ports.Copies`. It can be emptied, be away, and come back as it was a second ago."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, TypeVar
from uuid import UUID

from projections.view import Row, View
from tests.simulation.world import Process, World

R = TypeVar("R", bound=Row)
LATE_S_MAX: Final = 3.0
Copied = tuple[str, UUID]  # table and row


class Redis:
    """What the server has."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.away = False
        self.rows: dict[Copied, Any] = {}
        self.last_lost = False  # since then a copy may be older than its row
        self._writes: list[tuple[float, Copied, Any]] = []

    def put(self, key: Copied, row: Any) -> None:
        there = self.rows.get(key)
        if there is None or there.version < row.version:
            self._writes.append((asyncio.get_running_loop().time(), key, there))
            self.rows[key] = row

    def flush(self) -> None:
        self.rows, self._writes = {}, []

    def lose_last(self, seconds: float) -> None:
        """The server dies and comes back with what its disk has."""
        since = asyncio.get_running_loop().time() - seconds
        while self._writes and self._writes[-1][0] > since:
            _, key, before = self._writes.pop()
            self.last_lost = True
            if before is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = before


class SimulatedCopies:
    """See `streams.ports.Copies`."""

    def __init__(self, process: Process, redis: Redis) -> None:
        self._process = process
        self._redis = redis

    async def copy(self, view: View[R], rows: Sequence[R]) -> bool:
        world = self._process.world
        if world.strikes("copies late", 0.05):
            # Nobody waits for them any more.
            asyncio.get_running_loop().call_later(world.dice.random() * LATE_S_MAX, self._put, view, rows)
            return False
        try:
            await self._process.io()
        finally:
            # Sent is sent, even by somebody who has died since.
            arrives = not self._redis.away and (self._process.alive or world.dice.random() < 0.5)
            arrives = arrives and not world.strikes("copies lost on the way", 0.02)
            if arrives:
                self._put(view, rows)
        await self._process.io()
        return arrives and not world.strikes("answer of Redis lost", 0.02)

    def _put(self, view: View[R], rows: Sequence[R]) -> None:
        for row in rows:
            self._redis.put((view.table, row.id), row)
