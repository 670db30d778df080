"""Sessions and their refresh tokens, which rotate; access tokens are in `access_tokens`.

A session ends when it was not used for a while, and at the latest at `expires_at`, whatever its use. A refresh token is
used once. Using any earlier one of its session again means that a copy is out: the session ends.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable
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

SESSION_S: Final = 30 * 86_400  # without use, unless a setting says otherwise
SESSION_S_MAX: Final = 180 * 86_400
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
_SWEEP: Final = "DELETE FROM sessions WHERE user_id = %s AND (expires_at <= %s OR last_used_at <= %s)"
# Of two at once the second waits for the row, and then finds another token there.
_ROTATE: Final = """
WITH found AS (
    SELECT session_id, previous_digest FROM sessions
    WHERE token_digest = %(used)s AND revoked_at IS NULL AND expires_at > %(now)s AND last_used_at > %(idle_since)s
        AND created_at > %(oldest)s FOR UPDATE
), kept AS (
    INSERT INTO earlier_refresh_tokens (token_digest, session_id)
    SELECT previous_digest, session_id FROM found WHERE previous_digest IS NOT NULL ON CONFLICT DO NOTHING
)
UPDATE sessions AS s SET previous_digest = s.token_digest, token_digest = %(fresh)s, last_used_at = %(now)s
FROM found WHERE s.session_id = found.session_id RETURNING s.user_id, s.session_id
"""
_OF_FAMILY: Final = """
SELECT user_id, session_id FROM sessions WHERE revoked_at IS NULL AND session_id IN (
    SELECT session_id FROM sessions WHERE previous_digest = %(used)s
    UNION ALL SELECT session_id FROM earlier_refresh_tokens WHERE token_digest = %(used)s)
"""
_END: Final = "UPDATE sessions SET revoked_at = %s WHERE session_id = %s AND revoked_at IS NULL"
_LIST: Final = """
SELECT session_id, created_at, last_used_at, user_agent FROM sessions
WHERE user_id = %s AND revoked_at IS NULL AND expires_at > %s AND last_used_at > %s
ORDER BY last_used_at DESC, session_id LIMIT %s
"""


Reused = Callable[[UUID, UUID], Awaitable[None]]  # user, session


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in device as its owner may see it. `user_agent` is what it said of itself, empty for nothing."""

    id: UUID
    created_at: datetime
    last_used_at: datetime
    user_agent: str


class SessionTable:
    """See `commands.ports.Sessions`."""

    def __init__(
        self,
        pool: AsyncConnectionPool[Any],
        *,
        idle: timedelta = timedelta(seconds=SESSION_S),
        longest: timedelta = timedelta(seconds=SESSION_S_MAX),
    ) -> None:
        self._pool = pool
        self._idle = idle
        self._longest = longest

    async def open(self, proof: Proof, *, user_agent: str, now: datetime) -> tuple[UUID, str] | None:
        """See `commands.ports.Sessions.open`."""
        session_id, token = uuid7(), secrets.token_urlsafe(32)
        row = {"session": session_id, "user": proof.user_id, "hash": proof.password_hash, "agent": user_agent[:200],
               "generation": proof.generation, "token": _digest(token), "now": now,
               "expires": now + self._longest}  # fmt: skip
        async with self._pool.connection() as connection:
            await connection.execute(_SWEEP, [proof.user_id, now, now - self._idle])
            opened = await connection.execute(_OPEN, row)
        return (session_id, token) if opened.rowcount == 1 else None

    async def is_live(self, session_id: UUID, *, now: datetime) -> bool:
        """Has it neither ended nor expired?"""
        async with self._pool.connection() as connection:
            found = await connection.execute(
                "SELECT FROM sessions WHERE session_id = %s AND revoked_at IS NULL AND expires_at > %s"
                " AND last_used_at > %s",
                [session_id, now, now - self._idle],
            )
            return await found.fetchone() is not None

    async def live(self, user_id: UUID, *, now: datetime) -> set[UUID]:
        """See `commands.ports.Sessions.live`."""
        async with self._pool.connection() as connection:
            rows = await connection.execute(
                "SELECT session_id FROM sessions WHERE user_id = %s AND revoked_at IS NULL AND expires_at > %s"
                " AND last_used_at > %s",
                [user_id, now, now - self._idle],
            )
            return {row[0] for row in await rows.fetchall()}

    async def listed(self, user_id: UUID, *, now: datetime) -> list[Session]:
        """The user's sessions that are neither ended nor expired, the last used first, SESSIONS_LISTED_MAX at most."""
        async with self._pool.connection() as connection:
            rows = await connection.execute(_LIST, [user_id, now, now - self._idle, SESSIONS_LISTED_MAX])
            return [Session(*row) for row in await rows.fetchall()]

    async def rotate(self, token: str, *, reused: Reused | None = None) -> tuple[UUID, UUID, str]:
        """User, session and the next refresh token. Raises BadCredentials for an unknown or ended one, and
        TokenReused, after ending the session, for one that was used before, however long ago.

        `reused` is called before the session ends: if the process dies in between, using the token again calls it
        again."""
        fresh, now = secrets.token_urlsafe(32), datetime.now(UTC)
        values = {"used": _digest(token), "fresh": _digest(fresh), "now": now, "idle_since": now - self._idle,
                  "oldest": now - self._longest}  # fmt: skip
        async with self._pool.connection() as connection:
            if row := await (await connection.execute(_ROTATE, values)).fetchone():
                return row[0], row[1], fresh
            found = await (await connection.execute(_OF_FAMILY, values)).fetchone()
        if found is None:
            raise BadCredentials("This refresh token is unknown or its session has ended; sign in again.")
        user_id, session_id = found
        if reused is not None:
            await reused(user_id, session_id)
        async with self._pool.connection() as connection:
            ended = await connection.execute(_END, [now, session_id])
        if reused is None and ended.rowcount == 0:
            raise BadCredentials("The session of this refresh token has ended; sign in again.")
        REFRESH_TOKENS_REUSED.inc()
        log.warning("refresh_token_reused", user_id=str(user_id), session_id=str(session_id))
        raise TokenReused("This refresh token was used before; its session was ended. Sign in again.")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
