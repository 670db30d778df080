"""`kontor effects` and `kontor orders stuck`: what waits, what was given up, why, and having it tried again."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.sql import SQL

from adapters.effects_ledger import EffectsLedger, plan
from adapters.metrics import REGISTRY
from adapters.wiring import Kontor
from api.effect_gauges import EffectGauges
from commands.catalogue import AddProduct
from commands.effects import Planned
from commands.inventory import ReceiveStock, ReserveOrders
from commands.orders import PlaceOrder, WantedLine
from commands.users import RegisterUser
from domain.identity import OrderId
from domain.money import Money
from projections import views_of
from streams.applying import Chain
from streams.views import view_follower
from tests.cli.given import kontor_beside
from tests.given import STAFF, SYSTEM
from tests.streams.test_chain import published

pytestmark = pytest.mark.servers


async def planned(kontor: Kontor, effect: str, subject: UUID, **more: Any) -> Planned:
    made = Planned(event_id=uuid4(), effect=effect, subject_id=subject, **more)
    async with kontor.pool.connection() as connection, connection.transaction():
        await plan(connection, [made])
    return made


async def failed(ledger: EffectsLedger, kind: str, error: str, *, final: bool) -> None:
    (effect,) = await ledger.claim(kind, limit=1, lease_s=60)
    await ledger.failed(effect, error, pause_s=3_600, final=final)


async def placed(kontor: Kontor, *, reserved: bool) -> tuple[str, OrderId]:
    """An order of a new product, in the views: its number and id."""
    run, sku = kontor.pipeline.execute, f"S-{uuid4().hex[:8]}"
    await run(AddProduct(sku=sku, name="Cup", price=Money(255, "GBP")), actor=STAFF)
    await run(ReceiveStock(sku=sku, quantity=5), actor=STAFF)
    person = RegisterUser(email=f"{uuid4().hex}@example.com", name="Ada", password=None)
    customer = (await run(person, actor=SYSTEM)).aggregate_id
    line = WantedLine(sku=sku, quantity=1)
    command = PlaceOrder(lines=(line,), currency="GBP", payment_method="pm_card_visa", customer_id=customer)  # type: ignore[arg-type]  # a user's id
    order_id = OrderId((await run(command, actor=STAFF)).aggregate_id)
    if reserved:
        await run(ReserveOrders(order_ids=(order_id,)), actor=SYSTEM)
    followers = [view_follower(view, None) for view in views_of("orders")]
    await Chain(kontor.followers).take_all(followers, "orders", await published(kontor, "orders"), {})
    ((number,),) = await kontor.reads.fetch(SQL("SELECT number FROM orders_v1 WHERE id = %s"), [order_id])
    return number, order_id


async def test_what_is_open_is_listed_with_why_and_can_be_tried_again(kontor: Kontor) -> None:
    settings, ledger = kontor.settings, kontor.effects
    assert (await kontor_beside(settings, "effects", "list")).stdout.strip() == "nothing is open"
    lost = await planned(kontor, "payment.capture", uuid4(), give_up_at=kontor.ports.clock.now() + timedelta(days=7))
    await failed(ledger, "payment", "GatewayRefused: ada@example.com has no card", final=True)
    waiting = await planned(kontor, "mail.order_confirmed", uuid4())
    await failed(ledger, "mail", "MailerAway: connection refused", final=False)

    listed = json.loads((await kontor_beside(settings, "effects", "list", "--json")).stdout)
    assert [(each["effect"], each["state"], each["attempts"]) for each in listed] == [
        ("mail.order_confirmed", "waiting", 1), ("payment.capture", "given_up", 1),
    ]  # fmt: skip
    told = (await kontor_beside(settings, "effects", "list")).stdout
    assert str(lost.event_id) in told
    assert "MailerAway: connection refused" in told
    assert "ada@" not in told
    of_one = await kontor_beside(settings, "effects", "list", "--subject", str(waiting.subject_id), "--json")
    assert len(json.loads(of_one.stdout)) == 1

    nothing = await kontor_beside(settings, "effects", "retry", str(waiting.event_id))
    assert (nothing.returncode, "Nothing of that was given up" in nothing.stderr) == (1, True)
    retried = await kontor_beside(settings, "effects", "retry", "--effect", "payment.capture")
    assert (retried.returncode, retried.stdout.strip()) == (0, "1 to be tried again")
    (again,) = await ledger.claim("payment", limit=9, lease_s=60)
    assert again.event_id == lost.event_id
    assert again.give_up_at is not None
    assert again.give_up_at > kontor.ports.clock.now() + timedelta(days=6)


async def test_orders_that_stand_still_say_why(kontor: Kontor) -> None:
    settings = kontor.settings
    assert "no order has stood still" in (await kontor_beside(settings, "orders", "stuck")).stdout
    unseen, _ = await placed(kontor, reserved=False)
    unpaid, unpaid_id = await placed(kontor, reserved=True)
    due = kontor.ports.clock.now() + timedelta(minutes=15)
    await planned(kontor, "order.expire", unpaid_id, due_at=due)
    trying, trying_id = await placed(kontor, reserved=True)
    await planned(kontor, "payment.authorise", trying_id)
    await failed(kontor.effects, "payment", "GatewayAway: 503", final=False)
    refused, refused_id = await placed(kontor, reserved=True)
    given_up = await planned(kontor, "payment.authorise", refused_id)
    await failed(kontor.effects, "payment", "GatewayRefused: no such key", final=True)
    await kontor.effects.note_breaker("payment", "open", "connection refused")

    found = json.loads((await kontor_beside(settings, "orders", "stuck", "--older-than", "0", "--json")).stdout)
    why = {each["number"]: each["reason"] for each in found}
    assert set(why) == {unseen, unpaid, trying, refused}
    assert "the checkout has not come to it" in why[unseen]
    assert f"given back at {due:%H:%M:%S}" in why[unpaid]
    assert "GatewayAway: 503" in why[trying]
    assert "left alone for a while: connection refused" in why[trying]
    assert f"`kontor effects retry {given_up.event_id}`" in why[refused]
    # One that was given up does not need to be old.
    late = json.loads((await kontor_beside(settings, "orders", "stuck", "--older-than", "600", "--json")).stdout)
    assert [each["number"] for each in late] == [refused]


async def test_effects_and_breakers_are_figures(kontor: Kontor) -> None:
    await planned(kontor, "payment.capture", uuid4())
    await failed(kontor.effects, "payment", "no", final=True)
    await planned(kontor, "mail.order_confirmed", uuid4())
    await planned(kontor, "order.expire", uuid4(), due_at=kontor.ports.clock.now() + timedelta(hours=1))
    await kontor.effects.note_breaker("mail", "open", "connection refused")
    for endpoint in (OPEN, OTHER_OPEN, CLOSED):
        await kontor.effects.note_breaker(f"webhook.{endpoint}", "closed" if endpoint == CLOSED else "open", "")
    await delivery(kontor, OPEN)
    await given_up_delivery(kontor, OTHER_OPEN)
    await delivery(kontor, CLOSED, state="PAUSED")
    await EffectGauges(kontor.effects, kontor.deliveries).refresh()

    def figure(name: str, **labels: str) -> float | None:
        return REGISTRY.get_sample_value(name, labels)

    assert figure("kontor_effects", kind="payment", state="given_up") == 1
    assert figure("kontor_effects", kind="mail", state="waiting") == 1
    assert figure("kontor_effects", kind="order", state="waiting") is None  # it is not due
    assert (figure("kontor_effects_oldest_due_seconds", kind="mail") or 0) > 0
    assert figure("kontor_breaker_state", kind="mail", state="open") == 1
    assert figure("kontor_effects", kind="webhook", state="waiting") == 1  # what waits for a paused endpoint is not due
    assert figure("kontor_effects", kind="webhook", state="given_up") == 1
    assert figure("kontor_breaker_state", kind="webhook", state="open") == 2
    assert figure("kontor_breaker_state", kind="webhook", state="closed") == 1


OPEN, OTHER_OPEN, CLOSED = (UUID(int=number) for number in (0xE1, 0xE2, 0xE3))


async def delivery(kontor: Kontor, endpoint: UUID, *, state: str = "ACTIVE") -> UUID:
    """What is to be posted to an endpoint: its event's id."""
    event = uuid4()
    async with kontor.pool.connection() as connection:
        await connection.execute(
            "INSERT INTO webhook_recipients (endpoint_id, state, types) VALUES (%s, %s, '{*}') ON CONFLICT DO NOTHING",
            [endpoint, state],
        )
        await connection.execute(
            "INSERT INTO webhook_deliveries"
            " (stretch_id, position, endpoint_id, event_id, event_type, subject_id, version)"
            " VALUES (1, (SELECT count(*) FROM webhook_deliveries), %s, %s, 'order.placed', %s, 1)",
            [endpoint, event, uuid4()],
        )
    return event


async def given_up_delivery(kontor: Kontor, endpoint: UUID) -> UUID:
    event = await delivery(kontor, endpoint)
    (claimed,) = await kontor.deliveries.claim(f"webhook.{endpoint}", limit=1, lease_s=60)
    claimed.last_status = 500
    assert await kontor.deliveries.failed(claimed, "EndpointAway: it answered 500", pause_s=0, final=True) == "given_up"
    return event


async def test_deliveries_are_listed_among_effects_and_tried_again_by_event_or_endpoint(kontor: Kontor) -> None:
    settings = kontor.settings
    waiting, lost = await delivery(kontor, OPEN), await given_up_delivery(kontor, CLOSED)
    other = await given_up_delivery(kontor, OTHER_OPEN)
    listed = json.loads((await kontor_beside(settings, "effects", "list", "--json")).stdout)
    assert [(each["effect"], each["event_id"], each["state"], each["last_status"]) for each in listed] == [
        (f"webhook.{OTHER_OPEN}", str(other), "given_up", 500),
        (f"webhook.{CLOSED}", str(lost), "given_up", 500),
        (f"webhook.{OPEN}", str(waiting), "waiting", None),
    ]
    told = (await kontor_beside(settings, "effects", "list", "--state", "given_up")).stdout
    assert f"webhook.{CLOSED}" in told
    assert "EndpointAway: it answered 500" in told
    for effect in ("payment.capture", f"webhook.{OPEN}", "webhook.nobody"):
        assert await kontor.deliveries.retry(None, effect) == 0
    assert await kontor.deliveries.retry(other) == 1
    by_endpoint = await kontor_beside(settings, "effects", "retry", "--effect", f"webhook.{CLOSED}")
    assert by_endpoint.stdout.strip() == "1 to be tried again"
    (again,) = await kontor.deliveries.claim(f"webhook.{CLOSED}", limit=9, lease_s=60)
    assert (again.event_id, again.attempts) == (lost, 2)
    assert again.give_up_at is not None
    assert again.give_up_at > kontor.ports.clock.now() + timedelta(days=2.9)
