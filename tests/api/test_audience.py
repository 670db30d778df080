"""What readers of the log are shown of it on every road: the types whose audience they are of, and no others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from adapters.wiring import Kontor
from commands.handling import Actor
from commands.sessions import SignIn
from commands.users import GrantRole, RegisterUser
from commands.webhooks import RegisterWebhook
from domain import EVENT_TYPES, RESTRICTED_TYPES
from domain.errors import DomainError
from domain.identity import UserId
from domain.users import Role
from tests.api.following import ANALYST, EVENTS, INTEGRATOR, Served
from tests.api.selling import answered, customer, product, refused
from tests.given import ADMIN, PASSWORD, STAFF, SYSTEM

pytestmark = pytest.mark.servers
PAGE = """query($since: Cursor, $types: [String!], $a: ID, $c: ID, $by: String, $first: Int) {
  events(since: $since, types: $types, aggregateId: $a, correlationId: $c, actor: $by, first: $first) {
    nodes { position type aggregateId correlationId actor data } pageInfo { hasNextPage endCursor } } }"""
LIMITED = (ANALYST, INTEGRATOR)


async def some_security(kontor: Kontor) -> Actor:
    """Sign-ins, a role and a webhook endpoint between events of business; the person."""
    run = kontor.pipeline.execute
    await product(kontor, f"MUG-{uuid4()}", units=1)
    email = f"{uuid4()}@example.com"
    made = await run(RegisterUser(email=email, name="Ines", password=PASSWORD), actor=SYSTEM)
    ines = Actor.user(made.aggregate_id, [Role.CUSTOMER, Role.INTEGRATOR])
    await run(GrantRole(user_id=UserId(made.aggregate_id), role=Role.INTEGRATOR), actor=SYSTEM)
    await run(SignIn(email=email, password=PASSWORD), actor=Actor("anonymous"))
    with pytest.raises(DomainError):
        await run(SignIn(email=email, password="wrong " + PASSWORD), actor=Actor("anonymous"))
    await run(RegisterWebhook(url="https://a.example/?key=s3cret", types=("order.placed",)), actor=ines)
    await product(kontor, f"TIN-{uuid4()}", units=1)
    return ines


FILTERS: dict[str, Callable[[UUID], dict[str, Any]]] = {
    "nothing": lambda _: {},
    "the account": lambda person: {"a": str(person)},
    "its actor": lambda person: {"by": f"user:{person}"},
    "anonymous": lambda _: {"by": "anonymous"},
    "the types that are readable": lambda _: {"types": sorted(EVENT_TYPES - RESTRICTED_TYPES)},
}


@pytest.mark.parametrize("asked", FILTERS)
@pytest.mark.parametrize("size", [1, 100])
async def test_a_page_shows_no_event_of_another_audience(kontor: Kontor, asked: str, size: int) -> None:
    ines = await some_security(kontor)
    assert ines.user_id is not None
    given = FILTERS[asked](ines.user_id)
    of_staff = await paged(kontor, STAFF, size, **given)
    for actor in LIMITED:
        of_reader = await paged(kontor, actor, size, **given)
        assert [each["position"] for each in of_reader] == [
            each["position"] for each in of_staff if each["type"] not in RESTRICTED_TYPES
        ]
        assert "s3cret" not in str(of_reader)


async def paged(kontor: Kontor, actor: Actor, size: int, **given: Any) -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = []
    page = await answered(kontor, PAGE, actor, first=size, **given)
    for _ in range(100):
        nodes += page["nodes"]
        if not page["pageInfo"]["hasNextPage"]:
            return nodes
        page = await answered(kontor, PAGE, actor, first=size, **given | {"since": page["pageInfo"]["endCursor"]})
    raise AssertionError("pages without end")


async def test_by_correlation_no_more_is_shown(kontor: Kontor) -> None:
    await some_security(kontor)
    correlations = {each["correlationId"]: each["type"] for each in await paged(kontor, STAFF, 100)}
    (of_sign_in,) = [each for each, kind in correlations.items() if kind == "sign_in.succeeded"]
    assert await paged(kontor, INTEGRATOR, 10, c=of_sign_in) == []
    assert len(await paged(kontor, ADMIN, 10, c=of_sign_in)) == 1


@pytest.mark.parametrize("actor", LIMITED, ids=["analyst", "integrator"])
@pytest.mark.parametrize("event_type", ["webhook.registered", "user.signed_in", "user.role_granted", "email.claimed"])
async def test_a_type_for_others_that_is_asked_for_by_name_is_refused(
    kontor: Kontor, actor: Actor, event_type: str
) -> None:
    told = await refused(kontor, PAGE, actor, types=["order.placed", event_type])
    assert told == f"Events of the type {event_type} are for STAFF and ADMIN; leave it out of `types`."


async def test_the_roles_of_an_account_are_shown_to_staff_alone(kontor: Kontor) -> None:
    await customer(kontor)
    for actor, roles in ((STAFF, ["CUSTOMER"]), (INTEGRATOR, None)):
        ((data),) = [each["data"] for each in await paged(kontor, actor, 100, types=["user.registered"])]
        assert data["roles"] == roles


async def test_who_follows_the_log_is_shown_no_event_of_another_audience(shop: Served) -> None:
    before = str(await shop.kontor.log.end())
    await some_security(shop.kontor)
    last = await shop.kontor.log.end()
    whole = [each for each in await shop.kontor.log.after(int(before), limit=1_000) if each.position <= last]
    readable = [str(each.position) for each in whole if each.event_type not in RESTRICTED_TYPES]
    assert 0 < len(readable) < len(whole)
    async with shop.client(shop.token(INTEGRATOR)) as client:
        await client.subscribe(EVENTS, since=before)
        assert [(await client.item())["position"] for _ in readable] == readable
        refusal = await client.refused(EVENTS, types=["webhook.registered"])
        assert refusal["extensions"]["code"] == "FORBIDDEN"
    async with shop.client(shop.token(STAFF)) as client:
        await client.subscribe(EVENTS, since=before)
        assert [(await client.item())["position"] for _ in whole] == [str(each.position) for each in whole]
