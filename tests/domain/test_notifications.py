"""A mail is sent or has failed, and says so in one event."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from domain.errors import Invalid
from domain.identity import notification_id
from domain.notifications import REASON_LENGTH_MAX, MailTemplate, Notification
from tests.given import CUSTOMER_ID, NOW, replayed, told

EFFECT, EVENT = UUID(int=0xEF), UUID(int=0xE)
TOLD: dict[str, Any] = {"template": "order_shipped", "user_id": str(CUSTOMER_ID), "event_id": str(EVENT)}
GIVEN: dict[str, Any] = {
    "notification_id": notification_id(EFFECT),
    "template": MailTemplate.ORDER_SHIPPED,
    "user_id": CUSTOMER_ID,
    "event_id": EVENT,
    "now": NOW,
}


def test_a_mail_that_was_taken_says_which_to_whom_and_why() -> None:
    mail = Notification.sent(**GIVEN)
    assert mail.id == notification_id(EFFECT) != notification_id(EVENT)
    assert mail.failure is None
    assert told(mail) == [("notification.sent", TOLD)]


def test_a_mail_that_failed_says_also_why_not() -> None:
    mail = Notification.failed(**GIVEN, reason=" refused: 550 ")
    assert mail.failure == "refused: 550"
    assert told(mail) == [("notification.failed", TOLD | {"reason": "refused: 550"})]


@pytest.mark.parametrize("reason", ["", " ", "x" * (REASON_LENGTH_MAX + 1), "a\x00b"])
def test_a_reason_is_a_short_text(reason: str) -> None:
    with pytest.raises(Invalid):
        Notification.failed(**GIVEN, reason=reason)


@pytest.mark.parametrize("mail", [Notification.sent(**GIVEN), Notification.failed(**GIVEN, reason="x")])
def test_it_is_the_same_when_it_is_read_again(mail: Notification) -> None:
    events = mail.collect_events()
    assert vars(replayed(events)) == vars(mail)
    assert isinstance(replayed(events), Notification)
