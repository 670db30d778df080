"""E-mail addresses: the one form in which each is unique, and the claims on them."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from commands.handling import Work
from domain.email_claims import EmailClaim
from domain.errors import Invalid
from domain.identity import EmailClaimId, UserId, email_claim_id
from domain.text import plain_text

EMAIL_LENGTH_MAX: Final = 254
# The shape every deliverable address has; whether it exists, only a mail to it can tell.
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")


def normal_email(email: str) -> str:
    """The address in the one form under which it is unique: trimmed and lower-cased."""
    email = plain_text(email, field="email", length_max=EMAIL_LENGTH_MAX).lower()
    if not _EMAIL.fullmatch(email):
        raise Invalid(f"{email!r} is not an e-mail address like name@example.com.", field=("email",))
    return email


def address_id(email: str, work: Work) -> EmailClaimId:
    """The claim on this address, which names it without telling it."""
    return email_claim_id(work.ports.personal_data.digest(email))


async def claim(email: str, user_id: UserId, work: Work) -> None:
    """Make the address this account's. Raises AlreadyExists when it is another's, or kept for another."""
    claim_id = address_id(email, work)
    known = await work.load(EmailClaim, claim_id)
    if known is None:
        work.add(EmailClaim.claim(claim_id=claim_id, user_id=user_id, now=work.now))
    else:
        known.reclaim(user_id=user_id, now=work.now)


async def keep(email: str | None, user_id: UserId, until: datetime, work: Work) -> None:
    """The address leads to no account any more, and until then no other account may claim it."""
    known = await work.load(EmailClaim, address_id(email, work)) if email else None
    if known is not None:
        known.keep(user_id=user_id, until=until, now=work.now)


async def release(email: str | None, user_id: UserId, work: Work) -> None:
    """Any account may claim the address. Nothing happens unless it is, or is kept for, this account."""
    known = await work.load(EmailClaim, address_id(email, work)) if email else None
    if known is not None:
        known.release(user_id=user_id, now=work.now)
