"""One request's correlation goes with all that follows from it: reservation, payment, mails, stock that leaves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

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

pytestmark = pytest.mark.servers

SHIP = """mutation($id: ID!) { shipOrder(orderId: $id, carrier: "Post", trackingNumber: "T1") { ok } }"""
EVENTS = (
    "query($c: ID, $a: ID) { events(correlationId: $c, aggregateId: $a) { nodes { type aggregateId correlationId } } }"
)
PLACED = {
    "order.placed", "stock.reserved", "order.reserved", "payment.requested", "payment.authorised", "order.confirmed",
    "notification.sent",
}  # fmt: skip
SHIPPED = {"order.shipped", "stock.dispatched", "payment.captured", "notification.sent"}


async def followed(staff: Client, request: str, wanted: set[str]) -> list[Any]:  # noqa: F811
    """The events of this request, once these types are among them."""
    async with asyncio.timeout(40):
        while True:
            found = (await staff(EVENTS, c=request))["events"]["nodes"]
            if wanted <= {each["type"] for each in found}:
                return list(found)
            await asyncio.sleep(0.1)


async def correlation_of(staff: Client, order_id: str, event_type: str) -> str:  # noqa: F811
    """The request that this followed from."""
    events = (await staff(EVENTS, a=order_id))["events"]["nodes"]
    (found,) = [each["correlationId"] for each in events if each["type"] == event_type]
    return str(found)


async def test_all_that_follows_from_a_request_has_its_correlation(
    buyer: Client,  # noqa: F811
    staff: Client,  # noqa: F811
    sku: str,  # noqa: F811
) -> None:
    placed = (await buyer(PLACE, input=order_of(sku)))["placeOrder"]
    order_id = placed["order"]["id"]
    placing = await correlation_of(staff, order_id, "order.placed")
    assert (await settled(buyer, order_id))["status"] == "CONFIRMED"
    after_placing = await followed(staff, placing, PLACED)
    assert (await staff(SHIP, id=order_id))["shipOrder"]["ok"]
    shipping = await correlation_of(staff, order_id, "order.shipped")
    after_shipping = await followed(staff, shipping, SHIPPED)

    assert {each["type"] for each in after_placing} == PLACED
    assert {each["type"] for each in after_shipping} == SHIPPED
    moved = {each["aggregateId"] for each in after_placing if not each["type"].startswith(("stock.", "notification."))}
    for aggregate_id in moved:
        events = (await staff(EVENTS, a=aggregate_id))["events"]["nodes"]
        assert {each["correlationId"] for each in events} == {placing, shipping}, events
