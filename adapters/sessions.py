"""Sessions and their refresh tokens, which rotate; access tokens are in `access_tokens`.

A refresh token is used once. Using any earlier one of its session again means that a copy is out: the session ends.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import structlog
from psycopg_pool import AsyncConnectionPool
from uuid_utils.compat import uuid7

from adapters.metrics import REFRESH_TOKENS_REUSED
from domain.errors import BadCredentials, TokenReused

log = structlog.get_logger()

SESSION_S: Final = 30 * 86_400
SESSIONS_LISTED_MAX: Final = 100
# Locks the person's key: an erasure waits and then deletes the row, or was first and nothing is stored.
_OPEN: Final = """
INSERT INTO sessions (session_id, user_id, token_digest, user_agent, created_at, last_used_at, expires_at)
SELECT %s, person_id, %s, %s, %s, %s, %s FROM person_keys
WHERE person_id = %s AND wrapped_key IS NOT NULL FOR SHARE
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

    async def open(self, user_id: UUID, *, user_agent: str, now: datetime) -> tuple[UUID, str]:
        """See `commands.ports.Sessions.open`."""
        session_id, token = uuid7(), secrets.token_urlsafe(32)
        expires_at = now + timedelta(seconds=SESSION_S)
        async with self._pool.connection() as connection:
            await connection.execute(_SWEEP, [user_id, now])
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

    async def listed(self, user_id: UUID, *, now: datetime) -> list[Session]:
        """The user's sessions that are neither ended nor expired, the last used first, SESSIONS_LISTED_MAX at most."""
        async with self._pool.connection() as connection:
            rows = await connection.execute(_LIST, [user_id, now, SESSIONS_LISTED_MAX])
            return [Session(*row) for row in await rows.fetchall()]

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
