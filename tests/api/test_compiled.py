"""The compiled path answers byte for byte what Strawberry answers, or leaves it to Strawberry."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest
from graphql.execution.values import VariableValues
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import OperationalError

from adapters.wiring import Kontor, open_kontor
from api.graphql.compiled import compiling
from api.graphql.compiled.roots import ROOTS
from api.graphql.compiled.tables import TABLES
from api.graphql.schema import schema
from commands.handling import ANONYMOUS, Actor
from tests.api.comparing import alike, compiled, context_of, falls_back, ordinary
from tests.api.made_documents import Made, Maker
from tests.api.made_rows import Shop, stored_shop
from tests.conftest import Stack, installation_on
from tests.given import STAFF

SEED = 7
EXAMPLES = 80
ORDER = """query($id: ID!) { order(id: $id) { id number status version placedAt updatedAt rejectionReason trackingNumber
  total { amount currency minorUnits } lines { sku name quantity unitPrice { amount } total { amount minorUnits } }
  payment { id status amount { amount } provider reference } customer { id name email roles } } }"""
ORDERS = """query { orders(first: 20) { nodes { id number status total { amount currency } placedAt
  lines { sku quantity total { amount } product { name stock { available } categories { slug } } }
  customer { name email } payment { status } }
  edges { cursor node { id } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } totalCount } }"""
PRODUCT = (
    "query($sku: String!) { product(sku: $sku) { id sku name price { amount } categories { slug parent { id } } } }"
)
SEARCH = """query { products(search: "mug", first: 20) { nodes { id sku name price { amount currency }
  stock { onHand available } categories { id slug name } } pageInfo { hasNextPage endCursor } totalCount } }"""
STOCK = "query($sku: String!) { stockItem(sku: $sku) { sku onHand reserved available version } }"
HOT = (ORDER, ORDERS, PRODUCT, SEARCH, STOCK, "{ __typename me { id email } }")


@pytest.fixture(scope="module")
async def kontor(stack: Stack) -> AsyncIterator[Kontor]:
    async with installation_on(stack) as made, open_kontor(made, name="test") as opened:
        yield opened


@pytest.fixture(scope="module")
async def shop(kontor: Kontor) -> Shop:
    return await stored_shop(kontor, SEED)


def about(shop: Shop, document: str) -> Made:
    """The document with the shop's own ids, as far as it has variables for them."""
    known = {"id": str(shop.orders[0].id), "sku": shop.products[0].sku}
    return Made(document, {name: value for name, value in known.items() if f"${name}:" in document}, None)


@pytest.mark.servers
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, print_blob=True)
@given(chance=st.randoms(use_true_random=False))
async def test_both_paths_answer_alike(kontor: Kontor, shop: Shop, chance: Random) -> None:
    made = Maker(chance, shop).made()
    await alike(kontor, chance.choice(shop.actors), made, fresh_only=chance.randrange(10) == 0)


@pytest.mark.servers
@pytest.mark.parametrize("document", HOT)
async def test_what_is_asked_all_the_time_is_compiled(kontor: Kontor, shop: Shop, document: str) -> None:
    made = about(shop, document)
    for actor in shop.actors:
        expected = await ordinary(context_of(kontor, actor), made)
        assert await compiled(context_of(kontor, actor), made) == expected


@pytest.mark.servers
async def test_a_page_is_loaded_with_one_read_for_each_view(
    kontor: Kontor, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: Counter[str] = Counter()
    read = type(kontor.copies).read

    async def counted(copies: Any, view: Any, ids: Any) -> Any:
        reads[view.name] += 1
        return await read(copies, view, ids)

    monkeypatch.setattr(type(kontor.copies), "read", counted)
    assert await compiled(context_of(kontor, STAFF), about(shop, ORDERS)) is not None
    assert reads == {"catalogue": 1, "stock": 1, "categories": 1, "users": 1, "payments": 1}


@pytest.mark.servers
async def test_aliases_of_one_root_share_their_read(
    kontor: Kontor, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    read = type(kontor.copies).read

    async def counted(copies: Any, view: Any, ids: Any) -> Any:
        asked.append(len(ids))
        return await read(copies, view, ids)

    monkeypatch.setattr(type(kontor.copies), "read", counted)
    skus = [row.sku for row in shop.products[:3]]
    document = "{" + " ".join(f'p{place}: product(sku: "{sku}") {{ name }}' for place, sku in enumerate(skus)) + "}"
    assert await compiled(context_of(kontor, STAFF), Made(document, {}, None)) is not None
    assert asked == [3]


@pytest.mark.servers
@pytest.mark.parametrize(
    "document",
    [
        "query($id: ID!) { order(id: $id) { history { type } } }",
        "query($id: ID!) { node(id: $id) { id } }",
        "{ __schema { queryType { name } } }",
        'mutation { signOut(sessionId: "x") { ok } }',
        "{ nothing }",
        "{",
        "query($sku: String!) { product(sku: $sku) { name } a: product { name } b: orders { totalCount } }",
    ],
)
async def test_what_it_does_not_know_is_left_to_strawberry(kontor: Kontor, shop: Shop, document: str) -> None:
    assert await compiled(context_of(kontor, ANONYMOUS), about(shop, document)) is None


@pytest.mark.servers
@pytest.mark.parametrize("actor", [ANONYMOUS, STAFF])
async def test_a_failure_below_a_root_is_told_as_ever(
    kontor: Kontor, shop: Shop, actor: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_: Any, __: Any) -> Any:
        raise OperationalError("the keys are away")

    monkeypatch.setattr(type(kontor.personal_data), "open", away)
    made = Made("{ orders(first: 2) { nodes { number customer { version email } } } }", {}, None)
    served, _ = await falls_back(context_of(kontor, actor), made)
    assert served == await ordinary(context_of(kontor, actor), made)
    assert (b"UNAVAILABLE" in served, b"UNAUTHENTICATED" in served) == (actor is STAFF, actor is ANONYMOUS)


def test_plans_of_one_document_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "PLANS_MAX", 2)
    text = "query($a: Boolean!, $b: Boolean!) { me { id @skip(if: $a) version @include(if: $b) } }"
    document = schema.documents.of(text)
    operation = document.operation(None)
    assert operation is not None
    for a, b in ((True, True), (True, False), (False, True), (False, False)):
        values = VariableValues({}, {"a": a, "b": b})
        assert compiling.plan_of(document, operation, values, schema._schema) is not None
        assert len(document.plans) <= 2


def test_every_table_says_what_the_schema_says() -> None:
    differing = {}
    core = schema._schema
    declared = {**TABLES, "Query": ROOTS}
    for name, entries in declared.items():
        fields: dict[str, Any] = core.type_map[name].fields  # type: ignore[attr-defined]  # they are all objects
        differing |= {
            f"{name}.{field}": (entry.type, str(fields[field].type))
            for field, entry in entries.items()
            if str(fields[field].type) != entry.type
        }
    assert differing == {}
