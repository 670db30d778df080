"""Sending the mail that an event calls for, once, and recording what became of it.

The facts come from the log when the mail is made; the tokens of its links are made then, too. The order is: look
whether it is recorded, send, record. A process killed between the server's answer and the record sends the mail a
second time, with the same Message-ID: SMTP knows no idempotency, and a mail twice is better than none.
"""

from __future__ import annotations

from functools import partial
from typing import Final, TypedDict
from uuid import UUID

import structlog

from adapters.mail_rendering import AccountFacts, Facts, LineFacts, LinkFacts, OrderFacts, Url, render
from adapters.wiring import Kontor
from commands.handling import Actor
from commands.mailed_links import GOOD_FOR
from commands.notifications import MAILBOX_LIMITS, RecordMailFailed, RecordMailSent, mailbox_of
from commands.ports import Mail, MailerAway, MailRefused, TokenPurpose
from domain.disclosure import PersonalField
from domain.identity import UserId, email_claim_id, notification_id
from domain.notifications import MailTemplate, Notification
from domain.orders import Order, OrderStatus
from domain.users import User
from streams.mail_recipients import Subject, loaded, recipient_of, subject_of
from streams.settling import NotYet

log = structlog.get_logger()


class MailboxFull(NotYet):
    """The mailbox was sent too many mails of this kind; there is room again in `retry_after_s` seconds."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class _About(TypedDict):
    """What is recorded of every mail."""

    effect_id: UUID
    event_id: UUID
    template: MailTemplate
    user_id: UserId


ACTOR: Final = Actor.system("mailing")
# Why a mail failed for which no server was asked.
ERASED: Final = "erased"
# RFC 2606: nobody is there. Imported customers have such addresses.
NOBODYS: Final = ".invalid"
# What the link of a mail is good for, and the page of the shop that it leads to.
_LINKS: Final = {
    MailTemplate.EMAIL_VERIFICATION: (TokenPurpose.EMAIL_VERIFICATION, "verify-email"),
    MailTemplate.EMAIL_CHANGE: (TokenPurpose.EMAIL_CHANGE, "verify-email"),
    MailTemplate.EMAIL_CHANGE_REQUESTED: (TokenPurpose.EMAIL_UNDO, "undo-email-change"),
    MailTemplate.EMAIL_CHANGED: (TokenPurpose.EMAIL_UNDO, "undo-email-change"),
    MailTemplate.PASSWORD_RESET: (TokenPurpose.PASSWORD_RESET, "reset-password"),
}
# Their reader may have to set another password.
_ALARMING: Final = frozenset(
    {
        MailTemplate.PASSWORD_CHANGED,
        MailTemplate.MFA_ENABLED,
        MailTemplate.MFA_DISABLED,
        MailTemplate.ADDRESS_TAKEN,
    }
)


async def send(
    kontor: Kontor,
    *,
    effect_id: UUID,
    event_id: UUID,
    template: str,
    subject_id: UUID,
    correlation_id: UUID | None = None,
) -> None:
    """Send the mail of this effect, unless it is recorded as sent or failed; return when it is recorded.

    `subject_id` is the order, the account, or for `password_reset` and `address_taken` the claim on an address.
    Whose mail it is follows from that. Where there is nobody to send to, or nothing left to
    say, nothing is sent or recorded. For somebody who was erased it is recorded as failed, as is a mail that the server
    refuses for good, and one above what the mailbox is sent of its kind; where that can wait, MailboxFull is raised.
    Raises MailerAway where it may be tried again, also where no mail server is configured, and
    ValueError for an unknown template."""
    wanted = MailTemplate(template)
    if await loaded(kontor, Notification, notification_id(effect_id)) is not None:
        return
    subject = await subject_of(kontor, wanted, subject_id)
    to = None if subject is None else await recipient_of(kontor, wanted, subject, event_id)
    if subject is None or to is None:
        log.info("no_mail", template=template, subject_id=str(subject_id), effect_id=str(effect_id))
        return
    owner, wanted = to.owner, to.template
    email, name = await kontor.personal_data.open(
        [(owner.id, PersonalField.USER_EMAIL, to.email), (owner.id, PersonalField.USER_NAME, owner.name)]
    )
    about: _About = {"effect_id": effect_id, "event_id": event_id, "template": wanted, "user_id": UserId(owner.id)}
    record = partial(_recorded, kontor, about, correlation_id)
    if email is None or name is None:
        await record(ERASED)
        return
    if email.endswith(NOBODYS):
        return
    if kontor.mailer is None:
        raise MailerAway("no mail server is configured; set KONTOR_SMTP_URL")
    if (over := await _over_limit(kontor, wanted, email, effect_id)) is not None:
        await record(over)
        return
    mail = render(wanted, name, await _facts(kontor, wanted, subject, owner, email))
    try:
        await kontor.mailer.send(
            Mail(message_id=str(effect_id), to=email, subject=mail.subject, text=mail.text, html=mail.html)
        )
    except MailRefused as refused:
        await record(str(refused))
    else:
        await record(None)


async def _over_limit(kontor: Kontor, template: MailTemplate, email: str, effect_id: UUID) -> str | None:
    """Why the mail is not sent; None when it may be. Raises MailboxFull where it waits."""
    limit, kind = MAILBOX_LIMITS[template.kind], template.kind
    mailbox = kontor.personal_data.digest(f"mailbox:{mailbox_of(email)}")
    wait_s = await kontor.mailboxes.take(mailbox, kind, effect_id, an_hour=limit.an_hour, a_day=limit.a_day)
    if wait_s <= 0:
        return None
    told = f"the mailbox has had {limit.an_hour} mails of the kind {kind} within an hour, or {limit.a_day} within a day"
    if limit.waits:
        raise MailboxFull(told, retry_after_s=wait_s)
    return told


async def _recorded(kontor: Kontor, about: _About, correlation_id: UUID | None, failed_for: str | None) -> None:
    command: RecordMailSent | RecordMailFailed = RecordMailSent(**about)
    if failed_for is not None:
        log.warning(
            "mail_failed", template=about["template"].value, effect_id=str(about["effect_id"]), reason=failed_for
        )
        command = RecordMailFailed(**about, reason=failed_for)
    await kontor.pipeline.execute(command, actor=ACTOR, causation_id=about["event_id"], correlation_id=correlation_id)


async def _facts(kontor: Kontor, template: MailTemplate, subject: Subject, owner: User, email: str) -> Facts:
    shop = kontor.settings.public_url.rstrip("/")
    if isinstance(subject, Order):
        return _order_facts(subject, await _reason(kontor, subject), shop)
    if template in _LINKS:
        purpose, page = _LINKS[template]
        return await _link(kontor, purpose, owner, email, f"{shop}/{page}")
    return AccountFacts(url=Url(f"{shop}/forgotten-password" if template in _ALARMING else shop))


async def _reason(kontor: Kontor, order: Order) -> str:
    """Why it was rejected, cancelled or refunded; empty where there is no reason, or none that can be opened."""
    if order.reason is None or order.status is OrderStatus.REJECTED:
        return order.reason or ""
    token = (order.customer_id, PersonalField.ORDER_REASON, order.reason)
    (reason,) = await kontor.personal_data.open([token])
    return reason or ""


def _order_facts(order: Order, reason: str, shop: str) -> OrderFacts:
    lines = (
        LineFacts(sku=line.sku, name=line.name, quantity=line.quantity, unit_price=line.unit_price, total=line.total)
        for line in order.lines
    )
    return OrderFacts(
        number=order.number,
        placed_at=order.placed_at,
        lines=tuple(lines),
        total=order.total,
        url=Url(f"{shop}/orders/{order.id}"),
        reason=reason,
        carrier=order.carrier or "",
        tracking_number=order.tracking_number or "",
    )


async def _link(kontor: Kontor, purpose: TokenPurpose, owner: User, email: str, page: str) -> LinkFacts:
    """A link with a new token. It stands behind a #, so that no server or proxy on the way ever sees it."""
    now = kontor.ports.clock.now()
    address_id = email_claim_id(kontor.personal_data.digest(email))
    token = await kontor.ports.account_tokens.make(
        owner.id, purpose, address_id=address_id, expires_at=now + GOOD_FOR[purpose], now=now
    )
    return LinkFacts(url=Url(f"{page}#token={token}"), valid=GOOD_FOR[purpose])
