"""What lets one in: one's own password and second factor, and how they are changed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from commands.handling import Result, Work
from commands.passwords import require_strong
from commands.ports import TokenPurpose
from commands.users import own_account
from domain.disclosure import KeepsSecrets, PersonalField, Secret
from domain.errors import BadCredentials, IllegalTransition, MfaInvalid


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
    """Raises BadCredentials for a wrong present password, WeakPassword for the new one."""
    user = await own_account(work)
    if not await work.ports.credentials.verify(user.id, command.current):
        raise BadCredentials("The present password is another one.", field=("current",))
    email, name = await work.ports.personal_data.open(
        [(user.id, PersonalField.USER_EMAIL, user.email), (user.id, PersonalField.USER_NAME, user.name)]
    )
    require_strong(command.new, email=email or "", name=name or "", host=work.ports.shop_host, field="new")
    user.change_password(reason="changed by its owner", now=work.now)
    sessions = await work.ports.sessions.live(user.id, now=work.now)

    return Result(user, after=lambda: replace_password(user.id, command.new, sessions, work))


async def replace_password(user_id: UUID, password: Secret, sessions: Collection[UUID], work: Work) -> None:
    """What is no fact of another password: links that reset it are void before it counts, and nobody is signed in."""
    await work.ports.account_tokens.destroy(user_id, TokenPurpose.PASSWORD_RESET)
    await work.ports.credentials.set(user_id, password)
    await work.ports.sessions.end(sessions, now=work.now)


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
    if not await work.ports.mfa.take(user.id, command.code, now=work.now, recovery=False):
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
    if not await work.ports.mfa.take(user.id, command.code, now=work.now):
        raise wrong_code("code")
    user.disable_mfa(reason="given up by its owner", now=work.now)
    return Result(user, after=lambda: work.ports.mfa.destroy(user.id))


def wrong_code(field: str) -> MfaInvalid:
    """The refusal of a second-factor code that was sent in this field."""
    return MfaInvalid("The code is wrong, or was used before; send the one that is shown now.", field=(field,))
