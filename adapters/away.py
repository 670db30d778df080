"""What tells that the database is away or busy, so that what failed is repeated; and how a connection notices."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import psycopg
from psycopg_pool import PoolTimeout, TooManyRequests

# Parameters of every connection that is waited on. A network that swallows everything says nothing: by the system's
# own, whoever has asked waits for a quarter of an hour, and over an idle connection two hours pass before it is missed.
NOTICES_LOSS: Final[Mapping[str, Any]] = {
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 25_000,
}
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
