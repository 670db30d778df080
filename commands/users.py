"""Accounts: register, profile, roles, erasure; and the claims that make an address unique.

What is no fact (passwords, sessions, second factors) changes in the transaction of the event that says so. Signing in
is in `commands.sessions`, passwords and second factors are in `commands.credentials`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import structlog

from commands.handling import Result, Work
from commands.own_account import account, own_account, proven_account
from commands.passwords import require_strong
from commands.rights import require_admin
from domain.disclosure import KeepsSecrets, Personal, PersonalField, Secret
from domain.errors import AlreadyExists, Forbidden, IllegalTransition, Invalid, NotFound
from domain.identity import EmailClaimId, UserId, email_claim_id
from domain.text import plain_text
from domain.users import EmailClaim, Role, User

log = structlog.get_logger()
EMAIL_LENGTH_MAX: Final = 254
NAME_LENGTH_MAX: Final = 200
# The shape every deliverable address has; whether it exists, only a mail to it can tell.
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterUser(KeepsSecrets):
    """Open an account. `password` None (our own processes only): nobody can sign in until one is set."""

    email: Personal
    name: Personal
    password: Secret | None
    roles: tuple[Role, ...] = (Role.CUSTOMER,)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateProfile(KeepsSecrets):
    """Change one's own name or address; None leaves what there is. Another address needs the present password, and a
    code where the account has a second factor."""

    name: Personal | None = None
    email: Personal | None = None
    current_password: Secret | None = None
    mfa_code: Secret | None = None


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
class EraseUser(KeepsSecrets):
    """Make everything personal of an account unreadable, for ever. Needs the present password of whoever asks, and a
    code where there is a second factor."""

    user_id: UserId
    current_password: Secret | None = None
    mfa_code: Secret | None = None


async def register_user(command: RegisterUser, work: Work) -> Result:
    """Raises AlreadyExists for a taken address, Invalid, WeakPassword, Forbidden for other roles than CUSTOMER."""
    if not work.actor.is_system and (command.roles != (Role.CUSTOMER,) or command.password is None):
        raise Forbidden("A new account is a CUSTOMER with a password; other roles are granted afterwards.")
    email = normal_email(command.email)
    name = plain_text(command.name, field="name", length_max=NAME_LENGTH_MAX)
    if command.password is not None:
        require_strong(command.password, email=email, name=name, host=work.ports.shop_host, actor=work.actor.name)
    claim_id = email_claim_id(work.ports.personal_data.digest(email))
    claim = await work.load(EmailClaim, claim_id)
    if claim is not None and claim.user_id is not None:
        raise AlreadyExists("An account with this e-mail address exists; sign in instead.", field=("email",))
    # Key and password hash are rows of their own, written first: should the process die before the save,
    # they belong to nobody and open nothing.
    user_id, sealed_email, sealed_name = await work.once(
        "prepared", lambda: _prepared(email, name, command.password, work)
    )
    _claim(claim, claim_id, user_id, work)
    user = User.register(
        user_id=user_id, sealed_email=sealed_email, sealed_name=sealed_name, roles=command.roles, now=work.now
    )
    return Result(work.add(user))


async def _prepared(email: str, name: str, password: Secret | None, work: Work) -> tuple[UserId, str, str]:
    user_id = UserId(work.ports.ids.new())
    sealed_email, sealed_name = await work.ports.personal_data.seal(
        user_id, (PersonalField.USER_EMAIL, email), (PersonalField.USER_NAME, name)
    )
    if password is not None:
        await work.ports.credentials.set(user_id, password)
    return user_id, sealed_email, sealed_name


async def update_profile(command: UpdateProfile, work: Work) -> Result:
    """Raises AlreadyExists for a taken address, Invalid; for another address also what `proven_account` raises. What is
    so already is not recorded again."""
    user = await own_account(work)
    old_email, old_name = await work.ports.personal_data.open(
        [(user.id, PersonalField.USER_EMAIL, user.email), (user.id, PersonalField.USER_NAME, user.name)]
    )
    email = None if command.email is None else normal_email(command.email)
    name = None if command.name is None else plain_text(command.name, field="name", length_max=NAME_LENGTH_MAX)
    email, name = None if email == old_email else email, None if name == old_name else name
    if email is not None:
        user = await proven_account(command.current_password, command.mfa_code, work)
        claim_id = address_id(email, work)
        _claim(await work.load(EmailClaim, claim_id), claim_id, UserId(user.id), work)
        await _release(old_email, user, work)
    texts = ((PersonalField.USER_EMAIL, email), (PersonalField.USER_NAME, name))
    sealed = [(await work.ports.personal_data.seal(user.id, (at, text)))[0] if text else None for at, text in texts]
    user.update_profile(sealed_email=sealed[0], sealed_name=sealed[1], now=work.now)
    return Result(user)


async def grant_role(command: GrantRole, work: Work) -> Result:
    """Raises NotFound; it counts from the account's next access token on."""
    user = await account(command.user_id, work)
    user.grant(role=command.role, by=work.actor.name, now=work.now)
    return Result(user)


async def revoke_role(command: RevokeRole, work: Work) -> Result:
    """Raises NotFound, or IllegalTransition for one's own ADMIN: somebody has to stay who can grant."""
    user = await account(command.user_id, work)
    if command.role is Role.ADMIN and command.user_id == work.actor.user_id:
        raise IllegalTransition("You cannot revoke your own role ADMIN; ask another ADMIN to.", field=("role",))
    user.revoke(role=command.role, by=work.actor.name, now=work.now)
    return Result(user)


async def erase_user(command: EraseUser, work: Work) -> Result:
    """Raises NotFound, also for somebody else's account unless the actor is ADMIN, and IllegalTransition for one's own
    while one is ADMIN: somebody has to stay who can grant. Raises what `proven_account` raises. Passwords,
    sessions and links go with the event; the worker destroys the person's key for certain, here it is only sooner. The
    second time nothing is left to do."""
    if command.user_id != work.actor.user_id:
        if Role.ADMIN not in work.actor.roles:
            raise NotFound(f"There is no user {command.user_id}.", field=("userId",))
        await require_admin(work)
    user = await account(command.user_id, work)
    if user.erased:
        return Result(user)
    if Role.ADMIN in user.roles and command.user_id == work.actor.user_id:
        raise IllegalTransition("You are ADMIN: have another ADMIN revoke that role first.", field=("userId",))
    if not work.actor.is_system:
        await proven_account(command.current_password, command.mfa_code, work)
        user = await account(command.user_id, work)
    (email,) = await work.ports.personal_data.open([(user.id, PersonalField.USER_EMAIL, user.email)])
    await _release(email, user, work)
    user.erase(by=work.actor.name, now=work.now)

    async def after() -> None:
        try:
            await work.ports.personal_data.destroy(user.id)
        except Exception as error:  # the erasure is stored, and the worker destroys the key for certain
            log.warning("not_destroyed_yet", user_id=str(user.id), error=repr(error))

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


def normal_email(email: str) -> str:
    """The address in the one form under which it is unique: trimmed and lower-cased."""
    email = plain_text(email, field="email", length_max=EMAIL_LENGTH_MAX).lower()
    if not _EMAIL.fullmatch(email):
        raise Invalid(f"{email!r} is not an e-mail address like name@example.com.", field=("email",))
    return email
