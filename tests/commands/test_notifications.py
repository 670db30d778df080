"""Which mail an event calls for, and how it is recorded what became of it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from commands.notifications import RecordMailFailed, RecordMailSent, mails_of
from domain import CONTEXTS, EVENT_TYPES
from domain.errors import Forbidden
from domain.notifications import MailTemplate
from domain.users import User
from tests.given import ADMIN, CUSTOMER_ID, STAFF, InMemory

CALLED_FOR = {
    "order.confirmed": MailTemplate.ORDER_CONFIRMED,
    "order.shipped": MailTemplate.ORDER_SHIPPED,
    "order.cancelled": MailTemplate.ORDER_CANCELLED,
    "order.rejected": MailTemplate.ORDER_REJECTED,
    "order.refunded": MailTemplate.ORDER_REFUNDED,
    "user.registered": MailTemplate.EMAIL_VERIFICATION,
    "user.email_verified": MailTemplate.EMAIL_VERIFIED,
    "user.password_changed": MailTemplate.PASSWORD_CHANGED,
    "user.mfa_enabled": MailTemplate.MFA_ENABLED,
    "user.mfa_disabled": MailTemplate.MFA_DISABLED,
    "user.email_changed": MailTemplate.EMAIL_CHANGED,
    "user.profile_updated": MailTemplate.EMAIL_VERIFICATION,
}
SENT: dict[str, Any] = {
    "effect_id": UUID(int=0xEF),
    "event_id": UUID(int=0xE),
    "template": MailTemplate.ORDER_SHIPPED,
    "user_id": CUSTOMER_ID,
}


def event_of(event_type: str) -> Any:
    """An event of this type, without what it says."""
    (kind,) = {
        each
        for aggregates in CONTEXTS.values()
        for aggregate in aggregates.values()
        for each in vars(aggregate).values()
        if getattr(each, "TOPIC", "") == event_type and isinstance(each, type)
    }
    event = kind.__new__(kind)
    event.__dict__["email"] = "sealed"
    event.__dict__["payment_id"] = UUID(int=0xBA)
    return event


@pytest.mark.parametrize("event_type", sorted(EVENT_TYPES))
def test_an_event_calls_for_its_mail_or_for_none(event_type: str) -> None:
    wanted = CALLED_FOR.get(event_type)
    if event_type == "user.email_change_requested":
        assert mails_of(event_of(event_type)) == (MailTemplate.EMAIL_CHANGE, MailTemplate.EMAIL_CHANGE_REQUESTED)
    else:
        assert mails_of(event_of(event_type)) == (() if wanted is None else (wanted,))


def test_an_order_that_is_paid_outside_is_confirmed_without_a_mail() -> None:
    event = event_of("order.confirmed")
    event.__dict__["payment_id"] = None
    assert mails_of(event) == ()


def test_another_name_calls_for_no_mail() -> None:
    event = event_of("user.profile_updated")
    assert isinstance(event, User.ProfileUpdated)
    event.__dict__["email"] = None
    assert mails_of(event) == ()


@pytest.mark.parametrize("first", [RecordMailSent(**SENT), RecordMailFailed(**SENT, reason="refused: 550")])
async def test_what_became_of_a_mail_is_recorded_once(first: Any) -> None:
    kontor = InMemory()
    outcome = await kontor.execute(first)
    for again in (first, RecordMailSent(**SENT), RecordMailFailed(**SENT, reason="other")):
        repeated = await kontor.execute(again)
        assert (repeated.aggregate_id, repeated.version) == (outcome.aggregate_id, 1)
    assert kontor.store.event_types in (["notification.sent"], ["notification.failed"])
    (event,) = kontor.store.events
    assert (event.template, event.user_id, event.event_id) == (MailTemplate.ORDER_SHIPPED, CUSTOMER_ID, UUID(int=0xE))


async def test_another_effect_is_another_mail() -> None:
    kontor = InMemory()
    for number in range(3):
        await kontor.execute(RecordMailSent(**(SENT | {"effect_id": UUID(int=number)})))
    assert len(kontor.store.stored) == 3


@pytest.mark.parametrize("actor", [ADMIN, STAFF])
async def test_only_kontor_itself_records_mails(actor: Any) -> None:
    for request in (RecordMailSent(**SENT), RecordMailFailed(**SENT, reason="x")):
        with pytest.raises(Forbidden):
            await InMemory().execute(request, actor)
