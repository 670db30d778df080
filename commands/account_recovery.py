"""What mailed links are good for: showing that an address is one's own, and setting a password that was forgotten.

Their tokens are made when the mail is sent (`streams.mailing`), so that none stands in the log or in a ledger.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from commands.credentials import stage_password
from commands.handling import Result, Work
from commands.passwords import require_strong
from commands.ports import TokenPurpose
from commands.users import address_id, normal_email
from domain.disclosure import KeepsSecrets, Personal, PersonalField, Secret
from domain.errors import Invalid
from domain.identity import request_in_minute
from domain.users import User

EFFECT: Final = "mail.password_reset"
GOOD_FOR: Final = {
    TokenPurpose.EMAIL_VERIFICATION: timedelta(hours=24),
    TokenPurpose.PASSWORD_RESET: timedelta(minutes=30),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyEmail(KeepsSecrets):
    """Show that one reads mails to one's address, with the token of such a mail."""

    token: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPasswordReset:
    """Have a link mailed that sets another password. The answer is the same whether the address has an account."""

    email: Personal


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetPassword(KeepsSecrets):
    """Set another password with the token of a mail; every session ends. A second factor stays."""

    token: Secret
    new: Secret


async def verify_email(command: VerifyEmail, work: Work) -> Result:
    """Raises Invalid for a token that is not good, or whose address is not the account's any more. As long as it is
    good it may be used again: the second time nothing happens."""
    user, _ = await _owner(command.token, TokenPurpose.EMAIL_VERIFICATION, work)
    user.verify_email(now=work.now)
    return Result(user)


async def request_password_reset(command: RequestPasswordReset, work: Work) -> Result:
    """Raises Invalid for what is no address. One mail a minute at most, however often it is asked for.

    Whether there is an account is not looked up here but when the mail is made, so the answer cannot tell it, and
    takes no other time."""
    claim_id = address_id(normal_email(command.email), work)
    minute = int(work.now.timestamp()) // 60
    await work.ports.effects.plan(
        effect=EFFECT,
        event_id=request_in_minute(claim_id, EFFECT, minute),
        subject_id=claim_id,
        now=work.now,
    )
    return Result(None)


async def reset_password(command: ResetPassword, work: Work) -> Result:
    """Raises WeakPassword, which leaves the token good, or Invalid for a token that is not good: it is good once.

    Should the process die after the token was taken, another mail must be asked for."""
    user, email = await _owner(command.token, TokenPurpose.PASSWORD_RESET, work)
    (name,) = await work.ports.personal_data.open([(user.id, PersonalField.USER_NAME, user.name)])
    require_strong(command.new, email=email, name=name or "", host=work.ports.shop_host, field="new")
    tokens, purpose = work.ports.account_tokens, TokenPurpose.PASSWORD_RESET
    if not await tokens.take(command.token, purpose, by=work.command_id, now=work.now):
        raise _not_good(purpose)
    await stage_password(user.id, command.new, work)
    user.change_password(reason="reset by a mailed link", now=work.now)
    return Result(user)


async def _owner(token: Secret, purpose: TokenPurpose, work: Work) -> tuple[User, str]:
    """The account that a good token is for, and its address. Raises Invalid."""
    found = await work.ports.account_tokens.find(token, purpose, by=work.command_id, now=work.now)
    user = None if found is None else await work.load(User, found.user_id)
    if found is None or user is None or user.erased:
        raise _not_good(purpose)
    (email,) = await work.ports.personal_data.open([(user.id, PersonalField.USER_EMAIL, user.email)])
    # A token is for the address it was mailed to: whoever reads another one's mails has no say.
    if email is None or address_id(email, work) != found.address_id:
        raise _not_good(purpose)
    return user, email


def _not_good(purpose: TokenPurpose) -> Invalid:
    minutes = int(GOOD_FOR[purpose].total_seconds()) // 60
    return Invalid(
        f"The token is unknown, was used, is older than {minutes} minutes, or was mailed to an address that is not the "
        "account's any more; ask for another mail.",
        field=("token",),
    )
