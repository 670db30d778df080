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
        self.run = 0  # how often it was started
        self.incarnation = b""  # none
        self._copies: dict[Copied, tuple[bytes, Any]] = {}
        self._writes: list[tuple[float, Copied, tuple[bytes, Any] | None]] = []

    @property
    def rows(self) -> dict[Copied, Any]:
        """The copies that are read."""
        return {key: row for key, (of, row) in self._copies.items() if of == self.incarnation}

    @property
    def is_renewed(self) -> bool:
        """Has an incarnation begun since it was started, and since it was emptied?"""
        return self.incarnation.startswith(b"%08x" % self.run)

    def begin(self) -> None:
        if not self.is_renewed:
            self.incarnation = b"%08x%08x" % (self.run, self.world.dice.getrandbits(32))

    def put(self, key: Copied, row: Any) -> None:
        there = self._copies.get(key)
        if there is None or there[0] != self.incarnation or there[1].version < row.version:
            self._writes.append((asyncio.get_running_loop().time(), key, there))
            self._copies[key] = self.incarnation, row

    def flush(self) -> None:
        self._copies, self._writes, self.incarnation = {}, [], b""

    def lose_last(self, seconds: float) -> None:
        """The server dies and comes back with what its disk has."""
        self.run += 1
        since = asyncio.get_running_loop().time() - seconds
        while self._writes and self._writes[-1][0] > since:
            _, key, before = self._writes.pop()
            if before is None:
                self._copies.pop(key, None)
            else:
                self._copies[key] = before


class SimulatedCopies:
    """See `streams.ports.Copies`."""

    def __init__(self, process: Process, redis: Redis) -> None:
        self._process = process
        self._redis = redis
        self.incarnation = b""

    async def begin(self) -> None:
        await self._process.io()
        if not self._redis.away:
            self._redis.begin()
            heard = self._redis.incarnation
            await self._process.io()
            self.incarnation = heard

    async def copy(self, view: View[R], rows: Sequence[R], *, incarnation: bytes) -> bool:
        world = self._process.world
        if world.strikes("copies late", 0.05):
            # Nobody waits for them any more.
            late_s = world.dice.random() * LATE_S_MAX
            asyncio.get_running_loop().call_later(late_s, self._put, view, rows, incarnation)
            return False
        try:
            await self._process.io()
        finally:
            # Sent is sent, even by somebody who has died since.
            arrives = not self._redis.away and (self._process.alive or world.dice.random() < 0.5)
            arrives = arrives and not world.strikes("copies lost on the way", 0.02)
            taken = arrives and self._put(view, rows, incarnation)
        heard = self._redis.incarnation if arrives else b""
        await self._process.io()
        self.incarnation = heard or self.incarnation
        return taken and not world.strikes("answer of Redis lost", 0.02)

    def _put(self, view: View[R], rows: Sequence[R], incarnation: bytes) -> bool:
        if not incarnation or incarnation != self._redis.incarnation:
            return False
        for row in rows:
            self._redis.put((view.table, row.id), row)
        return True
