"""What the payment provider tells: signed by the real gateway or by the provider's own library, taken over HTTP, and
believed when the provider itself says the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest
import stripe
from psycopg import AsyncConnection
from pydantic import SecretStr

from adapters import provider_news
from adapters.payment_gateway import StripeGateway
from adapters.wiring import Kontor, open_kontor
from api.body_limit import BODY_BYTES_MAX
from api.rest import payments
from api.rest.payments import PATH
from commands.catalogue import AddProduct
from commands.handling import ANONYMOUS, Actor
from commands.inventory import ReceiveStock, ReserveOrders
from commands.payments import AuthorisePayment, CapturePayment, VoidPayment
from commands.ports import Charge, GatewayAway, GatewayRefused
from commands.users import RegisterUser
from domain.identity import OrderId, payment_id
from domain.orders import Order
from domain.payments import Payment
from domain.users import Role
from streams.confirming import confirm
from streams.doing import doers
from streams.settling import charge_of
from tests.api.listening import QUIET, app_of, listening
from tests.conftest import Stack, installation_on
from tests.gateways import SECRET, GatewayProcess
from tests.given import GBP_2_55, PASSWORD, SYSTEM, order_of

pytestmark = pytest.mark.servers

AUTHORISED = "payment_intent.amount_capturable_updated"
FAILED = "payment_intent.payment_failed"
CAPTURED = "payment_intent.succeeded"
CANCELLED = "payment_intent.canceled"
REFUNDED = "charge.refunded"


@dataclass
class Shop:
    """An API that serves, and what is behind it."""

    kontor: Kontor
    url: str
    http: aiohttp.ClientSession
    provider: StripeGateway
    customer: Actor = ANONYMOUS

    async def payment(self, method: str = "pm_card_visa") -> Payment:
        """Requested, of 5.10 GBP; nobody has asked the provider for it yet."""
        sku = uuid4().hex
        run = self.kontor.pipeline.execute
        await run(AddProduct(sku=sku, name="Mug", price=GBP_2_55, published=True), actor=SYSTEM)
        await run(ReceiveStock(sku=sku, quantity=2), actor=SYSTEM)
        order = replace(order_of((sku, 2)), payment_method=method)
        order_id = OrderId((await run(order, actor=self.customer)).aggregate_id)
        await run(ReserveOrders(order_ids=(order_id,)), actor=SYSTEM)
        return await self.now(payment_id(order_id))

    async def now(self, wanted: UUID) -> Payment:
        """The payment as the log has it."""
        payment = (await self.kontor.ports.store.load([wanted]))[wanted][0]
        assert isinstance(payment, Payment)
        return payment

    async def execute(self, command: Any) -> None:
        await self.kontor.pipeline.execute(command, actor=Actor.system("stripe"))

    async def send(self, body: bytes | str, header: str | None) -> tuple[int, Any]:
        headers = {"Stripe-Signature": header} if header is not None else {}
        async with self.http.post(self.url + PATH, data=body, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    async def charge(self, payment: Payment) -> Charge:
        """As the checkout asks for it."""
        order = (await self.kontor.ports.store.load([payment.order_id]))[payment.order_id][0]
        assert isinstance(order, Order)
        return charge_of(order, payment)

    async def at_the_provider(self, payment: Payment, verb: str, reference: str = "") -> str:
        """Have it done there, without any word to ourselves; the provider's id of it."""
        more = [reference] if reference else []
        return str((await getattr(self.provider, verb)(await self.charge(payment), *more)).reference)

    async def ask(self) -> None:
        """What a worker does of what was planned, until nothing is due."""
        ledger, do = self.kontor.effects, doers(self.kontor)["provider"]
        while claimed := await ledger.claim("provider", limit=10, lease_s=60):
            for effect in claimed:
                await do(effect)
            await ledger.release([], done=claimed)

    async def told_and_asked(self, event: dict[str, Any]) -> str:
        """What was answered to an event, after the provider was asked."""
        status, answer = await self.tell(event)
        assert status == 200, answer
        await self.ask()
        return str(answer["outcome"])

    async def order(self, payment: Payment) -> str:
        """The status of its order."""
        order = (await self.kontor.ports.store.load([payment.order_id]))[payment.order_id][0]
        assert isinstance(order, Order)
        return order.status.value

    async def planned(self) -> int:
        """How often the provider was or is to be asked."""
        return len(await self.kontor.effects.newest(["waiting", "done", "given_up"], limit=1_000))

    async def tell(self, event: dict[str, Any]) -> tuple[int, Any]:
        """Signed by the provider's own library."""
        body = json.dumps(event)
        return await self.send(body, stripe.WebhookSignature.generate_signature_header(body, SECRET))


@pytest.fixture(scope="module")
async def shop(stack: Stack) -> AsyncIterator[Shop]:
    async with installation_on(stack) as settings:
        told = settings.model_copy(update={"stripe_webhook_secret": SecretStr(SECRET)})
        async with open_kontor(told, name="test") as kontor, serving(kontor) as running:
            register = RegisterUser(email="ada@example.com", name="Ada", password=PASSWORD)
            outcome = await kontor.pipeline.execute(register, actor=SYSTEM)
            running.customer = Actor.user(outcome.aggregate_id, [Role.CUSTOMER])
            yield running


@pytest.fixture(autouse=True)
def nobody_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """In most of these tests the provider's word is the only one."""
    monkeypatch.setattr(payments, "ANSWER_S", 0.0)


@pytest.fixture(autouse=True)
def every_look_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next look at a payment is not waited for."""
    monkeypatch.setattr(provider_news, "EVERY_S", 1)
    monkeypatch.setattr(provider_news, "LOOKS_AHEAD_MAX", 100)
    monkeypatch.setattr(provider_news, "due_of", lambda now, turn: now)


@asynccontextmanager
async def serving(kontor: Kontor) -> AsyncIterator[Shop]:
    assert isinstance(kontor.gateway, StripeGateway)
    async with listening(app_of(kontor), **QUIET) as (_, port), aiohttp.ClientSession() as http:
        yield Shop(kontor, f"http://127.0.0.1:{port}", http, kontor.gateway)


def event_of(kind: str, payment: Payment, reference: str = "pi_1", **more: Any) -> dict[str, Any]:
    """As the provider tells it."""
    minor = payment.amount.minor
    told = {"amount": minor, "currency": payment.amount.currency.lower(), "metadata": {"payment_id": str(payment.id)}}
    if kind == REFUNDED:
        told |= {"id": "ch_1", "object": "charge", "payment_intent": reference, "captured": True,
                 "amount_refunded": minor}  # fmt: skip
    else:
        told |= {"id": reference, "object": "payment_intent", "amount_capturable": minor, "amount_received": minor}
    return {"id": f"evt_{uuid4().hex}", "object": "event", "type": kind, "data": {"object": told | more}}


async def versions(shop: Shop, payment: Payment) -> tuple[str, int]:
    now = await shop.now(payment.id)
    return now.status.value, now.version


async def test_each_type_of_event_moves_the_payment_once_when_the_provider_says_so(shop: Shop) -> None:
    paid, let_go, declined = await shop.payment(), await shop.payment(), await shop.payment("pm_card_chargeDeclined")
    roads = [
        (paid, [(AUTHORISED, "authorise", "AUTHORISED"), (CAPTURED, "capture", "CAPTURED"),
                (REFUNDED, "refund", "REFUNDED")]),
        (let_go, [(AUTHORISED, "authorise", "AUTHORISED"), (CANCELLED, "cancel", "VOIDED")]),
        (declined, [(FAILED, "authorise", "DECLINED")]),
    ]  # fmt: skip
    for payment, road in roads:
        reference = ""
        for version, (kind, verb, status) in enumerate(road, 2):
            reference = await shop.at_the_provider(payment, verb, reference)
            event = event_of(kind, payment, reference)
            assert await shop.told_and_asked(event) == "asked"
            assert await shop.told_and_asked(event) == "done"
            assert await shop.told_and_asked(event | {"id": f"evt_{uuid4().hex}"}) == "done"
            assert await versions(shop, payment) == (status, version)
    assert [await shop.order(each) for each in (paid, let_go, declined)] == ["CONFIRMED", "CONFIRMED", "REJECTED"]


@pytest.mark.parametrize("method", ["pm_card_authenticationRequired", "pm_card_visa"])
async def test_whoever_has_the_secret_pays_for_no_order(shop: Shop, method: str) -> None:
    """Signed events of made-up intents, for an order that waits to be paid: the provider says that it is not."""
    payment = await shop.payment(method)
    if method == "pm_card_visa":  # the buyer has paid, and the thief says that he has not
        reference = await shop.at_the_provider(payment, "authorise")
        await shop.told_and_asked(event_of(AUTHORISED, payment, reference))
        before = ("AUTHORISED", 2)
    else:
        reference, before = "pi_made_up", ("REQUESTED", 1)
    for kind in (AUTHORISED, CAPTURED, FAILED, CANCELLED, REFUNDED):
        assert (await shop.tell(event_of(kind, payment, reference)))[0] == 200
    await shop.ask()
    assert await versions(shop, payment) == before
    assert await shop.order(payment) == ("CONFIRMED" if method == "pm_card_visa" else "RESERVED")


async def test_an_intent_of_another_payment_pays_for_nothing(shop: Shop) -> None:
    paid, unpaid = await shop.payment(), await shop.payment("pm_card_authenticationRequired")
    reference = await shop.at_the_provider(paid, "authorise")
    assert await shop.told_and_asked(event_of(AUTHORISED, unpaid, reference)) == "asked"
    assert await versions(shop, unpaid) == ("REQUESTED", 1)
    await shop.execute(AuthorisePayment(payment_id=unpaid.id, reference=reference))
    await shop.tell(event_of(CAPTURED, unpaid, reference))
    with pytest.raises(GatewayRefused, match="belongs to payment"):
        await shop.ask()


async def test_while_the_provider_is_away_what_it_told_waits(shop: Shop) -> None:
    payment = await shop.payment()
    await shop.tell(event_of(AUTHORISED, payment))
    async with StripeGateway("http://127.0.0.1:1", "sk_test_x", timeout_s=1) as away:
        with pytest.raises(GatewayAway):
            await confirm(replace(shop.kontor, gateway=away), payment.order_id)
    reference = await shop.at_the_provider(payment, "authorise")
    await shop.ask()
    assert (await shop.now(payment.id)).reference == reference


async def test_however_often_it_is_told_the_provider_is_asked_once_a_while(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(payments, "ANSWER_S", 0.0)
    monkeypatch.setattr(provider_news, "EVERY_S", 86_400)
    payment = await shop.payment("pm_card_authenticationRequired")
    before = await shop.planned()
    for _ in range(20):
        assert await shop.tell(event_of(AUTHORISED, payment)) == (200, {"outcome": "asked"})
    assert await shop.planned() == before + 1
    await shop.ask()
    for _ in range(20):
        assert await shop.tell(event_of(AUTHORISED, payment)) == (200, {"outcome": "asked"})
    assert await shop.planned() == before + 2
    assert await shop.kontor.effects.claim("provider", limit=10, lease_s=1) == []


async def test_what_is_told_while_the_provider_is_being_asked_has_it_asked_again(shop: Shop) -> None:
    payment = await shop.payment("pm_card_authenticationRequired")
    await shop.tell(event_of(AUTHORISED, payment))
    begun = await shop.kontor.effects.claim("provider", limit=10, lease_s=60)
    await shop.tell(event_of(AUTHORISED, payment))
    await shop.kontor.effects.release([], done=begun)
    assert len(await shop.kontor.effects.claim("provider", limit=10, lease_s=1)) == 1


async def test_what_is_known_from_the_providers_answer_is_not_stored_again(shop: Shop) -> None:
    payment = await shop.payment()
    reference = await shop.at_the_provider(payment, "authorise")
    await shop.execute(AuthorisePayment(payment_id=payment.id, reference=reference))
    before, planned = await stored_commands(shop), await shop.planned()
    assert await shop.told_and_asked(event_of(AUTHORISED, payment, reference)) == "done"
    assert (await stored_commands(shop), await shop.planned()) == (before, planned)
    await shop.at_the_provider(payment, "capture", reference)
    assert await shop.told_and_asked(event_of(CAPTURED, payment, reference)) == "asked"
    assert await stored_commands(shop) == before + 1


async def test_what_comes_before_the_providers_answer_is_recorded_waits_for_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    payment = await shop.payment()
    told = asyncio.create_task(shop.tell(event_of(AUTHORISED, payment)))
    await asyncio.sleep(payments.ANSWER_S / 3)
    command = AuthorisePayment(payment_id=payment.id, reference="pi_1")
    await shop.kontor.pipeline.execute(command, actor=Actor.system("checkout"))
    assert await told == (200, {"outcome": "done"})
    assert await versions(shop, payment) == ("AUTHORISED", 2)
    assert await who_moved(shop, payment) == [("system:checkout",)]


async def stored_commands(shop: Shop) -> int:
    async with shop.kontor.pool.connection() as connection:
        row = await (await connection.execute("SELECT count(*) FROM commands")).fetchone()
    assert row is not None
    return int(row[0])


async def test_what_the_provider_says_is_on_record_with_its_reference_reason_and_actor(shop: Shop) -> None:
    held, declined = await shop.payment(), await shop.payment("pm_card_chargeDeclined")
    reference = await shop.at_the_provider(held, "authorise")
    await shop.told_and_asked(event_of(AUTHORISED, held, "pi_77"))
    await shop.told_and_asked(event_of(FAILED, declined, last_payment_error={"code": "made_up"}))
    assert (await shop.now(held.id)).reference == reference
    reason = (await shop.now(declined.id)).reason or ""
    assert "declined" in reason
    assert "made_up" not in reason
    await shop.at_the_provider(held, "capture", reference)
    await shop.told_and_asked(event_of(CAPTURED, held, reference))
    assert await who_moved(shop, held) == [("system:checkout",), ("system:stripe",)]


async def who_moved(shop: Shop, payment: Payment) -> list[Any]:
    async with shop.kontor.pool.connection() as connection:
        query = "SELECT actor FROM events WHERE originator_id = %s AND originator_version > 1 ORDER BY 1"
        return await (await connection.execute(query, (payment.id,))).fetchall()


async def test_without_a_good_signature_nothing_is_done(shop: Shop) -> None:
    payment = await shop.payment()
    body = json.dumps(event_of(AUTHORISED, payment))
    now = int(datetime.now(UTC).timestamp())
    sign = stripe.WebhookSignature.generate_signature_header
    for header in (None, "", sign(body, "whsec_other"), sign(body, SECRET, now - 400), sign(body, SECRET, now + 400)):
        status, answer = await shop.send(body, header)
        assert (status, answer["code"], bool(answer["detail"])) == (400, "BAD_SIGNATURE", True)
    status, answer = await shop.send(body.replace("510", "511"), sign(body, SECRET))
    assert (status, "KONTOR_STRIPE_WEBHOOK_SECRET" in answer["detail"], SECRET in answer["detail"]) == (
        400,
        True,
        False,
    )
    assert await versions(shop, payment) == ("REQUESTED", 1)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        (AUTHORISED, {"amount": 509}),
        (AUTHORISED, {"amount_capturable": 509}),
        (AUTHORISED, {"amount_capturable": None}),
        (AUTHORISED, {"currency": "eur"}),
        (FAILED, {"currency": "eur"}),
    ],
)
async def test_an_event_about_other_money_is_refused(shop: Shop, kind: str, more: dict[str, Any]) -> None:
    payment = await shop.payment()
    status, answer = await shop.tell(event_of(kind, payment, **more))
    assert (status, answer["code"], "510 GBP" in answer["detail"]) == (422, "AMOUNT_MISMATCH", True)
    assert await versions(shop, payment) == ("REQUESTED", 1)


async def test_less_than_the_whole_taken_or_given_back_is_refused(shop: Shop) -> None:
    payment = await shop.payment()
    await shop.execute(AuthorisePayment(payment_id=payment.id, reference="pi_1"))
    assert (await shop.tell(event_of(CAPTURED, payment, amount_received=100)))[0] == 422
    await shop.execute(CapturePayment(payment_id=payment.id))
    assert (await shop.tell(event_of(REFUNDED, payment, amount_refunded=100)))[0] == 422
    assert await versions(shop, payment) == ("CAPTURED", 3)


async def test_what_is_not_ours_is_taken_and_ignored(shop: Shop) -> None:
    payment = await shop.payment()
    order = {"metadata": {"payment_id": str(payment.order_id)}}
    ignored = [
        event_of(AUTHORISED, payment) | {"type": "customer.created", "data": {"object": {"id": 7}}},
        event_of(AUTHORISED, payment, metadata={}),
        event_of(AUTHORISED, payment, metadata={"payment_id": "7"}),
        event_of(AUTHORISED, payment, metadata={"payment_id": str(uuid4())}),
        event_of(AUTHORISED, payment, **order),
    ]
    for event in ignored:
        assert await shop.tell(event) == (200, {"outcome": "ignored"})
    assert await versions(shop, payment) == ("REQUESTED", 1)


async def test_what_happens_to_another_intent_of_the_payment_does_not_touch_it(shop: Shop) -> None:
    payment = await shop.payment()
    await shop.execute(AuthorisePayment(payment_id=payment.id, reference="pi_1"))
    for kind in (AUTHORISED, FAILED, CAPTURED, CANCELLED, REFUNDED):
        assert await shop.tell(event_of(kind, payment, "pi_2")) == (200, {"outcome": "ignored"})
    assert await versions(shop, payment) == ("AUTHORISED", 2)


async def test_a_hold_that_was_let_go_is_no_refund(shop: Shop) -> None:
    payment = await shop.payment()
    await shop.execute(AuthorisePayment(payment_id=payment.id, reference="pi_1"))
    assert await shop.tell(event_of(REFUNDED, payment, captured=False)) == (200, {"outcome": "ignored"})
    assert await versions(shop, payment) == ("AUTHORISED", 2)


async def test_what_contradicts_the_record_is_taken_and_changes_nothing(shop: Shop) -> None:
    payment = await shop.payment()
    reference = await shop.at_the_provider(payment, "authorise")
    await shop.execute(AuthorisePayment(payment_id=payment.id, reference=reference))
    await shop.execute(VoidPayment(payment_id=payment.id, reason="too late"))
    for kind in (AUTHORISED, FAILED, CAPTURED, REFUNDED):
        assert await shop.told_and_asked(event_of(kind, payment, reference)) == "asked"
    assert await versions(shop, payment) == ("VOIDED", 3)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"id":"evt_1"}',
        b'{"id":"e","type":"charge.refunded","data":{}}',
        b"[" * 100_000,
        b'{"id":"e","type":"charge.refunded","data":' + b"[" * 99_000,
        b'{"id":"e","id":"f","type":"a","data":{}}',
    ],
    ids=range(8),
)
async def test_a_signed_body_that_is_no_event_is_refused(shop: Shop, body: bytes) -> None:
    header = stripe.WebhookSignature.generate_signature_header(body.decode(), SECRET)
    assert (await shop.send(body, header))[0] == 400


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(shop: Shop) -> None:
    assert (await shop.send(b"x" * (BODY_BYTES_MAX + 1), "t=1,v1=1"))[0] == 413


async def test_without_a_secret_there_is_nobody_to_listen_to(shop: Shop) -> None:
    without = shop.kontor.settings.model_copy(update={"stripe_webhook_secret": SecretStr("")})
    async with serving(replace(shop.kontor, settings=without)) as deaf:
        status, answer = await deaf.send(b"{}", stripe.WebhookSignature.generate_signature_header("{}", ""))
        assert (status, "KONTOR_STRIPE_WEBHOOK_SECRET" in answer["detail"]) == (404, True)


async def test_while_the_database_is_away_the_provider_is_asked_to_send_again(shop: Shop) -> None:
    payment = await shop.payment()
    event = event_of(AUTHORISED, payment, await shop.at_the_provider(payment, "authorise"))
    url = shop.kontor.settings.postgres_url
    cut_off = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock' AND application_name LIKE 'kontor%'"
    )
    async with (
        await AsyncConnection.connect(url) as holder,
        await AsyncConnection.connect(url, autocommit=True) as admin,
    ):
        await holder.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        asked = asyncio.create_task(shop.tell(event))
        # Whoever waits for the table loses its connection, again and again, until the request is given up.
        for _ in range(1_000):
            if asked.done():
                break
            await admin.execute(cut_off)
            await asyncio.sleep(0.02)
        status, answer = await asked
        assert (status, answer["code"]) == (503, "UNAVAILABLE")
    await eventually_done(shop, event)
    await shop.ask()
    assert await versions(shop, payment) == ("AUTHORISED", 2)


async def eventually_done(shop: Shop, event: dict[str, Any]) -> None:
    for _ in range(1_200):
        if (await shop.tell(event))[0] == 200:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it is never taken")


async def test_the_real_gateway_and_the_adapter_move_a_payment_all_the_way(shop: Shop, tmp_path: Path) -> None:
    payment = await shop.payment()
    process = GatewayProcess(tmp_path, webhook_url=shop.url + PATH)
    await asyncio.to_thread(process.start)
    charge = await shop.charge(payment)
    seen: list[str] = []

    async def reach(status: str) -> None:
        for _ in range(3_000):
            await replace(shop, kontor=replace(shop.kontor, gateway=gateway)).ask()
            seen[:] = [(await shop.now(payment.id)).status.value]
            if seen == [status]:
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"{seen} is not {status}: {await process.ask('GET', '/_gateway/webhooks')}")

    try:
        async with process.adapter() as gateway:
            await process.tell("webhook_twice", times=3)
            reference = (await gateway.authorise(charge)).reference
            await reach("AUTHORISED")
            await gateway.capture(charge, reference)
            await reach("CAPTURED")
            await gateway.refund(charge, reference)
            await reach("REFUNDED")
        assert await process.money_of(payment.id) == (510, 510, 510, 0)
    finally:
        process.end()


async def test_the_gateway_that_kontor_up_starts_reaches_its_api(stack: Stack) -> None:
    status = stack.status
    assert status["processes"]["gateway"]
    assert stack.settings.stripe_url == status["gateway_url"]
    form = {"amount": "510", "currency": "gbp", "payment_method": "pm_card_visa", "confirm": "true"}
    headers = {"Authorization": f"Bearer {stack.settings.stripe_key.get_secret_value()}"}
    async with aiohttp.ClientSession(headers=headers) as http:
        async with http.post(f"{status['gateway_url']}/v1/payment_intents", data=form) as answer:
            intent = (await answer.json())["id"]
        for _ in range(1_200):
            async with http.get(f"{status['gateway_url']}/_gateway/webhooks") as answer:
                listed = (await answer.json())["webhooks"]
            if [each["state"] for each in listed if each["subject"] == intent] == ["sent"]:
                break
            await asyncio.sleep(0.05)
        else:
            raise AssertionError(listed)
    assert json.loads(stack.run("gateway", "ledger").stdout)["sums"]["GBP"]["captured"] >= 510


async def test_what_the_provider_tells_has_followed_from_what_was_asked_of_the_order(shop: Shop) -> None:
    payment = await shop.payment()
    placing = await shop.kontor.log.last_correlation(payment.order_id)
    await shop.at_the_provider(payment, "authorise")
    assert await shop.told_and_asked(event_of(AUTHORISED, payment)) == "asked"
    assert placing == await shop.kontor.log.last_correlation(payment.id)
