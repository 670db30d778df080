"""What lets one in: one's own password and second factor, and how they are changed."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from commands.handling import Result, Work
from commands.passwords import require_strong
from commands.users import own_account
from domain.disclosure import KeepsSecrets, PersonalField, Secret
from domain.errors import BadCredentials, IllegalTransition, MfaInvalid
from domain.users import User


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePassword(KeepsSecrets):
    """Change one's own password; every session ends."""

    current: Secret
    new: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class EnableMfa:
    """Ask for a second factor; it counts once `ConfirmMfa` has seen a code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmMfa(KeepsSecrets):
    """Show that the authenticator works: from now on signing in needs a code."""

    code: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class DisableMfa(KeepsSecrets):
    """Give the second factor up; takes a code, of time or recovery."""

    code: Secret


async def change_password(command: ChangePassword, work: Work) -> Result:
    """Raises BadCredentials for a wrong present password, WeakPassword for the new one. The new one counts with the
    event, and in its transaction every session and every link that resets the password ends."""
    user = await proven_account(command.current, work, field="current")
    email, name = await work.ports.personal_data.open(
        [(user.id, PersonalField.USER_EMAIL, user.email), (user.id, PersonalField.USER_NAME, user.name)]
    )
    require_strong(command.new, email=email or "", name=name or "", host=work.ports.shop_host, field="new")
    await stage_password(user.id, command.new, work)
    user.change_password(reason="changed by its owner", now=work.now)
    return Result(user)


async def stage_password(user_id: UUID, password: Secret, work: Work) -> None:
    """It counts with this command's `user.password_changed`. Hashed once, however often the command decides."""
    credentials = work.ports.credentials
    await work.once("password staged", lambda: credentials.stage(user_id, password, by=work.command_id))


async def enable_mfa(command: EnableMfa, work: Work) -> Result:
    """Raises IllegalTransition when there is a second factor already."""
    del command
    user = await own_account(work)
    if user.mfa_enabled:
        raise IllegalTransition("This account has a second factor; disable it first to set up another.")
    (email,) = await work.ports.personal_data.open([(user.id, PersonalField.USER_EMAIL, user.email)])
    uri, codes = await work.ports.mfa.prepare(user.id, email or str(user.id))
    return Result(user, secret={"provisioning_uri": uri, "recovery_codes": "\n".join(codes)})


async def confirm_mfa(command: ConfirmMfa, work: Work) -> Result:
    """Raises MfaInvalid, also for a recovery code: it says nothing about the authenticator. Nothing happens when the
    second factor counts already."""
    user = await own_account(work)
    if user.mfa_enabled:
        return Result(user)
    mfa = work.ports.mfa
    if not await work.once("confirmed", lambda: mfa.confirm(user.id, command.code, by=work.command_id, now=work.now)):
        raise wrong_code("code")
    user.enable_mfa(reason="confirmed by a code", now=work.now)
    return Result(user)


async def disable_mfa(command: DisableMfa, work: Work) -> Result:
    """Raises MfaInvalid, or IllegalTransition for a role that needs the second factor; nothing happens without one."""
    user = await own_account(work)
    if not user.mfa_enabled:
        return Result(user)
    if needing := sorted(work.ports.factor_required.intersection(user.roles)):
        raise IllegalTransition(f"The role {needing[0]} needs a second factor; set up another instead of none.")
    if not await taken_once(user.id, command.code, work):
        raise wrong_code("code")
    user.disable_mfa(reason="given up by its owner", now=work.now)
    return Result(user)


async def proven_account(password: Secret, work: Work, *, field: str) -> User:
    """The actor's own account, whose present password this is. Verified once, however often the command decides.
    Raises BadCredentials, and what `own_account` raises."""
    user_id, credentials = work.actor.user_id, work.ports.credentials
    # In this order: that the account has not changed since it was loaded, is judged by the log.
    proof = await work.once("proof", lambda: credentials.verify(user_id, password))
    user = await own_account(work)
    if proof is None or not await credentials.still_good(proof):
        raise BadCredentials("The present password is another one.", field=(field,))
    return user


async def taken_once(user_id: UUID, code: Secret, work: Work) -> bool:
    """Is the second-factor code good? It is taken in the first attempt, and counts in the others."""
    mfa = work.ports.mfa
    return await work.once(f"code of {user_id}", lambda: mfa.take(user_id, code, now=work.now))


def wrong_code(field: str) -> MfaInvalid:
    """The refusal of a second-factor code that was sent in this field."""
    return MfaInvalid("The code is wrong, or was used before; send the one that is shown now.", field=(field,))
