"""What the security log tells, by names that never change; and which command is told under which name. Pure.

The page `docs/security-log.md` has a line for each name.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from typing import Final, Protocol

from commands.actors import Actor
from domain.errors import DomainError, Forbidden, RateLimited, Unauthenticated


class SecurityEvent(StrEnum):
    """The name of a line in the security log, and of its count."""

    IDENTITY_REFUSED = "security.identity.refused"
    RIGHT_REFUSED = "security.right.refused"
    RATE_LIMITED = "security.rate.limited"
    POINTS_LIMITED = "security.points.limited"
    SOCKETS_LIMITED = "security.sockets.limited"
    ACCOUNT_OPENED = "security.account.opened"
    ACCOUNT_ERASED = "security.account.erased"
    ACCOUNT_SUSPENDED = "security.account.suspended"
    ACCOUNT_RESUMED = "security.account.resumed"
    PROFILE_CHANGED = "security.profile.changed"
    EMAIL_VERIFIED = "security.email.verified"
    SIGN_IN = "security.sign_in"
    SESSIONS_ENDED = "security.sessions.ended"
    SESSION_RENEWED = "security.session.renewed"
    PASSWORD_CHANGED = "security.password.changed"  # noqa: S105  # a name, not a secret
    PASSWORD_RESET_ASKED = "security.password.reset_asked"  # noqa: S105  # a name, not a secret
    MFA_CHANGED = "security.mfa.changed"
    ROLE_CHANGED = "security.role.changed"
    WEBHOOK_SECRET_CHANGED = "security.webhook_secret.changed"  # noqa: S105  # a name, not a secret
    KEYS_ROTATED = "security.keys.rotated"
    PERSON_READ = "security.person.read"
    RISKS_ACCEPTED = "security.risks.accepted"


# Commands that change who may do what, by name. What else is refused is told as a refusal of identity, right or rate.
EVENT_OF: Final[Mapping[str, SecurityEvent]] = {
    "RegisterUser": SecurityEvent.ACCOUNT_OPENED,
    "EraseUser": SecurityEvent.ACCOUNT_ERASED,
    "SuspendUser": SecurityEvent.ACCOUNT_SUSPENDED,
    "ResumeUser": SecurityEvent.ACCOUNT_RESUMED,
    "UpdateProfile": SecurityEvent.PROFILE_CHANGED,
    "UndoEmailChange": SecurityEvent.PROFILE_CHANGED,
    "VerifyEmail": SecurityEvent.EMAIL_VERIFIED,
    "SignIn": SecurityEvent.SIGN_IN,
    "SignOut": SecurityEvent.SESSIONS_ENDED,
    "EndSessions": SecurityEvent.SESSIONS_ENDED,
    "ChangePassword": SecurityEvent.PASSWORD_CHANGED,
    "ResetPassword": SecurityEvent.PASSWORD_CHANGED,
    "RequestPasswordReset": SecurityEvent.PASSWORD_RESET_ASKED,
    "EnableMfa": SecurityEvent.MFA_CHANGED,
    "ConfirmMfa": SecurityEvent.MFA_CHANGED,
    "DisableMfa": SecurityEvent.MFA_CHANGED,
    "ResetMfa": SecurityEvent.MFA_CHANGED,
    "GrantRole": SecurityEvent.ROLE_CHANGED,
    "RevokeRole": SecurityEvent.ROLE_CHANGED,
    "RegisterWebhook": SecurityEvent.WEBHOOK_SECRET_CHANGED,
    "RotateWebhookSecret": SecurityEvent.WEBHOOK_SECRET_CHANGED,
    "RemoveWebhook": SecurityEvent.WEBHOOK_SECRET_CHANGED,
}
DONE: Final = "done"
FAILED: Final = "failed"


def refusal_of(error: BaseException) -> tuple[SecurityEvent | None, str]:
    """The name under which an error is told whatever was asked (None for what is no refusal of identity, right or
    rate), and the outcome."""
    match error:
        case Unauthenticated():
            return SecurityEvent.IDENTITY_REFUSED, "refused"
        case Forbidden():
            return SecurityEvent.RIGHT_REFUSED, "refused"
        case RateLimited():
            return SecurityEvent.RATE_LIMITED, "refused"
        case DomainError():
            return None, error.code.lower()
        case _:
            return None, FAILED


class About(list[str]):
    """The ids of what an actor asked for is about; and a refusal that the actor does not learn."""

    withheld: DomainError | None = None


class SecurityLog(Protocol):
    """Where security events are told."""

    def watched(self, what: str, actor: Actor) -> AbstractContextManager[About]:
        """Around whatever an actor asks for: tells its refusal, and how a command of EVENT_OF ended."""


class Silent:
    """Tells nobody: for a world without operators."""

    def watched(self, what: str, actor: Actor) -> AbstractContextManager[About]:
        """See `SecurityLog.watched`."""
        del what, actor
        return nullcontext(About())
