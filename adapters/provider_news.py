"""What the payment provider is to be asked about, because it has told something: planned as effects for a worker.

Who tells is believed in nothing but that there may be something to ask. However often something is told of a payment,
the provider is asked about it once in EVERY_S at most; and nothing that is told goes unasked: a look is planned that
has not begun.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid5

from psycopg_pool import AsyncConnectionPool

EFFECT: Final = "provider.told"
EVERY_S: Final = 5
LOOKS_AHEAD_MAX: Final = 4
ASKED_FOR: Final = timedelta(days=3)  # while the provider is away
# One that waits and was not begun covers what is told now.
_PLAN: Final = """
INSERT INTO effects (event_id, effect, subject_id, due_at, give_up_at, correlation_id) VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (event_id, effect) DO UPDATE SET due_at = effects.due_at
    WHERE effects.state = 'waiting' AND effects.claimed_until IS NULL
RETURNING 1
"""


def due_of(now: datetime, turn: int) -> datetime:
    """When a turn after the present one begins."""
    return max(now, datetime.fromtimestamp(turn * EVERY_S, UTC))


async def plan_look(
    pool: AsyncConnectionPool[Any], *, payment_id: UUID, order_id: UUID, correlation_id: UUID | None, now: datetime
) -> bool:
    """Have the provider asked about the payment of this order: at once, or in the next EVERY_S that is free. True once
    that is stored; False where LOOKS_AHEAD_MAX of them have been made or begun. Raises one of `adapters.away.AWAY`."""
    turn = int(now.timestamp()) // EVERY_S
    async with pool.connection() as connection:
        for ahead in range(LOOKS_AHEAD_MAX):
            due_at = now if ahead == 0 else due_of(now, turn + ahead)
            name = uuid5(payment_id, f"told:{turn + ahead}")
            values = [name, EFFECT, order_id, due_at, now + ASKED_FOR, correlation_id]
            if (await connection.execute(_PLAN, values)).rowcount:
                return True
    return False
