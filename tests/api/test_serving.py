"""GraphQL over HTTP: what is answered, and how what is no question is refused."""

from __future__ import annotations

import pytest

from tests.api.test_road_of_one_order import Client, anyone  # noqa: F401  # a fixture

pytestmark = pytest.mark.servers
JSON = "application/json"


async def test_an_answer_is_json_of_its_length(anyone: Client) -> None:  # noqa: F811
    async with anyone.http.post(f"{anyone.url}/graphql", json={"query": "{ me { id } }"}) as answer:
        body = await answer.read()
        assert body.startswith(b'{"data":{"me":null},"extensions":{"cost":{"requested":')
        assert answer.headers["content-type"] == JSON
        assert answer.headers.getall("content-length") == [str(len(body))]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("{", "This is not JSON: Input data was truncated."),
        ("{}", "No GraphQL query found in the request"),
        ('{"query": "query A { __typename }", "operationName": "B"}', 'Unknown operation named "B".'),
    ],
)
async def test_what_is_no_question_is_refused(anyone: Client, body: str, said: str) -> None:  # noqa: F811
    headers = {"content-type": JSON}
    async with anyone.http.post(f"{anyone.url}/graphql", data=body, headers=headers) as answer:
        assert (answer.status, said in await answer.text()) == (400, True)


async def test_only_a_post_asks(anyone: Client) -> None:  # noqa: F811
    async with anyone.http.get(f"{anyone.url}/graphql", params={"query": "{ __typename }"}) as answer:
        assert answer.status == 400
    async with anyone.http.put(f"{anyone.url}/graphql", json={"query": "{ __typename }"}) as answer:
        assert answer.status == 405
