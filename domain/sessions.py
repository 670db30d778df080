"""Attempts to sign in: facts of traffic. Each is a stream of its own, so that recording one competes with no decision
about the account, however often somebody tries."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from eventsourcing.domain import Aggregate

from domain.audience import Audience
from domain.disclosure import Plain
from domain.identity import UserId


class SignInAttempt(Aggregate):
    """One attempt, made to an account that exists. Of an address without an account nothing is recorded."""

    TOPIC = "sign_in"

    # TOPICs and field names are stored for ever: a changed shape is a new class_version with an upcaster.
    class Created(Aggregate.Created):
        """A session was opened. The device that asked is kept with the session, which ends."""

        TOPIC = "sign_in.succeeded"
        AUDIENCE = Audience.SECURITY
        user_id: UserId
        session_id: UUID

        def apply(self, aggregate: SignInAttempt) -> None:
            aggregate.user_id, aggregate.session_id, aggregate.failure = self.user_id, self.session_id, None

    class Failed(Aggregate.Created):
        """`reason` is one of ours and holds nothing that was sent."""

        TOPIC = "sign_in.failed"
        AUDIENCE = Audience.SECURITY
        user_id: UserId
        reason: Plain

        def apply(self, aggregate: SignInAttempt) -> None:
            aggregate.user_id, aggregate.session_id, aggregate.failure = self.user_id, None, self.reason

    user_id: UserId
    session_id: UUID | None
    failure: str | None

    def __init__(self) -> None:
        """State comes from events alone."""

    @classmethod
    def succeeded(cls, *, user_id: UserId, session_id: UUID, now: datetime) -> SignInAttempt:
        """A session was opened: the attempt has its id."""
        return cls._create(cls.Created, id=session_id, timestamp=now, user_id=user_id, session_id=session_id)

    @classmethod
    def failed(cls, *, attempt_id: UUID, user_id: UserId, reason: str, now: datetime) -> SignInAttempt:
        """Somebody tried and failed."""
        return cls._create(cls.Failed, id=attempt_id, timestamp=now, user_id=user_id, reason=reason)
