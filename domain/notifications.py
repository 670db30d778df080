"""A mail to a person: sent, or never to be sent. What it said is nowhere: it is made anew from the facts it tells of.

It is recorded once, by the effect that asked for it, so that whoever repeats the effect can see that it is done.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from eventsourcing.domain import Aggregate

from domain.audience import Audience
from domain.disclosure import Plain
from domain.identity import NotificationId, UserId
from domain.text import plain_text

REASON_LENGTH_MAX: Final = 200


class MailKind(StrEnum):
    """What limits a mail to a mailbox: ORDER, about something bought; REQUEST, which anyone can have sent by typing the
    address; NOTICE, about the account, to its owner."""

    ORDER = "order"
    REQUEST = "request"
    NOTICE = "notice"


class MailTemplate(StrEnum):
    """What a mail tells, and its kind. The names are stored for ever."""

    kind: MailKind

    def __new__(cls, name: str, kind: MailKind | None = None) -> MailTemplate:
        """Raises TypeError for a template whose kind nobody has said."""
        if kind is None:
            raise TypeError(
                f"The mail template {name} has no kind: say what limits it, as in {name!r}, MailKind.NOTICE."
            )
        made = str.__new__(cls, name)
        made._value_, made.kind = name, kind
        return made

    ORDER_CONFIRMED = "order_confirmed", MailKind.ORDER
    ORDER_SHIPPED = "order_shipped", MailKind.ORDER
    ORDER_CANCELLED = "order_cancelled", MailKind.ORDER
    ORDER_REJECTED = "order_rejected", MailKind.ORDER
    ORDER_REFUNDED = "order_refunded", MailKind.ORDER
    EMAIL_VERIFICATION = "email_verification", MailKind.REQUEST
    EMAIL_VERIFIED = "email_verified", MailKind.NOTICE
    EMAIL_CHANGE = "email_change", MailKind.REQUEST  # to the pending address
    EMAIL_CHANGE_REQUESTED = "email_change_requested", MailKind.NOTICE  # to the present address
    EMAIL_CHANGED = "email_changed", MailKind.NOTICE  # to the former address
    ADDRESS_TAKEN = "address_taken", MailKind.REQUEST
    PASSWORD_RESET = "password_reset", MailKind.REQUEST  # a name, not a secret
    PASSWORD_CHANGED = "password_changed", MailKind.NOTICE  # a name, not a secret
    MFA_ENABLED = "mfa_enabled", MailKind.NOTICE
    MFA_DISABLED = "mfa_disabled", MailKind.NOTICE


class Notification(Aggregate):
    """One mail to one person about one event. Its id is derived from its effect's."""

    TOPIC = "notification"

    # TOPICs and field names are stored for ever: a changed shape is a new class_version with an upcaster.
    class Created(Aggregate.Created):
        """The mail server has taken it."""

        TOPIC = "notification.sent"
        AUDIENCE = Audience.SECURITY
        template: MailTemplate
        user_id: UserId
        event_id: UUID

        def apply(self, aggregate: Notification) -> None:
            aggregate.template, aggregate.user_id, aggregate.event_id = self.template, self.user_id, self.event_id
            aggregate.failure = None

    class Failed(Aggregate.Created):
        """It will never be sent. `reason` holds nothing personal."""

        TOPIC = "notification.failed"
        AUDIENCE = Audience.SECURITY
        template: MailTemplate
        user_id: UserId
        event_id: UUID
        reason: Plain

        def apply(self, aggregate: Notification) -> None:
            aggregate.template, aggregate.user_id, aggregate.event_id = self.template, self.user_id, self.event_id
            aggregate.failure = self.reason

    template: MailTemplate
    user_id: UserId
    event_id: UUID
    failure: str | None

    def __init__(self) -> None:
        """State comes from events alone."""

    @classmethod
    def sent(
        cls, *, notification_id: NotificationId, template: MailTemplate, user_id: UserId, event_id: UUID, now: datetime
    ) -> Notification:
        """A mail that the server has taken."""
        return cls._create(
            cls.Created, id=notification_id, timestamp=now, template=template, user_id=user_id, event_id=event_id
        )

    @classmethod
    def failed(
        cls,
        *,
        notification_id: NotificationId,
        template: MailTemplate,
        user_id: UserId,
        event_id: UUID,
        reason: str,
        now: datetime,
    ) -> Notification:
        """A mail that will never be sent. Raises Invalid for a reason that is empty or too long."""
        reason = plain_text(reason, field="reason", length_max=REASON_LENGTH_MAX)
        return cls._create(
            cls.Failed,
            id=notification_id,
            timestamp=now,
            template=template,
            user_id=user_id,
            event_id=event_id,
            reason=reason,
        )
