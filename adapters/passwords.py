"""Password hashes: argon2id in a table of its own, computed off the event loop."""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import Any, Final
from uuid import UUID

from psycopg_pool import AsyncConnectionPool
from pwdlib import PasswordHash

# Locks the person's key: an erasure waits and then deletes the row, or was first and nothing is stored.
_SET: Final = """
INSERT INTO credentials (user_id, password_hash)
SELECT person_id, %s FROM person_keys WHERE person_id = %s AND wrapped_key IS NOT NULL FOR SHARE
ON CONFLICT (user_id) DO UPDATE SET password_hash = excluded.password_hash, updated_at = clock_timestamp()
"""


class PasswordTable:
    """See `commands.ports.Credentials`."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool
        self._hashing = PasswordHash.recommended()

    @cached_property
    def _nobody(self) -> str:
        """A hash to verify against when there is no user, so that both answers take equally long."""
        return self._hashing.hash("nobody has this password")

    async def set(self, user_id: UUID, password: str) -> None:
        """See `commands.ports.Credentials.set`."""
        hashed = await asyncio.to_thread(self._hashing.hash, password)
        async with self._pool.connection() as connection:
            await connection.execute(_SET, [hashed, user_id])

    async def verify(self, user_id: UUID | None, password: str) -> bool:
        async with self._pool.connection() as connection:
            found = await connection.execute("SELECT password_hash FROM credentials WHERE user_id = %s", [user_id])
            row = await found.fetchone()
        good = await asyncio.to_thread(self._verify, password, row[0] if row else None)
        return good and row is not None

    async def destroy(self, user_id: UUID) -> None:
        """See `commands.ports.Credentials.destroy`."""
        async with self._pool.connection() as connection:
            await connection.execute("DELETE FROM credentials WHERE user_id = %s", [user_id])

    def _verify(self, password: str, hashed: str | None) -> bool:
        return self._hashing.verify(password, hashed or self._nobody)
