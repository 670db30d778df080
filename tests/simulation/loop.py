"""An event loop in which time is a number: it stands still while anything can run, then jumps to the next timer.

Callbacks run in the order asyncio promises; chance comes in as latencies (see `World.io`), as in the real world.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from itertools import count
from typing import Any


class Stuck(Exception):
    """Nothing can run and no timer is set: everybody waits for somebody."""


class _NumberedTask(asyncio.Task[Any]):
    """Sets of tasks are walked in the order of their hashes: addresses would make each run another."""

    def __init__(self, number: int, *arguments: Any, **named: Any) -> None:
        self._number = number
        super().__init__(*arguments, **named)

    def __hash__(self) -> int:
        return self._number


class VirtualLoop(asyncio.BaseEventLoop):
    """One thread, no files, no sockets, no clock."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._clock_resolution = 1e-9
        self._selector = self  # the loop asks it to wait for files until the next timer
        numbers = count()
        self.set_task_factory(lambda loop, coro, **named: _NumberedTask(next(numbers), coro, loop=loop, **named))

    def time(self) -> float:
        return self._now

    def select(self, timeout: float | None) -> tuple[()]:
        if timeout is None:
            raise Stuck
        self._now += timeout
        return ()

    def _process_events(self, event_list: object) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run until `main` is done, then end what is left."""
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(main)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        asyncio.set_event_loop(None)
        loop.close()
