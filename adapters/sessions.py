"""Sessions and their refresh tokens, which rotate; access tokens are in `access_tokens`.

A refresh token is used once. Using any earlier one of its session again means that a copy is out: the session ends.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import structlog
from psycopg_pool import AsyncConnectionPool
from uuid_utils.compat import uuid7

from adapters.metrics import REFRESH_TOKENS_REUSED
from commands.ports import Proof
from domain.errors import BadCredentials, TokenReused

log = structlog.get_logger()

SESSION_S: Final = 30 * 86_400
SESSIONS_LISTED_MAX: Final = 100
# Locks the person's key: an erasure waits and then deletes the row, or was first and nothing is stored. Then locks the
# credentials: whoever changes what lets the person in waits and then ends this session, or was first, and the proof is
# not good any more.
_OPEN: Final = """
WITH person AS MATERIALIZED (
    SELECT person_id FROM person_keys WHERE person_id = %(user)s AND wrapped_key IS NOT NULL FOR SHARE
), proven AS MATERIALIZED (
    SELECT c.user_id FROM person JOIN credentials c ON c.user_id = person.person_id
    WHERE c.password_hash = %(hash)s AND c.generation = %(generation)s FOR SHARE OF c
)
INSERT INTO sessions (session_id, user_id, token_digest, user_agent, created_at, last_used_at, expires_at)
SELECT %(session)s, user_id, %(token)s, %(agent)s, %(now)s, %(now)s, %(expires)s FROM proven
"""
# What a person leaves behind is theirs to clear away: with a session its earlier tokens go.
_SWEEP: Final = "DELETE FROM sessions WHERE user_id = %s AND expires_at <= %s"
# Of two at once the second waits for the row, and then finds another token there.
_ROTATE: Final = """
WITH found AS (
    SELECT session_id, previous_digest FROM sessions
    WHERE token_digest = %(used)s AND revoked_at IS NULL AND expires_at > %(now)s FOR UPDATE
), kept AS (
    INSERT INTO earlier_refresh_tokens (token_digest, session_id)
    SELECT previous_digest, session_id FROM found WHERE previous_digest IS NOT NULL ON CONFLICT DO NOTHING
)
UPDATE sessions AS s SET previous_digest = s.token_digest, token_digest = %(fresh)s, last_used_at = %(now)s
FROM found WHERE s.session_id = found.session_id RETURNING s.user_id, s.session_id
"""
_END_OF_FAMILY: Final = """
UPDATE sessions SET revoked_at = %(now)s WHERE revoked_at IS NULL AND session_id IN (
    SELECT session_id FROM sessions WHERE previous_digest = %(used)s
    UNION ALL SELECT session_id FROM earlier_refresh_tokens WHERE token_digest = %(used)s)
RETURNING user_id, session_id
"""
_LIST: Final = """
SELECT session_id, created_at, last_used_at, user_agent FROM sessions
WHERE user_id = %s AND revoked_at IS NULL AND expires_at > %s ORDER BY last_used_at DESC, session_id LIMIT %s
"""


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in device as its owner may see it. `user_agent` is what it said of itself, empty for nothing."""

    id: UUID
    created_at: datetime
    last_used_at: datetime
    user_agent: str


class SessionTable:
    """See `commands.ports.Sessions`."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def open(self, proof: Proof, *, user_agent: str, now: datetime) -> tuple[UUID, str] | None:
        """See `commands.ports.Sessions.open`."""
        session_id, token = uuid7(), secrets.token_urlsafe(32)
        row = {"session": session_id, "user": proof.user_id, "hash": proof.password_hash, "agent": user_agent[:200],
               "generation": proof.generation, "token": _digest(token), "now": now,
               "expires": now + timedelta(seconds=SESSION_S)}  # fmt: skip
        async with self._pool.connection() as connection:
            await connection.execute(_SWEEP, [proof.user_id, now])
            opened = await connection.execute(_OPEN, row)
        return (session_id, token) if opened.rowcount == 1 else None

    async def is_live(self, session_id: UUID, *, now: datetime) -> bool:
        """Has it neither ended nor expired?"""
        async with self._pool.connection() as connection:
            found = await connection.execute(
                "SELECT FROM sessions WHERE session_id = %s AND revoked_at IS NULL AND expires_at > %s",
                [session_id, now],
            )
            return await found.fetchone() is not None

    async def live(self, user_id: UUID, *, now: datetime) -> set[UUID]:
        """See `commands.ports.Sessions.live`."""
        async with self._pool.connection() as connection:
            rows = await connection.execute(
                "SELECT session_id FROM sessions WHERE user_id = %s AND revoked_at IS NULL AND expires_at > %s",
                [user_id, now],
            )
            return {row[0] for row in await rows.fetchall()}

    async def listed(self, user_id: UUID, *, now: datetime) -> list[Session]:
        """The user's sessions that are neither ended nor expired, the last used first, SESSIONS_LISTED_MAX at most."""
        async with self._pool.connection() as connection:
            rows = await connection.execute(_LIST, [user_id, now, SESSIONS_LISTED_MAX])
            return [Session(*row) for row in await rows.fetchall()]

    async def rotate(self, token: str) -> tuple[UUID, UUID, str]:
        """User, session and the next refresh token. Raises BadCredentials for an unknown or ended one, and
        TokenReused, after ending the session, for one that was used before, however long ago."""
        fresh = secrets.token_urlsafe(32)
        values = {"used": _digest(token), "fresh": _digest(fresh), "now": datetime.now(UTC)}
        async with self._pool.connection() as connection:
            if row := await (await connection.execute(_ROTATE, values)).fetchone():
                return row[0], row[1], fresh
            reused = await (await connection.execute(_END_OF_FAMILY, values)).fetchone()
        if reused is None:
            raise BadCredentials("This refresh token is unknown or its session has ended; sign in again.")
        REFRESH_TOKENS_REUSED.inc()
        log.warning("refresh_token_reused", user_id=str(reused[0]), session_id=str(reused[1]))
        raise TokenReused("This refresh token was used before; its session was ended. Sign in again.")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
