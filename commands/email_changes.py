"""Changing one's e-mail address: asked for with the present password, confirmed by a link that is mailed to the new
address, and undone for UNDO_WINDOW by a link that is mailed to the former one.

Until it is confirmed the new address is neither claimed nor looked up: the answer to the request is the same whether it
has an account."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from commands.email_claims import address_id, claim, keep, release
from commands.handling import Result, Work
from commands.mailed_links import linked_account, not_good
from commands.ports import AccountToken, TokenPurpose
from domain.disclosure import KeepsSecrets, PersonalField, Secret
from domain.email_claims import UNDO_WINDOW, FormerEmail
from domain.identity import UserId
from domain.users import User


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoEmailChange(KeepsSecrets):
    """Undo a change of address with the token of the mail to the former address. The password and every session end:
    set a new password with `RequestPasswordReset`."""

    token: Secret


async def confirm_email_change(user: User, email: str, work: Work) -> Result:
    """The pending address, whose owner has followed the mailed link, becomes the account's. The one before is kept for
    UNDO_WINDOW where it was verified. Raises AlreadyExists when it became another account's meanwhile."""
    user_id = UserId(user.id)
    (old,) = await work.ports.personal_data.open([(user.id, PersonalField.USER_EMAIL, user.email)])
    await claim(email, user_id, work)
    if old != email and user.email_verified:
        await keep(old, user_id, work.now + UNDO_WINDOW, work)
    elif old != email:
        await release(old, user_id, work)
    user.confirm_email_change(now=work.now)
    return Result(user)


async def undo_email_change(command: UndoEmailChange, work: Work) -> Result:
    """Raises Invalid for a token that is not good, or whose address the account left more than UNDO_WINDOW ago. The
    second time nothing happens.

    Addresses that the account took after the one that counts again are free at once."""
    user, token = await linked_account(command.token, (TokenPurpose.EMAIL_UNDO,), work)
    present, *texts = await _opened(user, [user.email, *(former.email for former in user.former_emails)], work)
    if present is not None and address_id(present, work) == token.address_id:
        if user.pending_email is not None:
            user.undo_email_change(None, now=work.now)
        return Result(user)
    place = _place(user.former_emails, texts, token, work)
    restored = texts[place]
    assert restored is not None
    for later in [present, *texts[place + 1 :]]:
        if later != restored:
            await release(later, UserId(user.id), work)
    await claim(restored, UserId(user.id), work)
    user.undo_email_change(user.former_emails[place], now=work.now)
    return Result(user)


async def release_all(user: User, work: Work) -> None:
    """Any account may claim the addresses that this one has, and those that are kept for it."""
    for email in set(await _opened(user, [user.email, *(former.email for former in user.former_emails)], work)):
        await release(email, UserId(user.id), work)


def _place(former: Sequence[FormerEmail], texts: Sequence[str | None], token: AccountToken, work: Work) -> int:
    """Which of them is the token's: the one that was left last. Raises Invalid for one left too long ago, or none."""
    for place in reversed(range(len(former))):
        email = texts[place]
        if email is not None and address_id(email, work) == token.address_id:
            if former[place].left_at > work.now - UNDO_WINDOW:
                return place
            break
    raise not_good(TokenPurpose.EMAIL_UNDO)


async def _opened(user: User, sealed: Sequence[str], work: Work) -> list[str | None]:
    return await work.ports.personal_data.open([(user.id, PersonalField.USER_EMAIL, each) for each in sealed])
