"""Limits that hold before anything is executed, over HTTP, with the settings of production."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from api.graphql.persisted import digest_of, registered
from api.graphql.schema import schema
from domain.users import Role
from tests.api.served import Served, codes, served
from tests.conftest import Stack, installation_on

BURST = 1_000
MOST = 500
ME = "{ me { id } }"
PRODUCTS = "query($n: Int) { products(first: $n) { nodes { id } } }"
ADD = """mutation($sku: String!) {
  addProduct(input: {sku: $sku, name: "Thing", price: {amount: "1", currency: "GBP"}}) { ok } }"""
FIND = "query($sku: String!) { product(sku: $sku) { id } }"


@pytest.fixture(scope="module")
async def api(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """Production: small buckets that hardly fill, one registered document, a proxy that is trusted."""
    folder = tmp_path_factory.mktemp("documents")
    (folder / "me.graphql").write_text(ME)
    limits: dict[str, Any] = {"cost_per_operation_max": MOST, "cost_burst": BURST, "cost_restore_per_s": 1}
    async with (
        installation_on(stack) as settings,
        served(settings, environment="production", persisted_documents=str(folder), **limits) as running,
    ):
        yield running


@pytest.mark.servers
async def test_every_answer_tells_the_cost(api: Served) -> None:
    token = api.token(uuid4(), Role.CUSTOMER)
    told = [
        (await api.ask(document, token, variables={"n": 30}))["extensions"]["cost"]
        for document in (PRODUCTS, ME, "{ nonsense }", "{", "{ a " * 40)
    ]
    assert [each["requested"] for each in told] == [31, 1, 0, 0, 0]
    # What is refused before its cost is known takes a point, and a point may have come back.
    assert [each["available"] for each in told][:2] == [BURST - 31, BURST - 32]
    assert BURST - 35 <= told[-1]["available"] <= BURST - 33 + 3
    assert {each["restoreRate"] for each in told} == {1}


@pytest.mark.servers
async def test_an_operation_is_charged_once_also_where_the_compiled_path_gives_it_up(api: Served) -> None:
    token = api.token(uuid4(), Role.CUSTOMER)
    document = """query($version: Int) {
      products(first: 90) { nodes { id } } product(sku: "none", atVersion: $version) { id } }"""
    costs = [
        (await api.ask(document, token, variables={"version": version}))["extensions"]["cost"] for version in (None, 1)
    ]
    spent = BURST
    for cost in costs:
        spent -= cost["requested"]
        assert 0 <= cost["available"] - spent <= 5  # some may have come back


@pytest.mark.servers
async def test_a_command_over_rest_takes_points_from_the_same_bucket(api: Served) -> None:
    clerk = uuid4()
    token = api.token(clerk, Role.STAFF)
    assert (await api.kontor.cost_buckets.take(f"user:{clerk}", BURST - 20)).granted

    async def added(sku: str) -> tuple[int, Any, Any]:
        product = {"sku": sku, "name": "Thing", "price": {"amount": "1", "currency": "GBP"}}
        return await api.post("/v1/commands/add-product", json.dumps(product), {"Authorization": f"Bearer {token}"})

    done, status = 0, 200
    while status == 200:
        status, headers, told = await added(sku := f"REST-{uuid4().hex[:10]}")
        done += status == 200
        assert done < 90, "each takes ten, and one comes back in a second"
    assert done >= 2
    assert (status, told["code"], headers["Content-Type"]) == (429, "COST_LIMIT_EXCEEDED", "application/problem+json")
    assert 1 <= int(headers["Retry-After"]) <= 10
    assert codes(await api.ask(ADD, token, variables={"sku": uuid4().hex[:10]})) == ["COST_LIMIT_EXCEEDED"]
    other = api.token(uuid4(), Role.STAFF)
    assert (await api.ask(FIND, other, variables={"sku": sku}))["data"]["product"] is None


@pytest.mark.servers
async def test_an_operation_that_is_too_dear_is_refused_with_numbers(api: Served) -> None:
    answer = await api.ask(PRODUCTS, api.token(uuid4(), Role.STAFF), variables={"n": MOST})
    assert answer["data"] is None
    (error,) = answer["errors"]
    assert error["extensions"]["code"] == "COST_LIMIT_EXCEEDED"
    assert (error["extensions"]["requested"], error["extensions"]["maximum"]) == (MOST + 1, MOST)
    assert answer["extensions"]["cost"]["requested"] == MOST + 1


@pytest.mark.servers
async def test_an_empty_bucket_refuses_says_when_and_executes_nothing(api: Served) -> None:
    token, sku = api.token(uuid4(), Role.STAFF), f"S-{uuid4().hex}"
    for _ in range(2):
        assert codes(await api.ask(PRODUCTS, token, variables={"n": MOST - 1})) == ["INVALID"]  # pages have 100 rows
    answer = await api.ask(ADD, token, variables={"sku": sku})
    assert codes(answer) == ["COST_LIMIT_EXCEEDED"]
    assert 0 < answer["errors"][0]["extensions"]["retryAfterSeconds"] <= 11
    other = api.token(uuid4(), Role.STAFF)
    assert (await api.ask(ADD, other, variables={"sku": sku}))["data"] == {
        "addProduct": {"ok": True}
    }  # not added before


@pytest.mark.servers
async def test_who_has_no_account_is_known_by_the_address_and_not_by_what_he_says(api: Served) -> None:
    left = [
        (await api.ask(ME, headers={"X-Forwarded-For": f"203.0.113.{n}"}))["extensions"]["cost"]["available"]
        for n in range(5)
    ]
    assert left[-1] < left[0]


@pytest.mark.servers
async def test_a_trusted_proxy_says_for_whom_it_asks(stack: Stack) -> None:
    async with (
        installation_on(stack) as settings,
        served(
            settings,
            trusted_proxies="127.0.0.0/8",
            cost_burst=100,
            cost_restore_per_s=1,
            response_cache_bytes=0,  # what is kept costs no points
        ) as api,
    ):
        told = {}
        for address in ("203.0.113.7", "198.51.100.9, 203.0.113.7", "203.0.113.8"):
            answer = await api.ask(ME, headers={"X-Forwarded-For": address})
            told[address] = answer["extensions"]["cost"]["available"]
    # The last address is the one that the proxy saw; what stands before it anybody may have written.
    assert list(told.values()) == [99, 98, 99]


@pytest.mark.servers
async def test_reading_goes_on_without_redis(stack: Stack) -> None:
    async with (
        installation_on(stack) as settings,
        served(
            settings,
            redis_url="redis://127.0.0.1:9/0",
            cost_burst=100,
            cost_restore_per_s=5,
            response_cache_bytes=0,  # what is kept costs no points
        ) as api,
    ):
        sku = f"S-{uuid4().hex}"
        assert (await api.ask(ADD, api.token(uuid4(), Role.STAFF), variables={"sku": sku}))["data"]["addProduct"]["ok"]
        async with asyncio.timeout(60):
            served_to_the_end = 0
            while not (refused := codes(await api.ask(FIND, variables={"sku": sku}))):
                served_to_the_end += 1
    assert served_to_the_end >= 100
    assert refused == ["COST_LIMIT_EXCEEDED"]


@pytest.mark.servers
async def test_an_operation_that_takes_too_long_is_given_up(stack: Stack) -> None:
    async with installation_on(stack) as settings, served(settings, operation_timeout_s=2.0) as api:
        token = api.token(uuid4(), Role.STAFF)
        added = await api.ask(
            ADD.replace("{ ok }", "{ ok receipt { token } }"), token, variables={"sku": f"S-{uuid4().hex}"}
        )
        # No worker runs on this installation: the view never gets there, and the reader is ready to wait.
        wait = {"Kontor-Consistent-With": added["data"]["addProduct"]["receipt"]["token"], "Kontor-Wait-Ms": "5000"}
        async with asyncio.timeout(60):
            answer = await api.ask(FIND, token, variables={"sku": "any"}, headers=wait)
        assert codes(answer) == ["TIMEOUT"]
        assert answer["extensions"]["cost"]["requested"] == 1
        assert not codes(await api.ask(FIND, token, variables={"sku": "any"}))


@pytest.mark.servers
async def test_a_registered_document_is_served_by_its_digest(api: Served) -> None:
    named = {"persistedQuery": {"version": 1, "sha256Hash": digest_of(ME)}}
    token = api.token(uuid4())
    assert (await api.ask(None, token, extensions=named))["data"] == {"me": None}
    assert (await api.ask(ME, token, extensions=named))["data"] == {"me": None}
    assert codes(await api.ask(FIND, token, extensions=named)) == ["BAD_REQUEST"]  # its digest is another


@pytest.mark.servers
async def test_a_digest_that_nobody_registered_is_not_found_however_often_its_document_is_sent(api: Served) -> None:
    named = {"persistedQuery": {"version": 1, "sha256Hash": digest_of("{ __typename }")}}
    token = api.token(uuid4())
    for _ in range(2):
        answer = await api.ask(None, token, extensions=named)
        assert codes(answer) == ["PERSISTED_QUERY_NOT_FOUND"]
        assert answer["errors"][0]["message"] == "PersistedQueryNotFound"
        assert not codes(await api.ask("{ __typename }", token, extensions=named))


@pytest.mark.servers
@pytest.mark.parametrize("named", [1, "x", [], {}, {"version": 2, "sha256Hash": "0"}, {"version": 1, "sha256Hash": {}}])
async def test_a_name_that_is_none_is_a_bad_request(api: Served, named: Any) -> None:
    token = api.token(uuid4())
    assert codes(await api.ask(None, token, extensions={"persistedQuery": named})) == ["BAD_REQUEST"]


@pytest.mark.servers
async def test_with_the_switch_nothing_but_registered_documents_is_served(stack: Stack, tmp_path: Path) -> None:
    place = tmp_path / "documents.json"
    place.write_text(json.dumps({digest_of(ME): ME}))
    async with (
        installation_on(stack) as settings,
        served(settings, persisted_documents=str(place), persisted_only=True) as api,
    ):
        assert not codes(await api.ask(ME))
        assert codes(await api.ask("{ me { name } }")) == ["PERSISTED_QUERY_ONLY"]
        assert codes(await api.ask(None)) == ["PERSISTED_QUERY_ONLY"]
        named = {"persistedQuery": {"version": 1, "sha256Hash": digest_of(FIND)}}
        assert codes(await api.ask(FIND, extensions=named)) == ["PERSISTED_QUERY_NOT_FOUND"]


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ("{", "Syntax Error"),
        ("{ nonsense }", "Cannot query field"),
        ("{ __schema { description } }", "Introspection"),
        ("{ orders(first: 100) { nodes { history { type } } } }", "points"),
    ],
)
def test_a_document_that_could_never_be_served_is_not_registered(tmp_path: Path, document: str, told: str) -> None:
    (tmp_path / "wrong.graphql").write_text(document)
    with pytest.raises(ValueError, match=told):
        registered(str(tmp_path), schema._schema, only=False, cost_max=1_000)


def test_registering_needs_documents_and_their_right_names(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="KONTOR_PERSISTED_DOCUMENTS"):
        registered(None, schema._schema, only=True, cost_max=1_000)
    with pytest.raises(ValueError, match="0 documents"):
        registered(str(tmp_path), schema._schema, only=False, cost_max=1_000)
    place = tmp_path / "documents.json"
    place.write_text(json.dumps({"0" * 64: ME}))
    with pytest.raises(ValueError, match="is not the SHA-256"):
        registered(str(place), schema._schema, only=False, cost_max=1_000)
