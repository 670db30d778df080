"""What an account may do now, asked of the account itself: what its access token says may have been taken away since.

An ADMIN who acts on other accounts is asked in the attempt that is saved. That he acted is an event of his own account,
so the save also stands or falls with that account being as it was read: a revocation at the same time is before the
action, which then is Forbidden, or after it. So whoever acted is still ADMIN right after it, and since nobody takes
ADMIN from himself, somebody always stays who can grant (ADR 27).
"""

from __future__ import annotations

from collections.abc import Set
from typing import TYPE_CHECKING, Final
from uuid import UUID

from commands.actors import Actor, Permission, admin
from domain.errors import Forbidden, IllegalTransition
from domain.users import Role, User

if TYPE_CHECKING:
    from commands.handling import Work

PRIVILEGED: Final = frozenset(Role) - {Role.CUSTOMER}


def present_roles(user: User | None, *, factor_required: Set[Role] = frozenset()) -> tuple[Role, ...]:
    """What the account may do now: nothing when it is missing, erased or suspended, and without a second factor
    nothing of what needs one."""
    if user is None or user.erased or user.suspended:
        return ()
    return tuple(role for role in user.roles if user.mfa_enabled or role not in factor_required)


def acts_as_admin(permission: Permission, actor: Actor) -> bool:
    """Is the actor's account to be asked for ADMIN before the command is looked at?"""
    return permission is admin and not actor.is_system


async def require_admin(work: Work) -> None:
    """Raises Forbidden unless the actor's account, as the log has it now, is ADMIN. Our own processes are."""
    actor = work.actor
    if actor.is_system:
        return
    found = None if actor.user_id is None else await work.load(User, actor.user_id)
    _require(found, work)
    assert actor.user_id is not None
    work.relies_on = actor.user_id


def rely(work: Work, command: str, subject_id: UUID) -> None:
    """Let what the command has decided be saved only while the actor's account is as it was asked. Without anything
    decided nothing is recorded. Raises Forbidden as `require_admin` does."""
    if work.relies_on is None:
        return
    own = work.found(User, work.relies_on)
    _require(own, work)  # the handler may have loaded it anew
    if work.decided and own is not None and not own.pending_events:
        own.act(command=command, subject_id=subject_id, now=work.now)


def require_other(user_id: UUID, work: Work, *, what: str) -> None:
    """Raises IllegalTransition for one's own account."""
    if user_id == work.actor.user_id:
        raise IllegalTransition(f"You cannot {what} your own account; ask another ADMIN to.", field=("userId",))


def _require(user: User | None, work: Work) -> None:
    required = work.ports.factor_required
    if Role.ADMIN in present_roles(user, factor_required=required):
        return
    if user is not None and Role.ADMIN in present_roles(user):
        raise Forbidden("The role ADMIN needs a second factor: set one up with enableMfa and confirmMfa.")
    raise Forbidden("This needs the role ADMIN, which your account does not have any more.")
