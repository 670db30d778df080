"""Personal data, sealed with a key per person (AES-256-GCM); the keys are rows, wrapped by the master key.

Destroying a person's key makes every sealed copy, in the log, on Kafka, in snapshots and in backups of these,
unreadable. A backup of the keys' table made before is the one thing that could undo it.
"""

from __future__ import annotations

import base64
import hmac
import os
from collections.abc import Iterable, Sequence
from typing import Any, Final
from uuid import UUID

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from adapters.master_keys import ID_BYTES, KEY_BYTES, MasterKeys
from adapters.view_notices import CHANNEL, changed
from domain.disclosure import PersonalField
from domain.errors import IllegalTransition
from domain.users import User

log = structlog.get_logger()

_NONCE_BYTES: Final = 12
# What stored tokens begin with: another scheme gets another prefix. A token of the first is bound to its person alone;
# it is still read in the fields that had it, and is never written again.
_SCHEME: Final = "s2."
_FIRST_SCHEME: Final = "s1."
_OF_FIRST_SCHEME: Final = frozenset({PersonalField.USER_EMAIL, PersonalField.USER_NAME, PersonalField.MFA_SECRET})
ROTATED_A_BATCH: Final = 500
# Keyed digests stand in stored ids (of e-mail claims), in stored commands and in the hash chain over the log.
_STABLE: Final = {
    "unique texts": b"digest unique texts",
    "requests": b"digest requests",
    "hash chain": b"digest hash chain",
}
# Table, owner and column of everything that a master key has wrapped.
KEYS_TABLE: Final = "person_keys"
STABLE_TABLE: Final = "stable_keys"
_WRAPPED: Final = (
    ("stable_keys", "name", "wrapped_key"),
    ("person_keys", "person_id", "wrapped_key"),
    ("webhook_secrets", "endpoint_id", "wrapped_key"),
    ("webhook_secrets", "endpoint_id", "previous_key"),
)
_OLDEST: Final = """
SELECT person_id, wrapped_key FROM person_keys WHERE wrapped_key IS NOT NULL ORDER BY created_at LIMIT 1
"""
# Only when the log has the person's erasure, whoever asks: this cannot be undone.
# Who has read the key is told with it, however early that is: the person's events reach the views later.
_DESTROY: Final = """
WITH erased AS (SELECT originator_id FROM events WHERE originator_id = %s AND topic = %s LIMIT 1),
destroyed AS (INSERT INTO person_keys (person_id, wrapped_key, destroyed_at)
SELECT originator_id, NULL::bytea, clock_timestamp() FROM erased
ON CONFLICT (person_id) DO UPDATE SET wrapped_key = NULL, destroyed_at = clock_timestamp()
WHERE person_keys.wrapped_key IS NOT NULL) SELECT pg_notify(%s, %s) FROM erased
"""


class PersonalDataBox:
    """Seals and opens. A token is bound to its scheme, person and field: moved to another it does not open.

    `prepare` comes first. `master_keys` are 32 bytes each, the present one first."""

    def __init__(self, pool: AsyncConnectionPool[Any], master_keys: Sequence[bytes]) -> None:
        self._pool = pool
        self._master_keys = master_keys
        self._masters = MasterKeys(master_keys)
        self._stable: dict[str, bytes] = {}

    async def prepare(self) -> None:
        """Read the stable keys, or make them on the first start. Raises WrongMasterKey."""
        async with self._pool.connection() as connection:
            self._stable = await self._stored(connection)
            if missing := _STABLE.keys() - self._stable.keys():
                # Derived from the master key of the first start, as they were before they were stored.
                first = await self._first_master_key(connection)
                for name in sorted(missing):
                    made = self._masters.wrap(
                        hmac.digest(first, _STABLE[name], "sha256"), name.encode(), table=STABLE_TABLE
                    )
                    await connection.execute(
                        "INSERT INTO stable_keys (name, wrapped_key) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                        [name, made],
                    )
                # Of two first starts at once one wins, and both then read the winner's.
                self._stable = await self._stored(connection)

    @property
    def request_digest_key(self) -> bytes:
        """Keys the digests of commands' contents."""
        return self._stable["requests"]

    @property
    def hash_chain_key(self) -> bytes:
        """Keys the hash chain over the log."""
        return self._stable["hash chain"]

    def digest(self, text: str) -> str:
        """See `commands.ports.PersonalData.digest`."""
        return hmac.digest(self._stable["unique texts"], text.encode(), "sha256").hex()

    async def seal(self, person_id: UUID, *texts: tuple[PersonalField, str]) -> tuple[str, ...]:
        """See `commands.ports.PersonalData.seal`. Raises IllegalTransition for an erased person."""
        keys = await self._keys([person_id])
        key = keys.get(person_id) or await self._new_key(person_id)
        return tuple(_sealed(key, text, person_id, place) for place, text in texts)

    async def open(self, tokens: Iterable[tuple[UUID, PersonalField, str]]) -> list[str | None]:
        """See `commands.ports.PersonalData.open`."""
        tokens = list(tokens)
        keys = await self._keys({person_id for person_id, _, _ in tokens})
        return [_opened(keys.get(person_id), token, person_id, place) for person_id, place, token in tokens]

    async def destroy(self, person_id: UUID) -> None:
        """See `commands.ports.PersonalData.destroy`."""
        async with self._pool.connection() as connection:
            if not await destroy_key(connection, person_id):
                log.error("key_not_destroyed", person_id=str(person_id), reason="the log has no erasure of this person")

    async def rotate(self) -> int:
        """Wrap every key by the present master key; returns how many were wrapped by another. May be interrupted
        and repeated, and runs beside everything else: a key that is destroyed meanwhile stays destroyed."""
        return sum([await self._rotate(*each) for each in _WRAPPED])

    async def _rotate(self, table: str, owner: str, column: str) -> int:
        """The names are of this module, never anybody's input."""
        rotated = 0
        while True:
            async with self._pool.connection() as connection:
                rows = await (
                    await connection.execute(
                        f"SELECT {owner}, {column} FROM {table} WHERE {column} IS NOT NULL"  # noqa: S608
                        f" AND substr({column}, 1, {ID_BYTES}) <> %s LIMIT {ROTATED_A_BATCH}".encode(),
                        [self._masters.present_id],
                    )
                ).fetchall()
                for name, wrapped in rows:
                    key = self._masters.unwrap(bytes(wrapped), _bytes(name), table=table)
                    await connection.execute(
                        f"UPDATE {table} SET {column} = %s WHERE {owner} = %s AND {column} = %s".encode(),  # noqa: S608
                        [self._masters.wrap(key, _bytes(name), table=table), name, wrapped],
                    )
            if not rows:
                return rotated
            rotated += len(rows)

    async def _stored(self, connection: AsyncConnection[Any]) -> dict[str, bytes]:
        rows = await connection.execute("SELECT name, wrapped_key FROM stable_keys")
        return {
            name: self._masters.unwrap(bytes(wrapped), name.encode(), table=STABLE_TABLE)
            for name, wrapped in await rows.fetchall()
        }

    async def _first_master_key(self, connection: AsyncConnection[Any]) -> bytes:
        """The one that wrapped what is there already, or the earliest given where nothing is. Raises WrongMasterKey:
        a digest key made of a wrong one would free every address, and would stay."""
        row = await (await connection.execute(_OLDEST)).fetchone()
        if row is None:
            return self._master_keys[-1]
        person_id, wrapped = row[0], bytes(row[1])
        self._masters.unwrap(wrapped, person_id.bytes, table=KEYS_TABLE)
        return next(
            key for key in self._master_keys if MasterKeys([key]).opens(wrapped, person_id.bytes, table=KEYS_TABLE)
        )

    async def _keys(self, person_ids: Iterable[UUID]) -> dict[UUID, AESGCM]:
        async with self._pool.connection() as connection:
            rows = await connection.execute(
                "SELECT person_id, wrapped_key FROM person_keys WHERE person_id = ANY(%s) AND wrapped_key IS NOT NULL",
                [list(person_ids)],
            )
            return {
                person_id: AESGCM(self._masters.unwrap(bytes(wrapped), person_id.bytes, table=KEYS_TABLE))
                for person_id, wrapped in await rows.fetchall()
            }

    async def _new_key(self, person_id: UUID) -> AESGCM:
        wrapped = self._masters.wrap(os.urandom(KEY_BYTES), person_id.bytes, table=KEYS_TABLE)
        async with self._pool.connection() as connection:
            # Of two first uses at once one wins, and both then read the winner's.
            await connection.execute(
                "INSERT INTO person_keys (person_id, wrapped_key) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                [person_id, wrapped],
            )
        key = (await self._keys([person_id])).get(person_id)
        if key is None:
            raise IllegalTransition(f"The account {person_id} is ERASED; nothing personal can be stored for it.")
        return key


async def destroy_key(connection: AsyncConnection[Any], person_id: UUID) -> bool:
    """Destroy the person's key for ever, in the connection's transaction, if the log has the person's erasure; False,
    and nothing happens, where it has not. The second time nothing changes."""
    done = await connection.execute(
        _DESTROY, [person_id, User.Erased.TOPIC, CHANNEL, changed([KEYS_TABLE], [person_id])]
    )
    return await done.fetchone() is not None


def _sealed(key: AESGCM, text: str, person_id: UUID, place: PersonalField) -> str:
    nonce = os.urandom(_NONCE_BYTES)
    encrypted = key.encrypt(nonce, text.encode(), _bound_to(person_id, place))
    return _SCHEME + base64.b64encode(nonce + encrypted).decode()


def _opened(key: AESGCM | None, token: str, person_id: UUID, place: PersonalField) -> str | None:
    if token.startswith(_SCHEME):
        bound_to = _bound_to(person_id, place)
    elif token.startswith(_FIRST_SCHEME) and place in _OF_FIRST_SCHEME:
        bound_to = person_id.bytes
    else:
        return None
    if key is None:
        return None
    try:
        sealed = base64.b64decode(token[len(_SCHEME) :], validate=True)
        return key.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to).decode()
    except (InvalidTag, ValueError):  # of another person or field, or no token at all
        return None


def _bound_to(person_id: UUID, place: PersonalField) -> bytes:
    """The additional data. The first scheme's were the 16 bytes of the person alone, so neither passes for the
    other."""
    return b"|".join((_SCHEME.encode(), person_id.bytes, place.value.encode()))


def _bytes(owner: UUID | str) -> bytes:
    return owner.bytes if isinstance(owner, UUID) else owner.encode()
