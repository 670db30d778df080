"""Erasure: what must be gone when a person is erased is destroyed in the transaction that moves the position.

The command destroys at once when it can; this is what makes it certain. Repeating it changes nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from psycopg import AsyncConnection

from adapters.personal_data import destroy_key
from domain.users import User
from projections.view import Recorded
from streams.following import Follower

# Rows that are a person's and no facts.
_TABLES: Final = ("credentials", "sessions", "mfa")


async def apply(connection: AsyncConnection[Any], events: Sequence[Recorded]) -> Callable[[], Awaitable[None]] | None:
    """Destroy the keys, passwords, sessions and second factors of everybody who is erased in this batch."""
    for recorded in events:
        if isinstance(recorded.event, User.Erased):
            await destroy_key(connection, recorded.aggregate_id)
            for table in _TABLES:
                await connection.execute(f"DELETE FROM {table} WHERE user_id = %s".encode(), [recorded.aggregate_id])  # noqa: S608
    return None


FOLLOWER: Final = Follower(name="erasure", follows=frozenset({User.TOPIC}), apply=apply)
