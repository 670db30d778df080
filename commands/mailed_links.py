"""What mailed links are good for, and for how long.

Their tokens are made when the mail is sent (`streams.mailing`), so that none stands in the log or in a ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from commands.handling import Work
from commands.ports import AccountToken, TokenPurpose
from domain.disclosure import Secret
from domain.email_claims import UNDO_WINDOW
from domain.errors import Invalid
from domain.users import User

GOOD_FOR: Final = {
    TokenPurpose.EMAIL_VERIFICATION: timedelta(hours=24),
    TokenPurpose.EMAIL_CHANGE: timedelta(hours=24),
    TokenPurpose.EMAIL_UNDO: UNDO_WINDOW,
    TokenPurpose.PASSWORD_RESET: timedelta(minutes=30),
}


async def linked_account(token: Secret, purposes: Sequence[TokenPurpose], work: Work) -> tuple[User, AccountToken]:
    """The account that a good token of one of these purposes is for, and what the token says. Raises Invalid."""
    for purpose in purposes:
        found = await work.ports.account_tokens.find(token, purpose, by=work.command_id, now=work.now)
        user = None if found is None else await work.load(User, found.user_id)
        if found is not None and user is not None and not user.erased:
            return user, found
    raise not_good(purposes[0])


def not_good(purpose: TokenPurpose) -> Invalid:
    """The refusal of a token."""
    return Invalid(
        f"The token is unknown, was used, is older than {_span(GOOD_FOR[purpose])}, or was mailed to an address that "
        "is not the account's any more; ask for another mail.",
        field=("token",),
    )


def _span(span: timedelta) -> str:
    return f"{span.days} days" if span.days > 1 else f"{int(span.total_seconds()) // 60} minutes"
