"""Documents and variables that are sent to hurt: refused before execution, soon, and without growing the process."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import aiohttp
import psutil
import pytest
from graphql import get_introspection_query

from api.graphql.schema import schema
from domain.users import Role
from tests.api.generated import requests_with
from tests.api.served import Served, codes, served
from tests.conftest import Stack, installation_on

pytestmark = pytest.mark.servers

SOON_S = 2.0  # of this process, which is the server; however many others use the machine
GROWTH_BYTES_MAX = 48 * 1024 * 1024
REFUSED = {"BAD_REQUEST", "COST_LIMIT_EXCEEDED"}
ROW = "nodes { id customer { orders { "
ATTACKS: dict[str, str] = {
    "a circle of 20 levels": "{ orders { " + ROW * 9 + "nodes { id }" + " } } }" * 9 + " } }",
    "a thousand aliases": "{ " + " ".join(f"a{n}: me {{ id }}" for n in range(330)) + " }",
    "a thousand aliases in one line each": "{ " + "\n".join(f"a{n}:views{{name}}" for n in range(1_000)) + " }",
    "a hundred thousand tokens": "{ me { " + "id " * 16_000 + "} }",
    "a hundred thousand tokens and more characters": "{ me { " + "id " * 100_000 + "} }",
    "500 directives": "{ me { id " + "@include(if: true) " * 300 + "} }",
    "500 unknown directives": "query " + "@a " * 500 + "{ me { id } }",
    "aliases multiplied by fragments": "{ ...a ...b } "
    + " ".join(f"fragment {name} on Query {{ {name}1: me {{ ...u }} {name}2: me {{ ...u }} }}" for name in "ab")
    + " fragment u on User { "
    + " ".join(f"o{n}: orders(first: 100) {{ nodes {{ id }} }}" for n in range(9))
    + " }",
    "fragments that double": "{ ...f0 } "
    + " ".join(f"fragment f{n} on Query {{ ...f{n + 1} ... {{ ...f{n + 1} }} }}" for n in range(39))
    + " fragment f39 on Query { me { id } }",
    "a fragment in itself": "{ ...a } fragment a on Query { me { id } ...b } fragment b on Query { ...a }",
    "fields to be merged": "{ " + "orders { nodes { customer { orders { nodes { id } } } } } " * 60 + "}",
    "fields to be merged through fragments": "{ me { "
    + " ".join(f"...f{n}" for n in range(45))
    + " } } "
    + " ".join(f"fragment f{n} on User {{ id id id id id id id id name }}" for n in range(45)),
    "brackets": "{ a" * 5_000,
    "brackets of a value": '{ product(sku: "a", id: ' + "[" * 5_000 + ") { id } }",
    "many operations": " ".join(f"query q{n} {{ me {{ id }} }}" for n in range(100)),
    "a circle of introspection": "{ __schema { types { fields { type { fields { type { fields { type { fields { name"
    + " } }" * 5,
    "a page of two thousand million rows": "{ products(first: 2147483647) { nodes { id } } }",
    "a history for each of a page": "{ orders(first: 100) { nodes { history(first: 100) { type } } } }",
    "an unknown field 400 times": "{ " + " ".join(f"prodict{n}" for n in range(400)) + " }",
    "half a pair": '{ product(sku: "\\ud800") { id } }',
    "no operation": "fragment a on Query { me { id } }",
}


@pytest.fixture(scope="module")
async def api(stack: Stack) -> AsyncIterator[Served]:
    async with (
        installation_on(stack) as settings,
        served(settings, environment="production", operation_timeout_s=120) as running,
    ):
        yield running


def memory_of(pid: int) -> int:
    return psutil.Process(pid).memory_info().rss


@pytest.mark.parametrize("name", ATTACKS)
async def test_it_is_refused_before_execution_and_soon(api: Served, name: str) -> None:
    token = api.token(uuid4(), Role.STAFF)
    began = time.process_time()
    status, _, answer = await api.post(
        "/graphql", json.dumps({"query": ATTACKS[name]}), {"Authorization": f"Bearer {token}"}
    )
    assert time.process_time() - began < SOON_S
    if status == 400:  # no operation at all
        return
    assert status == 200
    assert answer["data"] is None
    assert set(codes(answer)) <= REFUSED, answer["errors"][:3]
    assert codes(answer)
    assert len(json.dumps(answer)) < 100_000


async def test_the_process_does_not_grow(stack: Stack) -> None:
    """The real process of the API; every document is another, so that no cache answers."""
    pid, url = stack.status["processes"]["api"], stack.status["http_url"]
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http:

        async def send(number: int) -> None:
            for document in ATTACKS.values():
                async with http.post(f"{url}/graphql", json={"query": f"{document} # {number}"}) as answer:
                    assert answer.status in (200, 400), await answer.text()

        await asyncio.gather(*(send(number) for number in range(2)))
        before = memory_of(pid)
        await asyncio.gather(*(send(number) for number in range(2, 7)))
        assert memory_of(pid) - before < GROWTH_BYTES_MAX


async def test_a_hundred_operations_in_one_request_are_refused(api: Served) -> None:
    batch = json.dumps([{"query": "{ me { id } }"}] * 100)
    status, _, answer = await api.post("/graphql", batch)
    assert (status, answer["detail"]) == (400, "The JSON is not an object, like {...}.")


@pytest.mark.parametrize(
    "body",
    ["5", "null", '"x"', "[]", "[1]", "{}", '{"query": 5}', '{"query": "{ me { id } }", "operationName": {}}',
     '{"query": "{ me { id } }", "variables": []}', '{"query": "{ me { id } }", "variables": {"a": NaN}}',
     '{"query": "{ me { id } }", "operationName": "other"}', '{"query": "{ me { id } }", "operationName": ""}',
     '{"query": "{ me { id } }", "extensions": 1}', "[" * 100_000, '{"query":' + '{"a":' * 100_000],
)  # fmt: skip
async def test_what_is_no_request_is_a_bad_request(api: Served, body: str) -> None:
    status, _, answer = await api.post("/graphql", body)
    assert status == 400, answer


async def test_a_schema_cannot_be_learned_in_production(api: Served) -> None:
    assert codes(await api.ask(get_introspection_query())) == ["BAD_REQUEST"]
    fields = [name for kind in ("Query", "Mutation") for name in schema._schema.type_map[kind].fields]  # type: ignore[attr-defined]
    told = []
    for name in fields:
        for document in (
            f"{{ {name[:-1]}x }}",
            f"mutation {{ {name[:-1]}x }}",
            f"{{ products({name[:3]}x: 1) {{ a }} }}",
        ):
            answer = await api.ask(document)
            told += [error["message"] for error in answer["errors"]]
    told += [e["message"] for e in (await api.ask("{ products(orderBy: NAME_AS) { nods { id } } }"))["errors"]]
    assert [message for message in told if "Did you mean" in message] == []
    assert [name for name in fields if any(f"'{name}'" in message for message in told)] == []


async def test_development_helps_with_its_schema(stack: Stack) -> None:
    async with installation_on(stack) as settings, served(settings) as api:
        assert not codes(await api.ask(get_introspection_query()))
        assert "Did you mean" in (await api.ask("{ prodict { id } }"))["errors"][0]["message"]


TEXTS: list[Any] = ["' OR 1=1; DROP TABLE events; --\r\nSET *:{}", "\u0000\U0001f4a9\u202e\ufffe", [[None]]]
# By the type of what is asked for; what is not named gets TEXTS.
HOSTILE: dict[str, list[Any]] = {
    "Boolean": [2, [[None]]],
    "Decimal": ["1e999999", "NaN", "-0", "9" * 400],
    "Float": [1e308, "NaN"],
    "Int": [2**63, -1, -(2**31), "1"],
    "String": [*TEXTS, "x" * 50_000],
}


async def test_no_value_of_any_argument_is_an_internal_error(api: Served) -> None:
    """Every argument and input field of the schema, each with every hostile value, for one who may do everything."""
    token = api.token(uuid4(), *Role)
    gate = asyncio.Semaphore(8)
    wrong: list[Any] = []

    async def send(place: str, document: str, variables: dict[str, Any]) -> None:
        async with gate:
            answer = await api.ask(document, token, variables=variables)
        if not set(codes(answer)) <= REFUSED | {"FORBIDDEN", "INVALID", "NOT_FOUND", "UNAUTHENTICATED"}:
            wrong.append((place, variables, answer["errors"]))

    requests = requests_with(schema._schema, HOSTILE, TEXTS)
    assert len(requests) > 500
    await asyncio.gather(*(send(*request) for request in requests))
    assert wrong == []
