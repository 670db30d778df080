"""Ids of others: whoever may not see something gets the same answer for it and for what does not exist.

The matrix is made from the schema. A new place that takes an id fails the first test until it is said here of what it
is and for whom.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid4

import pytest
from graphql import get_named_type

from api.graphql.schema import schema
from commands.handling import Actor
from commands.orders import PlaceOrder, WantedLine
from commands.users import RegisterUser
from commands.webhooks import RegisterWebhook
from domain.users import Role
from projections.catalogue import CATALOGUE
from projections.categories import CATEGORIES
from projections.inventory import STOCK
from projections.orders import ORDERS
from projections.users import USERS
from projections.webhooks import WEBHOOKS
from tests.api.generated import Root, Slot, roots
from tests.api.reading import shown
from tests.api.served import Served, served
from tests.conftest import Stack, installation_on
from tests.given import PASSWORD, SYSTEM

STAFF: Final = frozenset({Role.STAFF, Role.ADMIN})
ADMIN: Final = frozenset({Role.ADMIN})
LOG_READERS: Final = STAFF | {Role.ANALYST, Role.INTEGRATOR}
NOBODY: Final = frozenset[Role]()
EVERYBODY: Final = frozenset[Role | None]({None, *Role})
OWN_KEY: Final = "a name that the caller makes up, kept apart by who the caller is"
# Of what each place takes an id, and who may use it for what is another's. EVERYBODY: it is public.
PLACES: Final[dict[str, tuple[str, frozenset[Any]]]] = {
    "query.events(aggregateId)": ("order", LOG_READERS),
    "query.events(correlationId)": ("session", NOBODY),
    "query.node(id)": ("order", STAFF),
    "query.user(id)": ("user", STAFF),
    "query.product(id)": ("product", EVERYBODY),
    "query.order(id)": ("order", STAFF),
    "query.orders(where.customerId)": ("user", STAFF),
    "mutation.signOut(sessionId)": ("session", NOBODY),
    "mutation.grantRole(userId)": ("user", ADMIN),
    "mutation.revokeRole(userId)": ("user", ADMIN),
    "mutation.eraseUser(userId)": ("user", ADMIN),
    "mutation.suspendUser(userId)": ("user", ADMIN),
    "mutation.resumeUser(userId)": ("user", ADMIN),
    "mutation.endSessions(userId)": ("user", ADMIN),
    "mutation.resetMfa(userId)": ("user", ADMIN),
    "mutation.addProduct(input.categoryIds)": ("category", STAFF),
    "mutation.updateProduct(input.productId)": ("product", STAFF),
    "mutation.updateProduct(input.categoryIds)": ("category", STAFF),
    "mutation.repriceProduct(input.productId)": ("product", STAFF),
    "mutation.publishProduct(productId)": ("product", STAFF),
    "mutation.withdrawProduct(productId)": ("product", STAFF),
    "mutation.addCategory(input.parentId)": ("category", STAFF),
    "mutation.updateCategory(categoryId)": ("category", STAFF),
    "mutation.updateCategory(parentId)": ("category", STAFF),
    "mutation.removeCategory(categoryId)": ("category", STAFF),
    "mutation.placeOrder(input.customerId)": ("user", STAFF),
    "mutation.cancelOrder(orderId)": ("order", STAFF),
    "mutation.shipOrder(orderId)": ("order", STAFF),
    "mutation.deliverOrder(orderId)": ("order", STAFF),
    "mutation.refundOrder(orderId)": ("order", STAFF),
    "mutation.rotateWebhookSecret(endpointId)": ("endpoint", ADMIN),
    "mutation.pauseWebhook(endpointId)": ("endpoint", ADMIN),
    "mutation.resumeWebhook(endpointId)": ("endpoint", ADMIN),
    "mutation.removeWebhook(endpointId)": ("endpoint", ADMIN),
    "mutation.replayWebhook(endpointId)": ("endpoint", ADMIN),
    "mutation.testWebhook(endpointId)": ("endpoint", ADMIN),
}
# What `node` finds besides orders.
NODES: Final = {"user": STAFF, "endpoint": ADMIN}


def id_slots() -> dict[str, tuple[Root, Slot]]:
    """Every place that takes an id, but for idempotency keys."""
    return {
        f"{root.place}({'.'.join(slot)})": (root, slot)
        for root in roots(schema._schema)
        for slot, kind in root.slots()
        if get_named_type(kind).name == "ID" and slot[-1] != "idempotencyKey"
    }


def test_every_place_that_takes_an_id_is_known() -> None:
    assert sorted(id_slots()) == sorted(PLACES)


@dataclass(frozen=True)
class Others:
    """What belongs to others, by kind, and somebody of each role to whom it does not belong."""

    api: Served
    ids: dict[str, UUID]
    strangers: dict[Role | None, str | None]

    async def answer(self, root: Root, slot: Slot, named: UUID, role: Role | None) -> str:
        """What this role is told about this id, but for the id itself and the cost."""
        value: Any = [str(named)] if slot[-1].endswith("Ids") else str(named)
        variables = root.with_value(slot, value)
        told = await self.api.ask(root.document, self.strangers[role], variables=variables)
        told.pop("extensions")
        return json.dumps(told, sort_keys=True).replace(str(named), "ID")


@pytest.fixture(scope="module")
async def others(stack: Stack) -> AsyncIterator[Others]:
    async with installation_on(stack) as settings, served(settings, environment="production") as api:
        run = api.kontor.pipeline.execute
        document = 'mutation { addProduct(input: {sku: "MUG", name: "m", price: {amount: "1", currency: "GBP"}}) {'
        staff = api.token(uuid4(), Role.STAFF)
        product = (await api.ask(document + " product { id } } }", staff))["data"]["addProduct"]["product"]["id"]
        document = 'mutation { addCategory(input: {name: "c", slug: "cups"}) { category { id } } }'
        category = (await api.ask(document, staff))["data"]["addCategory"]["category"]["id"]
        user = await run(RegisterUser(email="ada@example.com", name="Ada", password=PASSWORD), actor=SYSTEM)
        owner = Actor.user(user.aggregate_id, [Role.CUSTOMER])
        wanted = PlaceOrder(lines=(WantedLine(sku="MUG", quantity=1),), currency="GBP", payment_method="card")
        order = await run(wanted, actor=owner)
        integrator = Actor.user(uuid4(), [Role.INTEGRATOR])
        endpoint = await run(RegisterWebhook(url="https://a.example/x", types=("*",)), actor=integrator)
        await shown(api.kontor, CATALOGUE, CATEGORIES, STOCK, USERS, ORDERS, WEBHOOKS)
        ids = {
            "product": UUID(product),
            "category": UUID(category),
            "user": user.aggregate_id,
            "order": order.aggregate_id,
            "endpoint": endpoint.aggregate_id,
            "session": uuid4(),
        }
        strangers: dict[Role | None, str | None] = {role: api.token(uuid4(), role) for role in Role}
        yield Others(api, ids, strangers | {None: None})


@pytest.mark.servers
@pytest.mark.parametrize("place", PLACES)
async def test_what_is_anothers_looks_like_what_does_not_exist(others: Others, place: str) -> None:
    root, slot = id_slots()[place]
    kind, permitted = PLACES[place]
    kinds = {kind: permitted} | (NODES if root.name == "node" else {})
    for asked_for, may in kinds.items():
        for role in sorted(EVERYBODY - may, key=str):
            foreign = await others.answer(root, slot, others.ids[asked_for], role)
            missing = await others.answer(root, slot, uuid4(), role)
            assert foreign == missing, (place, asked_for, role)
            assert "INTERNAL" not in foreign


@pytest.mark.servers
async def test_the_matrix_can_tell_them_apart(others: Others) -> None:
    """Who may see something is told of it: otherwise alike answers would prove nothing."""
    for place, kind in {"query.node(id)": "order", "query.user(id)": "user", "query.order(id)": "order",
                        "query.product(id)": "product"}.items():  # fmt: skip
        root, slot = id_slots()[place]
        for role in STAFF:
            seen = await others.answer(root, slot, others.ids[kind], role)
            assert '"id": "ID"' in seen, (place, role, seen)
            assert seen != await others.answer(root, slot, uuid4(), role)
    root, slot = id_slots()["query.node(id)"]
    assert '"id": "ID"' in await others.answer(root, slot, others.ids["endpoint"], Role.ADMIN)
