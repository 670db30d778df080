"""The commands over HTTP on the running system."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import jwt
import pytest

from tests.conftest import Stack

pytestmark = pytest.mark.servers
Answer = tuple[int, dict[str, Any], Mapping[str, str]]


class Rest:
    """A client of /v1/commands, as one actor."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http, self.url = http, url
        self.headers: dict[str, str] = {}

    async def __call__(self, name: str, given: Any = None, *, raw: bytes | None = None, **headers: str) -> Answer:
        body = raw if raw is not None else json.dumps(given).encode()
        head = (
            {"Content-Type": "application/json"} | self.headers | {k.replace("_", "-"): v for k, v in headers.items()}
        )
        async with self.http.post(f"{self.url}/v1/commands/{name}", data=body, headers=head) as answer:
            return answer.status, json.loads(await answer.text()), answer.headers

    async def sign_in(self, login: dict[str, str]) -> None:
        status, body, _ = await self("sign-in", login)
        assert status == 200, body
        self.headers = {"Authorization": f"Bearer {body['secret']['access_token']}"}


@pytest.fixture
async def anyone(stack: Stack) -> AsyncIterator[Rest]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http:
        yield Rest(http, stack.status["http_url"])


@pytest.fixture
async def staff(stack: Stack, anyone: Rest) -> Rest:
    signed_in = Rest(anyone.http, anyone.url)
    await signed_in.sign_in(stack.status["logins"]["staff"])
    return signed_in


def product(**more: Any) -> dict[str, Any]:
    return {"sku": uuid.uuid4().hex, "name": "Cup", "price": {"amount": "2.55", "currency": "GBP"}} | more


async def test_a_command_answers_with_its_receipt(staff: Rest) -> None:
    status, body, _ = await staff("add-product", product())
    assert status == 200
    assert set(body) == {"commandId", "aggregateId", "version", "replayed", "token", "secret"}
    assert (body["version"], body["replayed"], body["secret"]) == (1, False, None)


async def test_the_same_key_again_is_a_replay_and_says_so(staff: Rest) -> None:
    given, key = product(), uuid.uuid4().hex
    _, first, _ = await staff("add-product", given, Idempotency_Key=key)
    status, again, headers = await staff("add-product", given, Idempotency_Key=key)
    assert (status, again["replayed"], headers["Idempotent-Replayed"]) == (200, True, "true")
    assert again["commandId"] == first["commandId"]
    status, other, _ = await staff("add-product", product(), Idempotency_Key=key)
    assert (status, other["code"]) == (422, "IDEMPOTENCY_KEY_MISMATCH")


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"", 422),
        (b"{", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'{"sku": "\\ud800"}', 400),
        (b'{"sku": NaN}', 400),
        (b'{"sku": "A", "sku": "B"}', 400),
        (b'"' + b"x" * 1_100_000 + b'"', 413),
        (b"[" * 100_000, 400),
    ],
)
async def test_a_body_that_is_no_command_is_refused(staff: Rest, raw: bytes, status: int) -> None:
    answer, body, headers = await staff("add-product", raw=raw)
    assert (answer, bool(body["detail"])) == (status, True)
    assert answer == 413 or headers["Content-Type"] == "application/problem+json"


async def test_refusals_are_problems_with_the_codes_of_graphql(anyone: Rest, staff: Rest) -> None:
    given = product()
    await staff("add-product", given)
    cases = [
        (await staff("add-product", given), 409, "ALREADY_EXISTS"),
        (await staff("add-product", product(name="")), 422, "INVALID"),
        (await staff("receive-stock", {"sku": uuid.uuid4().hex, "quantity": 1}), 404, "NOT_FOUND"),
        (await anyone("add-product", product()), 401, "UNAUTHENTICATED"),
        (await anyone("add-product", product(), Authorization="Bearer x"), 401, "UNAUTHENTICATED"),
        (await anyone("sign-in", {"email": "no@example.com", "password": "wrong password"}), 401, "BAD_CREDENTIALS"),
    ]
    for (status, body, headers), wanted, code in cases:
        assert (status, body["code"], body["status"]) == (wanted, code, wanted), body
        assert headers["Content-Type"] == "application/problem+json"


async def test_a_command_of_our_own_processes_is_not_offered(staff: Rest) -> None:
    status, _, _ = await staff("reserve-order", {"orderId": str(uuid.uuid4())})
    assert status in (404, 405)


async def test_the_table_of_contents_and_every_schema_are_served(anyone: Rest) -> None:
    async with anyone.http.get(f"{anyone.url}/v1/commands") as answer:
        listed = await answer.json()
    assert "place-order" in {each["name"] for each in listed}
    for each in listed:
        assert each["description"], each
        async with anyone.http.get(f"{anyone.url}/v1/commands/{each['name']}") as answer:
            assert (await answer.json())["type"] == "object"


async def test_an_access_token_is_verified_with_the_listed_keys(anyone: Rest, staff: Rest) -> None:
    async with anyone.http.get(f"{anyone.url}/.well-known/jwks.json") as answer:
        assert answer.headers["Cache-Control"] == "public, max-age=300"
        listed = jwt.PyJWKSet.from_dict(await answer.json(content_type="application/jwk-set+json"))
    token = staff.headers["Authorization"].removeprefix("Bearer ")
    key = listed[jwt.get_unverified_header(token)["kid"]].key
    assert "STAFF" in jwt.decode(token, key, algorithms=["EdDSA"], audience="kontor", issuer="kontor")["roles"]


async def test_the_figures_count_commands_by_how_they_ended(staff: Rest) -> None:
    given = product()
    await staff("add-product", given)
    await staff("add-product", given)
    async with staff.http.get(f"{staff.url}/metrics") as answer:
        figures = await answer.text()
    for outcome in ("done", "already_exists"):
        assert f'kontor_command_seconds_count{{command="AddProduct",outcome="{outcome}"}}' in figures
    assert "kontor_flush_appends_bucket" in figures
    assert 'kontor_view_state{generation="1",state="live",view="orders_v1"} 1.0' in figures


def test_the_command_line_takes_the_same_input(stack: Stack) -> None:
    given = json.dumps(product())
    done = stack.run("command", "add-product", "--json", given, "--idempotency-key", given[:40])
    assert json.loads(done.stdout)["version"] == 1
    again = stack.run("command", "add-product", "--json", given, "--idempotency-key", given[:40])
    assert json.loads(again.stdout)["replayed"] is True
    refused = stack.run("command", "add-product", "--json", given, check=False)
    assert (refused.returncode, "ALREADY_EXISTS" in refused.stderr, refused.stdout) == (1, True, "")
    wrong = stack.run("command", "add-product", "--json", '{"sku": 5}', check=False)
    assert (wrong.returncode, "sku" in wrong.stderr) == (1, True)
    assert "place-order" in stack.run("command").stdout
    assert json.loads(stack.run("command", "place-order").stdout)["title"] == "PlaceOrder"


async def test_readiness_says_which_server_answers_and_how_far_the_views_are(anyone: Rest) -> None:
    async with anyone.http.get(f"{anyone.url}/readyz") as answer:
        assert answer.status == 200
        body = await answer.json()
    assert [body[name] for name in ("status", "postgres", "redis", "kafka")] == ["ready", "up", "up", "up"]
    assert set(body["views"]["orders"]) == {"lagEvents", "lagSeconds"}
    async with anyone.http.get(f"{anyone.url}/healthz") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "live"})
