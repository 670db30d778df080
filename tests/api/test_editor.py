"""The editor of development, and its examples on the running system."""

from __future__ import annotations

import json
import re
from typing import Any

import aiohttp
import pytest
from graphql import parse, validate

from api.graphql.editor import EXAMPLES, Example, page
from api.graphql.schema import schema
from tests.api.test_road_of_one_order import Client, anyone  # noqa: F401  # the fixture
from tests.conftest import Stack

EXAMPLE = {re.search(r"^(?:query|mutation) (\w+)", each.query, re.M)[1]: each for each in EXAMPLES}  # type: ignore[index]


@pytest.mark.parametrize("example", EXAMPLES, ids=EXAMPLE)
def test_every_example_fits_the_schema(example: Example) -> None:
    assert validate(schema._schema, parse(example.query)) == []


def test_the_page_opens_the_examples() -> None:
    html = page()
    tabs = json.loads(html.partition("const EXAMPLES = ")[2].partition(";\n")[0])
    assert [(tab["query"], json.loads(tab["variables"])) for tab in tabs] == [
        (each.query, each.variables) for each in EXAMPLES
    ]
    assert html.count("<script") == html.count("</script>") == 6
    assert "EXAMPLE_QUERY" not in html


@pytest.mark.servers
async def test_the_page_is_served_to_browsers(stack: Stack) -> None:
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http,
        http.get(f"{stack.status['http_url']}/graphql", headers={"Accept": "text/html"}) as answer,
    ):
        assert (answer.status, await answer.text()) == (200, page())


@pytest.mark.servers
async def test_every_example_can_be_sent_as_it_is(anyone: Client, stack: Stack) -> None:  # noqa: F811  # the fixture
    async def told(client: Client, name: str) -> Any:
        return await client(EXAMPLE[name].query, **EXAMPLE[name].variables)

    assert (await told(anyone, "BrowseProducts"))["products"]["nodes"]
    signed_in = (await told(anyone, "SignIn"))["signIn"]
    carla = Client(anyone.http, anyone.url, signed_in["tokens"]["accessToken"])
    placed = (await told(carla, "PlaceOrder"))["placeOrder"]
    assert placed["ok"], placed
    token = placed["receipt"]["token"]
    (newest,) = (await carla(EXAMPLE["FollowOrder"].query, token=token))["orders"]["nodes"]
    assert newest["history"]
    assert (await told(carla, "Stock"))["before"] == {"onHand": 100, "reserved": 0, "available": 100, "version": 2}
    login = stack.status["logins"]["staff"]
    staff = await anyone.signed_in(login["email"], login["password"])
    assert (await told(staff, "Events"))["events"]["nodes"]


@pytest.mark.servers
async def test_the_documentation_of_the_commands_loads_nothing_from_the_web(stack: Stack) -> None:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
        async with http.get(f"{stack.status['http_url']}/docs") as answer:
            loaded = re.findall(r"(?:src|href)=\"([^\"]+)\"", await answer.text())
        assert len(loaded) == 3
        for path in loaded:
            async with http.get(stack.status["http_url"] + path) as answer:
                assert answer.status == 200, path
