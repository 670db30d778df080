"""Mutations with the tokens of mailed links; who has none can ask for one. Nobody needs to be signed in."""

from __future__ import annotations

import strawberry

from api.graphql.context import Info
from api.graphql.receipts import OkPayload, answered
from api.graphql.resolvers import resolver
from commands.account_recovery import RequestPasswordReset, ResetPassword, VerifyEmail
from domain.disclosure import Secret


@strawberry.type
class AccountRecoveryMutation:
    @resolver("Show that one reads mails to one's address, with the token of such a mail.")
    async def verify_email(self, info: Info, token: str) -> OkPayload:
        """See `commands.account_recovery.verify_email`."""
        return OkPayload.of(await answered(info.context, lambda: VerifyEmail(token=Secret(token)), None))

    @resolver("Have a link mailed that sets another password; the answer is the same for an address without account.")
    async def request_password_reset(self, info: Info, email: str) -> OkPayload:
        """See `commands.account_recovery.request_password_reset`."""
        return OkPayload.of(await answered(info.context, lambda: RequestPasswordReset(email=email), None))

    @resolver("Set another password with the token of a mail. Every session ends; a second factor stays.")
    async def reset_password(self, info: Info, token: str, new: str) -> OkPayload:
        """See `commands.account_recovery.reset_password`."""
        return OkPayload.of(
            await answered(info.context, lambda: ResetPassword(token=Secret(token), new=Secret(new)), None)
        )
