"""Mailed links: showing that an address is one's own, and setting a password that was forgotten."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from commands.credentials import stage_password
from commands.email_changes import confirm_email_change
from commands.email_claims import address_id, normal_email
from commands.handling import Result, Work
from commands.mailed_links import linked_account, not_good
from commands.passwords import require_strong
from commands.ports import TokenPurpose
from domain.disclosure import KeepsSecrets, Personal, PersonalField, Secret
from domain.identity import request_in_period

EFFECT: Final = "mail.password_reset"
VERIFYING: Final = (TokenPurpose.EMAIL_VERIFICATION, TokenPurpose.EMAIL_CHANGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyEmail(KeepsSecrets):
    """Show that one reads mails to one's address, or to the one it shall be, with the token of such a mail."""

    token: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPasswordReset:
    """Have a link mailed that sets another password. The answer is the same whether the address has an account."""

    email: Personal


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetPassword(KeepsSecrets):
    """Set another password with the token of a mail; every session ends. A second factor stays, unless the address was
    never verified: the registrant has not proven that the address is theirs."""

    token: Secret
    new: Secret


async def verify_email(command: VerifyEmail, work: Work) -> Result:
    """With the token of a mail to a pending address, that address becomes the account's. Raises Invalid for a token
    that is not good, or whose address is neither the account's nor pending, and AlreadyExists for a pending address
    that became another account's. As long as it is good it may be used again: the second time nothing happens."""
    user, token = await linked_account(command.token, VERIFYING, work)
    pending = user.pending_email
    email, wanted = await work.ports.personal_data.open(
        [(user.id, PersonalField.USER_EMAIL, each) for each in (user.email, "" if pending is None else pending.email)]
    )
    if email is not None and address_id(email, work) == token.address_id:
        user.verify_email(now=work.now)
        return Result(user)
    if wanted is not None and address_id(wanted, work) == token.address_id:
        return await confirm_email_change(user, wanted, work)
    raise not_good(TokenPurpose.EMAIL_VERIFICATION)


async def request_password_reset(command: RequestPasswordReset, work: Work) -> Result:
    """Raises Invalid for what is no address. One mail a minute at most, however often it is asked for.

    Whether there is an account is not looked up here but when the mail is made, so the answer cannot tell it, and
    takes no other time."""
    claim_id = address_id(normal_email(command.email), work)
    minute = int(work.now.timestamp()) // 60
    await work.ports.effects.plan(
        effect=EFFECT,
        event_id=request_in_period(claim_id, EFFECT, minute),
        subject_id=claim_id,
        now=work.now,
    )
    return Result(None)


async def reset_password(command: ResetPassword, work: Work) -> Result:
    """Raises WeakPassword, which leaves the token good, or Invalid for a token that is not good: it is good once. Of an
    address that was never verified, what was set up before goes: see `User.prove_mailbox`.

    Should the process die after the token was taken, another mail must be asked for."""
    user, token = await linked_account(command.token, (TokenPurpose.PASSWORD_RESET,), work)
    email, name = await work.ports.personal_data.open(
        [(user.id, PersonalField.USER_EMAIL, user.email), (user.id, PersonalField.USER_NAME, user.name)]
    )
    tokens, purpose = work.ports.account_tokens, TokenPurpose.PASSWORD_RESET
    # A token is for the address it was mailed to: the reader of another mailbox has no say.
    if email is None or address_id(email, work) != token.address_id:
        raise not_good(purpose)
    require_strong(command.new, email=email, name=name or "", host=work.ports.shop_host, field="new")
    if not await tokens.take(command.token, purpose, by=work.command_id, now=work.now):
        raise not_good(purpose)
    await stage_password(user.id, command.new, work)
    user.prove_mailbox(now=work.now)
    user.change_password(reason="reset by a mailed link", now=work.now)
    return Result(user)
