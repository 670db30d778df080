"""Password hashes, in a table of their own, computed off the event loop, only a few at once.

New ones are of one scheme (`KONTOR_PASSWORD_HASHING`); of argon2 and bcrypt all are verified, and one that is not as
a new one would be is replaced when its person signs in. So hashes of another system can be put into the table.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import cached_property
from typing import Any, Final, TypeVar
from uuid import UUID

import structlog
from psycopg_pool import AsyncConnectionPool
from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher
from pwdlib.hashers.bcrypt import BcryptHasher

from adapters.password_scheme import Argon2, PasswordScheme
from commands.passwords import PASSWORD_BYTES_MAX
from commands.ports import Overloaded
from domain.disclosure import Secret

T = TypeVar("T")
log = structlog.get_logger()

# Each takes a core and, by default, 64 MiB; a flood of sign-ins waits, and past this many is sent away.
AT_ONCE_MAX: Final = min(4, os.cpu_count() or 1)
WAITING_MAX: Final = 500
WAITING_S_MAX: Final = 5.0  # a client does not wait much longer, and then its hash would be computed for nobody
# Locks the person's key: an erasure waits and then deletes the row, or was first and nothing is stored.
_SET: Final = """
INSERT INTO credentials (user_id, password_hash)
SELECT person_id, %s FROM person_keys WHERE person_id = %s AND wrapped_key IS NOT NULL FOR SHARE
ON CONFLICT (user_id) DO UPDATE SET password_hash = excluded.password_hash, updated_at = clock_timestamp()
"""
# Not over one that was set meanwhile.
_RENEW: Final = """
UPDATE credentials SET password_hash = %s, updated_at = clock_timestamp() WHERE user_id = %s AND password_hash = %s
"""


def hashing_of(scheme: PasswordScheme) -> PasswordHash:
    """What hashes by the scheme and verifies by each."""
    if isinstance(scheme, Argon2):
        first = Argon2Hasher(scheme.passes, scheme.memory_kib, scheme.lanes)
        return PasswordHash((first, BcryptHasher()))
    return PasswordHash((BcryptHasher(scheme.rounds), Argon2Hasher()))


class PasswordTable:
    """See `commands.ports.Credentials`. Both ways raise Overloaded when WAITING_MAX wait already."""

    def __init__(self, pool: AsyncConnectionPool[Any], scheme: PasswordScheme) -> None:
        self._pool = pool
        self._hashing = hashing_of(scheme)
        self._turn = asyncio.Semaphore(AT_ONCE_MAX)
        self._waiting = 0

    @cached_property
    def _nobody(self) -> str:
        """A hash to verify against when there is no user, so that both answers take equally long."""
        return self._hashing.hash("nobody has this password")

    async def set(self, user_id: UUID, password: Secret) -> None:
        """See `commands.ports.Credentials.set`."""
        hashed = await self._computed(lambda: self._hashing.hash(Secret(password).reveal()))
        async with self._pool.connection() as connection:
            await connection.execute(_SET, [hashed, user_id])

    async def verify(self, user_id: UUID | None, password: Secret) -> bool:
        """See `commands.ports.Credentials.verify`."""
        async with self._pool.connection() as connection:
            found = await connection.execute("SELECT password_hash FROM credentials WHERE user_id = %s", [user_id])
            row = await found.fetchone()
        stored = row[0] if row else None
        try:
            good, renewed = await self._computed(lambda: self._verified(Secret(password).reveal(), stored))
        except UnknownHashError:
            log.error("password_hash_unknown", user_id=str(user_id))  # it was put there by somebody else
            return False
        if good and renewed is not None:
            async with self._pool.connection() as connection:
                await connection.execute(_RENEW, [renewed, user_id, stored])
        return good

    async def destroy(self, user_id: UUID) -> None:
        """See `commands.ports.Credentials.destroy`."""
        async with self._pool.connection() as connection:
            await connection.execute("DELETE FROM credentials WHERE user_id = %s", [user_id])

    def _verified(self, password: str, stored: str | None) -> tuple[bool, str | None]:
        """Is it the one, and the hash that should be stored instead. Nobody has a password that nobody may set."""
        nobody = self._nobody
        if stored is None or len(password.encode()) > PASSWORD_BYTES_MAX:
            self._hashing.verify("another one", nobody)
            return False, None
        return self._hashing.verify_and_update(password, stored)

    async def _computed(self, work: Callable[[], T]) -> T:
        if self._waiting >= WAITING_MAX:
            raise Overloaded(f"{WAITING_MAX} passwords wait to be checked; nothing was done. Try again in a moment.")
        self._waiting += 1
        try:
            await self._take_turn()
            try:
                return await asyncio.to_thread(work)
            finally:
                self._turn.release()
        finally:
            self._waiting -= 1

    async def _take_turn(self) -> None:
        try:
            async with asyncio.timeout(WAITING_S_MAX):
                await self._turn.acquire()
        except TimeoutError:
            raise Overloaded(
                f"No password was checked within {WAITING_S_MAX:g} s, {AT_ONCE_MAX} at a time; nothing was done. Try"
                " again in a moment."
            ) from None
