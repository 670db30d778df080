"""What lets one in: changing one's password and second factor."""

from __future__ import annotations

import strawberry

from api.graphql.context import Info
from api.graphql.receipts import Answer, OkPayload, Receipt, UserError, answered
from api.graphql.resolvers import resolver
from commands.credentials import ChangePassword, ConfirmMfa, DisableMfa, EnableMfa
from domain.disclosure import Secret, hidden_repr


@strawberry.type(description="The answer about a second factor.")
class MfaPayload:
    ok: bool = strawberry.field(description="Was it done?")
    user_errors: list[UserError] = strawberry.field(description="Why not; empty when it was done.")
    receipt: Receipt | None = strawberry.field(description="What was stored.")
    provisioning_uri: str | None = strawberry.field(description="For an authenticator, as a QR code. Told once.")
    recovery_codes: list[str] | None = strawberry.field(description="Each good once, without it. Told once.")
    __repr__ = hidden_repr

    @classmethod
    def of(cls, answer: Answer) -> MfaPayload:
        """The answer in the contract's shape."""
        secret = answer.outcome.secret if answer.outcome else {}
        codes = secret.get("recovery_codes")
        return cls(
            ok=answer.ok,
            user_errors=answer.errors,
            receipt=answer.receipt,
            provisioning_uri=secret.get("provisioning_uri"),
            recovery_codes=codes.split("\n") if codes else None,
        )


@strawberry.type
class CredentialsMutation:
    @resolver("Change one's own password; a code where the account has a second factor. Every session ends.")
    async def change_password(self, info: Info, current: str, new: str, mfa_code: str | None = None) -> OkPayload:
        """See `commands.credentials.change_password`."""
        request = ChangePassword(current=Secret(current), new=Secret(new), mfa_code=hidden(mfa_code))
        return OkPayload.of(await answered(info.context, lambda: request, None))

    @resolver("Ask for a second factor with the present password; it counts once a code has confirmed it.")
    async def enable_mfa(self, info: Info, current_password: str | None = None) -> MfaPayload:
        """See `commands.credentials.enable_mfa`."""
        request = EnableMfa(current_password=hidden(current_password))
        return MfaPayload.of(await answered(info.context, lambda: request, None))

    @resolver("Show within 5 minutes that the authenticator works: from now on signing in needs a code.")
    async def confirm_mfa(self, info: Info, code: str) -> MfaPayload:
        """See `commands.credentials.confirm_mfa`."""
        return MfaPayload.of(await answered(info.context, lambda: ConfirmMfa(code=Secret(code)), None))

    @resolver("Give the second factor up, with the present password and a code.")
    async def disable_mfa(self, info: Info, code: str, current_password: str | None = None) -> OkPayload:
        """See `commands.credentials.disable_mfa`."""
        request = DisableMfa(code=Secret(code), current_password=hidden(current_password))
        return OkPayload.of(await answered(info.context, lambda: request, None))


def hidden(text: str | None) -> Secret | None:
    """A secret that may be left out."""
    return None if text is None else Secret(text)
