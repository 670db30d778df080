"""Personal data, sealed with a key per person (AES-256-GCM); the keys are rows, wrapped by the master key.

Destroying a person's row makes every sealed copy, in the log, on Kafka and in backups of either, unreadable.
"""

from __future__ import annotations

import base64
import hmac
import os
from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from psycopg_pool import AsyncConnectionPool

_NONCE_BYTES: Final = 12
# What stored tokens begin with: another scheme gets another prefix.
_SCHEME: Final = "s1."


class PersonalDataBox:
    """Seals and opens. A token is bound to its person: moved to another person it does not open."""

    def __init__(self, pool: AsyncConnectionPool[Any], master_key: bytes) -> None:
        assert len(master_key) == 32
        self._pool = pool
        self._master = AESGCM(hmac.digest(master_key, b"wrap person keys", "sha256"))
        self._digest_key = hmac.digest(master_key, b"digest unique texts", "sha256")

    def digest(self, text: str) -> str:
        """See `commands.ports.PersonalData.digest`."""
        return hmac.digest(self._digest_key, text.encode(), "sha256").hex()

    async def seal(self, person_id: UUID, *texts: str) -> tuple[str, ...]:
        """See `commands.ports.PersonalData.seal`."""
        keys = await self._keys([person_id])
        key = keys.get(person_id) or await self._new_key(person_id)
        return tuple(_SCHEME + base64.b64encode(_encrypt(key, text.encode(), person_id)).decode() for text in texts)

    async def open(self, tokens: Iterable[tuple[UUID, str]]) -> list[str | None]:
        """The texts, in order; None where the person's key is gone."""
        tokens = list(tokens)
        keys = await self._keys({person_id for person_id, _ in tokens})
        return [_open(keys.get(person_id), token, person_id) for person_id, token in tokens]

    async def _keys(self, person_ids: Iterable[UUID]) -> dict[UUID, AESGCM]:
        async with self._pool.connection() as connection:
            rows = await connection.execute(
                "SELECT person_id, wrapped_key FROM person_keys WHERE person_id = ANY(%s)", [list(person_ids)]
            )
            return {
                person_id: AESGCM(_decrypt(self._master, bytes(wrapped), person_id))
                for person_id, wrapped in await rows.fetchall()
            }

    async def _new_key(self, person_id: UUID) -> AESGCM:
        wrapped = _encrypt(self._master, AESGCM.generate_key(256), person_id)
        async with self._pool.connection() as connection:
            # Of two first uses at once one wins, and both then read the winner's.
            await connection.execute(
                "INSERT INTO person_keys (person_id, wrapped_key) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                [person_id, wrapped],
            )
        return (await self._keys([person_id]))[person_id]


def _encrypt(key: AESGCM, plain: bytes, person_id: UUID) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + key.encrypt(nonce, plain, person_id.bytes)


def _decrypt(key: AESGCM, sealed: bytes, person_id: UUID) -> bytes:
    return key.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], person_id.bytes)


def _open(key: AESGCM | None, token: str, person_id: UUID) -> str | None:
    if key is None or not token.startswith(_SCHEME):
        return None
    try:
        return _decrypt(key, base64.b64decode(token.removeprefix(_SCHEME)), person_id).decode()
    except InvalidTag:
        return None
