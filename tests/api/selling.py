"""Givens about products that are sold, on an installation without relay and worker."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from adapters.wiring import Kontor
from commands.catalogue import AddProduct
from commands.handling import Actor
from commands.inventory import ReceiveStock
from commands.orders import PlaceOrder, WantedLine
from commands.users import RegisterUser
from domain.identity import UserId
from domain.money import Money
from domain.users import Role
from tests.api.reading import asked
from tests.given import PASSWORD, STAFF, SYSTEM


async def customer(kontor: Kontor, name: str = "ada") -> Actor:
    """A registered customer, signed in."""
    request = RegisterUser(email=f"{name}@example.com", name=name.title(), password=PASSWORD)
    outcome = await kontor.pipeline.execute(request, actor=SYSTEM)
    return Actor.user(outcome.aggregate_id, [Role.CUSTOMER])


async def product(kontor: Kontor, sku: str, *, units: int = 0, price: Money | None = None, **more: Any) -> None:
    """A product for sale, with units in stock."""
    request = AddProduct(sku=sku, name=f"The {sku}", price=price or Money(255, "GBP"), **more)
    await kontor.pipeline.execute(request, actor=STAFF)
    if units:
        await kontor.pipeline.execute(ReceiveStock(sku=sku, quantity=units), actor=STAFF)


async def placed(kontor: Kontor, buyer: Actor, *lines: tuple[str, int], currency: str = "GBP", **more: Any) -> UUID:
    """An order of (SKU, quantity) lines, placed by STAFF for the buyer and paid outside."""
    assert buyer.user_id
    request = PlaceOrder(
        lines=tuple(WantedLine(sku=sku, quantity=quantity) for sku, quantity in lines),
        currency=currency,
        payment_method=more.pop("payment_method", "account"),
        customer_id=UserId(buyer.user_id),
        **more,
    )
    return (await kontor.pipeline.execute(request, actor=STAFF)).aggregate_id


async def answered(kontor: Kontor, document: str, actor: Actor = STAFF, **variables: Any) -> Any:
    """The answer of a document's one field."""
    answer = await asked(kontor, document, actor, **variables)
    assert answer.errors is None, answer.errors
    (only,) = (answer.data or {}).values()
    return only


async def refused(kontor: Kontor, document: str, actor: Actor = STAFF, **variables: Any) -> str:
    """The message of the one error."""
    answer = await asked(kontor, document, actor, **variables)
    assert answer.errors is not None, answer.data
    (error,) = answer.errors
    return error.message
