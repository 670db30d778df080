"""Orders: what may be asked of them, and by whom."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from commands.handling import Actor
from commands.orders import CancelOrder, WantedLine
from commands.users import EraseUser
from domain.disclosure import PersonalField
from domain.errors import DomainError, Forbidden, IllegalTransition, Invalid, NotFound
from domain.identity import UserId
from domain.money import Money
from domain.orders import LINES_MAX, Order, OrderStatus
from domain.quantity import QUANTITY_MAX
from domain.users import Role
from tests.given import GBP_2_55, NOW, ORDER_ID, PASSWORD, STAFF, SYSTEM, InMemory, order_of

FOR_STAFF: dict[str, dict[str, Any]] = {
    "another customer": {"customer_id": UUID(int=0xBAD)},
    "a past moment": {"placed_at": NOW - timedelta(days=1)},
    "paid outside, with spaces around it": {"payment_method": " account\n"},
    "paid outside": {"payment_method": "account"},
    "an agreed price": {"lines": (WantedLine(sku="MUG", quantity=1, unit_price=Money(1, "GBP")),)},
}


async def shop() -> tuple[InMemory, Actor]:
    """A shop with a hundred mugs, and a customer."""
    kontor = InMemory()
    await kontor.product("MUG", units=100)
    return kontor, await kontor.customer()


async def test_an_order_takes_the_name_and_price_of_the_moment() -> None:
    kontor, customer = await shop()
    order = await kontor.order(await kontor.placed(customer, (" MUG ", 3)))
    (line,) = order.lines
    assert (line.sku, line.name, line.quantity, line.unit_price) == ("MUG", "The MUG", 3, GBP_2_55)
    assert (order.total, order.status, order.number) == (Money(765, "GBP"), OrderStatus.PENDING, "K1")
    assert (order.customer_id, order.placed_at) == (customer.user_id, kontor.clock.now())


async def test_every_order_has_a_number_of_its_own() -> None:
    kontor, customer = await shop()
    orders = [await kontor.order(await kontor.placed(customer, ("MUG", 1))) for _ in range(3)]
    assert len({order.number for order in orders}) == len({order.id for order in orders}) == 3


@pytest.mark.parametrize("more", FOR_STAFF.values(), ids=FOR_STAFF.keys())
async def test_a_customer_may_not_ask_what_is_for_staff(more: dict[str, Any]) -> None:
    kontor, customer = await shop()
    with pytest.raises(Forbidden):
        await kontor.execute(order_of(("MUG", 1), **more), customer)
    assert "order.placed" not in kontor.store.event_types


async def test_staff_may_agree_a_price_for_a_customer_at_a_past_moment_paid_outside() -> None:
    kontor, customer = await shop()
    more: dict[str, Any] = {}
    for each in FOR_STAFF.values():
        more |= each
    order = await kontor.order(await kontor.placed(STAFF, **(more | {"customer_id": customer.user_id})))
    assert (order.customer_id, order.placed_at) == (customer.user_id, NOW - timedelta(days=1))
    assert order.total == Money(1, "GBP")


async def test_a_customer_may_name_himself() -> None:
    kontor, customer = await shop()
    assert await kontor.placed(customer, ("MUG", 1), customer_id=customer.user_id)


@pytest.mark.parametrize("more", [{}, {"customer_id": UUID(int=0xBAD)}], ids=["staff themselves", "nobody"])
async def test_an_order_for_somebody_without_account_is_not_found(more: dict[str, Any]) -> None:
    kontor, _ = await shop()
    with pytest.raises(NotFound) as refused:
        await kontor.placed(STAFF, ("MUG", 1), **more)
    assert refused.value.field == ("customerId",)


async def test_an_order_by_the_system_for_nobody_is_invalid() -> None:
    kontor, _ = await shop()
    with pytest.raises(Invalid) as refused:
        await kontor.placed(SYSTEM, ("MUG", 1))
    assert refused.value.field == ("customerId",)


async def test_a_moment_in_the_future_is_invalid_and_the_present_is_not() -> None:
    kontor, customer = await shop()
    more = {"customer_id": customer.user_id}
    assert await kontor.placed(STAFF, ("MUG", 1), placed_at=kontor.clock.now(), **more)
    with pytest.raises(Invalid) as refused:
        await kontor.placed(STAFF, ("MUG", 1), placed_at=kontor.clock.now() + timedelta(seconds=1), **more)
    assert refused.value.field == ("placedAt",)


async def test_an_unknown_sku_is_not_found_and_says_in_which_line() -> None:
    kontor, customer = await shop()
    with pytest.raises(NotFound) as refused:
        await kontor.placed(customer, ("MUG", 1), ("CUP", 1))
    assert refused.value.field == ("lines", "1", "sku")


async def test_an_unpublished_product_is_for_staff_alone() -> None:
    kontor, customer = await shop()
    await kontor.product("CUP", published=False)
    with pytest.raises(NotFound):
        await kontor.placed(customer, ("CUP", 1))
    assert await kontor.placed(STAFF, ("CUP", 1), customer_id=customer.user_id)


async def test_a_product_priced_in_another_currency_is_invalid() -> None:
    kontor, customer = await shop()
    with pytest.raises(Invalid) as refused:
        await kontor.placed(customer, ("MUG", 1), currency="EUR")
    assert refused.value.field == ("lines", "0", "unitPrice")


async def test_an_agreed_price_of_zero_is_invalid() -> None:
    kontor, customer = await shop()
    free = (WantedLine(sku="MUG", quantity=1, unit_price=Money(0, "GBP")),)
    with pytest.raises(Invalid) as refused:
        await kontor.placed(STAFF, lines=free, customer_id=customer.user_id)
    assert refused.value.field == ("lines", "0", "unitPrice")


@pytest.mark.parametrize("quantity", [-1, 0, QUANTITY_MAX + 1])
async def test_a_quantity_outside_its_bounds_is_not_ordered(quantity: int) -> None:
    kontor, customer = await shop()
    with pytest.raises(Invalid):
        await kontor.placed(customer, ("MUG", quantity))
    assert "order.placed" not in kontor.store.event_types


@pytest.mark.parametrize("quantity", [1, QUANTITY_MAX])
async def test_a_quantity_at_its_bounds_is_ordered(quantity: int) -> None:
    kontor, customer = await shop()
    await kontor.product("PIN", price=Money(1, "GBP"))
    assert (await kontor.order(await kontor.placed(customer, ("PIN", quantity)))).quantities() == {"PIN": quantity}


async def test_lines_of_one_sku_may_not_add_up_to_more_than_the_bound() -> None:
    kontor, customer = await shop()
    await kontor.product("PIN", price=Money(1, "GBP"))
    with pytest.raises(Invalid):
        await kontor.placed(customer, ("PIN", QUANTITY_MAX), ("PIN", 1))


@pytest.mark.parametrize("count", [0, LINES_MAX + 1])
async def test_too_few_or_too_many_lines_are_invalid(count: int) -> None:
    kontor, customer = await shop()
    with pytest.raises(Invalid) as refused:
        await kontor.placed(customer, *[("MUG", 1)] * count)
    assert refused.value.field == ("lines",)


async def test_a_customer_cancels_an_own_order_with_a_reason() -> None:
    kontor, customer = await shop()
    order_id = await kontor.placed(customer, ("MUG", 1))
    await kontor.cancel(order_id, customer)
    order = await kontor.order(order_id)
    assert (order.status, order.customer_id) == (OrderStatus.CANCELLED, customer.user_id)
    assert await opened_reason(kontor, order) == "changed my mind"
    assert kontor.store.events[-1].by == customer.name


async def opened_reason(kontor: InMemory, order: Order) -> str | None:
    """What the customer's key makes of the stored reason, which is not the text itself."""
    assert order.reason not in (None, "changed my mind")
    token = (order.customer_id, PersonalField.ORDER_REASON, order.reason or "")
    (reason,) = await kontor.personal_data.open([token])
    return reason


async def test_the_reason_of_an_order_is_erased_with_its_customer() -> None:
    kontor, customer = await shop()
    assert customer.user_id is not None
    before, after = await kontor.placed(customer, ("MUG", 1)), await kontor.placed(customer, ("MUG", 1))
    await kontor.cancel(before, customer)
    await kontor.execute(EraseUser(user_id=UserId(customer.user_id), current_password=PASSWORD), customer)
    await kontor.cancel(after, STAFF)
    assert await opened_reason(kontor, await kontor.order(before)) is None
    assert ((await kontor.order(after)).status, (await kontor.order(after)).reason) == (OrderStatus.CANCELLED, "")


async def test_cancelling_twice_is_cancelling_once() -> None:
    kontor, customer = await shop()
    order_id = await kontor.placed(customer, ("MUG", 1))
    await kontor.cancel(order_id, customer)
    stored = len(kontor.store.stored)
    await kontor.cancel(order_id, customer)
    assert len(kontor.store.stored) == stored


async def test_a_reserved_order_can_be_cancelled_by_staff() -> None:
    kontor, customer = await shop()
    order_id = await kontor.placed(customer, ("MUG", 1))
    await kontor.reserve(order_id)
    await kontor.cancel(order_id, STAFF)
    assert (await kontor.order(order_id)).status is OrderStatus.CANCELLED


async def test_a_rejected_order_cannot_be_cancelled() -> None:
    kontor, customer = await shop()
    order_id = await kontor.placed(customer, ("MUG", 101))
    await kontor.reserve(order_id)
    with pytest.raises(IllegalTransition):
        await kontor.cancel(order_id, customer)
    assert (await kontor.order(order_id)).status is OrderStatus.REJECTED


async def test_a_foreign_order_is_as_unknown_as_one_that_does_not_exist() -> None:
    kontor, customer = await shop()
    order_id = await kontor.placed(customer, ("MUG", 1))
    stranger = Actor.user(UUID(int=0xBAD), [Role.CUSTOMER])
    said: list[DomainError] = []
    for asked in (order_id, ORDER_ID):
        with pytest.raises(NotFound) as refused:
            await kontor.execute(CancelOrder(order_id=asked, reason="mine"), stranger)
        said.append(refused.value)
    assert said[0].message.replace(str(order_id), "") == said[1].message.replace(str(ORDER_ID), "")
    assert (await kontor.order(order_id)).status is OrderStatus.PENDING


@pytest.mark.parametrize("reason", ["", " ", "x" * 501, "a\0b"])
async def test_a_reason_that_cannot_be_stored_is_invalid(reason: str) -> None:
    kontor, customer = await shop()
    order_id = await kontor.placed(customer, ("MUG", 1))
    with pytest.raises(Invalid) as refused:
        await kontor.execute(CancelOrder(order_id=order_id, reason=reason), customer)
    assert refused.value.field == ("reason",)
