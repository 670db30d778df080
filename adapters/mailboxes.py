"""How many mails a mailbox was sent lately, counted in PostgreSQL, where all workers see it and none can pass it by.

A mailbox is named by a keyed digest of its address. An effect is counted once, however often it is tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
SWEPT_AT_ONCE: Final = 100
# One at a time of a mailbox: two workers must not both take its last place.
_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 31))"
_LATELY: Final = """
SELECT effect_id = %s, counted_at, clock_timestamp() FROM mailbox_mails
WHERE mailbox = %s AND kind = %s AND counted_at > clock_timestamp() - interval '1 day' ORDER BY counted_at DESC LIMIT %s
"""
_COUNT: Final = "INSERT INTO mailbox_mails (mailbox, kind, effect_id) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
_SWEEP: Final = """
DELETE FROM mailbox_mails WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM mailbox_mails WHERE counted_at < now() - interval '1 day' ORDER BY counted_at LIMIT %s
    FOR UPDATE SKIP LOCKED))
"""


class Mailboxes:
    """See the module. Raises one of `adapters.away.AWAY`."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def take(self, mailbox: str, kind: str, effect_id: UUID, *, an_hour: int, a_day: int) -> float:
        """Count the mail of this effect; 0 when it may be sent, else seconds until there is room for it, and it is not
        counted. Safe to repeat: what was counted may be sent."""
        async with self._pool.connection() as connection, connection.transaction():
            await connection.execute(_LOCK, [f"{mailbox}:{kind}"])
            lately = await (await connection.execute(_LATELY, [effect_id, mailbox, kind, a_day])).fetchall()
            if any(same for same, _, _ in lately):
                return 0.0
            if lately and (wait_s := _wait_s([at for _, at, _ in lately], lately[0][2], an_hour, a_day)) > 0:
                return wait_s
            await connection.execute(_SWEEP, [SWEPT_AT_ONCE])
            await connection.execute(_COUNT, [mailbox, kind, effect_id])
        return 0.0


def _wait_s(newest_first: Sequence[datetime], now: datetime, an_hour: int, a_day: int) -> float:
    """Until fewer than so many were counted within an hour and a day."""
    waits = [
        (newest_first[most - 1] + span - now).total_seconds()
        for most, span in ((an_hour, HOUR), (a_day, DAY))
        if len(newest_first) >= most
    ]
    return max([0.0, *waits])
