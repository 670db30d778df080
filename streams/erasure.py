"""Erasure: what must be gone when a person is erased is destroyed in the transaction that moves the position.

The command destroys at once when it can; this is what makes it certain. Repeating it changes nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from domain.users import User
from projections.view import Recorded
from streams.following import Follower
from streams.ports import Changes


async def apply(transaction: Changes, events: Sequence[Recorded]) -> Callable[[], Awaitable[None]] | None:
    """Destroy the keys, passwords, sessions, second factors and links of everybody who is erased in this batch."""
    for recorded in events:
        if isinstance(recorded.event, User.Erased):
            await transaction.erase(recorded.aggregate_id)
    return None


FOLLOWER: Final = Follower(name="erasure", follows=frozenset({User.TOPIC}), apply=apply)
