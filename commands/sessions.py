"""Sessions: sign in and out.

A second-factor code is taken when it is checked: whoever loses a race needs the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from commands.credentials import wrong_code
from commands.handling import Result, Work
from commands.users import address_id, own_account
from domain.disclosure import KeepsSecrets, Personal, Secret
from domain.errors import AccountSuspended, BadCredentials, DomainError, MfaRequired
from domain.users import EmailClaim, User


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn(KeepsSecrets):
    """Open a session. `mfa_code` is needed where the account has a second factor."""

    email: Personal
    password: Secret
    mfa_code: Secret | None = None
    user_agent: Personal = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignOut:
    """End one of one's own sessions; None ends all."""

    session_id: UUID | None = None


async def sign_in(command: SignIn, work: Work) -> Result:
    """Raises BadCredentials, MfaRequired, MfaInvalid or AccountSuspended, after recording it for an account that
    exists; who has no account learns it as slowly as who has one."""
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
    if user.mfa_enabled and not await work.ports.mfa.take(user.id, command.mfa_code or Secret(""), now=work.now):
        user.refuse_sign_in(reason="wrong second factor", now=work.now)
        return Result(user, refusal=wrong_code("mfaCode"))
    if user.suspended:
        user.refuse_sign_in(reason="suspended", now=work.now)
        return Result(user, refusal=AccountSuspended("This account is suspended; ask the shop why."))
    session_id, refresh_token = await work.ports.sessions.open(user.id, user_agent=command.user_agent, now=work.now)
    user.sign_in(session_id=session_id, now=work.now)
    return Result(user, secret={"session_id": str(session_id), "refresh_token": refresh_token})


async def sign_out(command: SignOut, work: Work) -> Result:
    """A session that is unknown, somebody else's or ended already changes nothing."""
    user = await own_account(work)
    live = await work.ports.sessions.live(user.id, now=work.now)
    ended = live if command.session_id is None else live & {command.session_id}
    if not ended:
        return Result(user)
    # All of them are named as all: a session that is opened meanwhile ends with them.
    named = None if command.session_id is None else tuple(ended)
    user.revoke_sessions(reason="signed out", now=work.now, session_ids=named)
    return Result(user, after=lambda: work.ports.sessions.end(ended, now=work.now))
