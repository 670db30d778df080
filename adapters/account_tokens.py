"""Tokens of the links in mails: 256 random bits, kept as digests, with what they are good for and until when."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from commands.ports import AccountToken, TokenPurpose
from domain.disclosure import Secret
from domain.identity import EmailClaimId

TOKEN_BYTES: Final = 32
# More than a person asks for while one is good; the oldest go, so that nobody fills the table.
TOKENS_OF_A_PURPOSE_MAX: Final = 50
# Locks the person's key: an erasure waits and then deletes the row, or was first and nothing is stored.
_MAKE: Final = """
INSERT INTO account_tokens (token_digest, user_id, purpose, address_id, made_at, expires_at)
SELECT %s, person_id, %s, %s, %s, %s FROM person_keys
WHERE person_id = %s AND wrapped_key IS NOT NULL FOR SHARE
"""
_SWEEP: Final = """
DELETE FROM account_tokens WHERE user_id = %s AND (expires_at <= %s OR token_digest IN (
    SELECT token_digest FROM account_tokens WHERE user_id = %s AND purpose = %s
    ORDER BY made_at DESC, token_digest OFFSET %s))
"""
_GOOD: Final = "token_digest = %s AND purpose = %s AND expires_at > %s AND (taken_by IS NULL OR taken_by = %s)"


class AccountTokenTable:
    """See `commands.ports.AccountTokens`."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def make(
        self, user_id: UUID, purpose: TokenPurpose, *, address_id: EmailClaimId, expires_at: datetime, now: datetime
    ) -> str:
        """See `commands.ports.AccountTokens.make`. Of more than TOKENS_OF_A_PURPOSE_MAX the oldest go."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        async with self._pool.connection() as connection, connection.transaction():
            # The person's key first, as an erasure does: the other way round each could wait for the other.
            await connection.execute(_MAKE, [_digest(token), purpose, address_id, now, expires_at, user_id])
            await connection.execute(_SWEEP, [user_id, now, user_id, purpose, TOKENS_OF_A_PURPOSE_MAX])
        return token

    async def find(self, token: Secret, purpose: TokenPurpose, *, by: UUID, now: datetime) -> AccountToken | None:
        """See `commands.ports.AccountTokens.find`."""
        async with self._pool.connection() as connection:
            found = await connection.execute(
                f"SELECT user_id, address_id FROM account_tokens WHERE {_GOOD}".encode(),  # noqa: S608  # ours alone
                [_digest(Secret(token).reveal()), purpose, now, by],
            )
            row = await found.fetchone()
        return None if row is None else AccountToken(*row)

    async def take(self, token: Secret, purpose: TokenPurpose, *, by: UUID, now: datetime) -> bool:
        """See `commands.ports.AccountTokens.take`."""
        async with self._pool.connection() as connection:
            taken = await connection.execute(
                f"UPDATE account_tokens SET taken_by = %s WHERE {_GOOD}".encode(),  # noqa: S608  # ours alone
                [by, _digest(Secret(token).reveal()), purpose, now, by],
            )
            return bool(taken.rowcount == 1)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
