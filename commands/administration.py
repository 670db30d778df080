"""What an ADMIN does to somebody's account: suspend and resume it, end its sessions, take a lost second factor away."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from commands.handling import Result, Work
from commands.own_account import account
from commands.rights import require_other
from domain.identity import UserId
from domain.users import SuspensionReason


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspendUser:
    """Let nobody sign in to an account until it is resumed. Its sessions end; its orders go on."""

    user_id: UserId
    reason: SuspensionReason


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeUser:
    """End the suspension of an account."""

    user_id: UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class EndSessions:
    """End every session of an account: each device has to sign in again."""

    user_id: UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetMfa:
    """Take the second factor from an account whose owner has lost it. Its sessions end, and its owner is mailed."""

    user_id: UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class EndReusedSession:
    """End a session of which somebody has used a refresh token twice: a copy of it is out."""

    user_id: UserId
    session_id: UUID


async def suspend_user(command: SuspendUser, work: Work) -> Result:
    """Raises NotFound, or IllegalTransition for one's own account. Nothing happens when it is suspended."""
    require_other(command.user_id, work, what="suspend")
    user = await account(command.user_id, work)
    user.suspend(reason=command.reason, by=work.actor.name, now=work.now)
    return Result(user)


async def resume_user(command: ResumeUser, work: Work) -> Result:
    """Raises NotFound. Nothing happens when it is not suspended."""
    user = await account(command.user_id, work)
    user.resume(by=work.actor.name, now=work.now)
    return Result(user)


async def end_sessions(command: EndSessions, work: Work) -> Result:
    """Raises NotFound. It is recorded each time: every access token that is out becomes void."""
    user = await account(command.user_id, work)
    user.revoke_sessions(reason="ended by an administrator", now=work.now)
    return Result(user)


async def reset_mfa(command: ResetMfa, work: Work) -> Result:
    """Raises NotFound, or IllegalTransition for one's own account. Nothing happens without a second factor."""
    require_other(command.user_id, work, what="reset the second factor of")
    user = await account(command.user_id, work)
    user.reset_mfa(now=work.now)
    return Result(user)


async def end_reused_session(command: EndReusedSession, work: Work) -> Result:
    """Raises NotFound. Of an erased account nothing is left to end."""
    user = await account(command.user_id, work)
    if not user.erased:
        user.revoke_sessions(reason="refresh token used twice", now=work.now, session_ids=(command.session_id,))
    return Result(user)
