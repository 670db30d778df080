"""Second factors: time-based codes (RFC 6238: SHA-1, six digits, 30 s) and recovery codes, each good once."""

from __future__ import annotations

import base64
import hmac
import secrets
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote, urlencode
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from adapters.personal_data import PersonalDataBox
from domain.disclosure import PersonalField, Secret

SECRET_BYTES: Final = 20
DIGITS: Final = 6
STEP_S: Final = 30
STEPS_ASIDE: Final = 1  # a clock may be so many steps off
RECOVERY_CODES: Final = 10
CODE_LENGTH_MAX: Final = 40
ISSUER: Final = "Kontor"
# Locks the person's key: an erasure waits and then deletes the row, or was first and nothing is stored.
_PREPARE: Final = """
INSERT INTO prepared_factors (user_id, secret_sealed, recovery_digests, created_at)
SELECT person_id, %s, %s, %s FROM person_keys WHERE person_id = %s AND wrapped_key IS NOT NULL FOR SHARE
ON CONFLICT (user_id) DO UPDATE SET secret_sealed = excluded.secret_sealed,
    recovery_digests = excluded.recovery_digests, last_step = 0, created_at = excluded.created_at
"""
# The factor whose code was shown, and no other that was prepared meanwhile. A code is good once.
_STAGE: Final = """
WITH left_behind AS (
    DELETE FROM staged_factors WHERE staged_at < clock_timestamp() - make_interval(secs => %(old)s)
), shown AS (
    UPDATE prepared_factors SET last_step = %(step)s
    WHERE user_id = %(user)s AND secret_sealed = %(sealed)s AND last_step < %(step)s
    RETURNING user_id, secret_sealed, last_step, recovery_digests
)
INSERT INTO staged_factors (command_id, user_id, secret_sealed, last_step, recovery_digests)
SELECT %(by)s, shown.* FROM shown ON CONFLICT (command_id) DO NOTHING
"""
STAGED_S_MAX: Final = 3_600.0  # no command takes so long


def code_at(secret: bytes, step: int, digits: int = DIGITS) -> str:
    """The code of a time step, RFC 4226's truncation."""
    digest = hmac.digest(secret, step.to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 0x0F
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**digits:0{digits}}"


def provisioning_uri(secret: bytes, account: str) -> str:
    """What an authenticator application reads as a QR code."""
    key = base64.b32encode(secret).decode().rstrip("=")
    return f"otpauth://totp/{ISSUER}:{quote(account)}?{urlencode({'secret': key, 'issuer': ISSUER})}"


class MfaTable:
    """See `commands.ports.Mfa`."""

    def __init__(self, pool: AsyncConnectionPool[Any], personal_data: PersonalDataBox) -> None:
        self._pool = pool
        self._personal_data = personal_data

    async def prepare(self, user_id: UUID, account: str, *, now: datetime) -> tuple[str, tuple[str, ...]]:
        """See `commands.ports.Mfa.prepare`."""
        secret = secrets.token_bytes(SECRET_BYTES)
        (sealed,) = await self._personal_data.seal(
            user_id, (PersonalField.MFA_SECRET, base64.b32encode(secret).decode())
        )
        codes = tuple(f"{secrets.token_hex(4)}-{secrets.token_hex(4)}" for _ in range(RECOVERY_CODES))
        async with self._pool.connection() as connection:
            await connection.execute(_PREPARE, [sealed, [self._digest(user_id, code) for code in codes], now, user_id])
        return provisioning_uri(secret, account), codes

    async def confirm(self, user_id: UUID, code: Secret, *, by: UUID, prepared_after: datetime, now: datetime) -> bool:
        """See `commands.ports.Mfa.confirm`."""
        async with self._pool.connection() as connection:
            found = await connection.execute(
                "SELECT secret_sealed FROM prepared_factors WHERE user_id = %s AND created_at >= %s",
                [user_id, prepared_after],
            )
            row = await found.fetchone()
            step = None if row is None else await self._step(user_id, row[0], code, now)
            if row is None or step is None:
                return False
            given = {"old": STAGED_S_MAX, "step": step, "user": user_id, "sealed": row[0], "by": by}
            staged = await connection.execute(_STAGE, given)
            return bool(staged.rowcount == 1)

    async def take(self, user_id: UUID, code: Secret, *, now: datetime) -> bool:
        """See `commands.ports.Mfa.take`."""
        async with self._pool.connection() as connection:
            found = await connection.execute("SELECT secret_sealed FROM mfa WHERE user_id = %s", [user_id])
            row = await found.fetchone()
            if row is None:
                return False
            step = await self._step(user_id, row[0], code, now)
            if step is not None:
                used = await connection.execute(
                    "UPDATE mfa SET last_step = %s WHERE user_id = %s AND secret_sealed = %s AND last_step < %s",
                    [step, user_id, row[0], step],
                )
            else:
                digest = self._digest(user_id, _trimmed(code))
                used = await connection.execute(
                    "UPDATE mfa SET recovery_digests = array_remove(recovery_digests, %s)"
                    " WHERE user_id = %s AND %s = ANY(recovery_digests)",
                    [digest, user_id, digest],
                )
            return bool(used.rowcount == 1)

    async def _step(self, user_id: UUID, sealed: str, code: Secret, now: datetime) -> int | None:
        """The time step whose code this is."""
        (secret,) = await self._personal_data.open([(user_id, PersonalField.MFA_SECRET, sealed)])
        return None if secret is None else matching_step(base64.b32decode(secret), _trimmed(code), now)

    def _digest(self, user_id: UUID, code: str) -> str:
        return self._personal_data.digest(f"recovery:{user_id}:{code}")


def _trimmed(code: Secret) -> str:
    return Secret(code).reveal()[:CODE_LENGTH_MAX].strip().lower()


def matching_step(secret: bytes, code: str, now: datetime) -> int | None:
    """The time step, at most STEPS_ASIDE from now, whose code this is."""
    present = int(now.timestamp()) // STEP_S
    for step in range(present - STEPS_ASIDE, present + STEPS_ASIDE + 1):
        if hmac.compare_digest(code_at(secret, step).encode(), code.encode()):
            return step
    return None
