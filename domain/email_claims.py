"""The e-mail addresses of accounts, sealed: the pending one, the former ones; and the claims that make one unique."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from eventsourcing.domain import Aggregate

from domain.audience import Audience
from domain.errors import AlreadyExists
from domain.identity import EmailClaimId, UserId

# So long the owner of the former address can undo a change of address, and so long that address is kept for them.
UNDO_WINDOW: Final = timedelta(days=7)
FORMER_EMAILS_MAX: Final = 3  # changes of address within UNDO_WINDOW: each keeps a former address


@dataclass(frozen=True, slots=True)
class PendingEmail:
    """An address that its owner has not confirmed yet; `email` is sealed, `version` is of the event that asked."""

    email: str
    requested_at: datetime
    version: int


@dataclass(frozen=True, slots=True)
class FormerEmail:
    """A verified address that the account had before; `version` is of the event that replaced it."""

    email: str
    requested_at: datetime
    left_at: datetime
    version: int


class EmailClaim(Aggregate):
    """Makes an address unique: its id is derived from the address's keyed digest, so a second claim is a conflict.

    Released, it may be claimed again by any account; kept for an account, until then by that account alone."""

    TOPIC = "email"

    class Created(Aggregate.Created):
        TOPIC = "email.claimed"
        AUDIENCE = Audience.SECURITY
        user_id: UUID

        def apply(self, aggregate: EmailClaim) -> None:
            aggregate.user_id = UserId(self.user_id)
            aggregate.kept_for, aggregate.kept_until = None, None

    class Released(Aggregate.Event):
        TOPIC = "email.released"
        AUDIENCE = Audience.SECURITY
        user_id: UUID

        def apply(self, aggregate: EmailClaim) -> None:
            aggregate.user_id = None
            aggregate.kept_for, aggregate.kept_until = None, None

    class Kept(Aggregate.Event):
        """It leads to no account any more, and until then only this one may claim it: its change may be undone."""

        TOPIC = "email.kept"
        AUDIENCE = Audience.SECURITY
        user_id: UUID
        until: datetime

        def apply(self, aggregate: EmailClaim) -> None:
            aggregate.user_id = None
            aggregate.kept_for, aggregate.kept_until = UserId(self.user_id), self.until

    class Reclaimed(Aggregate.Event):
        TOPIC = "email.reclaimed"
        AUDIENCE = Audience.SECURITY
        user_id: UUID

        def apply(self, aggregate: EmailClaim) -> None:
            aggregate.user_id = UserId(self.user_id)
            aggregate.kept_for, aggregate.kept_until = None, None

    user_id: UserId | None
    kept_for: UserId | None
    kept_until: datetime | None

    def __init__(self) -> None:
        """State comes from events alone."""

    @classmethod
    def claim(cls, *, claim_id: EmailClaimId, user_id: UserId, now: datetime) -> EmailClaim:
        return cls._create(cls.Created, id=claim_id, timestamp=now, user_id=user_id)

    def is_taken(self, *, user_id: UserId | None, now: datetime) -> bool:
        """Is it, for this account (None: a new one), the claim of another?"""
        if self.user_id is not None:
            return self.user_id != user_id
        return self.kept_until is not None and now < self.kept_until and self.kept_for != user_id

    def reclaim(self, *, user_id: UserId, now: datetime) -> None:
        """Nothing happens when it is this user's. Raises AlreadyExists when it is another's, or kept for another."""
        if self.is_taken(user_id=user_id, now=now):
            raise AlreadyExists("An account with this e-mail address exists; choose another address.", field=("email",))
        if self.user_id is None:
            self.trigger_event(self.Reclaimed, timestamp=now, user_id=user_id)

    def keep(self, *, user_id: UserId, until: datetime, now: datetime) -> None:
        """Nothing happens unless it is this user's."""
        if self.user_id == user_id:
            self.trigger_event(self.Kept, timestamp=now, user_id=user_id, until=until)

    def release(self, *, user_id: UserId, now: datetime) -> None:
        """Nothing happens unless it is this user's, or kept for this user."""
        if user_id in (self.user_id, self.kept_for):
            self.trigger_event(self.Released, timestamp=now, user_id=user_id)
