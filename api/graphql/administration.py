"""What an ADMIN does to somebody's account."""

from __future__ import annotations

import strawberry

from api.graphql.context import Info, required_id
from api.graphql.receipts import answered
from api.graphql.resolvers import resolver
from api.graphql.users import UserPayload
from commands.administration import EndSessions, ResetMfa, ResumeUser, SuspendUser
from domain.identity import UserId
from domain.users import SuspensionReason

strawberry.enum(SuspensionReason, description="Why an account is suspended.")


@strawberry.type
class AdministrationMutation:
    @resolver("Let nobody sign in to an account, and end its sessions; for ADMIN.")
    async def suspend_user(
        self,
        info: Info,
        user_id: strawberry.ID,
        reason: SuspensionReason,
        idempotency_key: strawberry.ID | None = None,
    ) -> UserPayload:
        """See `commands.administration.suspend_user`."""
        return UserPayload.of(
            await answered(info.context, lambda: SuspendUser(user_id=_account(user_id), reason=reason), idempotency_key)
        )

    @resolver("End the suspension of an account; for ADMIN.")
    async def resume_user(
        self, info: Info, user_id: strawberry.ID, idempotency_key: strawberry.ID | None = None
    ) -> UserPayload:
        """See `commands.administration.resume_user`."""
        return UserPayload.of(
            await answered(info.context, lambda: ResumeUser(user_id=_account(user_id)), idempotency_key)
        )

    @resolver("End every session of an account; for ADMIN.")
    async def end_sessions(
        self, info: Info, user_id: strawberry.ID, idempotency_key: strawberry.ID | None = None
    ) -> UserPayload:
        """See `commands.administration.end_sessions`."""
        return UserPayload.of(
            await answered(info.context, lambda: EndSessions(user_id=_account(user_id)), idempotency_key)
        )

    @resolver("Take a second factor away that its owner has lost, and end the account's sessions; for ADMIN.")
    async def reset_mfa(
        self, info: Info, user_id: strawberry.ID, idempotency_key: strawberry.ID | None = None
    ) -> UserPayload:
        """See `commands.administration.reset_mfa`."""
        return UserPayload.of(
            await answered(info.context, lambda: ResetMfa(user_id=_account(user_id)), idempotency_key)
        )


def _account(user_id: str) -> UserId:
    """Raises NotFound."""
    return UserId(required_id(user_id, what="user", field="userId"))
