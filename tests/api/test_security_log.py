"""The security log of an application that is really served: each refusal is one line, whatever the transport."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
import structlog
from structlog.testing import capture_logs
from websockets.exceptions import InvalidStatus

from adapters.rate_limits import Rate
from adapters.security_log import COUNTED, LINES_BURST
from api import throttling
from api.graphql import charging
from commands.inventory import ReceiveStock
from commands.security_events import SecurityEvent
from commands.users import RegisterUser
from domain.users import Role
from projections.users import USERS
from tests.api import selling
from tests.api.following import EVENTS, STOCK
from tests.api.following import Served as Sockets
from tests.api.reading import shown
from tests.api.served import Served, codes, served
from tests.conftest import Stack, installation_on
from tests.given import PASSWORD, STAFF, SYSTEM

pytestmark = pytest.mark.servers
BURST = 80
ADD = 'mutation { addProduct(input: {sku: "A", name: "A", price: {amount: "1", currency: "GBP"}}) { ok } }'
NAME = "query($id: ID!) { user(id: $id) { id name email } }"
GRANT = "mutation($id: ID!) { grantRole(userId: $id, role: ANALYST) { ok userErrors { code } } }"
SIGN_IN = 'mutation { signIn(input: {email: "no@example.com", password: "wrong password"}) { userErrors { code } } }'
CHOSEN = "ChosenByTheClient"
PRODUCT = json.dumps({"sku": "A", "name": "A", "price": {"amount": "1", "currency": "GBP"}})


@pytest.fixture(scope="module")
async def api(stack: Stack) -> AsyncIterator[Served]:
    """Production, behind a proxy that names the client's address; few points, which hardly come back."""
    small = {"cost_burst": BURST, "cost_restore_per_s": 1, "sockets_per_address_max": 2, "response_cache_bytes": 0}
    async with (
        installation_on(stack) as settings,
        served(settings, environment="production", trusted_proxies="127.0.0.0/8", **small) as running,
    ):
        yield running


@pytest.fixture
def told() -> Iterator[list[Any]]:
    """What is logged meanwhile, with the id of the request."""
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        yield lines


@pytest.fixture
def address() -> str:
    """One that no other test asks from."""
    number = uuid4().int
    return f"198.{18 + number % 2}.{number // 2 % 256}.{number // 512 % 256}"


def from_(address: str, token: str = "") -> dict[str, str]:
    return {"X-Forwarded-For": address} | ({"Authorization": f"Bearer {token}"} if token else {})


def sockets_of(api: Served) -> Sockets:
    return Sockets(api.kontor, cast("Any", None), api.port)


def seen(told: list[Any], address: str) -> list[tuple[str, str, str, str]]:
    """Name, actor, what and outcome of each line of the address; no line of a request lacks its address."""
    security = [line for line in told if line["event"].startswith("security.") and line["who"] != SYSTEM.name]
    assert [line for line in security if line.get("address") is None] == []
    return [(line["event"], line["who"], line["what"], line["outcome"]) for line in security
            if line["address"] == address]  # fmt: skip


def counted(event: SecurityEvent) -> float:
    return COUNTED.labels(event.value, "refused")._value.get()


async def account(api: Served, *roles: Role) -> UUID:
    request = RegisterUser(email=f"{uuid4().hex}@example.com", name="Ada Lovelace", password=PASSWORD, roles=roles)
    return (await api.kontor.pipeline.execute(request, actor=SYSTEM)).aggregate_id


async def test_an_identity_that_is_refused_is_one_line_over_every_transport(
    api: Served, told: list[Any], address: str
) -> None:
    head = from_(address, "no-token-of-ours")
    _, graphql, _ = await api.post("/graphql", json.dumps({"query": "{ me { id } }"}), head)
    status, rest, _ = await api.post("/v1/commands/add-product", PRODUCT, head)
    assert status == 401
    async with sockets_of(api).socket(additional_headers=from_(address)) as ws:
        await ws.send(json.dumps({"type": "connection_init", "payload": {"authorization": "Bearer no-token"}}))
        await ws.wait_closed()
    assert ws.close_code == 4403
    line = ("security.identity.refused", "anonymous", "access token", "refused")
    assert seen(told, address) == [line] * 3
    ids = [each["request_id"] for each in told if each.get("address") == address]
    assert ids[:2] == [graphql["x-request-id"], rest["x-request-id"]]
    assert ids[2] not in ids[:2]


async def test_a_right_that_is_refused_is_one_line_with_the_session(api: Served, told: list[Any], address: str) -> None:
    user = uuid4()
    token = api.token(user, Role.CUSTOMER)
    assert codes(await api.ask("{ views { name } }", token, headers=from_(address))) == ["FORBIDDEN"]
    assert codes(await api.ask(ADD, token, headers=from_(address))) == ["FORBIDDEN"]
    status, _, _ = await api.post("/v1/commands/add-product", PRODUCT, from_(address, token))
    assert status == 403
    async with sockets_of(api).client(token, additional_headers=from_(address)) as client:
        assert (await client.refused(EVENTS))["extensions"]["code"] == "FORBIDDEN"
    refused = [("security.right.refused", f"user:{user}", what, "refused")
               for what in ("views", "AddProduct", "AddProduct", "events")]  # fmt: skip
    assert seen(told, address) == refused
    sessions = {each["session_id"] for each in told if each.get("address") == address}
    assert len(sessions) == 1


async def test_a_rate_that_is_refused_is_one_line(
    api: Served, told: list[Any], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttling, "ADDRESS", Rate(burst=1, every_s=600.0, at_once=4))
    await api.ask(SIGN_IN, headers=from_(address))
    answer = await api.ask(SIGN_IN, headers=from_(address))
    assert answer["data"]["signIn"]["userErrors"] == [{"code": "RATE_LIMITED"}]
    guess = json.dumps({"email": "no@example.com", "password": "wrong password"})
    status, _, _ = await api.post("/v1/commands/sign-in", guess, from_(address))
    assert status == 429
    assert seen(told, address) == [
        ("security.sign_in", "anonymous", "SignIn", "bad_credentials"),
        ("security.rate.limited", "anonymous", "SignIn", "refused"),
        ("security.rate.limited", "anonymous", "SignIn", "refused"),
    ]


async def test_points_that_are_refused_are_one_line_without_what_the_client_chose(
    api: Served, told: list[Any], address: str
) -> None:
    user = uuid4()
    token, head = api.token(user, Role.CUSTOMER), from_(address)
    assert (await api.kontor.cost_buckets.take(f"user:{user}", BURST)).granted
    for document in (
        f"query {CHOSEN} {{ products(first: 30) {{ nodes {{ id }} }} }}",  # compiled
        f"query {CHOSEN} {{ {CHOSEN}: categories {{ id }} ...Rest }} fragment Rest on Query {{ me {{ id }} }}",
    ):
        answer = await api.ask(document, token, headers=head, operationName=CHOSEN)
        assert codes(answer) == ["COST_LIMIT_EXCEEDED"]
    status, _, _ = await api.post("/v1/commands/add-product", PRODUCT, from_(address, token))
    assert status == 429
    async with sockets_of(api).client(token, additional_headers=head) as client:
        dear = 'subscription { orderChanged(orderId: "x") { order { history(first: 50) { type } } } }'
        assert (await client.refused(dear))["extensions"]["code"] == "COST_LIMIT_EXCEEDED"
    refused = [("security.points.limited", f"user:{user}", what, "refused")
               for what in ("products", "categories, me", "AddProduct", "orderChanged")]  # fmt: skip
    assert seen(told, address) == refused
    assert CHOSEN not in str(told)


async def test_points_that_the_past_costs_are_refused_with_a_line(
    api: Served, told: list[Any], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(charging, "EVENTS_A_POINT", 0.01)
    await selling.product(api.kontor, "OLD")
    await api.kontor.pipeline.execute(ReceiveStock(sku="OLD", quantity=1), actor=STAFF)
    past = '{ stockItem(sku: "OLD", atVersion: 2) { onHand } }'
    assert codes(await api.ask(past, headers=from_(address))) == ["COST_LIMIT_EXCEEDED"]
    ((name, who, what, outcome),) = seen(told, address)
    assert (name, who, outcome) == ("security.points.limited", "anonymous", "refused")
    assert what.endswith("events of the past")


async def test_a_flood_of_spent_points_is_counted_whole_and_told_in_part(
    api: Served, told: list[Any], address: str
) -> None:
    before, dear = counted(SecurityEvent.POINTS_LIMITED), "{ products(first: 90) { nodes { id } } }"
    for _ in range(3 * LINES_BURST):
        assert codes(await api.ask(dear, headers=from_(address))) == ["COST_LIMIT_EXCEEDED"]
    assert counted(SecurityEvent.POINTS_LIMITED) == before + 3 * LINES_BURST
    assert LINES_BURST <= len(seen(told, address)) < 2 * LINES_BURST + LINES_BURST // 2


async def test_a_socket_above_the_limit_is_one_line(api: Served, told: list[Any], address: str) -> None:
    user, head, shop = uuid4(), from_(address), sockets_of(api)
    token = api.token(user, Role.CUSTOMER)
    async with shop.client(additional_headers=head) as client, shop.client(additional_headers=head):
        await client.subscribe(STOCK)
        with pytest.raises(InvalidStatus) as refused:
            await shop.socket(additional_headers=from_(address, token))
        assert refused.value.response.status_code == 429
    (line,) = [each for each in told if each.get("address") == address]
    assert seen(told, address) == [
        ("security.sockets.limited", f"user:{user}", "sockets of the address", "refused"),
    ]
    assert line["of_address"] == 2
    assert UUID(line["request_id"])


async def test_reading_a_person_is_a_line_for_staff_alone(api: Served, told: list[Any], address: str) -> None:
    ada, clerk = await account(api, Role.CUSTOMER), uuid4()
    await shown(api.kontor, USERS)
    for reader, role in ((ada, Role.CUSTOMER), (clerk, Role.STAFF)):
        answer = await api.ask(NAME, api.token(reader, role), variables={"id": str(ada)}, headers=from_(address))
        assert answer["data"]["user"]["name"] == "Ada Lovelace"
    assert seen(told, address) == [("security.person.read", f"user:{clerk}", "names and addresses", "done")]
    assert [each["subjects"] for each in told if each.get("address") == address] == [[str(ada)]]
    assert "Lovelace" not in str(told)


async def test_a_change_of_rights_is_a_line_over_graphql_and_rest(api: Served, told: list[Any], address: str) -> None:
    admin, ada = await account(api, Role.ADMIN), await account(api, Role.CUSTOMER)
    token = api.token(admin, Role.ADMIN)
    answer = await api.ask(GRANT, token, variables={"id": str(ada)}, headers=from_(address))
    assert answer["data"]["grantRole"] == {"ok": True, "userErrors": []}
    revoke = json.dumps({"userId": str(ada), "role": "ANALYST"})
    status, _, _ = await api.post("/v1/commands/revoke-role", revoke, from_(address, token))
    assert status == 200
    assert seen(told, address) == [
        ("security.role.changed", f"user:{admin}", "GrantRole", "done"),
        ("security.role.changed", f"user:{admin}", "RevokeRole", "done"),
    ]
    assert [each["subjects"] for each in told if each.get("address") == address] == [[str(ada)]] * 2
