"""To whom a mail goes: which account, and which of its addresses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeVar
from uuid import UUID

from eventsourcing.domain import Aggregate

from adapters.wiring import Kontor
from domain.disclosure import PersonalField
from domain.email_claims import EmailClaim
from domain.identity import UserId, email_claim_id, event_id
from domain.notifications import MailTemplate
from domain.orders import Order
from domain.users import User

A = TypeVar("A", bound=Aggregate)
Subject = Order | User | EmailClaim
_ACCOUNT: Final = frozenset(
    {
        MailTemplate.EMAIL_VERIFICATION,
        MailTemplate.EMAIL_VERIFIED,
        MailTemplate.EMAIL_CHANGE,
        MailTemplate.EMAIL_CHANGE_REQUESTED,
        MailTemplate.EMAIL_CHANGED,
        MailTemplate.PASSWORD_CHANGED,
        MailTemplate.MFA_ENABLED,
        MailTemplate.MFA_DISABLED,
    }
)


@dataclass(frozen=True, slots=True)
class To:
    """The account that a mail is for, which of its addresses (sealed) it goes to, and its template."""

    owner: User
    email: str
    template: MailTemplate


async def subject_of(kontor: Kontor, template: MailTemplate, subject_id: UUID) -> Subject | None:
    """What the mail is about: an order, an account or a claim; None where there is none of this id."""
    if template in (MailTemplate.PASSWORD_RESET, MailTemplate.ADDRESS_TAKEN):
        return await loaded(kontor, EmailClaim, subject_id)
    if template in _ACCOUNT:
        return await loaded(kontor, User, subject_id)
    return await loaded(kontor, Order, subject_id)


async def recipient_of(kontor: Kontor, template: MailTemplate, subject: Subject, event_id: UUID) -> To | None:
    """None for an address that no account has, and where nothing is left to say."""
    if isinstance(subject, EmailClaim):
        return await _holder(kontor, template, subject)
    if isinstance(subject, User):
        return await _of_account(kontor, template, subject, event_id)
    owner = await loaded(kontor, User, subject.customer_id)
    return None if owner is None else To(owner, owner.email, template)


async def _of_account(kontor: Kontor, template: MailTemplate, owner: User, event_id: UUID) -> To | None:
    match template:
        case MailTemplate.EMAIL_VERIFICATION if owner.email_verified:
            return None
        case MailTemplate.EMAIL_CHANGE:
            return await _new_address(kontor, owner, event_id)
        case MailTemplate.EMAIL_CHANGE_REQUESTED:
            return To(owner, owner.email, template) if _is_pending(owner, event_id) else None
        case MailTemplate.EMAIL_CHANGED:
            left = [former.email for former in owner.former_emails if _is_event(owner, former.version, event_id)]
            return To(owner, left[0], template) if left else None
        case _:
            return To(owner, owner.email, template)


async def _new_address(kontor: Kontor, owner: User, event_id: UUID) -> To | None:
    """The pending address of this event. Where another account has it, that account's owner is mailed instead."""
    pending = owner.pending_email
    if pending is None or not _is_pending(owner, event_id):
        return None
    (email,) = await kontor.personal_data.open([(owner.id, PersonalField.USER_EMAIL, pending.email)])
    claim_id = email_claim_id(kontor.personal_data.digest(email or ""))
    claim = await loaded(kontor, EmailClaim, claim_id)
    if claim is not None and claim.is_taken(user_id=UserId(owner.id), now=kontor.ports.clock.now()):
        return await _holder(kontor, MailTemplate.ADDRESS_TAKEN, claim)
    return To(owner, pending.email, MailTemplate.EMAIL_CHANGE)


async def _holder(kontor: Kontor, template: MailTemplate, claim: EmailClaim) -> To | None:
    """The account that the address leads to, or is kept for; the mail goes to that address."""
    if claim.user_id is not None:
        owner = await loaded(kontor, User, claim.user_id)
        return None if owner is None else To(owner, owner.email, template)
    if template is MailTemplate.PASSWORD_RESET or claim.kept_for is None:
        return None
    owner = await loaded(kontor, User, claim.kept_for)
    for former in () if owner is None else owner.former_emails:
        (email,) = await kontor.personal_data.open([(claim.kept_for, PersonalField.USER_EMAIL, former.email)])
        if email is not None and email_claim_id(kontor.personal_data.digest(email)) == claim.id:
            assert owner is not None
            return To(owner, former.email, template)
    return None


def _is_pending(owner: User, event_id: UUID) -> bool:
    return owner.pending_email is not None and _is_event(owner, owner.pending_email.version, event_id)


def _is_event(user: User, version: int, wanted: UUID) -> bool:
    """Is this the id of the user's event of that version?"""
    return event_id(user.id, version) == wanted


async def loaded(kontor: Kontor, kind: type[A], aggregate_id: UUID) -> A | None:
    """The aggregate as the log has it; None for another kind, or none."""
    found = (await kontor.store.load([aggregate_id])).get(aggregate_id)
    return found[0] if found is not None and isinstance(found[0], kind) else None
