"""Sessions and their tokens: short access tokens anybody can verify, and refresh tokens that rotate.

A refresh token is used once. Using the one before it again means that a copy is out: the session ends.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from psycopg_pool import AsyncConnectionPool
from uuid_utils.compat import uuid7

from domain.errors import BadCredentials, TokenReused, Unauthenticated
from domain.users import Role

ACCESS_TOKEN_S: Final = 900
SESSION_S: Final = 30 * 86_400
ISSUER: Final = "kontor"
# Locks the person's key: an erasure waits and then deletes the row, or was first and nothing is stored.
_OPEN: Final = """
INSERT INTO sessions (session_id, user_id, token_digest, user_agent, created_at, last_used_at, expires_at)
SELECT %s, person_id, %s, %s, %s, %s, %s FROM person_keys
WHERE person_id = %s AND wrapped_key IS NOT NULL FOR SHARE
"""


class AccessTokens:
    """Signs and verifies access tokens: EdDSA, `kid` names the key."""

    def __init__(self, seed: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self._public = self._private.public_key()
        self._kid = hashlib.sha256(self._public.public_bytes_raw()).hexdigest()[:16]

    def issue(self, user_id: UUID, roles: Iterable[Role], session_id: UUID, *, now: datetime) -> str:
        """A token good for ACCESS_TOKEN_S."""
        claims = {
            "iss": ISSUER,
            "aud": ISSUER,
            "sub": str(user_id),
            "sid": str(session_id),
            "roles": [role.value for role in roles],
            "iat": now,
            "exp": now + timedelta(seconds=ACCESS_TOKEN_S),
        }
        return jwt.encode(claims, self._private, algorithm="EdDSA", headers={"kid": self._kid})

    def verify(self, token: str) -> tuple[UUID, tuple[Role, ...], UUID]:
        """User, roles and session. Raises Unauthenticated for a token that is not ours or has expired."""
        try:
            claims = jwt.decode(
                token,
                self._public,
                algorithms=["EdDSA"],
                audience=ISSUER,
                issuer=ISSUER,
                options={"require": ["exp", "iat", "sub", "sid", "aud", "iss"]},
            )
            return UUID(claims["sub"]), tuple(Role(role) for role in claims["roles"]), UUID(claims["sid"])
        except (jwt.InvalidTokenError, ValueError, KeyError, TypeError):
            raise Unauthenticated(
                "The access token is not valid or has expired; refresh it, or sign in again."
            ) from None


class SessionTable:
    """See `commands.ports.Sessions`."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def open(self, user_id: UUID, *, user_agent: str, now: datetime) -> tuple[UUID, str]:
        """See `commands.ports.Sessions.open`."""
        session_id, token = uuid7(), secrets.token_urlsafe(32)
        expires_at = now + timedelta(seconds=SESSION_S)
        async with self._pool.connection() as connection:
            await connection.execute(
                _OPEN, [session_id, _digest(token), user_agent[:200], now, now, expires_at, user_id]
            )
        return session_id, token

    async def live(self, user_id: UUID, *, now: datetime) -> set[UUID]:
        """See `commands.ports.Sessions.live`."""
        async with self._pool.connection() as connection:
            rows = await connection.execute(
                "SELECT session_id FROM sessions WHERE user_id = %s AND revoked_at IS NULL AND expires_at > %s",
                [user_id, now],
            )
            return {row[0] for row in await rows.fetchall()}

    async def end(self, session_ids: Iterable[UUID], *, now: datetime) -> None:
        """See `commands.ports.Sessions.end`."""
        async with self._pool.connection() as connection:
            await connection.execute(
                "UPDATE sessions SET revoked_at = %s WHERE session_id = ANY(%s) AND revoked_at IS NULL",
                [now, list(session_ids)],
            )

    async def destroy(self, user_id: UUID) -> None:
        """See `commands.ports.Sessions.destroy`."""
        async with self._pool.connection() as connection:
            await connection.execute("DELETE FROM sessions WHERE user_id = %s", [user_id])

    async def rotate(self, token: str) -> tuple[UUID, UUID, str]:
        """User, session and the next refresh token. Raises BadCredentials for an unknown or ended one, and
        TokenReused, after ending the session, for one that was used before."""
        fresh = secrets.token_urlsafe(32)
        async with self._pool.connection() as connection:
            found = await connection.execute(
                "UPDATE sessions SET previous_digest = token_digest, token_digest = %s, last_used_at = %s"
                " WHERE token_digest = %s AND revoked_at IS NULL AND expires_at > %s RETURNING user_id, session_id",
                [_digest(fresh), datetime.now(UTC), _digest(token), datetime.now(UTC)],
            )
            if row := await found.fetchone():
                return row[0], row[1], fresh
            reused = await connection.execute(
                "UPDATE sessions SET revoked_at = %s WHERE previous_digest = %s AND revoked_at IS NULL RETURNING 1",
                [datetime.now(UTC), _digest(token)],
            )
            was_reused = await reused.fetchone() is not None
        if was_reused:
            raise TokenReused("This refresh token was used before; its session was ended. Sign in again.")
        raise BadCredentials("This refresh token is unknown or its session has ended; sign in again.")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
