"""The in-memory twin of the tokens of mailed links: see `adapters.memory`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from uuid import UUID

from commands.ports import AccountToken, TokenPurpose
from domain.disclosure import Secret
from domain.identity import EmailClaimId


@dataclass(slots=True)
class KeptToken:
    """A token of a mailed link and what became of it."""

    says: AccountToken
    purpose: TokenPurpose
    expires_at: datetime
    taken_by: UUID | None = None


class MemoryAccountTokens:
    """See `commands.ports.AccountTokens`: token-1, token-2 and so on."""

    def __init__(self, is_erased: Callable[[UUID], bool]) -> None:
        self._is_erased = is_erased
        self._numbers = count(1)
        self.kept: dict[str, KeptToken] = {}

    async def make(
        self, user_id: UUID, purpose: TokenPurpose, *, address_id: EmailClaimId, expires_at: datetime, now: datetime
    ) -> str:
        """See `commands.ports.AccountTokens.make`."""
        del now
        token = f"token-{next(self._numbers)}"
        if not self._is_erased(user_id):
            self.kept[token] = KeptToken(AccountToken(user_id, address_id), purpose, expires_at)
        return token

    async def find(self, token: Secret, purpose: TokenPurpose, *, by: UUID, now: datetime) -> AccountToken | None:
        """See `commands.ports.AccountTokens.find`."""
        kept = self._good(token, purpose, by, now)
        return None if kept is None else kept.says

    async def take(self, token: Secret, purpose: TokenPurpose, *, by: UUID, now: datetime) -> bool:
        """See `commands.ports.AccountTokens.take`."""
        kept = self._good(token, purpose, by, now)
        if kept is not None:
            kept.taken_by = by
        return kept is not None

    def forget(self, user_id: UUID, *purposes: TokenPurpose) -> None:
        """None of the user's tokens of these purposes is good any more."""
        self.kept = {
            token: kept
            for token, kept in self.kept.items()
            if kept.says.user_id != user_id or kept.purpose not in purposes
        }

    def _good(self, token: Secret, purpose: TokenPurpose, by: UUID, now: datetime) -> KeptToken | None:
        kept = self.kept.get(Secret(token).reveal())
        if kept is None or kept.purpose is not purpose or kept.expires_at <= now or kept.taken_by not in (None, by):
            return None
        return kept
