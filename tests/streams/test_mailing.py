"""Mails from the log to a real mail server: sent once, recorded once, and never to somebody who is gone."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from adapters.mailer import SmtpMailer
from adapters.smtp_url import smtp_server
from adapters.wiring import Kontor
from commands.account_recovery import ResetPassword, VerifyEmail
from commands.catalogue import AddProduct
from commands.handling import ANONYMOUS, Actor
from commands.inventory import ReceiveStock, ReserveOrders
from commands.notifications import MAILBOX_LIMITS, MailboxLimit
from commands.orders import CancelOrder, PlaceOrder, RefundOrder, ShipOrder, WantedLine
from commands.ports import MailerAway
from commands.sessions import SignIn
from commands.users import EraseUser, RegisterUser
from domain.errors import Invalid
from domain.identity import OrderId, UserId, email_claim_id, event_id, notification_id
from domain.money import Money
from domain.notifications import MailKind, MailTemplate
from streams import mailing
from tests.adapters.mail_server import Taken, mail_server
from tests.given import PASSWORD, SYSTEM

pytestmark = pytest.mark.servers
EMAIL, NAME = "ada@example.com", "Ada Lovelace"
NEW_PASSWORD = "another horse battery"


@dataclass
class Post:
    """A Kontor whose mails go to a mail server, and what that has taken."""

    kontor: Kontor
    taken: Taken

    async def do(self, request: Any, actor: Actor = SYSTEM) -> UUID:
        return (await self.kontor.pipeline.execute(request, actor=actor)).aggregate_id

    async def registered(self, email: str = EMAIL) -> UserId:
        return UserId(await self.do(RegisterUser(email=email, name=NAME, password=PASSWORD)))

    async def send(self, template: str, subject_id: UUID, effect_id: UUID | None = None, *, version: int = 1) -> UUID:
        """The mail for the subject's event of this version."""
        effect_id = effect_id or uuid4()
        await mailing.send(
            self.kontor,
            effect_id=effect_id,
            event_id=event_id(subject_id, version),
            template=template,
            subject_id=subject_id,
        )
        return effect_id

    async def recorded(self, effect_id: UUID) -> list[tuple[str, dict[str, Any]]]:
        """The events about the mail of this effect, as SQL sees them."""
        async with self.kontor.pool.connection() as connection:
            rows = await connection.execute(
                "SELECT event_type, data FROM event_log WHERE aggregate_id = %s ORDER BY position",
                [notification_id(effect_id)],
            )
            return [(event_type, data) for event_type, data in await rows.fetchall()]

    def text(self) -> str:
        """Of the last mail."""
        part = self.taken.messages[-1].get_body(("plain",))
        assert part is not None
        return part.get_content().replace("\r\n", "\n")

    def token(self) -> str:
        """Of the link in the last mail."""
        found = re.search(r"#token=(\S+)", self.text())
        assert found is not None
        return found.group(1)


@pytest.fixture
async def post(kontor: Kontor) -> AsyncIterator[Post]:
    taken = Taken()
    async with mail_server(taken) as port:
        mailer = SmtpMailer(smtp_server(f"smtp://127.0.0.1:{port}"), sender="Kontor <no-reply@shop.example>")
        settings = kontor.settings.model_copy(update={"public_url": "https://shop.example/"})
        yield Post(replace(kontor, mailer=mailer, settings=settings), taken)


async def test_an_order_is_told_of_from_confirmed_to_refunded(post: Post) -> None:
    customer = await post.registered()
    await post.do(AddProduct(sku="MUG", name="The mug", price=Money(650, "GBP")))
    await post.do(ReceiveStock(sku="MUG", quantity=5))
    place = PlaceOrder(
        lines=(WantedLine(sku="MUG", quantity=2),), currency="GBP", payment_method="account", customer_id=customer
    )
    order, cancelled = OrderId(await post.do(place)), OrderId(await post.do(place))
    for request in (
        ReserveOrders(order_ids=(order,)),
        ShipOrder(order_id=order, carrier="Royal Mail", tracking_number="RM 1"),
        RefundOrder(order_id=order, reason="it broke"),
        CancelOrder(order_id=cancelled, reason="changed my mind"),
    ):
        await post.do(request)
    for template, subject_id, says in (
        ("order_confirmed", order, "2 x The mug (MUG) at 6.50 GBP: 13.00 GBP"),
        ("order_shipped", order, "Tracking number: RM 1"),
        ("order_refunded", order, "Reason: it broke"),
        ("order_cancelled", cancelled, "Reason: changed my mind"),
    ):
        effect_id = await post.send(template, subject_id)
        assert says in post.text()
        assert f"https://shop.example/orders/{subject_id}" in post.text()
        told = {"template": template, "user_id": str(customer), "event_id": str(event_id(subject_id, 1))}
        ((event_type, data),) = await post.recorded(effect_id)
        assert (event_type, told | data) == ("notification.sent", data)
        (message_id,) = {post.taken.messages[-1]["Message-ID"]}
        assert message_id == f"<{effect_id}@shop.example>"
    assert {each["To"] for each in post.taken.messages} == {EMAIL}


async def test_what_is_recorded_as_sent_is_not_sent_again(post: Post) -> None:
    customer = await post.registered()
    effect_id = await post.send("password_changed", customer)
    for _ in range(2):
        await post.send("password_changed", customer, effect_id)
    assert len(post.taken.messages) == 1
    await post.send("password_changed", customer)  # another effect
    assert len(post.taken.messages) == 2


async def test_who_dies_before_the_record_sends_it_twice_under_one_name_and_records_it_once(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer, execute = await post.registered(), post.kontor.pipeline.execute

    async def killed(*_: Any, **__: Any) -> Any:
        raise asyncio.CancelledError

    monkeypatch.setattr(post.kontor.pipeline, "execute", killed)
    effect_id = uuid4()
    with pytest.raises(asyncio.CancelledError):
        await post.send("password_reset", await claim_of(post, EMAIL), effect_id)
    first = post.token()
    monkeypatch.setattr(post.kontor.pipeline, "execute", execute)
    await post.send("password_reset", await claim_of(post, EMAIL), effect_id)
    assert {each["Message-ID"] for each in post.taken.messages} == {f"<{effect_id}@shop.example>"}
    assert len(post.taken.messages) == 2
    assert [event_type for event_type, _ in await post.recorded(effect_id)] == ["notification.sent"]
    # Whoever keeps only the first of two with one name keeps a link that is good.
    assert await post.do(ResetPassword(token=first, new=NEW_PASSWORD), ANONYMOUS) == customer


async def claim_of(post: Post, email: str) -> UUID:
    return email_claim_id(post.kontor.personal_data.digest(email))


async def test_a_forgotten_password_is_set_by_the_mailed_link(post: Post) -> None:
    customer = await post.registered()
    await post.send("password_reset", await claim_of(post, EMAIL))
    assert "https://shop.example/reset-password#token=" in post.text()
    token = post.token()
    await post.do(ResetPassword(token=token, new=NEW_PASSWORD), ANONYMOUS)
    assert await post.do(SignIn(email=EMAIL, password=NEW_PASSWORD), ANONYMOUS) == customer
    with pytest.raises(Invalid):
        await post.do(ResetPassword(token=token, new=PASSWORD), ANONYMOUS)
    async with post.kontor.pool.connection() as connection:
        found = await connection.execute(
            "SELECT count(*) FROM events WHERE position(%s IN convert_from(state, 'UTF8')) > 0", [token]
        )
        assert await found.fetchone() == (0,)


async def test_an_address_without_account_gets_no_mail_and_nothing_is_recorded(post: Post) -> None:
    effect_id = await post.send("password_reset", await claim_of(post, "no@one.example"))
    assert (post.taken.messages, await post.recorded(effect_id)) == ([], [])


async def test_a_reset_goes_to_whoever_has_the_address_by_now(post: Post) -> None:
    customer = await post.registered()
    await post.do(EraseUser(user_id=customer, current_password=PASSWORD))
    await post.send("password_reset", await claim_of(post, EMAIL))
    assert post.taken.messages == []
    await post.registered(EMAIL)
    await post.send("password_reset", await claim_of(post, EMAIL))
    assert [each["To"] for each in post.taken.messages] == [EMAIL]


async def test_an_address_is_verified_by_the_mailed_link(post: Post) -> None:
    customer = await post.registered()
    await post.send("email_verification", customer)
    assert NAME not in post.text()
    await post.do(VerifyEmail(token=post.token()), ANONYMOUS)
    await post.send("email_verification", customer)  # there is nothing left to verify
    assert len(post.taken.messages) == 1


async def test_somebody_who_was_erased_gets_no_mail_and_that_is_recorded(post: Post) -> None:
    customer = await post.registered()
    claim = await claim_of(post, EMAIL)
    await post.do(EraseUser(user_id=customer, current_password=PASSWORD))
    effect_id = await post.send("password_changed", customer)
    ((event_type, data),) = await post.recorded(effect_id)
    assert (event_type, data["reason"], data["user_id"]) == ("notification.failed", "erased", str(customer))
    nothing = await post.send("password_reset", claim)
    assert (post.taken.messages, await post.recorded(nothing)) == ([], [])


async def test_a_refused_mail_is_recorded_without_the_address_and_not_tried_again(post: Post) -> None:
    customer = await post.registered()
    post.taken.answers["RCPT"] = f"550 5.1.1 <{EMAIL}>: no such user"
    effect_id = await post.send("password_changed", customer)
    ((event_type, data),) = await post.recorded(effect_id)
    assert (event_type, data["reason"]) == ("notification.failed", "refused: 550 5.1.1")
    post.taken.answers.clear()
    await post.send("password_changed", customer, effect_id)
    assert post.taken.messages == []


async def test_where_the_server_is_away_nothing_is_recorded_and_it_may_be_tried_again(post: Post) -> None:
    customer, effect_id = await post.registered(), uuid4()
    post.taken.answers["RCPT"] = "451 later"
    with pytest.raises(MailerAway):
        await post.send("password_changed", customer, effect_id)
    assert await post.recorded(effect_id) == []
    with pytest.raises(MailerAway, match="KONTOR_SMTP_URL"):
        await Post(replace(post.kontor, mailer=None), post.taken).send("password_changed", customer, effect_id)
    post.taken.answers.clear()
    await post.send("password_changed", customer, effect_id)
    assert len(post.taken.messages) == 1


async def test_imported_customers_whose_address_is_nobodys_get_no_mail(post: Post) -> None:
    customer = UserId(await post.do(RegisterUser(email="customer-1@imported.invalid", name=NAME, password=None)))
    effect_id = await post.send("email_verification", customer)
    assert (post.taken.messages, await post.recorded(effect_id)) == ([], [])


async def test_an_unknown_template_is_a_mistake_of_ours(post: Post) -> None:
    with pytest.raises(ValueError, match="order_lost"):
        await post.send("order_lost", await post.registered())


async def test_a_mailbox_is_sent_only_so_many_mails_that_others_can_ask_for(post: Post) -> None:
    """Counted over all templates, senders and spellings of the mailbox; what is above is dropped, and on record."""
    customer, other = await post.registered(), await post.registered("ada+shop@example.com")
    claim, claim_of_other = await claim_of(post, EMAIL), await claim_of(post, "ada+shop@example.com")
    limit = MAILBOX_LIMITS[MailKind.REQUEST]
    asked = [("email_verification", customer), ("email_verification", other), ("password_reset", claim)]
    for n in range(limit.an_hour):
        await post.send(*asked[n % len(asked)])
    assert len(post.taken.messages) == limit.an_hour
    for template, subject in (*asked, ("password_reset", claim_of_other)):
        effect_id = await post.send(template, subject)
        ((event_type, data),) = await post.recorded(effect_id)
        assert event_type == "notification.failed"
        assert f"had {limit.an_hour} mails" in data["reason"]
    assert len(post.taken.messages) == limit.an_hour
    await post.send("password_changed", customer)  # its owner is told all the same
    assert len(post.taken.messages) == limit.an_hour + 1


async def test_a_mail_that_must_not_be_lost_waits_for_room_in_the_mailbox(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MAILBOX_LIMITS, MailKind.NOTICE, MailboxLimit(an_hour=2, a_day=3, waits=True))
    customer = await post.registered()
    sent = [await post.send("password_changed", customer) for _ in range(2)]
    waiting = uuid4()
    with pytest.raises(mailing.MailboxFull) as full:
        await post.send("password_changed", customer, waiting)
    assert 0 < full.value.retry_after_s <= 3600
    assert await post.recorded(waiting) == []
    async with post.kontor.pool.connection() as connection:
        await connection.execute("UPDATE mailbox_mails SET counted_at = counted_at - interval '61 minutes'")
    await post.send("password_changed", customer, waiting)
    with pytest.raises(mailing.MailboxFull) as full:  # three within a day
        await post.send("password_changed", customer)
    assert full.value.retry_after_s > 3600
    assert len(post.taken.messages) == len(sent) + 1


async def test_of_many_mails_at_once_a_mailbox_is_sent_no_more_and_one_that_is_tried_again_counts_once(
    post: Post,
) -> None:
    box, again = post.kontor.mailboxes, uuid4()
    waits = await asyncio.gather(*[box.take("m", "k", uuid4(), an_hour=3, a_day=9) for _ in range(8)])
    assert waits.count(0.0) == 3
    assert [await box.take("n", "k", again, an_hour=1, a_day=9) for _ in range(3)] == [0.0] * 3
    assert await box.take("n", "k", uuid4(), an_hour=1, a_day=9) > 0


def test_a_template_without_a_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="The mail template lost has no kind"):
        MailTemplate._new_member_(MailTemplate, "lost")
