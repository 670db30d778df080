"""Rejections: each is typed, carries the values it saw, and says what to do.

`code` is public (GraphQL `UserErrorCode`); `field` is the path of the input it speaks of, or empty.
Raising one records nothing.
"""

from __future__ import annotations

from typing import ClassVar


class DomainError(Exception):
    """A request that cannot be fulfilled as it stands; nothing was recorded."""

    code: ClassVar[str] = "INVALID"

    def __init__(self, message: str, *, field: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class Invalid(DomainError):
    """A value breaks a rule of its own, whatever the state."""


class Undelivered(DomainError):
    """What was to be posted to an endpoint was not taken by it; what it answered is told."""


class NotFound(DomainError):
    """What the request names does not exist, or is not the actor's to see."""

    code = "NOT_FOUND"


class AlreadyExists(DomainError):
    """What has to be unique is taken."""

    code = "ALREADY_EXISTS"


class StockInsufficient(DomainError):
    """Fewer units are available than asked for."""

    code = "INSUFFICIENT_STOCK"


class IllegalTransition(DomainError):
    """The aggregate is in a state that does not allow this."""

    code = "ILLEGAL_TRANSITION"


class Conflict(DomainError):
    """Others changed the same aggregate faster than this command could decide; ask again."""

    code = "CONFLICT"


class BadCredentials(DomainError):
    """E-mail and password do not belong together; which of them is wrong is not said."""

    code = "BAD_CREDENTIALS"


class AccountSuspended(DomainError):
    """Password and code are right, and the account is suspended; told to nobody else."""

    code = "ACCOUNT_SUSPENDED"


class ReauthenticationRequired(DomainError):
    """The request changes the way in, and the present password did not come with it."""

    code = "REAUTHENTICATION_REQUIRED"


class MfaRequired(DomainError):
    """The account has a second factor and no code came with the password."""

    code = "MFA_REQUIRED"


class MfaInvalid(DomainError):
    """The code is not the account's, or was used before."""

    code = "MFA_INVALID"


class WeakPassword(DomainError):
    """The password is too short, too long, or is the e-mail address."""

    code = "WEAK_PASSWORD"


class IdempotencyKeyMismatch(DomainError):
    """The key was used before by the same actor for the same command with other content."""

    code = "IDEMPOTENCY_KEY_MISMATCH"


class IdempotencyInProgress(DomainError):
    """The first request with this key is still being executed."""

    code = "IDEMPOTENCY_IN_PROGRESS"


class IdempotencyPreviousFailed(DomainError):
    """The first request with this key was refused, and its refusal is on record."""

    code = "IDEMPOTENCY_PREVIOUS_FAILED"


class TokenReused(DomainError):
    """A refresh token was used a second time, so its whole session was ended."""

    code = "TOKEN_REUSED"


class RateLimited(DomainError):
    """Tried too often; `retry_after_s` seconds from now it may be tried again."""

    code = "RATE_LIMITED"

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Forbidden(Exception):
    """The actor may not do this; not a correctable input, so not a DomainError."""


class Unauthenticated(Exception):
    """Nobody is signed in, or the access token is no longer good."""
