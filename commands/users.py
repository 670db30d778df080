"""Accounts: register, profile, roles, erasure.

What is no fact (passwords, sessions, second factors) changes in the transaction of the event that says so. Signing in
is in `commands.sessions`, passwords and second factors are in `commands.credentials`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import structlog

from commands.email_changes import release_all
from commands.email_claims import address_id, claim, normal_email
from commands.handling import Result, Work
from commands.own_account import account, own_account, proven_account
from commands.passwords import require_strong
from commands.rights import require_admin
from domain.disclosure import KeepsSecrets, Personal, PersonalField, Secret
from domain.email_claims import EmailClaim
from domain.errors import AlreadyExists, Forbidden, IllegalTransition, NotFound
from domain.identity import UserId, request_in_period
from domain.text import plain_text
from domain.users import Role, User

log = structlog.get_logger()
NAME_LENGTH_MAX: Final = 200
# Mailed to the owner of an address that was registered again.
EFFECT: Final = "mail.address_taken"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterUser(KeepsSecrets):
    """Open an account. The answer is the same whether the address has one: its owner is mailed. `password` None (our
    own processes only): no password opens it until one is set."""

    email: Personal
    name: Personal
    password: Secret | None
    roles: tuple[Role, ...] = (Role.CUSTOMER,)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateProfile(KeepsSecrets):
    """Change one's own name or address; None leaves what there is. Another address needs the present password, and a
    code where the account has a second factor; it counts once the link that is mailed to it was followed."""

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
    """Raises Invalid, WeakPassword, Forbidden for other roles than CUSTOMER. Of a taken address our own processes learn
    by AlreadyExists; to others the answer is the same for every address, and names no account."""
    actor = work.actor
    if not actor.is_system and (command.roles != (Role.CUSTOMER,) or command.password is None):
        raise Forbidden("A new account is a CUSTOMER with a password; other roles are granted afterwards.")
    email = normal_email(command.email)
    name = plain_text(command.name, field="name", length_max=NAME_LENGTH_MAX)
    if command.password is not None:
        require_strong(command.password, email=email, name=name, host=work.ports.shop_host, actor=actor.name)
    known = await work.load(EmailClaim, address_id(email, work))
    if known is not None and known.is_taken(user_id=None, now=work.now):
        return await _taken(known, command.password, work)
    # Key and password hash are rows of their own, written first: should the process die before the save,
    # they belong to no account and open nothing.
    user_id, sealed_email, sealed_name = await work.once(
        "prepared", lambda: _prepared(email, name, command.password, work)
    )
    await claim(email, user_id, work)
    user = User.register(
        user_id=user_id, sealed_email=sealed_email, sealed_name=sealed_name, roles=command.roles, now=work.now
    )
    work.add(user)
    return Result(user) if actor.is_system else Result(None, subject_id=user.id)


async def _taken(known: EmailClaim, password: Secret | None, work: Work) -> Result:
    """The owner of the address is mailed, once an hour at most. The password is hashed as for a new account, and not
    stored; the time that is left is made equal by the door, see `api.throttling`."""
    refusal = AlreadyExists("An account with this e-mail address exists; sign in instead.", field=("email",))
    if work.actor.is_system or password is None:
        raise refusal
    # There is no key of such a person: nothing is stored.
    await work.once("hashed", lambda: work.ports.credentials.set(work.ports.ids.new(), password))
    hour = int(work.now.timestamp()) // 3600
    await work.ports.effects.plan(
        effect=EFFECT, event_id=request_in_period(known.id, EFFECT, hour), subject_id=known.id, now=work.now
    )
    return Result(None, subject_id=known.id, withheld=refusal)


async def _prepared(email: str, name: str, password: Secret | None, work: Work) -> tuple[UserId, str, str]:
    user_id = UserId(work.ports.ids.new())
    sealed_email, sealed_name = await work.ports.personal_data.seal(
        user_id, (PersonalField.USER_EMAIL, email), (PersonalField.USER_NAME, name)
    )
    if password is not None:
        await work.ports.credentials.set(user_id, password)
    return user_id, sealed_email, sealed_name


async def update_profile(command: UpdateProfile, work: Work) -> Result:
    """Raises Invalid; for another address also what `proven_account` raises, and IllegalTransition after too many
    changes. What is so already is not recorded again. Whether the address has an account is not looked up."""
    user = await own_account(work)
    old_email, old_name = await work.ports.personal_data.open(
        [(user.id, PersonalField.USER_EMAIL, user.email), (user.id, PersonalField.USER_NAME, user.name)]
    )
    email = None if command.email is None else normal_email(command.email)
    name = None if command.name is None else plain_text(command.name, field="name", length_max=NAME_LENGTH_MAX)
    if email not in (None, old_email):
        user = await proven_account(command.current_password, command.mfa_code, work)
        (sealed,) = await work.ports.personal_data.seal(user.id, (PersonalField.USER_EMAIL, email))
        user.request_email_change(sealed_email=sealed, now=work.now)
    if name not in (None, old_name):
        (sealed,) = await work.ports.personal_data.seal(user.id, (PersonalField.USER_NAME, name))
        user.update_profile(sealed_name=sealed, now=work.now)
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
    await release_all(user, work)
    user.erase(by=work.actor.name, now=work.now)

    async def after() -> None:
        try:
            await work.ports.personal_data.destroy(user.id)
        except Exception as error:  # the erasure is stored, and the worker destroys the key for certain
            log.warning("not_destroyed_yet", user_id=str(user.id), error=repr(error))

    return Result(user, after=after)
