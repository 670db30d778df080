"""The in-memory twins of what lets a person in: see `adapters.memory`. It changes with the event that says so, as in
migration 0022."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from adapters.memory_tokens import MemoryAccountTokens
from commands.ports import Append, Proof, TokenPurpose
from domain.disclosure import PersonalField, Secret
from domain.users import User

if TYPE_CHECKING:
    from adapters.memory import MemoryPersonalData

# What goes with another password, and with another address.
_VOID_WITH_A_PASSWORD = (TokenPurpose.PASSWORD_RESET, TokenPurpose.EMAIL_CHANGE)
_VOID_WITH_AN_ADDRESS = (TokenPurpose.PASSWORD_RESET, TokenPurpose.EMAIL_VERIFICATION)


class MemoryCredentials:
    """See `commands.ports.Credentials`. Keeps digests that are quick to compute: not for real passwords. `verified`
    counts what would be slow."""

    def __init__(self, personal_data: MemoryPersonalData) -> None:
        self._personal_data = personal_data
        self._digests: dict[UUID, str] = {}
        self._staged: dict[UUID, tuple[UUID, str]] = {}
        self.generations: dict[UUID, int] = {}
        self.verified = 0

    async def set(self, user_id: UUID, password: Secret) -> None:
        """See `commands.ports.Credentials.set`."""
        if not self._personal_data.is_destroyed(user_id):
            self._digests[user_id] = _digest(user_id, password)

    async def verify(self, user_id: UUID | None, password: Secret) -> Proof | None:
        """See `commands.ports.Credentials.verify`."""
        self.verified += 1
        if user_id is None or self._digests.get(user_id) != _digest(user_id, password):
            return None
        return Proof(user_id, self._digests[user_id], self.generations.get(user_id, 0))

    async def still_good(self, proof: Proof) -> bool:
        """See `commands.ports.Credentials.still_good`."""
        return self._digests.get(proof.user_id) == proof.password_hash

    def opens(self, proof: Proof) -> bool:
        """May a session be opened with it?"""
        same = self._digests.get(proof.user_id) == proof.password_hash
        return same and self.generations.get(proof.user_id, 0) == proof.generation

    async def stage(self, user_id: UUID, password: Secret, *, by: UUID) -> None:
        """See `commands.ports.Credentials.stage`."""
        self._staged[by] = user_id, _digest(user_id, password)

    def changed(self, user_id: UUID, by: UUID) -> None:
        """The staged password counts; without one, none does."""
        self._digests.pop(user_id, None)
        whose, digest = self._staged.pop(by, (None, ""))
        if whose == user_id:
            self._digests[user_id] = digest

    def forget(self, user_id: UUID) -> None:
        """No password is the user's any more."""
        self._digests.pop(user_id, None)
        self._staged = {by: staged for by, staged in self._staged.items() if staged[0] != user_id}


def _digest(user_id: UUID, password: Secret) -> str:
    return hashlib.blake2b(Secret(password).reveal().encode(), salt=user_id.bytes).hexdigest()


@dataclass(slots=True)
class MemorySessions:
    """See `commands.ports.Sessions`. `opened` lists each session's user, device and moment."""

    credentials: MemoryCredentials
    opened: dict[UUID, tuple[UUID, str, datetime]] = field(default_factory=dict)
    ended: set[UUID] = field(default_factory=set)

    async def open(self, proof: Proof, *, user_agent: str, now: datetime) -> tuple[UUID, str] | None:
        """See `commands.ports.Sessions.open`."""
        if not self.credentials.opens(proof):
            return None
        session_id = UUID(int=len(self.opened) + 1)
        self.opened[session_id] = (proof.user_id, user_agent, now)
        return session_id, f"refresh-{session_id.int}"

    async def live(self, user_id: UUID, *, now: datetime) -> set[UUID]:
        """See `commands.ports.Sessions.live`."""
        del now
        return self.of(user_id) - self.ended

    def of(self, user_id: UUID) -> set[UUID]:
        """All that the user ever had."""
        return {key for key, (whose, _, _) in self.opened.items() if whose == user_id}


class MemoryMfa:
    """See `commands.ports.Mfa`. Everybody's codes are 000001, 000002 and so on, each good once."""

    def __init__(self, personal_data: MemoryPersonalData) -> None:
        self._personal_data = personal_data
        self._prepared: dict[UUID, set[str]] = {}
        self._prepared_at: dict[UUID, datetime] = {}
        self._taken: dict[UUID, set[str]] = {}

    async def prepare(self, user_id: UUID, account: str, *, now: datetime) -> tuple[str, tuple[str, ...]]:
        """See `commands.ports.Mfa.prepare`."""
        await self._personal_data.seal(user_id, (PersonalField.MFA_SECRET, "secret"))
        self._prepared[user_id], self._prepared_at[user_id] = set(), now
        return f"otpauth://totp/{account}", ("recovery-1", "recovery-2")

    async def confirm(self, user_id: UUID, code: Secret, *, by: UUID, prepared_after: datetime, now: datetime) -> bool:
        """See `commands.ports.Mfa.confirm`."""
        del by, now
        shown = Secret(code).reveal()
        recent = user_id in self._prepared_at and self._prepared_at[user_id] >= prepared_after
        return recent and self._used(self._prepared.get(user_id), shown, shown.startswith("00000"))

    async def take(self, user_id: UUID, code: Secret, *, now: datetime) -> bool:
        """See `commands.ports.Mfa.take`."""
        del now
        shown = Secret(code).reveal()
        return self._used(self._taken.get(user_id), shown, shown.startswith(("00000", "recovery-")))

    def _used(self, taken: set[str] | None, code: str, good: bool) -> bool:
        if taken is None or code in taken or not good:
            return False
        taken.add(code)
        return True

    def enabled(self, user_id: UUID) -> None:
        """The factor that was confirmed counts."""
        self._taken[user_id] = self._prepared.pop(user_id, set())

    def forget(self, user_id: UUID) -> None:
        """No code is the user's any more."""
        self._taken.pop(user_id, None)
        self._prepared.pop(user_id, None)


@dataclass(frozen=True, slots=True)
class MemoryAccounts:
    """What changes in the transaction of an append."""

    credentials: MemoryCredentials
    sessions: MemorySessions
    mfa: MemoryMfa
    tokens: MemoryAccountTokens

    def apply(self, append: Append) -> None:
        """What the events of this append say."""
        for event in append.events:
            if isinstance(event, User.PasswordChanged | User.SessionsRevoked | User.MfaEnabled | User.MfaDisabled
                          | User.EmailChanged | User.EmailChangeUndone | User.Erased):  # fmt: skip
                generations = self.credentials.generations
                generations[event.originator_id] = generations.get(event.originator_id, 0) + 1
            self._apply(event, append.command_id)

    def _apply(self, event: object, command_id: UUID) -> None:
        match event:
            case User.PasswordChanged(originator_id=user_id):
                self.credentials.changed(user_id, command_id)
                self.tokens.forget(user_id, *_VOID_WITH_A_PASSWORD)
            case User.SessionsRevoked(originator_id=user_id, session_ids=None, kept=kept):
                self.sessions.ended |= self.sessions.of(user_id) - {kept}
            case User.SessionsRevoked(originator_id=user_id, session_ids=ended):
                self.sessions.ended |= self.sessions.of(user_id) & set(ended or ())
            case User.MfaEnabled(originator_id=user_id):
                self.mfa.enabled(user_id)
            case User.MfaDisabled(originator_id=user_id):
                self.mfa.forget(user_id)
            case User.EmailChanged(originator_id=user_id):
                self.tokens.forget(user_id, *_VOID_WITH_AN_ADDRESS)
            case User.EmailChangeUndone(originator_id=user_id):
                self.tokens.forget(user_id, *_VOID_WITH_AN_ADDRESS, TokenPurpose.EMAIL_CHANGE)
            case User.Erased(originator_id=user_id):
                self.credentials.forget(user_id)
                self.mfa.forget(user_id)
                self.tokens.forget(user_id, *TokenPurpose)
                for session_id in self.sessions.of(user_id):
                    del self.sessions.opened[session_id]
