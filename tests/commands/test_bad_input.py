"""Every command with bad input: a clear refusal, and nothing stored.

The input is made from the commands' own schemas: whatever a command takes, each of its fields is given each bad value.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from api.rest.forms import BY_NAME, PUBLIC, command_of, form_of, readable
from commands.handling import Actor
from commands.inventory import ReceiveStock, ReserveOrders
from commands.ports import TokenPurpose
from commands.users import RegisterUser
from domain.errors import DomainError, Forbidden, Unauthenticated
from domain.identity import email_claim_id
from domain.users import Role
from tests.given import PASSWORD, SYSTEM, InMemory

BAD: dict[str, Any] = {
    "null": None,
    "a NUL byte": "a\x00b",
    "half a surrogate pair": "\ud800",
    "a megabyte": "x" * 1_000_000,
    "nothing": "",
    "blanks": "   ",
    "minus one": -1,
    "zero": 0,
    "a huge number": 10**30,
    "a fraction": 1.5,
    "not a number": float("nan"),
    "a list": [],
    "an object": {},
    "true": True,
    "the wrong currency": {"amount": "1.00", "currency": "XXX"},
    "a negative price": {"amount": "-1.00", "currency": "GBP"},
    "too fine a price": {"amount": "1.001", "currency": "GBP"},
    "an unknown id": str(UUID(int=0xBAD)),
    "another version": 99,
    "a line without SKU": [{"sku": "", "quantity": 1}],
    "a line of minus one": [{"sku": "MUG", "quantity": -1}],
    "a line of an unknown SKU": [{"sku": "NOPE", "quantity": 1}],
}
# What each field is when it is good; what is missing here has a default.
GOOD: dict[str, Any] = {
    "sku": "MUG",
    "name": "Ada",
    "price": {"amount": "2.55", "currency": "GBP"},
    "quantity": 1,
    "onHand": 5,
    "reason": "because",
    "lines": [{"sku": "MUG", "quantity": 1}],
    "currency": "GBP",
    "paymentMethod": "card",
    "email": "ada@example.com",
    "password": PASSWORD,
    "current": PASSWORD,
    "new": "another horse battery",
    "code": "000001",
    "role": "STAFF",
    "slug": "cups",
    "carrier": "Post",
    "trackingNumber": "1",
    "provider": "stripe",
    "reference": "pi_1",
    "url": "https://shop.example/hooks",
    "types": ["order.placed"],
    "effectId": str(UUID(int=0xEF)),
    "eventId": str(UUID(int=0xE)),
    "template": "order_shipped",
}
# Texts that nothing takes, whatever the field.
NEVER: set[str] = {"a NUL byte", "half a surrogate pair", "a megabyte", "a fraction", "not a number", "a huge number"}
# Cut to length, or only compared with what is stored and never stored: no text is refused for itself.
UNCHECKED: set[str] = {"userAgent", "mfaCode", "code", "currentPassword"}


async def world() -> tuple[InMemory, Actor, dict[str, str]]:
    """A shop with a product, an order, and somebody who may do everything a person may."""
    kontor = InMemory()
    await kontor.product("MUG", units=10)
    person = RegisterUser(email="ada@example.com", name="Ada", password=PASSWORD, roles=tuple(Role))
    user_id = (await kontor.execute(person)).aggregate_id
    actor = Actor.user(user_id, list(Role))
    order_id = await kontor.placed(actor, ("MUG", 1))
    await kontor.execute(ReserveOrders(order_ids=(order_id,)))
    await kontor.execute(ReceiveStock(sku="MUG", quantity=1))
    token = await kontor.ports.account_tokens.make(
        user_id,
        TokenPurpose.PASSWORD_RESET,
        address_id=email_claim_id(kontor.personal_data.digest("ada@example.com")),
        expires_at=kontor.clock.now() + timedelta(minutes=1),
        now=kontor.clock.now(),
    )
    return kontor, actor, {"orderId": str(order_id), "userId": str(user_id), "token": token}


def fields_of(name: str) -> list[str]:
    form = form_of(BY_NAME[name].request)
    return [field.alias or key for key, field in form.model_fields.items()]


CASES = [(name, field) for name in BY_NAME for field in fields_of(name)]


@pytest.mark.parametrize(("name", "field"), CASES)
async def test_a_bad_value_is_refused_clearly_and_stores_nothing(name: str, field: str) -> None:
    for what, value in BAD.items():
        kontor, person, ids = await world()
        kind, before = BY_NAME[name].request, len(kontor.store.stored)
        given = {each: (GOOD | ids)[each] for each in fields_of(name) if each in GOOD | ids} | {field: value}
        actor = person if name in PUBLIC else SYSTEM
        refusal = await refusal_of(kontor, kind, given, actor)
        if refusal is None:
            assert what not in NEVER or field in UNCHECKED, (name, field, what)
        else:
            assert 10 < len(refusal) < 1_000, (name, field, what, refusal[:200])
            stored = [each for each in kontor.store.event_types[before:] if each != "sign_in.failed"]
            assert stored == [], (name, field, what)


async def refusal_of(kontor: InMemory, kind: type[Any], given: dict[str, Any], actor: Actor) -> str | None:
    """What the caller is told; None when it was done: the value means something here, and is tested elsewhere."""
    try:
        await kontor.execute(command_of(kind, form_of(kind).model_validate(given)), actor)
    except ValidationError as error:
        return str(readable(error)[0])
    except (DomainError, Forbidden, Unauthenticated) as error:
        return str(error)
    return None
