"""What a simulated run is made of: one pair of dice, processes that can be killed, and faults that are counted."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from adapters.memory import START
from domain.identity import shard_of

IMMEDIATE: Final = 0.65  # of all calls are answered before anybody else runs
SLOW: Final = 0.02
LATENCY_S_MAX: Final = 0.004
SLOW_S_MAX: Final = 0.4


class World:
    """The dice, and what they are thrown for. `calm` ends all faults."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.dice = random.Random(seed)
        self.faults: Counter[str] = Counter()
        self.calm = False
        self.shards = self.dice.choice((2, 3, 12))  # so many get aggregates: with few they share them
        self.trace: Callable[[str], None] | None = None

    def strikes(self, fault: str, chance: float) -> bool:
        """Does this fault happen now?"""
        if self.calm or self.dice.random() >= chance:
            return False
        self.happened(fault)
        return True

    def happened(self, fault: str) -> None:
        self.faults[fault] += 1
        self.tell(fault)

    def tell(self, what: str) -> None:
        if self.trace is not None:
            self.trace(f"{asyncio.get_running_loop().time():9.4f} {what}")

    def now(self) -> datetime:
        """See `commands.ports.Clock.now`."""
        return START + timedelta(seconds=asyncio.get_running_loop().time())

    def new(self) -> UUID:
        """See `commands.ports.Ids.new`."""
        while shard_of(made := UUID(int=self.dice.getrandbits(128), version=4)) >= self.shards:
            pass
        return made


class Process:
    """Tasks that die together. What a dead process still tries does not reach the world."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.alive = True
        self._tasks: list[asyncio.Task[Any]] = []
        self._frozen_until = 0.0

    def start(self, *work: Coroutine[Any, Any, None]) -> list[asyncio.Task[Any]]:
        self._tasks += [asyncio.create_task(each) for each in work]
        return self._tasks

    def kill(self) -> None:
        """As SIGKILL: at whatever it waits for now, and its memory is gone."""
        if self.alive:
            self.world.tell(f"{self.name} dies")
        self.alive = False
        for task in self._tasks:
            task.cancel()

    def freeze(self, seconds: float) -> None:
        """As SIGSTOP: it notices nothing, and goes on later as if nothing had been."""
        self._frozen_until = asyncio.get_running_loop().time() + seconds

    async def io(self) -> None:
        """A call to another machine: takes a while, and is not answered to the dead."""
        dice = self.world.dice
        chance = dice.random()
        if chance > IMMEDIATE:
            slow = chance > 1 - SLOW and not self.world.calm
            await asyncio.sleep(dice.random() * (SLOW_S_MAX if slow else LATENCY_S_MAX))
        if self._frozen_until:
            await asyncio.sleep(self._frozen_until - asyncio.get_running_loop().time())
            self._frozen_until = 0.0
        if not self.alive:
            raise asyncio.CancelledError
