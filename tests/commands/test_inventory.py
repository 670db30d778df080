"""Stock: received, held for an order whole or not at all, given back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from commands import inventory
from commands.handling import ANONYMOUS, Actor
from commands.inventory import (
    REASON_ITEMS_MAX,
    AdjustStock,
    DispatchOrder,
    ExpireHolds,
    ReceiveStock,
    ReleaseOrder,
    ReserveOrders,
)
from commands.orders import CancelOrder, ShipOrder
from commands.payments import AuthorisePayment
from domain.errors import (
    Conflict,
    DomainError,
    Forbidden,
    IllegalTransition,
    Invalid,
    NotFound,
    StockInsufficient,
    Unauthenticated,
)
from domain.identity import OrderId, event_id, payment_id, stock_item_id
from domain.inventory import HOLD_S_MAX, StockItem
from domain.orders import Order, OrderStatus
from domain.quantity import QUANTITY_MAX
from tests.given import CUSTOMER, ORDER_ID, STAFF, InMemory


def held(item: StockItem) -> dict[OrderId, int]:
    """Units by order."""
    return {order_id: hold.quantity for order_id, hold in item.holds.items()}


async def test_the_first_receipt_opens_the_ledger() -> None:
    kontor = InMemory()
    await kontor.product("MUG")
    await kontor.execute(ReceiveStock(sku=" MUG ", quantity=5, reference="PO-1"), STAFF)
    await kontor.execute(ReceiveStock(sku="MUG", quantity=2), STAFF)
    assert kontor.store.event_types[1:] == ["stock.opened", "stock.received", "stock.received"]
    assert [event.reference for event in kontor.store.events if isinstance(event, StockItem.Received)] == ["PO-1", ""]
    assert (await kontor.stock("MUG")).on_hand == 7


async def test_stock_of_a_sku_without_product_is_not_found() -> None:
    kontor = InMemory()
    with pytest.raises(NotFound) as refused:
        await kontor.execute(ReceiveStock(sku="MUG", quantity=1), STAFF)
    assert refused.value.field == ("sku",)
    assert kontor.store.stored == []


@pytest.mark.parametrize("quantity", [-1, 0, QUANTITY_MAX + 1])
async def test_a_quantity_outside_its_bounds_is_not_received(quantity: int) -> None:
    kontor = InMemory()
    await kontor.product("MUG")
    with pytest.raises(Invalid) as refused:
        await kontor.execute(ReceiveStock(sku="MUG", quantity=quantity), STAFF)
    assert refused.value.field == ("quantity",)
    assert kontor.store.event_types == ["product.added"]


@pytest.mark.parametrize("quantity", [1, QUANTITY_MAX])
async def test_a_quantity_at_its_bounds_is_received(quantity: int) -> None:
    kontor = InMemory()
    await kontor.product("MUG", units=quantity)
    assert (await kontor.stock("MUG")).on_hand == quantity


async def test_an_order_with_enough_stock_is_held_for_a_while() -> None:
    kontor = InMemory()
    await kontor.product("MUG", units=5)
    await kontor.product("CUP", units=2)
    order_id = await kontor.placed(await kontor.customer(), ("MUG", 5), ("CUP", 1))
    await kontor.reserve(order_id)
    assert (await kontor.order(order_id)).status is OrderStatus.RESERVED
    assert held(await kontor.stock("MUG")) == {order_id: 5}
    assert held(await kontor.stock("CUP")) == {order_id: 1}
    holds = [event for event in kontor.store.events if isinstance(event, StockItem.Reserved)]
    assert {event.expires_at for event in holds} == {kontor.clock.now() + timedelta(seconds=HOLD_S_MAX)}


async def test_an_order_of_which_one_line_lacks_is_rejected_and_nothing_is_held() -> None:
    kontor = InMemory()
    await kontor.product("MUG", units=5)
    await kontor.product("CUP", units=2)
    order_id = await kontor.placed(await kontor.customer(), ("MUG", 1), ("CUP", 3))
    stored = len(kontor.store.stored)
    await kontor.reserve(order_id)
    order = await kontor.order(order_id)
    assert order.status is OrderStatus.REJECTED
    assert order.reason == "not enough stock: CUP (wanted 3, available 2)"
    assert (await kontor.stock("MUG")).reserved == (await kontor.stock("CUP")).reserved == 0
    assert sorted(kontor.store.event_types[stored:]) == ["order.rejected", "stock.reservation_refused"]
    (refusal,) = (event for event in kontor.store.events if isinstance(event, StockItem.ReservationRefused))
    assert refusal.originator_id == (await kontor.stock("CUP")).id
    assert (refusal.order_id, refusal.quantity, refusal.available) == (order_id, 3, 2)


async def test_a_product_that_was_never_in_stock_rejects_the_order() -> None:
    kontor = InMemory()
    await kontor.product("MUG")
    order_id = await kontor.placed(await kontor.customer(), ("MUG", 1))
    await kontor.reserve(order_id)
    assert (await kontor.order(order_id)).reason == "not enough stock: MUG (wanted 1, available 0)"
    assert "stock.reservation_refused" not in kontor.store.event_types


@pytest.mark.parametrize(
    ("lacking", "ending"),
    [(REASON_ITEMS_MAX, "(wanted 1, available 0)"), (REASON_ITEMS_MAX + 2, "(wanted 1, available 0) and 2 more")],
)
async def test_the_reason_names_the_first_lacking_items_and_counts_the_others(lacking: int, ending: str) -> None:
    kontor = InMemory()
    skus = [f"S{number}" for number in range(lacking)]
    for sku in skus:
        await kontor.product(sku)
    order_id = await kontor.placed(await kontor.customer(), *((sku, 1) for sku in skus))
    await kontor.reserve(order_id)
    reason = (await kontor.order(order_id)).reason or ""
    assert reason.count("wanted") == REASON_ITEMS_MAX
    assert reason.endswith(ending)


async def test_what_is_held_for_others_is_not_available() -> None:
    kontor = InMemory()
    await kontor.product("MUG", units=5)
    customer = await kontor.customer()
    first, second = await kontor.placed(customer, ("MUG", 3)), await kontor.placed(customer, ("MUG", 3))
    await kontor.reserve(first)
    await kontor.reserve(second)
    assert (await kontor.order(second)).status is OrderStatus.REJECTED
    assert held(await kontor.stock("MUG")) == {first: 3}


@pytest.mark.parametrize("units", [1, 5])
async def test_reserving_twice_is_reserving_once(units: int) -> None:
    kontor = InMemory()
    await kontor.product("MUG", units=units)
    order_id = await kontor.placed(await kontor.customer(), ("MUG", 3))
    await kontor.reserve(order_id)
    status, stored = (await kontor.order(order_id)).status, len(kontor.store.stored)
    await kontor.reserve(order_id)
    assert (await kontor.order(order_id)).status is status
    assert len(kontor.store.stored) == stored


async def test_an_order_cancelled_before_it_is_reserved_holds_nothing() -> None:
    kontor = InMemory()
    await kontor.product("MUG", units=5)
    order_id = await kontor.placed(await kontor.customer(), ("MUG", 3))
    await kontor.cancel(order_id)
    await kontor.reserve(order_id)
    assert (await kontor.order(order_id)).status is OrderStatus.CANCELLED
    assert (await kontor.stock("MUG")).holds == {}


async def test_a_release_gives_everything_back_and_a_second_changes_nothing() -> None:
    kontor = InMemory()
    await kontor.product("MUG", units=5)
    await kontor.product("CUP", units=5)
    order_id = await kontor.placed(await kontor.customer(), ("MUG", 3), ("CUP", 2))
    await kontor.reserve(order_id)
    await kontor.cancel(order_id)
    await kontor.release(order_id)
    assert (await kontor.stock("MUG")).holds == (await kontor.stock("CUP")).holds == {}
    stored = len(kontor.store.stored)
    await kontor.release(order_id)
    assert len(kontor.store.stored) == stored


async def test_a_release_leaves_what_others_hold() -> None:
    kontor = InMemory()
    await kontor.product("MUG", units=5)
    customer = await kontor.customer()
    mine, other = await kontor.placed(customer, ("MUG", 2)), await kontor.placed(customer, ("MUG", 3))
    for order_id in (mine, other):
        await kontor.reserve(order_id)
    await kontor.cancel(mine)
    await kontor.release(mine)
    assert held(await kontor.stock("MUG")) == {other: 3}


async def test_two_lines_of_one_sku_hold_their_sum() -> None:
    kontor = InMemory()
    await kontor.product("MUG", units=5)
    order_id = await kontor.placed(await kontor.customer(), ("MUG", 2), ("MUG", 3))
    await kontor.reserve(order_id)
    assert held(await kontor.stock("MUG")) == {order_id: 5}


async def test_two_lines_of_one_sku_lack_when_their_sum_does() -> None:
    kontor = InMemory()
    await kontor.product("MUG", units=4)
    order_id = await kontor.placed(await kontor.customer(), ("MUG", 2), ("MUG", 3))
    await kontor.reserve(order_id)
    assert (await kontor.order(order_id)).reason == "not enough stock: MUG (wanted 5, available 4)"
    assert (await kontor.stock("MUG")).holds == {}


@pytest.mark.parametrize(
    "command",
    [
        ReserveOrders(order_ids=(ORDER_ID,)),
        *(each(order_id=ORDER_ID) for each in (ReleaseOrder, DispatchOrder, ExpireHolds)),
    ],
    ids=lambda each: type(each).__name__,
)
async def test_an_unknown_order_is_not_found(command: Any) -> None:
    with pytest.raises(NotFound):
        await InMemory().execute(command)


async def test_orders_reserved_together_are_decided_one_after_the_other_in_one_save() -> None:
    kontor = InMemory()
    await kontor.product("MUG", units=5)
    customer = await kontor.customer()
    orders = [await kontor.placed(customer, ("MUG", units)) for units in (2, 4, 3, 1)]
    unknown = OrderId(UUID(int=99))
    await kontor.execute(CancelOrder(order_id=orders[0], reason="no"), customer)
    appends = len(kontor.store.appends)
    for _ in range(2):  # the second finds them decided
        await kontor.execute(ReserveOrders(order_ids=(*orders, unknown, orders[1])))
    assert len(kontor.store.appends) == appends + 1
    statuses = [(await kontor.order(order_id)).status.value for order_id in orders]
    assert statuses == ["CANCELLED", "RESERVED", "REJECTED", "RESERVED"]
    assert held(await kontor.stock("MUG")) == {orders[1]: 4, orders[3]: 1}


async def test_what_is_reserved_together_is_caused_by_the_placing_of_each_order() -> None:
    kontor = InMemory()
    await kontor.product("MUG", units=5)
    customer = await kontor.customer()
    orders = [await kontor.placed(customer, ("MUG", units)) for units in (2, 9)]
    await kontor.execute(ReserveOrders(order_ids=tuple(orders)))
    causes = kontor.store.appends[-1].causes
    item = stock_item_id("MUG")
    assert {key: cause for key, cause in causes.items() if key[0] != item} == {
        (orders[0], 2): event_id(orders[0], 1),
        (payment_id(orders[0]), 1): event_id(orders[0], 1),
        (orders[1], 2): event_id(orders[1], 1),
    }
    assert [causes[key] for key in sorted(key for key in causes if key[0] == item)] == [
        event_id(order_id, 1) for order_id in orders
    ]


def counted(on_hand: int = 7, **more: Any) -> AdjustStock:
    return AdjustStock(**({"sku": "MUG", "on_hand": on_hand, "reason": "counted"} | more))


async def reserved(kontor: InMemory, *, mugs: int = 3, cups: int = 2) -> OrderId:
    """An order that holds of two SKUs, of which there are five each."""
    for sku in ("MUG", "CUP"):
        await kontor.product(sku, units=5)
    order_id = await kontor.placed(await kontor.customer(), ("MUG", mugs), ("CUP", cups))
    await kontor.reserve(order_id)
    return order_id


async def test_what_was_counted_replaces_the_number() -> None:
    kontor = InMemory()
    await kontor.product("MUG", units=5)
    outcome = await kontor.execute(counted(7, sku=" MUG ", expected_version=2), STAFF)
    assert ((await kontor.stock("MUG")).on_hand, outcome.version) == (7, 3)
    (event,) = (event for event in kontor.store.events if isinstance(event, StockItem.Adjusted))
    assert (event.from_, event.to, event.reason) == (5, 7, "counted")


async def test_counting_what_is_so_already_changes_nothing() -> None:
    kontor = InMemory()
    await kontor.product("MUG", units=5)
    for _ in range(2):
        await kontor.execute(counted(7), STAFF)
    assert kontor.store.event_types[1:] == ["stock.opened", "stock.received", "stock.adjusted"]


async def test_a_count_with_a_key_is_made_once() -> None:
    kontor = InMemory()
    await kontor.product("MUG", units=5)
    await kontor.execute(counted(7), STAFF, "k")
    await kontor.execute(ReceiveStock(sku="MUG", quantity=1), STAFF)
    assert (await kontor.execute(counted(7), STAFF, "k")).replayed
    assert (await kontor.stock("MUG")).on_hand == 8


@pytest.mark.parametrize(
    ("change", "error", "field"),
    [
        ({"sku": "CUP"}, NotFound, "sku"),
        ({"sku": " "}, Invalid, "sku"),
        ({"on_hand": 2}, StockInsufficient, "onHand"),
        ({"on_hand": -1}, Invalid, "onHand"),
        ({"on_hand": 2**31}, Invalid, "onHand"),
        ({"reason": " "}, Invalid, "reason"),
        ({"expected_version": 1}, Conflict, "expectedVersion"),
    ],
)
async def test_a_count_that_breaks_a_rule_changes_nothing(
    change: dict[str, Any], error: type[DomainError], field: str
) -> None:
    kontor = InMemory()
    await kontor.product("MUG", units=5)
    await kontor.reserve(await kontor.placed(await kontor.customer(), ("MUG", 3)))
    stored = len(kontor.store.stored)
    with pytest.raises(error) as refused:
        await kontor.execute(counted(**change), STAFF)
    assert (refused.value.field, len(kontor.store.stored)) == ((field,), stored)


async def test_what_is_dispatched_has_left_the_stock_and_only_once() -> None:
    kontor = InMemory()
    order_id = await shipped(kontor)
    for _ in range(2):
        await kontor.execute(DispatchOrder(order_id=order_id))
    mug, cup = await kontor.stock("MUG"), await kontor.stock("CUP")
    assert [(item.on_hand, item.reserved) for item in (mug, cup)] == [(2, 0), (3, 0)]
    assert kontor.store.event_types[-2:] == ["stock.dispatched"] * 2


async def test_a_release_after_the_dispatch_is_refused_and_brings_nothing_back() -> None:
    kontor = InMemory()
    order_id = await shipped(kontor)
    await kontor.execute(DispatchOrder(order_id=order_id))
    with pytest.raises(IllegalTransition, match="is SHIPPED"):
        await kontor.release(order_id)
    assert (await kontor.stock("MUG")).available == 2


async def shipped(kontor: InMemory) -> OrderId:
    order_id = await reserved(kontor)
    await kontor.execute(AuthorisePayment(payment_id=payment_id(order_id), reference="pi_1"))
    await kontor.execute(ShipOrder(order_id=order_id, carrier="Post", tracking_number="RM1"), STAFF)
    return order_id


@pytest.mark.parametrize("command", [ReleaseOrder, DispatchOrder], ids=lambda each: each.__name__)
async def test_what_an_order_holds_is_moved_only_when_the_order_itself_calls_for_it(command: Any) -> None:
    kontor = InMemory()
    order_id = await reserved(kontor)
    stored = len(kontor.store.stored)
    for _ in range(2):
        with pytest.raises(IllegalTransition, match="is RESERVED"):
            await kontor.execute(command(order_id=order_id), key="k")
    assert len(kontor.store.stored) == stored
    assert held(await kontor.stock("MUG"))[order_id] == 3


async def test_holds_expire_at_their_moment_and_not_before() -> None:
    kontor = InMemory()
    order_id = await reserved(kontor)
    kontor.clock.advance(timedelta(seconds=HOLD_S_MAX) - timedelta(microseconds=1))
    await kontor.execute(ExpireHolds(order_id=order_id))
    assert held(await kontor.stock("MUG")) == {order_id: 3}
    kontor.clock.advance(timedelta(microseconds=1))
    for _ in range(2):
        await kontor.execute(ExpireHolds(order_id=order_id))
    assert (await kontor.stock("MUG")).available == (await kontor.stock("CUP")).available == 5
    assert kontor.store.event_types.count("stock.reservation_expired") == 2


async def test_what_a_cancelled_order_still_holds_expires() -> None:
    kontor = InMemory()
    order_id = await reserved(kontor)
    await kontor.cancel(order_id)
    kontor.clock.advance(timedelta(seconds=HOLD_S_MAX))
    await kontor.execute(ExpireHolds(order_id=order_id))
    assert (await kontor.order(order_id)).status is OrderStatus.CANCELLED
    assert held(await kontor.stock("MUG")) == {}


async def test_an_order_is_told_that_its_holds_have_expired_and_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    kontor = InMemory()
    order_id = await reserved(kontor)
    reasons: list[str] = []
    monkeypatch.setattr(Order, "reject", lambda order, *, reason, now: reasons.append(reason))
    await kontor.execute(ExpireHolds(order_id=order_id))
    assert reasons == []
    kontor.clock.advance(timedelta(seconds=HOLD_S_MAX))
    for _ in range(2):
        await kontor.execute(ExpireHolds(order_id=order_id))
    assert reasons == ["not confirmed in time: what was held for it was given back"]


async def test_the_holds_of_a_confirmed_order_do_not_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    kontor = InMemory()
    order_id = await reserved(kontor)
    monkeypatch.setattr(inventory, "UNCONFIRMED", inventory.UNCONFIRMED - {OrderStatus.RESERVED})
    kontor.clock.advance(timedelta(days=1))
    await kontor.execute(ExpireHolds(order_id=order_id))
    assert held(await kontor.stock("MUG")) == {order_id: 3}


def test_an_order_keeps_its_holds_from_its_confirmation_on() -> None:
    kept = {status.name for status in OrderStatus} - {status.name for status in inventory.UNCONFIRMED}
    assert kept <= {"CONFIRMED", "SHIPPED", "DELIVERED", "REFUNDED"}


async def test_an_order_without_holds_has_none_that_expire() -> None:
    kontor = InMemory()
    await kontor.product("MUG", units=1)
    order_id = await kontor.placed(await kontor.customer(), ("MUG", 3))
    stored = len(kontor.store.stored)
    kontor.clock.advance(timedelta(days=1))
    await kontor.execute(ExpireHolds(order_id=order_id))
    assert len(kontor.store.stored) == stored


@pytest.mark.parametrize("command", [DispatchOrder(order_id=ORDER_ID), ExpireHolds(order_id=ORDER_ID)])
@pytest.mark.parametrize("actor", [STAFF, CUSTOMER, ANONYMOUS], ids=lambda actor: actor.name)
async def test_the_stock_of_orders_is_moved_by_kontor_itself(command: Any, actor: Actor) -> None:
    with pytest.raises(Forbidden):
        await InMemory().execute(command, actor)


async def test_counting_is_for_staff() -> None:
    with pytest.raises(Forbidden):
        await InMemory().execute(counted(), CUSTOMER)
    with pytest.raises(Unauthenticated):
        await InMemory().execute(counted(), ANONYMOUS)
