"""What tells that the database is away or busy, so that what failed is repeated."""

from __future__ import annotations

import asyncio
from typing import Final

import psycopg
from psycopg_pool import PoolTimeout, TooManyRequests

AWAY: Final = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, TooManyRequests, OSError)


async def pause(seconds: float) -> None:
    """`asyncio.sleep` for loops that repeat for ever, unless the task was cancelled before.

    A cancellation that meets a statement or a connection of the pool can be lost: the statement is cancelled too and
    told as an error of the database, and `asyncio.wait_for` of Python 3.11 forgets one that comes with the result.
    A loop that then merely slept would never end. Raises asyncio.CancelledError."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
    await asyncio.sleep(seconds)
