"""Accounts: register, sign in and out, profile, password, second factor, roles, erasure.

What is no fact (passwords, sessions, codes, keys) is changed after the events are stored, so that a lost race
changes nothing of it. A second-factor code is taken when it is checked: whoever loses a race needs the next one.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

from commands.handling import Result, Work
from commands.ports import TokenPurpose
from domain.errors import (
    AlreadyExists,
    BadCredentials,
    DomainError,
    Forbidden,
    IllegalTransition,
    Invalid,
    MfaInvalid,
    MfaRequired,
    NotFound,
    WeakPassword,
)
from domain.identity import EmailClaimId, UserId, email_claim_id
from domain.text import plain_text
from domain.users import EmailClaim, Role, User

log = structlog.get_logger()
EMAIL_LENGTH_MAX: Final = 254
NAME_LENGTH_MAX: Final = 200
# Upper bound, whatever the scheme: argon2 would take any length, bcrypt fails above 72 bytes; NIST SP 800-63B asks for
# at least 64. So the scheme can be changed without anybody's password becoming too long.
PASSWORD_LENGTH_MIN: Final = 10
PASSWORD_BYTES_MAX: Final = 72
# The shape every deliverable address has; whether it exists, only a mail to it can tell.
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterUser:
    """Open an account. `password` None (our own processes only): nobody can sign in until one is set."""

    email: str
    name: str
    password: str | None
    roles: tuple[Role, ...] = (Role.CUSTOMER,)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """Open a session. `mfa_code` is needed where the account has a second factor."""

    email: str
    password: str
    mfa_code: str | None = None
    user_agent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateProfile:
    """Change one's own name or address; None leaves what there is."""

    name: str | None = None
    email: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePassword:
    """Change one's own password; every session ends."""

    current: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignOut:
    """End one of one's own sessions; None ends all."""

    session_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnableMfa:
    """Ask for a second factor; it counts once `ConfirmMfa` has seen a code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmMfa:
    """Show that the authenticator works: from now on signing in needs a code."""

    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DisableMfa:
    """Give the second factor up; takes a code, of time or recovery."""

    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantRole:
    """Let an account do more."""

    user_id: UserId
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeRole:
    """Let an account do less."""

    user_id: UserId
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class EraseUser:
    """Make everything personal of an account unreadable, for ever."""

    user_id: UserId


async def register_user(command: RegisterUser, work: Work) -> Result:
    """Raises AlreadyExists for a taken address, Invalid, WeakPassword, Forbidden for other roles than CUSTOMER."""
    if not work.actor.is_system and (command.roles != (Role.CUSTOMER,) or command.password is None):
        raise Forbidden("A new account is a CUSTOMER with a password; other roles are granted afterwards.")
    email = normal_email(command.email)
    name = plain_text(command.name, field="name", length_max=NAME_LENGTH_MAX)
    if command.password is not None:
        require_strong(command.password, email=email)
    claim_id = email_claim_id(work.ports.personal_data.digest(email))
    claim = await work.load(EmailClaim, claim_id)
    if claim is not None and claim.user_id is not None:
        raise AlreadyExists("An account with this e-mail address exists; sign in instead.", field=("email",))
    user_id = UserId(work.ports.ids.new())
    # Key and password hash are rows of their own, written first: should the process die before the save,
    # they belong to nobody and open nothing.
    sealed_email, sealed_name = await work.ports.personal_data.seal(user_id, email, name)
    if command.password is not None:
        await work.ports.credentials.set(user_id, command.password)
    _claim(claim, claim_id, user_id, work)
    user = User.register(
        user_id=user_id, sealed_email=sealed_email, sealed_name=sealed_name, roles=command.roles, now=work.now
    )
    return Result(work.add(user))


async def sign_in(command: SignIn, work: Work) -> Result:
    """Raises BadCredentials, MfaRequired or MfaInvalid, after recording it for an account that exists; who has no
    account learns it as slowly as who has one."""
    claim = await work.load(EmailClaim, address_id(command.email.strip().lower(), work))
    user_id = claim.user_id if claim else None
    good = await work.ports.credentials.verify(user_id, command.password)
    user = await work.load(User, user_id) if user_id else None
    refusal: DomainError = BadCredentials(
        "E-mail address and password do not belong together; check both, or register."
    )
    if user is None or user.erased:
        raise refusal
    if not good:
        user.refuse_sign_in(reason="wrong password", now=work.now)
        return Result(user, refusal=refusal)
    if user.mfa_enabled and command.mfa_code is None:
        user.refuse_sign_in(reason="no second factor", now=work.now)
        return Result(user, refusal=MfaRequired("This account needs a code: send it as mfaCode.", field=("mfaCode",)))
    if user.mfa_enabled and not await work.ports.mfa.take(user.id, command.mfa_code or "", now=work.now):
        user.refuse_sign_in(reason="wrong second factor", now=work.now)
        return Result(user, refusal=_wrong_code("mfaCode"))
    session_id, refresh_token = await work.ports.sessions.open(user.id, user_agent=command.user_agent, now=work.now)
    user.sign_in(session_id=session_id, user_agent=command.user_agent, now=work.now)
    return Result(user, secret={"session_id": str(session_id), "refresh_token": refresh_token})


async def update_profile(command: UpdateProfile, work: Work) -> Result:
    """Raises AlreadyExists for a taken address, Invalid. What is so already is not recorded again."""
    user = await _own_account(work)
    old_email, old_name = await work.ports.personal_data.open([(user.id, user.email), (user.id, user.name)])
    email = None if command.email is None else normal_email(command.email)
    name = None if command.name is None else plain_text(command.name, field="name", length_max=NAME_LENGTH_MAX)
    email, name = None if email == old_email else email, None if name == old_name else name
    if email is not None:
        claim_id = address_id(email, work)
        _claim(await work.load(EmailClaim, claim_id), claim_id, UserId(user.id), work)
        await _release(old_email, user, work)
    sealed = [(await work.ports.personal_data.seal(user.id, text))[0] if text else None for text in (email, name)]
    user.update_profile(sealed_email=sealed[0], sealed_name=sealed[1], now=work.now)
    return Result(user)


async def change_password(command: ChangePassword, work: Work) -> Result:
    """Raises BadCredentials for a wrong present password, WeakPassword for the new one."""
    user = await _own_account(work)
    if not await work.ports.credentials.verify(user.id, command.current):
        raise BadCredentials("The present password is another one.", field=("current",))
    (email,) = await work.ports.personal_data.open([(user.id, user.email)])
    require_strong(command.new, email=email or "", field="new")
    user.change_password(reason="changed by its owner", now=work.now)
    sessions = await work.ports.sessions.live(user.id, now=work.now)

    return Result(user, after=lambda: replace_password(user.id, command.new, sessions, work))


async def replace_password(user_id: UUID, password: str, sessions: Collection[UUID], work: Work) -> None:
    """What is no fact of another password: links that reset it are void before it counts, and nobody is signed in."""
    await work.ports.account_tokens.destroy(user_id, TokenPurpose.PASSWORD_RESET)
    await work.ports.credentials.set(user_id, password)
    await work.ports.sessions.end(sessions, now=work.now)


async def sign_out(command: SignOut, work: Work) -> Result:
    """A session that is unknown, somebody else's or ended already changes nothing."""
    user = await _own_account(work)
    live = await work.ports.sessions.live(user.id, now=work.now)
    ended = live if command.session_id is None else live & {command.session_id}
    if not ended:
        return Result(user)
    user.revoke_sessions(reason="signed out", now=work.now)
    return Result(user, after=lambda: work.ports.sessions.end(ended, now=work.now))


async def enable_mfa(command: EnableMfa, work: Work) -> Result:
    """Raises IllegalTransition when there is a second factor already."""
    del command
    user = await _own_account(work)
    if user.mfa_enabled:
        raise IllegalTransition("This account has a second factor; disable it first to set up another.")
    (email,) = await work.ports.personal_data.open([(user.id, user.email)])
    uri, codes = await work.ports.mfa.prepare(user.id, email or str(user.id))
    return Result(user, secret={"provisioning_uri": uri, "recovery_codes": "\n".join(codes)})


async def confirm_mfa(command: ConfirmMfa, work: Work) -> Result:
    """Raises MfaInvalid, also for a recovery code: it says nothing about the authenticator. Nothing happens when the
    second factor counts already."""
    user = await _own_account(work)
    if user.mfa_enabled:
        return Result(user)
    if not await work.ports.mfa.take(user.id, command.code, now=work.now, recovery=False):
        raise _wrong_code("code")
    user.enable_mfa(reason="confirmed by a code", now=work.now)
    return Result(user)


async def disable_mfa(command: DisableMfa, work: Work) -> Result:
    """Raises MfaInvalid; nothing happens without a second factor."""
    user = await _own_account(work)
    if not user.mfa_enabled:
        return Result(user)
    if not await work.ports.mfa.take(user.id, command.code, now=work.now):
        raise _wrong_code("code")
    user.disable_mfa(reason="given up by its owner", now=work.now)
    return Result(user, after=lambda: work.ports.mfa.destroy(user.id))


async def grant_role(command: GrantRole, work: Work) -> Result:
    """Raises NotFound; it counts from the account's next access token on."""
    user = await _account(command.user_id, work)
    user.grant(role=command.role, by=work.actor.name, now=work.now)
    return Result(user)


async def revoke_role(command: RevokeRole, work: Work) -> Result:
    """Raises NotFound, or IllegalTransition for one's own ADMIN: somebody has to stay who can grant."""
    user = await _account(command.user_id, work)
    if command.role is Role.ADMIN and command.user_id == work.actor.user_id:
        raise IllegalTransition("You cannot revoke your own role ADMIN; ask another ADMIN to.", field=("role",))
    user.revoke(role=command.role, by=work.actor.name, now=work.now)
    return Result(user)


async def erase_user(command: EraseUser, work: Work) -> Result:
    """Raises NotFound, also for somebody else's account unless the actor is ADMIN. The worker destroys what belongs
    to the account for certain; here it is only sooner. The second time nothing is left to do."""
    if command.user_id != work.actor.user_id and Role.ADMIN not in work.actor.roles:
        raise NotFound(f"There is no user {command.user_id}.", field=("userId",))
    user = await _account(command.user_id, work)
    if user.erased:
        return Result(user)
    (email,) = await work.ports.personal_data.open([(user.id, user.email)])
    await _release(email, user, work)
    user.erase(by=work.actor.name, now=work.now)

    async def after() -> None:
        ports = work.ports
        for kept in (ports.personal_data, ports.credentials, ports.sessions, ports.mfa, ports.account_tokens):
            try:
                await kept.destroy(user.id)
            except Exception as error:  # the erasure is stored: whatever fails, the rest and the answer do not
                log.warning("not_destroyed_yet", user_id=str(user.id), port=type(kept).__name__, error=repr(error))

    return Result(user, after=after)


def address_id(email: str, work: Work) -> EmailClaimId:
    """The claim on this address, which names it without telling it."""
    return email_claim_id(work.ports.personal_data.digest(email))


def _claim(claim: EmailClaim | None, claim_id: EmailClaimId, user_id: UserId, work: Work) -> None:
    if claim is None:
        work.add(EmailClaim.claim(claim_id=claim_id, user_id=user_id, now=work.now))
    else:
        claim.reclaim(user_id=user_id, now=work.now)


async def _release(email: str | None, user: User, work: Work) -> None:
    claim = await work.load(EmailClaim, address_id(email, work)) if email else None
    if claim is not None:
        claim.release(user_id=UserId(user.id), now=work.now)


async def _account(user_id: UUID, work: Work) -> User:
    user = await work.load(User, user_id)
    if user is None:
        raise NotFound(f"There is no user {user_id}.", field=("userId",))
    return user


async def _own_account(work: Work) -> User:
    if work.actor.user_id is None:
        raise Forbidden("This is about one's own account, and this actor has none.")
    user = await _account(work.actor.user_id, work)
    if user.erased:
        raise IllegalTransition(f"The account {user.id} is ERASED; nothing can be done with it any more.")
    return user


def _wrong_code(field: str) -> MfaInvalid:
    return MfaInvalid("The code is wrong, or was used before; send the one that is shown now.", field=(field,))


def normal_email(email: str) -> str:
    """The address in the one form under which it is unique: trimmed and lower-cased."""
    email = plain_text(email, field="email", length_max=EMAIL_LENGTH_MAX).lower()
    if not _EMAIL.fullmatch(email):
        raise Invalid(f"{email!r} is not an e-mail address like name@example.com.", field=("email",))
    return email


def require_strong(password: str, *, email: str, field: str = "password") -> None:
    """Raises WeakPassword outside 10 characters to 72 bytes, or when it is the address."""
    if len(password) < PASSWORD_LENGTH_MIN or len(password.encode()) > PASSWORD_BYTES_MAX:
        raise WeakPassword(
            f"The password has {len(password)} characters; give {PASSWORD_LENGTH_MIN} or more, up to "
            f"{PASSWORD_BYTES_MAX} bytes.",
            field=(field,),
        )
    if password.lower() == email:
        raise WeakPassword("The password is the e-mail address; choose another.", field=(field,))
