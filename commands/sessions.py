"""Sessions: sign in and out. They end in the transaction of the event that says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from commands.email_claims import address_id
from commands.handling import Result, Work
from commands.own_account import own_account, taken_once, wrong_code
from domain.disclosure import KeepsSecrets, Personal, Secret
from domain.email_claims import EmailClaim
from domain.errors import AccountSuspended, BadCredentials, DomainError, MfaRequired
from domain.identity import UserId
from domain.sessions import SignInAttempt
from domain.users import User

VERIFIED_MAX: Final = 2  # how often one attempt verifies the password, where what lets the account in changes meanwhile


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
    exists; who has no account learns it as slowly as who has one.

    What lets the account in may change after it was verified: then no session is opened, and it is verified anew."""
    refusal = BadCredentials("E-mail address and password do not belong together; check both, or register.")
    user: User | None = None
    for _ in range(VERIFIED_MAX):
        claim = await work.load(EmailClaim, address_id(command.email.strip().lower(), work))
        user_id = claim.user_id if claim else None
        # In this order: what changes after the account was loaded makes the proof void.
        proof = await work.ports.credentials.verify(user_id, command.password)
        user = await work.load(User, user_id) if user_id else None
        if user is None or user.erased:
            raise refusal
        if proof is None:
            return _refused(user, "wrong password", refusal, work)
        if user.mfa_enabled and command.mfa_code is None:
            required = MfaRequired("This account needs a code: send it as mfaCode.", field=("mfaCode",))
            return _refused(user, "no second factor", required, work)
        if user.mfa_enabled and not await taken_once(user.id, command.mfa_code or Secret(""), work):
            return _refused(user, "wrong second factor", wrong_code("mfaCode"), work)
        if user.suspended:
            suspended = AccountSuspended("This account is suspended; ask the shop why.")
            return _refused(user, "suspended", suspended, work)
        opened = await work.ports.sessions.open(proof, user_agent=command.user_agent, now=work.now)
        if opened is not None:
            session_id, refresh_token = opened
            work.add(SignInAttempt.succeeded(user_id=UserId(user.id), session_id=session_id, now=work.now))
            return Result(user, secret={"session_id": str(session_id), "refresh_token": refresh_token})
    assert user is not None
    return _refused(user, "changed meanwhile", refusal, work)


def _refused(user: User, reason: str, refusal: DomainError, work: Work) -> Result:
    attempt_id = work.ports.ids.new()
    work.add(SignInAttempt.failed(attempt_id=attempt_id, user_id=UserId(user.id), reason=reason, now=work.now))
    return Result(user, refusal=refusal)


async def sign_out(command: SignOut, work: Work) -> Result:
    """A session that is unknown, somebody else's or ended already changes nothing."""
    user = await own_account(work)
    live = await work.ports.sessions.live(user.id, now=work.now)
    if not (live if command.session_id is None else live & {command.session_id}):
        return Result(user)
    # All are named as all: a session that is opened meanwhile ends with them.
    named = None if command.session_id is None else (command.session_id,)
    user.revoke_sessions(reason="signed out", now=work.now, session_ids=named)
    return Result(user)
