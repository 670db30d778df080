"""Users. The claims on their e-mail addresses are in `domain.email_claims`.

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
from domain.email_claims import FORMER_EMAILS_MAX, UNDO_WINDOW, FormerEmail, PendingEmail
from domain.errors import IllegalTransition
from domain.identity import UserId


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
            aggregate.mfa_enabled_at, aggregate.suspended_at = None, None
            aggregate.pending_email, aggregate.former_emails = None, ()

    class ProfileUpdated(Aggregate.Event):
        """`email` is None, but in events of earlier releases, with which another address counted at once."""

        TOPIC = "user.profile_updated"
        AUDIENCE = Audience.PERSONAL
        email: Sealed | None
        name: Sealed | None

        def apply(self, aggregate: User) -> None:
            if self.email is not None:
                aggregate.email, aggregate.email_verified = self.email, False
            aggregate.name = aggregate.name if self.name is None else self.name

    class EmailChangeRequested(Aggregate.Event):
        """The address does not count yet: a link was mailed to it. It replaces one that was asked for before."""

        TOPIC = "user.email_change_requested"
        AUDIENCE = Audience.SECURITY
        email: Sealed

        def apply(self, aggregate: User) -> None:
            aggregate.pending_email = PendingEmail(self.email, self.timestamp, self.originator_version)

    class EmailChanged(Aggregate.Event):
        """The link that was mailed to the pending address was followed: it is the account's address."""

        TOPIC = "user.email_changed"
        AUDIENCE = Audience.PERSONAL
        email: Sealed

        def apply(self, aggregate: User) -> None:
            pending, now = aggregate.pending_email, self.timestamp
            kept = tuple(former for former in aggregate.former_emails if former.left_at > now - UNDO_WINDOW)
            if aggregate.email_verified:
                asked = now if pending is None else pending.requested_at
                kept = (*kept, FormerEmail(aggregate.email, asked, now, self.originator_version))
            aggregate.former_emails, aggregate.pending_email = kept, None
            aggregate.email, aggregate.email_verified = self.email, True

    class EmailChangeUndone(Aggregate.Event):
        """`email` is the former address, which counts again; None where the change had not happened yet."""

        TOPIC = "user.email_change_undone"
        AUDIENCE = Audience.PERSONAL
        email: Sealed | None

        def apply(self, aggregate: User) -> None:
            aggregate.pending_email = None
            if self.email is not None:
                texts = [former.email for former in aggregate.former_emails]
                aggregate.former_emails = aggregate.former_emails[: texts.index(self.email)]
                aggregate.email, aggregate.email_verified = self.email, True

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

        def apply(self, aggregate: User) -> None:
            aggregate.pending_email = None

    class MfaEnabled(Aggregate.Event):
        TOPIC = "user.mfa_enabled"
        AUDIENCE = Audience.SECURITY
        reason: Plain

        def apply(self, aggregate: User) -> None:
            aggregate.mfa_enabled, aggregate.mfa_enabled_at = True, self.timestamp

    class MfaDisabled(Aggregate.Event):
        TOPIC = "user.mfa_disabled"
        AUDIENCE = Audience.SECURITY
        reason: Plain

        def apply(self, aggregate: User) -> None:
            aggregate.mfa_enabled, aggregate.mfa_enabled_at = False, None

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
            aggregate.pending_email, aggregate.former_emails = None, ()

    email: str
    name: str
    roles: tuple[Role, ...]
    mfa_enabled: bool
    mfa_enabled_at: datetime | None
    email_verified: bool
    pending_email: PendingEmail | None
    former_emails: tuple[FormerEmail, ...]  # oldest first; those that can be undone, and perhaps older ones
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

    def update_profile(self, *, sealed_name: str | None, now: datetime) -> None:
        """Another name; None leaves the one there is. Whether it is another, only the caller can tell."""
        self._require_account()
        if sealed_name is not None:
            self.trigger_event(self.ProfileUpdated, timestamp=now, email=None, name=sealed_name)

    def request_email_change(self, *, sealed_email: str, now: datetime) -> None:
        """Have another address confirmed. Raises IllegalTransition after FORMER_EMAILS_MAX changes in UNDO_WINDOW."""
        self._require_account()
        recent = [former.left_at for former in self.former_emails if former.left_at > now - UNDO_WINDOW]
        if len(recent) >= FORMER_EMAILS_MAX:
            raise IllegalTransition(
                f"The address of this account was changed {len(recent)} times in {UNDO_WINDOW.days} days; it can be "
                f"changed again from {recent[0] + UNDO_WINDOW:%Y-%m-%d %H:%M} UTC on.",
                field=("email",),
            )
        self.trigger_event(self.EmailChangeRequested, timestamp=now, email=sealed_email)

    def confirm_email_change(self, *, now: datetime) -> None:
        """The pending address is the account's from now on. Raises IllegalTransition where none is pending."""
        self._require_account()
        if self.pending_email is None:
            raise IllegalTransition(f"No change of address is pending for the account {self.id}.")
        self.trigger_event(self.EmailChanged, timestamp=now, email=self.pending_email.email)

    def undo_email_change(self, former: FormerEmail | None, *, now: datetime) -> None:
        """The account goes back to this address, or stays with its present one (None) and the pending one is dropped.

        It ends every other way in: the password, every session, and a second factor that was set up within UNDO_WINDOW
        before the change was asked for, or later. An older factor stays: the mailbox alone is not the account."""
        self._require_account()
        asked = former.requested_at if former is not None else None
        if former is None and self.pending_email is not None:
            asked = self.pending_email.requested_at
        restored = None if former is None else former.email
        self.trigger_event(self.EmailChangeUndone, timestamp=now, email=restored)
        if self.mfa_enabled_at is not None and asked is not None and self.mfa_enabled_at > asked - UNDO_WINDOW:
            self.disable_mfa(reason="a change of address was undone", now=now)
        self.change_password(reason="a change of address was undone", now=now)

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

    def prove_mailbox(self, *, now: datetime) -> None:
        """The owner of the present address sets a password by a link in their mail. Until the address is verified,
        the registrant has proven nothing: their second factor goes."""
        if not self.email_verified:
            self.verify_email(now=now)
            self.disable_mfa(reason="set up before the address was verified", now=now)

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
