"""What lets one in: one's own password and second factor, and how they are changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from commands.handling import Result, Work
from commands.own_account import own_account, proven_account
from commands.passwords import require_strong
from domain.disclosure import KeepsSecrets, PersonalField, Secret
from domain.errors import IllegalTransition, MfaInvalid

RECENT: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePassword(KeepsSecrets):
    """Change one's own password; every session ends. Needs a code where the account has a second factor."""

    current: Secret
    new: Secret
    mfa_code: Secret | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnableMfa(KeepsSecrets):
    """Ask for a second factor with the present password; it counts once `ConfirmMfa` has seen a code, within five
    minutes."""

    current_password: Secret | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmMfa(KeepsSecrets):
    """Show that the authenticator works: from now on signing in needs a code, and every other session ends."""

    code: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class DisableMfa(KeepsSecrets):
    """Give the second factor up; takes the present password and a code, of time or recovery. Every other
    session ends."""

    code: Secret
    current_password: Secret | None = None


async def change_password(command: ChangePassword, work: Work) -> Result:
    """Raises what `proven_account` raises, and WeakPassword for the new one. The new one counts with the
    event, and in its transaction every session and every link that resets the password ends."""
    user = await proven_account(command.current, command.mfa_code, work, fields=("current", "mfaCode"))
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
    """Raises IllegalTransition when there is a second factor already, and what `proven_account` raises."""
    user = await own_account(work)
    if user.mfa_enabled:
        raise IllegalTransition("This account has a second factor; disable it first to set up another.")
    await proven_account(command.current_password, None, work)
    (email,) = await work.ports.personal_data.open([(user.id, PersonalField.USER_EMAIL, user.email)])
    uri, codes = await work.ports.mfa.prepare(user.id, email or str(user.id), now=work.now)
    return Result(user, secret={"provisioning_uri": uri, "recovery_codes": "\n".join(codes)})


async def confirm_mfa(command: ConfirmMfa, work: Work) -> Result:
    """Raises MfaInvalid, also for a recovery code: it says nothing about the authenticator. The password was shown when
    the factor was asked for, RECENT ago at most. Nothing happens when the second factor counts already."""
    user = await own_account(work)
    if user.mfa_enabled:
        return Result(user)
    mfa, by, now = work.ports.mfa, work.command_id, work.now
    if not await work.once(
        "confirmed", lambda: mfa.confirm(user.id, command.code, by=by, prepared_after=now - RECENT, now=now)
    ):
        raise MfaInvalid(
            "The code is wrong or was used before, or the factor was asked for more than 5 minutes ago; send the code "
            "that is shown now, or begin again with enableMfa.",
            field=("code",),
        )
    user.enable_mfa(reason="confirmed by a code", now=work.now)
    user.revoke_sessions(reason="second factor enabled", now=work.now, kept=work.actor.session_id)
    return Result(user)


async def disable_mfa(command: DisableMfa, work: Work) -> Result:
    """Raises MfaInvalid, or IllegalTransition for a role that needs the second factor; nothing happens without one."""
    user = await own_account(work)
    if not user.mfa_enabled:
        return Result(user)
    if needing := sorted(work.ports.factor_required.intersection(user.roles)):
        raise IllegalTransition(f"The role {needing[0]} needs a second factor; set up another instead of none.")
    user = await proven_account(command.current_password, command.code, work, fields=("currentPassword", "code"))
    user.disable_mfa(reason="given up by its owner", now=work.now)
    user.revoke_sessions(reason="second factor disabled", now=work.now, kept=work.actor.session_id)
    return Result(user)
