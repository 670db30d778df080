"""Every rule of `tests.api.gate_rules` through every transport, and every road on which a draft could show. A
transport, a rule or a root field without a cell fails."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid4

import pytest
from graphql import GraphQLObjectType
from websockets.asyncio.client import connect

from adapters.wiring import Kontor
from api.graphql.persisted import digest_of
from api.graphql.schema import schema
from api.rest.commands import PATH as COMMANDS
from commands.catalogue import AddProduct, PublishProduct, RepriceProduct, UpdateProduct, WithdrawProduct
from commands.handling import ANONYMOUS, Actor
from commands.inventory import ReceiveStock
from domain.identity import product_id, stock_item_id
from domain.money import Money
from domain.users import Role
from projections.catalogue import CATALOGUE
from projections.inventory import STOCK as STOCK_VIEW
from projections.orders import ORDERS
from tests.api.following import ORDER, STOCK
from tests.api.following import Served as Sockets
from tests.api.gate_rules import OVER, PAGE, RULES, TRANSPORTS, standing_still
from tests.api.listening import app_of
from tests.api.reading import asked, shown
from tests.api.selling import customer, placed
from tests.api.served import Served, served
from tests.conftest import Stack, installation_on
from tests.given import STAFF

pytestmark = pytest.mark.servers
ME, TICK = "{ me { id } }", "subscription { stockChanged { cursor } }"
SMALL: Final = {"cost_burst": 30, "cost_restore_per_s": 1, "cost_per_operation_max": 30}


def test_every_rule_has_a_cell_for_every_transport() -> None:
    for name, rule in RULES.items():
        assert rule.refused.keys() | rule.why_not.keys() == set(TRANSPORTS), name
        assert rule.refused.keys().isdisjoint(rule.why_not), name


async def test_there_are_no_other_transports(kontor: Kontor) -> None:
    app = app_of(kontor, environment="production")
    served_at = {getattr(route, "path", None) for route in app.routes}
    known = {"/graphql", COMMANDS, "/v1/payments/stripe/webhook", "/.well-known/jwks.json", "/healthz", "/readyz"}
    assert {path for path in served_at if path and not path.startswith(COMMANDS)} <= known | {"/metrics"}


@pytest.fixture(scope="module")
async def api(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, Served]]:
    """One that serves registered documents alone, one with small buckets, and one with little time, by rule."""
    place = tmp_path_factory.mktemp("documents") / "documents.json"
    place.write_text(json.dumps({digest_of(each): each for each in (ME, TICK)}))
    async with (
        installation_on(stack) as settings,
        served(settings, environment="production", persisted_documents=str(place), persisted_only=True) as only,
        served(settings, environment="production", **SMALL) as small,
        served(settings, environment="production", operation_timeout_s=1.0) as hasty,
    ):
        yield dict.fromkeys(RULES, small) | {"persisted only": only, "time": hasty}


CELLS: Final = [(name, transport) for name, rule in RULES.items() for transport in rule.refused]


@pytest.mark.parametrize(("name", "transport"), CELLS)
async def test_every_rule_holds_over_every_transport(api: dict[str, Served], name: str, transport: str) -> None:
    rule, running = RULES[name], api[name]
    token = rule.token or running.token(uuid4(), Role.CUSTOMER)
    if name == "cost":  # what was spent over one transport is spent over all
        assert "errors" not in await running.ask(PAGE.format(25), token)
    async with standing_still(running.kontor) if name == "time" else nullcontext():
        code, message = await OVER[transport](running, rule.sent[transport], token)
    assert code == rule.refused[transport], message
    assert rule.word in message
    assert "Did you mean" not in message


async def test_a_registered_document_is_served_over_every_transport(api: dict[str, Served]) -> None:
    running = api["persisted only"]
    assert (await running.ask(ME))["data"] == {"me": None}
    async with connect(
        f"ws://127.0.0.1:{running.port}/graphql", subprotocols=["graphql-transport-ws"], proxy=None, open_timeout=60
    ) as ws:
        named = {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": digest_of(TICK)}}}
        await ws.send(json.dumps({"type": "connection_init"}))
        for name, payload in (("a", named), ("b", {"query": TICK})):
            await ws.send(json.dumps({"type": "subscribe", "id": name, "payload": payload}))
        assert json.loads(await ws.recv()) == {"type": "connection_ack"}
        with pytest.raises(TimeoutError):  # both are followed, and nothing happens
            await asyncio.wait_for(ws.recv(), 1)


# --- what is not published


@dataclass(frozen=True)
class Catalogue:
    """A product that is for sale and was a draft, and one that is hidden and was for sale; the moments between."""

    shown: str
    hidden: str
    while_draft: datetime
    while_open: datetime
    order: UUID
    buyer: Actor


async def some_products(kontor: Kontor) -> Catalogue:
    run, buyer = kontor.pipeline.execute, await customer(kontor, uuid4().hex)
    now_shown, now_hidden = f"NEW-{uuid4().hex[:8]}", f"OLD-{uuid4().hex[:8]}"
    await run(AddProduct(sku=now_shown, name="Secret draft", price=Money(100, "GBP"), published=False), actor=STAFF)
    await run(ReceiveStock(sku=now_shown, quantity=3), actor=STAFF)
    await run(RepriceProduct(product_id=product_id(now_shown), price=Money(255, "GBP")), actor=STAFF)
    while_draft = datetime.now(UTC)
    await run(UpdateProduct(product_id=product_id(now_shown), name="Mug"), actor=STAFF)
    await run(PublishProduct(product_id=product_id(now_shown)), actor=STAFF)
    await run(AddProduct(sku=now_hidden, name="Old secret", price=Money(100, "GBP")), actor=STAFF)
    await run(ReceiveStock(sku=now_hidden, quantity=3), actor=STAFF)
    order = await placed(kontor, buyer, (now_hidden, 1), (now_shown, 1), currency="GBP")
    while_open = datetime.now(UTC)
    await run(WithdrawProduct(product_id=product_id(now_hidden)), actor=STAFF)
    return Catalogue(now_shown, now_hidden, while_draft, while_open, order, buyer)


FIELDS: Final = "sku name price { minorUnits } history(first: 100) { type data } stock { sku onHand }"
# Root field -> what shows a draft if anything does: (document, variables). None: no product or stock is in it.
ROADS: Final[dict[str, Callable[[Catalogue], list[tuple[str, dict[str, Any]]]] | None]] = {
    "product": lambda given: [
        ("query($sku: String, $asOf: DateTime, $v: Int) { product(sku: $sku, asOf: $asOf, atVersion: $v) {"
         f" {FIELDS} }} }}",
         {"sku": sku, "asOf": moment and moment.isoformat(), "v": version})
        for sku, moment, version in (
            (given.hidden, None, None), (given.hidden, given.while_open, None), (given.hidden, None, 1),
            (given.shown, given.while_draft, None), (given.shown, None, 1), (given.shown, None, 2),
            (given.shown, None, None),
        )
    ],
    "products": lambda given: [
        (f"query($search: String, $where: ProductFilter) {{ products(search: $search, where: $where) {{ totalCount"
         f" nodes {{ {FIELDS} }} facets {{ name values {{ value count }} }} }} }}", asked_for)
        for asked_for in (
            {"search": "secret"}, {"search": given.hidden}, {"where": {"skus": [given.hidden]}},
        )
    ],
    "node": lambda given: [
        ("query($id: ID!) { node(id: $id) { id ... on StockItem { sku onHand }"
         f" ... on Product {{ {FIELDS} }} }} }}",
         {"id": str(each)})
        for each in (product_id(given.hidden), stock_item_id(given.hidden))
    ],
    "stockItem": lambda given: [
        ("query($sku: String!, $asOf: DateTime, $v: Int) { stockItem(sku: $sku, asOf: $asOf, atVersion: $v)"
         " { id sku onHand } }", {"sku": sku, "asOf": moment and moment.isoformat(), "v": version})
        for sku, moment, version in (
            (given.hidden, None, None), (given.hidden, given.while_open, None), (given.hidden, None, 1),
            (given.shown, given.while_draft, None), (given.shown, None, 1),
        )
    ],
    "order": lambda given: [
        ("query($id: ID) { order(id: $id) { lines { product { sku name } } } }", {"id": str(given.order)}),
    ],
    "orders": lambda _: [("{ orders { nodes { lines { product { sku name } } } } }", {})],
    "category": None, "categories": None, "me": None, "user": None, "users": None, "mySessions": None,
    "views": None, "salesByDay": None, "webhookEndpoints": None,
    "events": None,  # of the log: for its readers, see `docs/guarantees.md`
}  # fmt: skip


def test_every_root_field_is_a_road_or_shows_no_product() -> None:
    query = schema._schema.query_type
    assert isinstance(query, GraphQLObjectType)
    assert query.fields.keys() <= ROADS.keys(), "say in ROADS how a draft could show"


@pytest.mark.parametrize("road", [name for name, documents in ROADS.items() if documents is not None])
async def test_a_draft_shows_on_no_road_now_or_in_the_past(kontor: Kontor, road: str) -> None:
    given = await some_products(kontor)
    await shown(kontor, CATALOGUE, STOCK_VIEW, ORDERS)
    documents = ROADS[road]
    assert documents is not None
    for document, variables in documents(given):
        for actor in (
            ANONYMOUS,
            given.buyer,
            Actor.user(uuid4(), [Role.ANALYST]),
            Actor.user(uuid4(), [Role.INTEGRATOR]),
        ):
            answer = await asked(kontor, document, actor, **variables)
            told = str(answer.data)
            assert "ecret" not in told, (actor, variables, told)
            assert given.hidden not in told, (actor, variables, told)
            assert not re.search(r"'minor(Units)?': 100\b", told), (actor, variables, told)
        by_staff = str((await asked(kontor, document, STAFF, **variables)).data)
        assert given.hidden in by_staff or "ecret" in by_staff or given.shown in by_staff, (variables, by_staff)


async def test_stock_of_a_draft_is_answered_as_that_of_no_product(kontor: Kontor) -> None:
    given = await some_products(kontor)
    await shown(kontor, CATALOGUE, STOCK_VIEW, ORDERS)
    document = "query($sku: String!) { stockItem(sku: $sku) { onHand } }"
    hidden, unknown = [(await asked(kontor, document, sku=sku)) for sku in (given.hidden, "UNKNOWN")]
    assert (hidden.data, hidden.errors) == (unknown.data, unknown.errors) == ({"stockItem": None}, None)


async def test_a_draft_is_answered_over_rest_as_no_product(api: dict[str, Served]) -> None:
    running = api["cost"]
    given = await some_products(running.kontor)
    told = []
    for sku in (given.hidden, "UNKNOWN"):
        token = running.token(given.buyer.user_id or uuid4(), Role.CUSTOMER)
        order = json.dumps({"lines": [{"sku": sku, "quantity": 1}], "currency": "GBP", "paymentMethod": "pm_card_visa"})
        status, _, answer = await running.post(f"{COMMANDS}/place-order", order, {"Authorization": f"Bearer {token}"})
        told.append((status, json.dumps(answer).replace(sku, "SKU")))
    assert told[0] == told[1]
    assert "SKU" in told[0][1]


async def test_a_history_has_what_happened_while_the_product_was_published(kontor: Kontor) -> None:
    given = await some_products(kontor)
    await kontor.pipeline.execute(
        RepriceProduct(product_id=product_id(given.shown), price=Money(300, "GBP")), actor=STAFF
    )
    await shown(kontor, CATALOGUE, STOCK_VIEW, ORDERS)
    document = "query($sku: String, $n: Int) { product(sku: $sku) { history(first: $n) { type } } }"
    for count, types in ((100, ["product.published", "product.repriced"]), (1, ["product.published"])):
        answer = await asked(kontor, document, sku=given.shown, n=count)
        assert answer.data is not None
        assert [each["type"] for each in answer.data["product"]["history"]] == types


async def test_who_follows_stock_is_shown_none_of_a_draft(shop: Sockets) -> None:
    given = await some_products(shop.kontor)
    position = str(await shop.kontor.log.end())
    for sku in (given.hidden, given.shown):
        await shop.kontor.pipeline.execute(ReceiveStock(sku=sku, quantity=1), actor=STAFF)
    for skus in ([given.hidden, given.shown], None):
        async with shop.client() as client:
            await client.subscribe(STOCK, skus=skus, since=position)
            assert (await client.item())["stockItem"]["sku"] == given.shown
    async with shop.client(shop.token(STAFF)) as client:
        await client.subscribe(STOCK, skus=[given.hidden, given.shown], since=position)
        assert [(await client.item())["stockItem"]["sku"] for _ in range(2)] == [given.hidden, given.shown]
    async with shop.client() as client:
        await client.subscribe(STOCK, skus=[given.hidden, given.shown])
        assert (await client.item())["stockItem"]["sku"] == given.shown


async def test_who_follows_an_order_is_shown_no_draft(shop: Sockets) -> None:
    given = await some_products(shop.kontor)
    await shown(shop.kontor, CATALOGUE, STOCK_VIEW, ORDERS)
    document = ORDER.replace("status version", "status version lines { product { sku } }")
    async with shop.client(shop.token(given.buyer)) as client:
        await client.subscribe(document, id=str(given.order))
        lines = (await client.item())["order"]["lines"]
        assert [each["product"] and each["product"]["sku"] for each in lines] == [None, given.shown]
