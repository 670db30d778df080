"""Users and the claims on their e-mail addresses.

Names and addresses enter sealed (see `commands.ports.PersonalData`): this module never sees them in clear.
Passwords, sessions and second factors are not facts and are not here; that they changed is one. An erased account
decides nothing any more.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from eventsourcing.domain import Aggregate

from domain.audience import Audience
from domain.disclosure import Plain, Sealed
from domain.errors import AlreadyExists, IllegalTransition
from domain.identity import EmailClaimId, UserId


class Role(StrEnum):
    CUSTOMER = "CUSTOMER"
    STAFF = "STAFF"
    ADMIN = "ADMIN"
    ANALYST = "ANALYST"
    INTEGRATOR = "INTEGRATOR"


class SuspensionReason(StrEnum):
    """Why an account is suspended; a choice and no text, so that nothing about a person stands in the log."""

    ABUSE = "ABUSE"
    FRAUD = "FRAUD"
    SECURITY = "SECURITY"
    REQUESTED = "REQUESTED"
    OTHER = "OTHER"


class User(Aggregate):
    """A person with an account."""

    TOPIC = "user"

    # TOPICs and field names are stored for ever: a changed shape is a new class_version with an upcaster.
    class Created(Aggregate.Created):
        TOPIC = "user.registered"
        AUDIENCE = Audience.PERSONAL
        FIELD_AUDIENCES = {"roles": Audience.SECURITY}  # noqa: RUF012  # as all events, never changed
        email: Sealed
        name: Sealed
        roles: tuple[Role, ...]

        def apply(self, aggregate: User) -> None:
            aggregate.email, aggregate.name, aggregate.roles = self.email, self.name, self.roles
            aggregate.mfa_enabled, aggregate.email_verified, aggregate.erased = False, False, False
            aggregate.suspended_at = None

    class ProfileUpdated(Aggregate.Event):
        TOPIC = "user.profile_updated"
        AUDIENCE = Audience.PERSONAL
        email: Sealed | None
        name: Sealed | None

        def apply(self, aggregate: User) -> None:
            if self.email is not None:
                aggregate.email, aggregate.email_verified = self.email, False
            aggregate.name = aggregate.name if self.name is None else self.name

    class RoleGranted(Aggregate.Event):
        TOPIC = "user.role_granted"
        AUDIENCE = Audience.SECURITY
        role: Role
        by: Plain

        def apply(self, aggregate: User) -> None:
            aggregate.roles = (*aggregate.roles, self.role)

    class RoleRevoked(Aggregate.Event):
        TOPIC = "user.role_revoked"
        AUDIENCE = Audience.SECURITY
        role: Role
        by: Plain

        def apply(self, aggregate: User) -> None:
            aggregate.roles = tuple(role for role in aggregate.roles if role is not self.role)

    class SignedIn(Aggregate.Event):
        """Of earlier releases, as the next: attempts are streams of their own now, see `domain.sessions`."""

        TOPIC = "user.signed_in"
        AUDIENCE = Audience.SECURITY
        class_version = 2
        session_id: UUID
        user_agent: Plain

        @staticmethod
        def upcast_v1_v2(state: dict[str, Any]) -> None:
            """Version 1 stored what the device said, in clear; it is not read any more."""
            state["user_agent"] = ""

    class SignInFailed(Aggregate.Event):
        TOPIC = "user.sign_in_failed"
        AUDIENCE = Audience.SECURITY
        reason: Plain

    class PasswordChanged(Aggregate.Event):
        TOPIC = "user.password_changed"
        AUDIENCE = Audience.SECURITY
        reason: Plain

    class MfaEnabled(Aggregate.Event):
        TOPIC = "user.mfa_enabled"
        AUDIENCE = Audience.SECURITY
        reason: Plain

        def apply(self, aggregate: User) -> None:
            aggregate.mfa_enabled = True

    class MfaDisabled(Aggregate.Event):
        TOPIC = "user.mfa_disabled"
        AUDIENCE = Audience.SECURITY
        reason: Plain

        def apply(self, aggregate: User) -> None:
            aggregate.mfa_enabled = False

    class SessionsRevoked(Aggregate.Event):
        """These sessions ended (None: all that were opened before the event), except the one that was kept."""

        TOPIC = "user.sessions_revoked"
        AUDIENCE = Audience.SECURITY
        class_version = 2
        reason: Plain
        session_ids: tuple[UUID, ...] | None
        before: datetime
        kept: UUID | None

        @staticmethod
        def upcast_v1_v2(state: dict[str, Any]) -> None:
            """Version 1 did not say which: whatever was open by then may have ended."""
            state |= {"session_ids": None, "before": state["timestamp"], "kept": None}

    class Suspended(Aggregate.Event):
        """Nobody signs in until it is resumed."""

        TOPIC = "user.suspended"
        AUDIENCE = Audience.SECURITY
        reason: SuspensionReason
        by: Plain

        def apply(self, aggregate: User) -> None:
            aggregate.suspended_at = self.timestamp

    class Resumed(Aggregate.Event):
        TOPIC = "user.resumed"
        AUDIENCE = Audience.SECURITY
        by: Plain

        def apply(self, aggregate: User) -> None:
            aggregate.suspended_at = None

    class AdminActed(Aggregate.Event):
        """The owner acted as ADMIN on somebody's account, and was ADMIN then; see `commands.rights`."""

        TOPIC = "user.admin_acted"
        AUDIENCE = Audience.SECURITY
        command: Plain
        subject_id: UUID

    class EmailVerified(Aggregate.Event):
        """The owner has read a mail to the present address."""

        TOPIC = "user.email_verified"
        AUDIENCE = Audience.SECURITY

        def apply(self, aggregate: User) -> None:
            aggregate.email_verified = True

    class Erased(Aggregate.Event):
        TOPIC = "user.erased"
        AUDIENCE = Audience.PERSONAL
        by: Plain

        def apply(self, aggregate: User) -> None:
            aggregate.email, aggregate.name, aggregate.roles = "", "", ()
            aggregate.mfa_enabled, aggregate.email_verified, aggregate.erased = False, False, True

    email: str
    name: str
    roles: tuple[Role, ...]
    mfa_enabled: bool
    email_verified: bool
    erased: bool
    suspended_at: datetime | None

    def __init__(self) -> None:
        """State comes from events alone; see `Created.apply`."""

    @property
    def suspended(self) -> bool:
        return self.suspended_at is not None

    @classmethod
    def register(
        cls, *, user_id: UserId, sealed_email: str, sealed_name: str, roles: tuple[Role, ...], now: datetime
    ) -> User:
        return cls._create(cls.Created, id=user_id, timestamp=now, email=sealed_email, name=sealed_name, roles=roles)

    def update_profile(self, *, sealed_email: str | None, sealed_name: str | None, now: datetime) -> None:
        """Another address or name; None leaves what there is. Whether it is another, only the caller can tell."""
        self._require_account()
        if sealed_email is not None or sealed_name is not None:
            self.trigger_event(self.ProfileUpdated, timestamp=now, email=sealed_email, name=sealed_name)

    def grant(self, *, role: Role, by: str, now: datetime) -> None:
        """Nothing happens when the role is there."""
        self._require_account()
        if role not in self.roles:
            self.trigger_event(self.RoleGranted, timestamp=now, role=role, by=by)

    def revoke(self, *, role: Role, by: str, now: datetime) -> None:
        """Nothing happens when the role is not there."""
        self._require_account()
        if role in self.roles:
            self.trigger_event(self.RoleRevoked, timestamp=now, role=role, by=by)

    def change_password(self, *, reason: str, now: datetime) -> None:
        """The password is another one, so nobody stays signed in."""
        self._require_account()
        self.trigger_event(self.PasswordChanged, timestamp=now, reason=reason)
        self.revoke_sessions(reason=reason, now=now)

    def revoke_sessions(
        self, *, reason: str, now: datetime, session_ids: tuple[UUID, ...] | None = None, kept: UUID | None = None
    ) -> None:
        """These sessions end, or all that are open by now; of all, one may be kept: that of the person who asks."""
        self._require_account()
        self.trigger_event(
            self.SessionsRevoked, timestamp=now, reason=reason, session_ids=session_ids, before=now, kept=kept
        )

    def enable_mfa(self, *, reason: str, now: datetime) -> None:
        """Signing in needs a second factor from now on; nothing happens when it does already."""
        self._require_account()
        if not self.mfa_enabled:
            self.trigger_event(self.MfaEnabled, timestamp=now, reason=reason)

    def disable_mfa(self, *, reason: str, now: datetime) -> None:
        """The password is enough; nothing happens when it is already."""
        self._require_account()
        if self.mfa_enabled:
            self.trigger_event(self.MfaDisabled, timestamp=now, reason=reason)

    def suspend(self, *, reason: SuspensionReason, by: str, now: datetime) -> None:
        """Nobody signs in any more, and every session ends; nothing happens the second time."""
        self._require_account()
        if not self.suspended:
            self.trigger_event(self.Suspended, timestamp=now, reason=reason, by=by)
            self.revoke_sessions(reason="suspended", now=now)

    def resume(self, *, by: str, now: datetime) -> None:
        """Its owner may sign in again; nothing happens when it is not suspended."""
        self._require_account()
        if self.suspended:
            self.trigger_event(self.Resumed, timestamp=now, by=by)

    def reset_mfa(self, *, now: datetime) -> None:
        """The password is enough, and every session ends; nothing happens without a second factor."""
        if self.mfa_enabled:
            self.disable_mfa(reason="reset by an administrator", now=now)
            self.revoke_sessions(reason="second factor reset", now=now)

    def act(self, *, command: str, subject_id: UUID, now: datetime) -> None:
        """The owner acted as ADMIN."""
        self._require_account()
        self.trigger_event(self.AdminActed, timestamp=now, command=command, subject_id=subject_id)

    def verify_email(self, *, now: datetime) -> None:
        """The present address is the owner's; nothing happens when that is known."""
        self._require_account()
        if not self.email_verified:
            self.trigger_event(self.EmailVerified, timestamp=now)

    def erase(self, *, by: str, now: datetime) -> None:
        """Nothing personal is left; the second time nothing happens. What was sealed loses its key beside this."""
        if not self.erased:
            self.trigger_event(self.Erased, timestamp=now, by=by)

    def _require_account(self) -> None:
        if self.erased:
            raise IllegalTransition(f"The account {self.id} is ERASED; nothing can be done with it any more.")


class EmailClaim(Aggregate):
    """Makes an address unique: its id is derived from the address's keyed digest, so a second claim is a conflict.

    Released, it may be claimed again, by anybody."""

    TOPIC = "email"

    class Created(Aggregate.Created):
        TOPIC = "email.claimed"
        AUDIENCE = Audience.SECURITY
        user_id: UUID

        def apply(self, aggregate: EmailClaim) -> None:
            aggregate.user_id = UserId(self.user_id)

    class Released(Aggregate.Event):
        TOPIC = "email.released"
        AUDIENCE = Audience.SECURITY
        user_id: UUID

        def apply(self, aggregate: EmailClaim) -> None:
            aggregate.user_id = None

    class Reclaimed(Aggregate.Event):
        TOPIC = "email.reclaimed"
        AUDIENCE = Audience.SECURITY
        user_id: UUID

        def apply(self, aggregate: EmailClaim) -> None:
            aggregate.user_id = UserId(self.user_id)

    user_id: UserId | None

    def __init__(self) -> None:
        """State comes from events alone."""

    @classmethod
    def claim(cls, *, claim_id: EmailClaimId, user_id: UserId, now: datetime) -> EmailClaim:
        return cls._create(cls.Created, id=claim_id, timestamp=now, user_id=user_id)

    def reclaim(self, *, user_id: UserId, now: datetime) -> None:
        """Nothing happens when it is this user's. Raises AlreadyExists when it is somebody else's."""
        if self.user_id == user_id:
            return
        if self.user_id is not None:
            raise AlreadyExists("An account with this e-mail address exists; choose another address.", field=("email",))
        self.trigger_event(self.Reclaimed, timestamp=now, user_id=user_id)

    def release(self, *, user_id: UserId, now: datetime) -> None:
        """Nothing happens unless it is this user's."""
        if self.user_id == user_id:
            self.trigger_event(self.Released, timestamp=now, user_id=user_id)
