"""Mutations with the tokens of mailed links; who has none can ask for one. Nobody needs to be signed in."""

from __future__ import annotations

import strawberry

from api.graphql.context import Info
from api.graphql.receipts import OkPayload, answered
from api.graphql.resolvers import resolver
from commands.account_recovery import RequestPasswordReset, ResetPassword, VerifyEmail
from commands.email_changes import UndoEmailChange
from domain.disclosure import Secret


@strawberry.type
class AccountRecoveryMutation:
    @resolver("Confirm one's address, or the pending one, which replaces it, with the token of a mail to it.")
    async def verify_email(self, info: Info, token: str) -> OkPayload:
        """See `commands.account_recovery.verify_email`."""
        return OkPayload.of(await answered(info.context, lambda: VerifyEmail(token=Secret(token)), None))

    @resolver(
        "Undo a change of address with the token of the mail to the former one. The password and all sessions end."
    )
    async def undo_email_change(self, info: Info, token: str) -> OkPayload:
        """See `commands.email_changes.undo_email_change`."""
        return OkPayload.of(await answered(info.context, lambda: UndoEmailChange(token=Secret(token)), None))

    @resolver("Have a link mailed that sets another password; the answer is the same for an address without account.")
    async def request_password_reset(self, info: Info, email: str) -> OkPayload:
        """See `commands.account_recovery.request_password_reset`."""
        return OkPayload.of(await answered(info.context, lambda: RequestPasswordReset(email=email), None))

    @resolver(
        "Set another password with the token of a mail. Every session ends; a second factor stays, unless the address "
        "was never verified."
    )
    async def reset_password(self, info: Info, token: str, new: str) -> OkPayload:
        """See `commands.account_recovery.reset_password`."""
        return OkPayload.of(
            await answered(info.context, lambda: ResetPassword(token=Secret(token), new=Secret(new)), None)
        )
