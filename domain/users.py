"""Users and the claims on their e-mail addresses.

Names and addresses enter sealed (see `commands.ports.PersonalData`): this module never sees them in clear.
Passwords and sessions are not facts and are not here.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from eventsourcing.domain import Aggregate

from domain.identity import EmailClaimId, UserId

USER_AGENT_LENGTH_MAX: Final = 200


class Role(StrEnum):
    CUSTOMER = "CUSTOMER"
    STAFF = "STAFF"
    ADMIN = "ADMIN"
    ANALYST = "ANALYST"
    INTEGRATOR = "INTEGRATOR"


class User(Aggregate):
    """A person with an account."""

    TOPIC = "user"

    # TOPICs and field names are stored for ever: a changed shape is a new class_version with an upcaster.
    class Created(Aggregate.Created):
        TOPIC = "user.registered"
        email: str
        name: str
        roles: tuple[Role, ...]

        def apply(self, aggregate: User) -> None:
            aggregate.email, aggregate.name, aggregate.roles = self.email, self.name, self.roles

    class SignedIn(Aggregate.Event):
        TOPIC = "user.signed_in"
        session_id: UUID
        user_agent: str

    class SignInFailed(Aggregate.Event):
        TOPIC = "user.sign_in_failed"
        reason: str

    email: str
    name: str
    roles: tuple[Role, ...]

    def __init__(self) -> None:
        """State comes from events alone; see `Created.apply`."""

    @classmethod
    def register(
        cls, *, user_id: UserId, sealed_email: str, sealed_name: str, roles: tuple[Role, ...], now: datetime
    ) -> User:
        return cls._create(cls.Created, id=user_id, timestamp=now, email=sealed_email, name=sealed_name, roles=roles)

    def sign_in(self, *, session_id: UUID, user_agent: str, now: datetime) -> None:
        self.trigger_event(
            self.SignedIn, timestamp=now, session_id=session_id, user_agent=user_agent[:USER_AGENT_LENGTH_MAX]
        )

    def refuse_sign_in(self, *, reason: str, now: datetime) -> None:
        self.trigger_event(self.SignInFailed, timestamp=now, reason=reason)


class EmailClaim(Aggregate):
    """Makes an address unique: its id is derived from the address's keyed digest, so a second claim is a conflict."""

    TOPIC = "email"

    class Created(Aggregate.Created):
        TOPIC = "email.claimed"
        user_id: UUID

        def apply(self, aggregate: EmailClaim) -> None:
            aggregate.user_id = UserId(self.user_id)

    user_id: UserId

    def __init__(self) -> None:
        """State comes from events alone."""

    @classmethod
    def claim(cls, *, claim_id: EmailClaimId, user_id: UserId, now: datetime) -> EmailClaim:
        return cls._create(cls.Created, id=claim_id, timestamp=now, user_id=user_id)
