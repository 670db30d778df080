"""The secrets that sign webhook deliveries (Standard Webhooks: `whsec_`), wrapped by the master key."""

from __future__ import annotations

import base64
import os
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from adapters.master_keys import MasterKeys

SECRET_BYTES: Final = 32
PREFIX: Final = "whsec_"
TABLE: Final = "webhook_secrets"
PREVIOUS_GOOD: Final = timedelta(hours=24)


class WebhookSecretTable:
    """See `commands.ports.WebhookSecrets`."""

    def __init__(self, pool: AsyncConnectionPool[Any], masters: MasterKeys) -> None:
        self._pool = pool
        self._masters = masters

    def make(self) -> str:
        """See `commands.ports.WebhookSecrets.make`."""
        return PREFIX + base64.b64encode(os.urandom(SECRET_BYTES)).decode()

    async def keep(self, endpoint_id: UUID, secret: str, *, now: datetime) -> None:
        """See `commands.ports.WebhookSecrets.keep`."""
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
        async with self._pool.connection() as connection:
            await connection.execute(
                "INSERT INTO webhook_secrets (endpoint_id, wrapped_key) VALUES (%s, %s) ON CONFLICT (endpoint_id)"
                " DO UPDATE SET wrapped_key = excluded.wrapped_key, previous_key = webhook_secrets.wrapped_key,"
                " previous_until = %s",
                [endpoint_id, self._masters.wrap(key, endpoint_id.bytes, table=TABLE), now + PREVIOUS_GOOD],
            )

    async def current(self, endpoint_id: UUID, *, now: datetime) -> list[str]:
        """See `commands.ports.WebhookSecrets.current`."""
        async with self._pool.connection() as connection:
            found = await connection.execute(
                "SELECT wrapped_key, CASE WHEN previous_until > %s THEN previous_key END FROM webhook_secrets"
                " WHERE endpoint_id = %s",
                [now, endpoint_id],
            )
            row = await found.fetchone()
        wrapped = [bytes(each) for each in row or () if each is not None]
        secrets = [self._masters.unwrap(each, endpoint_id.bytes, table=TABLE) for each in wrapped]
        return [PREFIX + base64.b64encode(secret).decode() for secret in secrets]

    async def destroy(self, endpoint_id: UUID) -> None:
        """See `commands.ports.WebhookSecrets.destroy`."""
        async with self._pool.connection() as connection:
            await connection.execute("DELETE FROM webhook_secrets WHERE endpoint_id = %s", [endpoint_id])
