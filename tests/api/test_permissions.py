"""Who may do what: declared once, written down, and asked before anything else happens."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from graphql import GraphQLEnumType, GraphQLNonNull, GraphQLObjectType, get_named_type, is_leaf_type

from adapters.wiring import Kontor
from api import permissions
from api.graphql.consistency import Freshness
from api.graphql.context import RequestContext
from api.graphql.schema import schema
from commands import COMMANDS
from commands.catalogue import AddProduct
from commands.handling import (
    ANONYMOUS,
    Actor,
    admin,
    analyst,
    anyone,
    integrator,
    log_reader,
    signed_in,
    staff,
    system,
)
from commands.security_events import Silent
from commands.users import RegisterUser
from commands.webhooks import RegisterWebhook
from domain.errors import Forbidden, Unauthenticated
from domain.orders import Order
from domain.users import Role
from projections.orders import ORDERS
from projections.users import USERS
from projections.webhooks import WEBHOOKS
from tests.api.reading import asked, shown
from tests.given import GBP_2_55, SYSTEM, InMemory, order_of

ACTORS = {"nobody": ANONYMOUS, "Kontor": SYSTEM} | {
    role.value: Actor.user(UUID(int=number), [role]) for number, role in enumerate(Role, 1)
}
# Who passes each permission: the table that all others rest on.
ALLOWED = {
    anyone: {"nobody", "CUSTOMER", "STAFF", "ADMIN", "ANALYST", "INTEGRATOR", "Kontor"},
    signed_in: {"CUSTOMER", "STAFF", "ADMIN", "ANALYST", "INTEGRATOR", "Kontor"},
    integrator: {"INTEGRATOR", "ADMIN", "Kontor"},
    analyst: {"ANALYST", "STAFF", "ADMIN", "Kontor"},
    log_reader: {"ANALYST", "INTEGRATOR", "STAFF", "ADMIN", "Kontor"},
    staff: {"STAFF", "ADMIN", "Kontor"},
    admin: {"ADMIN", "Kontor"},
    system: {"Kontor"},
}


def test_the_page_says_what_the_code_declares() -> None:
    assert permissions.PLACE.read_text(encoding="utf-8") == permissions.page(), "run: python -m api.permissions"


def test_every_permission_lets_exactly_these_pass() -> None:
    passed: dict[Any, set[str]] = {permission: set() for permission in ALLOWED}
    for permission in ALLOWED:
        for name, actor in ACTORS.items():
            try:
                permission(actor)
            except (Forbidden, Unauthenticated):
                continue
            passed[permission].add(name)
    assert passed == ALLOWED
    assert set(ALLOWED) == set(permissions.MEANING)


def test_every_root_query_says_who_may_ask() -> None:
    assert [name for name, who in permissions.root_queries().items() if who not in ALLOWED] == []


async def test_a_command_is_refused_before_anything_is_looked_at() -> None:
    kontor = InMemory()
    for request, command in COMMANDS.items():
        for name, actor in ACTORS.items():
            if name not in ALLOWED[command.permission]:
                # Without a single field: whoever looked at one would fail in another way.
                with pytest.raises((Forbidden, Unauthenticated)):
                    await kontor.execute(object.__new__(request), actor)
    assert kontor.store.appends == []


QUERIES = sorted((name, who) for name, who in permissions.root_queries().items() if who is not anyone)


@pytest.mark.parametrize(("name", "who"), QUERIES, ids=[name for name, _ in QUERIES])
async def test_a_root_query_is_refused_before_anything_is_looked_at(name: str, who: Any) -> None:
    nothing: Any = SimpleNamespace(ports=SimpleNamespace(security=Silent()))  # a refusal is logged, and that is all
    for actor_name, actor in ACTORS.items():
        if actor_name in ALLOWED[who]:
            continue
        context = RequestContext(nothing, actor=actor, freshness=Freshness(nothing, nothing))
        answer = await schema.execute(asking(name), context_value=context)
        (error,) = answer.errors or []
        expected = Unauthenticated if actor is ANONYMOUS else Forbidden
        assert isinstance(error.original_error, expected), (actor_name, error)


@pytest.mark.servers
async def test_what_is_somebody_elses_answers_like_what_does_not_exist(kontor: Kontor) -> None:
    run = kontor.pipeline.execute
    register = RegisterUser(email="ada@example.com", name="Ada", password=None)
    ada = Actor.user((await run(register, actor=SYSTEM)).aggregate_id, [Role.CUSTOMER, Role.INTEGRATOR])
    bob = Actor.user(uuid4(), [Role.CUSTOMER, Role.INTEGRATOR, Role.ANALYST])
    await run(AddProduct(sku="MUG", name="Mug", price=GBP_2_55, published=True), actor=SYSTEM)
    placed = await run(order_of(("MUG", 1)), actor=ada)
    hook = await run(RegisterWebhook(url="https://ada.example/hook", types=("order.placed",)), actor=ada)
    await shown(kontor, ORDERS, USERS, WEBHOOKS)
    order = placed.aggregate
    assert isinstance(order, Order)
    theirs = {"order": order.id, "user": ada.user_id, "hook": hook.aggregate_id, "number": order.number}
    nothing = dict.fromkeys(theirs, uuid4()) | {"number": "K1"}
    document = """query($order: ID!, $user: ID!, $hook: ID!, $number: String!) {
      a: order(id: $order) { id } b: order(number: $number) { id } c: user(id: $user) { id }
      d: node(id: $order) { id } e: node(id: $user) { id } f: node(id: $hook) { id } }"""
    answers = [(await asked(kontor, document, bob, **_texts(each))).data for each in (theirs, nothing)]
    assert answers == [dict.fromkeys("abcdef")] * 2
    own = (await asked(kontor, document, ada, **_texts(theirs))).data
    assert own is not None
    assert None not in own.values()
    changes = """mutation($order: ID!, $user: ID!, $hook: ID!) {
      a: cancelOrder(orderId: $order, reason: "x") { userErrors { code message } }
      b: eraseUser(userId: $user) { userErrors { code message } }
      c: pauseWebhook(endpointId: $hook) { userErrors { code message } }
      d: rotateWebhookSecret(endpointId: $hook) { userErrors { code message } }
      e: removeWebhook(endpointId: $hook) { userErrors { code message } } }"""
    told = []
    for each in (theirs, nothing):
        given = _texts({name: value for name, value in each.items() if name != "number"})
        answer = repr((await asked(kontor, changes, bob, **given)).data)
        for value in given.values():
            answer = answer.replace(value, "ID")
        told.append(answer)
    assert told[0] == told[1]
    assert told[0].count("NOT_FOUND") == 5


def _texts(given: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in given.items()}


def asking(name: str) -> str:
    """The smallest document with this root query."""
    query = schema._schema.query_type
    assert query is not None
    field = query.fields[name]
    given = [
        f"{argument}: {value_of(slot.type)}"
        for argument, slot in field.args.items()
        if isinstance(slot.type, GraphQLNonNull)
    ]
    kind = get_named_type(field.type)
    shown = " { __typename }" if isinstance(kind, GraphQLObjectType) else ""
    arguments = f"({', '.join(given)})" if given else ""
    return f"{{ {name}{arguments}{shown} }}"


def value_of(kind: Any) -> str:
    named = get_named_type(kind)
    assert is_leaf_type(named), kind
    return next(iter(named.values)) if isinstance(named, GraphQLEnumType) else '"1"'
