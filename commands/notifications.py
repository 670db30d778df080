"""Mails: which an event calls for, and what became of each. Pure; `streams.mailing` sends them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

from commands.effects import Planned
from commands.handling import Result, Work
from domain.disclosure import Plain
from domain.identity import UserId, notification_id
from domain.notifications import MailKind, MailTemplate, Notification
from domain.orders import Order
from domain.users import User

MAIL: Final = "mail"
TRIED_FOR: Final = timedelta(days=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxLimit:
    """So many mails of a kind to one mailbox. What is above waits for room, as long as a mail is tried at all, or is
    dropped, and recorded as failed."""

    an_hour: int
    a_day: int
    waits: bool


MAILBOX_LIMITS: Final = {
    MailKind.ORDER: MailboxLimit(an_hour=30, a_day=100, waits=True),
    MailKind.REQUEST: MailboxLimit(an_hour=6, a_day=20, waits=False),
    MailKind.NOTICE: MailboxLimit(an_hour=10, a_day=30, waits=True),
}


def mailbox_of(email: str) -> str:
    """The mailbox that an address leads to: what follows a + in its name is the owner's own sorting."""
    name, _, host = email.strip().lower().rpartition("@")
    return f"{name.partition('+')[0]}@{host}"


def effects_of(event: object, event_id: UUID, recorded_at: datetime) -> Iterable[Planned]:
    """The mails that this event calls for, as effects."""
    for template in mails_of(event):
        subject_id: UUID = event.originator_id  # type: ignore[attr-defined]  # every event has one
        effect = f"{MAIL}.{template.value}"
        yield Planned(event_id=event_id, effect=effect, subject_id=subject_id, give_up_at=recorded_at + TRIED_FOR)


def mails_of(event: object) -> tuple[MailTemplate, ...]:
    """The mails that this event calls for, each to the account or customer that it is about."""
    if isinstance(event, User.EmailChangeRequested):
        return MailTemplate.EMAIL_CHANGE, MailTemplate.EMAIL_CHANGE_REQUESTED
    template = _mail_of_order(event) or _mail_of_account(event)
    return () if template is None else (template,)


def _mail_of_order(event: object) -> MailTemplate | None:
    match event:
        # Who is paid outside has agreed with staff, or is of the past and was imported.
        case Order.Confirmed(payment_id=UUID()):
            return MailTemplate.ORDER_CONFIRMED
        case Order.Shipped():
            return MailTemplate.ORDER_SHIPPED
        case Order.Cancelled():
            return MailTemplate.ORDER_CANCELLED
        case Order.Rejected():
            return MailTemplate.ORDER_REJECTED
        case Order.Refunded():
            return MailTemplate.ORDER_REFUNDED
        case _:
            return None


def _mail_of_account(event: object) -> MailTemplate | None:  # noqa: PLR0911  # one line per event
    match event:
        case User.Created() | User.ProfileUpdated(email=str()):
            return MailTemplate.EMAIL_VERIFICATION
        case User.EmailVerified():
            return MailTemplate.EMAIL_VERIFIED
        case User.EmailChanged():
            return MailTemplate.EMAIL_CHANGED
        case User.PasswordChanged():
            return MailTemplate.PASSWORD_CHANGED
        case User.MfaEnabled():
            return MailTemplate.MFA_ENABLED
        case User.MfaDisabled():
            return MailTemplate.MFA_DISABLED
        case _:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordMailSent:
    """The mail server has taken the mail of this effect."""

    effect_id: UUID
    event_id: UUID
    template: MailTemplate
    user_id: UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordMailFailed:
    """The mail of this effect will never be sent. `reason` must hold nothing personal."""

    effect_id: UUID
    event_id: UUID
    template: MailTemplate
    user_id: UserId
    reason: Plain


async def record_mail_sent(command: RecordMailSent, work: Work) -> Result:
    """What is recorded of this effect already stays as it is."""
    return await _recorded(command, work, Notification.sent)


async def record_mail_failed(command: RecordMailFailed, work: Work) -> Result:
    """Raises Invalid for a reason that is empty or too long. What is recorded of this effect already stays."""
    return await _recorded(command, work, partial(Notification.failed, reason=command.reason))


async def _recorded(
    command: RecordMailSent | RecordMailFailed, work: Work, made: Callable[..., Notification]
) -> Result:
    wanted = notification_id(command.effect_id)
    known = await work.load(Notification, wanted)
    if known is not None:
        return Result(known)
    notification = made(
        notification_id=wanted,
        template=command.template,
        user_id=command.user_id,
        event_id=command.event_id,
        now=work.now,
    )
    return Result(work.add(notification))
