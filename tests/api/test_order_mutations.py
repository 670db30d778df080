"""What the mutations about orders answer, on the in-memory twins."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from api.graphql.consistency import Freshness
from api.graphql.context import RequestContext
from api.graphql.schema import schema
from commands.handling import Actor
from commands.payments import AuthorisePayment
from domain.identity import OrderId, payment_id
from tests.given import STAFF, InMemory

SHOWN = """{ ok userErrors { code field message } receipt { version replayed }
  order { status trackingNumber rejectionReason version } }"""
SHIP = f"""mutation($id: ID!, $carrier: String = "Post", $number: String = "RM1", $key: ID) {{
  shipOrder(orderId: $id, carrier: $carrier, trackingNumber: $number, idempotencyKey: $key) {SHOWN} }}"""
DELIVER = f"mutation($id: ID!, $key: ID) {{ deliverOrder(orderId: $id, idempotencyKey: $key) {SHOWN} }}"
REFUND = f"""mutation($id: ID!, $reason: String = "broken", $key: ID) {{
  refundOrder(orderId: $id, reason: $reason, idempotencyKey: $key) {SHOWN} }}"""


async def confirmed() -> tuple[InMemory, Actor, OrderId]:
    """A confirmed order of two mugs, and whose it is."""
    kontor = InMemory()
    await kontor.product("MUG", units=10)
    customer = await kontor.customer()
    order_id = await kontor.placed(customer, ("MUG", 2))
    await kontor.reserve(order_id)
    await kontor.execute(AuthorisePayment(payment_id=payment_id(order_id), reference="pi_1"))
    return kontor, customer, order_id


async def sent(kontor: InMemory, document: str, actor: Actor = STAFF, **variables: Any) -> Any:
    """The whole answer to one request of this actor."""
    served: Any = SimpleNamespace(pipeline=kontor.pipeline, store=kontor.store)
    nothing: Any = None
    context = RequestContext(served, actor=actor, freshness=Freshness(nothing, nothing))
    return await schema.execute(document, variable_values=variables, context_value=context)


async def answer(kontor: InMemory, document: str, **variables: Any) -> dict[str, Any]:
    """The payload of the one mutation."""
    result = await sent(kontor, document, **variables)
    assert result.errors is None, result.errors
    payload: dict[str, Any]
    (payload,) = result.data.values()
    return payload


async def test_staff_ship_deliver_and_refund_and_see_the_order_after_it() -> None:
    kontor, _, order_id = await confirmed()
    for document, status, version in ((SHIP, "SHIPPED", 4), (DELIVER, "DELIVERED", 5), (REFUND, "REFUNDED", 6)):
        for replayed in (False, True):
            assert await answer(kontor, document, id=str(order_id), key=status) == {
                "ok": True,
                "userErrors": [],
                "receipt": {"version": version, "replayed": replayed},
                "order": {"status": status, "trackingNumber": "RM1", "rejectionReason": None, "version": version},
            }


@pytest.mark.parametrize(
    ("document", "variables", "code", "field"),
    [
        (SHIP, {"carrier": " "}, "INVALID", ["carrier"]),
        (SHIP, {"number": ""}, "INVALID", ["trackingNumber"]),
        (DELIVER, {}, "ILLEGAL_TRANSITION", []),
        (REFUND, {}, "ILLEGAL_TRANSITION", []),
        *[(document, {"id": "nonsense"}, "NOT_FOUND", ["orderId"]) for document in (SHIP, DELIVER, REFUND)],
        *[(document, {"id": str(UUID(int=1))}, "NOT_FOUND", ["orderId"]) for document in (SHIP, DELIVER, REFUND)],
    ],
)
async def test_what_can_be_corrected_is_a_user_error(
    document: str, variables: dict[str, str], code: str, field: list[str]
) -> None:
    kontor, _, order_id = await confirmed()
    payload = await answer(kontor, document, **({"id": str(order_id)} | variables))
    (error,) = payload.pop("userErrors")
    assert (error["code"], error["field"] or []) == (code, field)
    assert payload == {"ok": False, "receipt": None, "order": None}


@pytest.mark.parametrize("document", [SHIP, DELIVER, REFUND])
async def test_a_customer_is_refused_whoever_owns_the_order(document: str) -> None:
    kontor, customer, order_id = await confirmed()
    stored = len(kontor.store.stored)
    result = await sent(kontor, document, customer, id=str(order_id))
    assert result.errors
    assert (result.data, len(kontor.store.stored)) == (None, stored)
