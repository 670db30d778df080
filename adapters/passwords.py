"""Password hashes, in a table of their own, computed off the event loop, only a few at once.

New ones are of one scheme (`KONTOR_PASSWORD_HASHING`); of argon2 and bcrypt all are verified, and one that is not as
a new one would be is replaced when its person signs in. So hashes of another system can be put into the table.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import cached_property, partial
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
from commands.ports import Overloaded, Proof
from domain.disclosure import Secret

T = TypeVar("T")
log = structlog.get_logger()

# Each takes a core and, by default, 64 MiB; a flood of sign-ins waits, and past this many is sent away.
AT_ONCE_MAX: Final = min(4, os.cpu_count() or 1)
WAITING_MAX: Final = 500
VERIFIED_AGAIN_MAX: Final = 3
WAITING_S_MAX: Final = 5.0  # a client does not wait much longer, and then its hash would be computed for nobody
# Locks the person's key: an erasure waits and then deletes the row, or was first and nothing is stored.
_SET: Final = """
INSERT INTO credentials (user_id, password_hash)
SELECT person_id, %s FROM person_keys WHERE person_id = %s AND wrapped_key IS NOT NULL FOR SHARE
ON CONFLICT (user_id) DO UPDATE SET password_hash = excluded.password_hash, updated_at = clock_timestamp()
"""
# Not over one that was set meanwhile.
_RENEW: Final = """
UPDATE credentials SET password_hash = %s, updated_at = clock_timestamp()
WHERE user_id = %s AND password_hash = %s AND generation = %s
"""
_STILL_GOOD: Final = "SELECT FROM credentials WHERE user_id = %s AND password_hash = %s"
# What a command that died has left goes with a later one.
_STAGE: Final = """
WITH left_behind AS (
    DELETE FROM staged_passwords WHERE staged_at < clock_timestamp() - make_interval(secs => %s)
)
INSERT INTO staged_passwords (command_id, user_id, password_hash)
SELECT %s, person_id, %s FROM person_keys WHERE person_id = %s AND wrapped_key IS NOT NULL FOR SHARE
ON CONFLICT (command_id) DO UPDATE SET password_hash = excluded.password_hash, staged_at = clock_timestamp()
"""
STAGED_S_MAX: Final = 3_600.0  # no command takes so long


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

    async def stage(self, user_id: UUID, password: Secret, *, by: UUID) -> None:
        """See `commands.ports.Credentials.stage`."""
        hashed = await self._computed(lambda: self._hashing.hash(Secret(password).reveal()))
        async with self._pool.connection() as connection:
            await connection.execute(_STAGE, [STAGED_S_MAX, by, hashed, user_id])

    async def still_good(self, proof: Proof) -> bool:
        """See `commands.ports.Credentials.still_good`."""
        async with self._pool.connection() as connection:
            found = await connection.execute(_STILL_GOOD, [proof.user_id, proof.password_hash])
            return await found.fetchone() is not None

    async def verify(self, user_id: UUID | None, password: Secret) -> Proof | None:
        """See `commands.ports.Credentials.verify`."""
        for _ in range(VERIFIED_AGAIN_MAX):
            stored, generation = await self._stored(user_id)
            try:
                good, renewed = await self._computed(partial(self._verified, Secret(password).reveal(), stored))
            except UnknownHashError:
                log.error("password_hash_unknown", user_id=str(user_id))  # it was put there by somebody else
                return None
            if not good or stored is None or user_id is None:
                return None
            if renewed is None:
                return Proof(user_id, stored, generation)
            async with self._pool.connection() as connection:
                done = await connection.execute(_RENEW, [renewed, user_id, stored, generation])
            if done.rowcount == 1:
                return Proof(user_id, renewed, generation)
            # Somebody else has renewed or changed it meanwhile: what is stored now has to be verified.
        return None

    async def _stored(self, user_id: UUID | None) -> tuple[str | None, int]:
        async with self._pool.connection() as connection:
            found = await connection.execute(
                "SELECT password_hash, generation FROM credentials WHERE user_id = %s", [user_id]
            )
            return await found.fetchone() or (None, 0)

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
