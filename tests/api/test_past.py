"""What was, asked later: the same as was answered then."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from psycopg.sql import SQL

from adapters import past as adapters_past
from adapters.wiring import Kontor
from api.graphql import past_sales
from commands.catalogue import PublishProduct, RepriceProduct, UpdateProduct, WithdrawProduct
from commands.categories import AddCategory, RemoveCategory, UpdateCategory
from commands.handling import ANONYMOUS, Actor
from commands.inventory import AdjustStock, DispatchOrder, ReceiveStock, ReleaseOrder, ReserveOrders
from commands.orders import CancelOrder, RefundOrder, ShipOrder
from commands.payments import AuthorisePayment, CapturePayment
from commands.users import EraseUser
from domain.errors import DomainError
from domain.identity import CategoryId, OrderId, ProductId, UserId, payment_id, product_id, stock_item_id
from domain.money import Money
from projections.catalogue import CATALOGUE
from projections.categories import CATEGORIES
from projections.inventory import STOCK
from projections.orders import ORDERS
from projections.payments import PAYMENTS
from projections.sales_by_day import SALES_BY_DAY
from projections.users import USERS
from tests.api.reading import asked, shown
from tests.api.selling import answered, customer, placed, product, refused
from tests.api.test_road_of_one_order import (  # noqa: F401  # fixtures
    PLACE,
    Client,
    anyone,
    buyer,
    order_of,
    settled,
    sku,
    staff,
)
from tests.given import PASSWORD, STAFF

pytestmark = pytest.mark.servers
SYSTEM = Actor.system("checkout")
PRODUCT = """query($sku: String, $asOf: DateTime, $v: Int) { product(sku: $sku, asOf: $asOf, atVersion: $v) {
  name price { amount } published version categories { name parent { name version } version }
  stock { onHand reserved available version } history { type version } } }"""
STOCK_ITEM = """query($sku: String!, $asOf: DateTime, $v: Int) { stockItem(sku: $sku, asOf: $asOf, atVersion: $v) {
  onHand reserved available version } }"""
ORDER = """query($id: ID, $number: String, $asOf: DateTime, $v: Int) {
  order(id: $id, number: $number, asOf: $asOf, atVersion: $v) {
    status total { amount } lines { quantity } payment { status } updatedAt rejectionReason trackingNumber version
    history { type } customer { name email } } }"""
SALES = """query($from: String!, $to: String!, $asOf: DateTime) { salesByDay(from: $from, to: $to, asOf: $asOf) {
  day orders units revenue { amount currency } } }"""
VIEWS = (CATALOGUE, CATEGORIES, STOCK, ORDERS, PAYMENTS, SALES_BY_DAY, USERS)
MUG = ProductId(product_id("MUG"))


async def moment(kontor: Kontor) -> str:
    """When the newest event was recorded."""
    query = SQL("SELECT recorded_at FROM events ORDER BY notification_id DESC LIMIT 1")
    return str((await kontor.reads.fetch(query, []))[0][0].astimezone(UTC).isoformat())


class Shop:
    """A shop in which something happens, and what its past is asked for."""

    def __init__(self, kontor: Kontor, seed: int) -> None:
        self.kontor, self.dice = kontor, random.Random(seed)
        self.orders: list[OrderId] = []
        self.categories: list[CategoryId] = []

    async def open(self) -> None:
        self.ada = await customer(self.kontor)
        for name in ("Cups", "Big cups"):
            parent = self.categories[0] if self.categories else None
            request = AddCategory(name=name, slug=name.lower().replace(" ", "-"), parent_id=parent)
            outcome = await self.kontor.pipeline.execute(request, actor=STAFF)
            self.categories.append(CategoryId(outcome.aggregate_id))
        await product(self.kontor, "MUG", units=20, category_ids=tuple(self.categories))
        for _ in range(3):
            await self.place()

    async def something_happens(self) -> None:
        """One command of many; one that is refused changes nothing."""
        dice = self.dice
        an_order = dice.choice(self.orders) if self.orders else None
        happenings: list[Callable[[], Awaitable[Any]]] = [
            self.place,
            self.place,
            *(
                lambda request=request, actor=actor: self.kontor.pipeline.execute(request, actor=actor)  # type: ignore[misc]
                for request, actor in (
                    (RepriceProduct(product_id=MUG, price=Money(dice.randint(100, 999), "GBP")), STAFF),
                    (UpdateProduct(product_id=MUG, name=f"Mug {dice.randint(1, 9)}"), STAFF),
                    (ReceiveStock(sku="MUG", quantity=dice.randint(1, 9)), STAFF),
                    (AdjustStock(sku="MUG", on_hand=dice.randint(5, 30), reason="counted"), STAFF),
                    (UpdateCategory(category_id=self.categories[0], name=f"Cups {dice.randint(1, 9)}"), STAFF),
                    (dice.choice([WithdrawProduct, PublishProduct])(product_id=MUG), STAFF),
                )
            ),
        ]
        if an_order:
            of_order: list[tuple[Any, Actor]] = [
                (ReserveOrders(order_ids=(an_order,)), SYSTEM),
                (CancelOrder(order_id=an_order, reason="no"), STAFF),
                (AuthorisePayment(payment_id=payment_id(an_order), reference="pi_1"), SYSTEM),
                (ShipOrder(order_id=an_order, carrier="Post", tracking_number="RM1"), STAFF),
                (DispatchOrder(order_id=an_order), SYSTEM),
                (CapturePayment(payment_id=payment_id(an_order)), SYSTEM),
                (ReleaseOrder(order_id=an_order), SYSTEM),
                (RefundOrder(order_id=an_order, reason="broken"), STAFF),
            ]
            happenings += [
                lambda request=request, actor=actor: self.kontor.pipeline.execute(request, actor=actor)  # type: ignore[misc]
                for request, actor in of_order
            ]
        try:
            await dice.choice(happenings)()
        except DomainError:
            return

    async def place(self) -> None:
        more: dict[str, Any] = {"payment_method": self.dice.choice(["account", "pm_card_visa"])}
        if self.dice.random() < 0.5:
            more["placed_at"] = datetime.now(UTC) - timedelta(days=self.dice.randint(0, 3))
        self.orders.append(OrderId(await placed(self.kontor, self.ada, ("MUG", self.dice.randint(1, 3)), **more)))

    async def answers(self, as_of: str | None = None) -> dict[str, Any]:
        """Everything there is to ask, of now or of that moment."""
        today = datetime.now(UTC).date()
        days = {"from": str(today - timedelta(days=9)), "to": str(today)}
        more = {} if as_of is None else {"asOf": as_of}
        found = {
            "product": await answered(self.kontor, PRODUCT, sku="MUG", **more),
            "stock": await answered(self.kontor, STOCK_ITEM, sku="MUG", **more),
            "sales": await answered(self.kontor, SALES, **days, **more),
        }
        for order_id in self.orders:
            found[str(order_id)] = await answered(self.kontor, ORDER, id=str(order_id), **more)
        return {name: value for name, value in found.items() if value is not None}


@pytest.mark.parametrize("seed", range(2))
async def test_every_past_moment_is_answered_as_it_was_answered_then(kontor: Kontor, seed: int) -> None:
    shop = Shop(kontor, seed)
    await shop.open()
    then: dict[str, dict[str, Any]] = {}
    for _ in range(8):
        for _ in range(shop.dice.randint(1, 4)):
            await shop.something_happens()
        await shown(kontor, *VIEWS)
        then[await moment(kontor)] = await shop.answers()
    await kontor.pipeline.execute(RemoveCategory(category_id=shop.categories[1]), actor=STAFF)
    await shown(kontor, *VIEWS)
    for as_of, answers in then.items():
        assert await shop.answers(as_of) == answers, (seed, as_of)


async def test_every_version_is_answered_with_what_was_then(kontor: Kontor) -> None:
    await product(kontor, "MUG", units=3)
    names = ["Mug", "Cup", "Beaker"]
    for name in names:
        await kontor.pipeline.execute(UpdateProduct(product_id=MUG, name=name), actor=STAFF)
    await kontor.pipeline.execute(ReceiveStock(sku="MUG", quantity=4), actor=STAFF)
    told = [await answered(kontor, PRODUCT, sku="MUG", v=version) for version in range(1, 6)]
    assert [each and each["name"] for each in told] == ["The MUG", *names, None]
    assert [len(each["history"]) for each in told[:4]] == [1, 2, 3, 4]
    # What it names is as it was when that version began.
    assert [each["stock"] and each["stock"]["onHand"] for each in told[:4]] == [None, 3, 3, 3]
    assert [
        (each["version"], each["onHand"]) if each else None
        for each in [await answered(kontor, STOCK_ITEM, sku="MUG", v=version) for version in (1, 2, 3, 4, 2**31 - 1)]
    ] == [(1, 0), (2, 3), (3, 7), None, None]


async def test_what_was_not_there_yet_is_null_and_what_cannot_be_asked_is_refused(kontor: Kontor) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    ada = await customer(kontor)
    await product(kontor, "MUG", units=3)
    order_id = await placed(kontor, ada, ("MUG", 1))
    await shown(kontor, *VIEWS)
    everything: tuple[tuple[str, dict[str, Any]], ...] = (
        (PRODUCT, {"sku": "MUG"}),
        (STOCK_ITEM, {"sku": "MUG"}),
        (ORDER, {"id": str(order_id)}),
        (ORDER, {"number": "K100001"}),
    )
    later = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    for document, what in everything:
        assert await answered(kontor, document, **what) is not None
        assert await answered(kontor, document, **what, asOf=before.isoformat()) is None
        assert await answered(kontor, document, **what, asOf="0001-01-01T00:00:00Z") is None
        assert await answered(kontor, document, **what, v=1) is not None
        assert "still to come" in await refused(kontor, document, **what, asOf=later)
        assert "not both" in await refused(kontor, document, **what, asOf=before.isoformat(), v=1)
        for none in (0, -1):
            assert "first version is 1" in await refused(kontor, document, **what, v=none)
    assert await answered(kontor, ORDER, id="no id", v=1) is None
    assert await answered(kontor, SALES, **{"from": "2026-01-01", "to": "2030-01-01"}, asOf=before.isoformat()) == []
    assert "still to come" in await refused(kontor, SALES, **{"from": "2026-01-01", "to": "2030-01-01"}, asOf=later)


async def test_who_may_see_something_now_may_see_how_it_was_and_nobody_else(kontor: Kontor) -> None:
    ada, bob = await customer(kontor, "ada"), await customer(kontor, "bob")
    await product(kontor, "MUG", published=False)
    await kontor.pipeline.execute(PublishProduct(product_id=MUG), actor=STAFF)
    order_id = await placed(kontor, ada, ("MUG", 1))
    await kontor.pipeline.execute(UpdateProduct(product_id=MUG, name="Cup"), actor=STAFF)
    await shown(kontor, *VIEWS)

    async def versions(actor: Actor) -> list[bool]:
        return [await answered(kontor, PRODUCT, actor, sku="MUG", v=version) is not None for version in (1, 2, 3)]

    assert await versions(STAFF) == [True, True, True]
    assert await versions(ANONYMOUS) == [False, True, True]
    await kontor.pipeline.execute(WithdrawProduct(product_id=MUG), actor=STAFF)
    await shown(kontor, CATALOGUE)
    assert await versions(ANONYMOUS) == [False, False, False]
    assert await answered(kontor, ORDER, ada, id=str(order_id), v=1) is not None
    assert await answered(kontor, ORDER, bob, id=str(order_id), v=1) is None
    assert await answered(kontor, ORDER, bob, number="K100001", v=1) is None
    assert "Sign in" in await refused(kontor, ORDER, ANONYMOUS, id=str(order_id), v=1)


async def test_the_past_of_an_order_shows_nothing_of_a_person_who_was_erased(kontor: Kontor) -> None:
    ada = await customer(kontor)
    await product(kontor, "MUG")
    order_id = await placed(kontor, ada, ("MUG", 1))
    await shown(kontor, *VIEWS)
    as_of = await moment(kontor)
    assert (await answered(kontor, ORDER, id=str(order_id), asOf=as_of))["customer"]["name"] == "Ada"
    assert ada.user_id
    await kontor.pipeline.execute(EraseUser(user_id=UserId(ada.user_id), current_password=PASSWORD), actor=ada)
    for views in ((), (USERS,)):  # before the view knows of it, and after
        await shown(kontor, *(views or (CATALOGUE,)))
        told = await answered(kontor, ORDER, id=str(order_id), asOf=as_of)
        assert told["status"] == "PENDING"
        assert "ada" not in str(told).lower()


async def test_a_long_history_is_folded_in_pages_and_a_very_long_one_refused(
    kontor: Kontor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapters_past, "EVENTS_A_READ", 3)
    monkeypatch.setattr(adapters_past, "EVENTS_MAX", 9)
    await product(kontor, "MUG", units=1)
    for _ in range(9):
        await kontor.pipeline.execute(ReceiveStock(sku="MUG", quantity=1), actor=STAFF)
    assert "more than 9 events" in await refused(kontor, STOCK_ITEM, sku="MUG", v=11)
    assert "more than 9 events" in await refused(kontor, STOCK_ITEM, sku="MUG", asOf=await moment(kontor))
    for version in range(1, 12):  # each goes on from a row that was kept on the way to an earlier one
        told = await answered(kontor, STOCK_ITEM, sku="MUG", v=version)
        assert (told["version"], told["onHand"]) == (version, version - 1)
    assert await answered(kontor, STOCK_ITEM, sku="MUG", v=12) is None


async def test_sales_of_the_past_are_of_the_orders_that_were_there_then(
    kontor: Kontor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old orders that arrive later are no part of it, and are not folded; too many changed ones are refused."""
    ada = await customer(kontor)
    await product(kontor, "MUG", units=20)
    days = {"from": "2026-01-01", "to": "2030-01-01"}
    kept = OrderId(await placed(kontor, ada, ("MUG", 2)))
    await kontor.pipeline.execute(ReserveOrders(order_ids=(kept,)), actor=SYSTEM)
    as_of = await moment(kontor)
    await kontor.pipeline.execute(CancelOrder(order_id=kept, reason="no"), actor=STAFF)
    for n in range(3):
        await placed(kontor, ada, ("MUG", 1), placed_at=datetime(2026, 1, 1 + n, tzinfo=UTC))
    behind = await asked(kontor, SALES, STAFF, **days, asOf=as_of)
    assert (behind.extensions or {})["consistency"]["stale"] is True
    await shown(kontor, SALES_BY_DAY)
    async with asyncio.timeout(60):  # the view tells its readers a moment later
        answer = behind
        while (answer.extensions or {})["consistency"]["stale"]:
            answer = await asked(kontor, SALES, STAFF, **days, asOf=as_of)
            await asyncio.sleep(0.02)
    assert [(day["orders"], day["units"]) for day in (answer.data or {})["salesByDay"]] == [(1, 2)]
    assert await answered(kontor, SALES, **days) == []
    monkeypatch.setattr(past_sales, "CHANGED_MAX", 1)
    assert len(await answered(kontor, SALES, **days, asOf=as_of)) == 1
    monkeypatch.setattr(past_sales, "CHANGED_MAX", 0)
    assert "fewer days" in await refused(kontor, SALES, **days, asOf=as_of)


async def test_the_log_s_place_at_a_moment_is_found(kontor: Kontor) -> None:
    assert await kontor.log.position_at(datetime.now(UTC)) == 0
    await product(kontor, "MUG", units=1)
    records = await kontor.log.after(0, limit=100)
    assert await kontor.log.position_at(records[0].recorded_at - timedelta(microseconds=1)) == 0
    for record, following in zip(records, [*records[1:], None], strict=True):
        found = await kontor.log.position_at(record.recorded_at)
        assert found >= record.position
        assert following is None or following.recorded_at == record.recorded_at or found < following.position
    assert [await kontor.log.version_after(stock_item_id("MUG"), each.position) for each in records] == [1, 2, 3]
    assert await kontor.log.version_after(UUID(int=1), 5) == 0


async def test_an_order_is_followed_backwards_over_http(buyer: Client, sku: str) -> None:  # noqa: F811  # the fixtures
    order_id = (await buyer(PLACE, input=order_of(sku)))["placeOrder"]["order"]["id"]
    await settled(buyer, order_id)
    told = [(await buyer(ORDER, id=order_id, v=version))["order"] for version in (1, 2, 3, 4)]
    assert [each and each["status"] for each in told] == ["PENDING", "RESERVED", "CONFIRMED", None]
    # The payment is asked for when the order is reserved, and stands in the log behind that.
    assert [each["payment"] and each["payment"]["status"] for each in told[:3]] == [None, None, "AUTHORISED"]
    as_of = told[0]["updatedAt"]
    assert (await buyer(ORDER, id=order_id, asOf=as_of))["order"] == told[0]
