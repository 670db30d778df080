"""Whatever can be asked for says what it costs and tells, and what it says is counted on every way in."""

from __future__ import annotations

import ast
import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import strawberry
from fastapi import FastAPI
from graphql import GraphQLField, GraphQLInputObjectType, GraphQLObjectType, get_named_type
from uuid_utils.compat import uuid4, uuid7

from adapters.mfa import STEP_S, code_at
from adapters.rate_limits import Rate, Share
from api.doors import PLACE, page, require_doors
from api.graphql.doors import doors_of
from api.graphql.doors import require_doors as require_doors_of_fields
from api.graphql.resolvers import resolver
from api.graphql.schema import schema
from api.rest.examples import EXAMPLES
from api.rest.forms import PUBLIC
from api.throttling import ACCOUNT, ADDRESS, MAILS, MAILS_FROM, POSTS
from commands import COMMANDS
from commands.credentials import ConfirmMfa, EnableMfa
from commands.doors import PLAIN, Door, UndeclaredDoor
from commands.handling import Actor, Command, anyone
from commands.requests import to_camel
from commands.users import RegisterUser
from domain.users import Role
from tests.api.serving import Api, serving_quickly
from tests.conftest import Stack
from tests.given import PASSWORD, SYSTEM

LEFT, MORE = 2, 6
EXECUTE = "pipeline.execute"
GUESSES = sorted(name for name, command in PUBLIC.items() if command.door.guesses)


@dataclass(frozen=True)
class Peep:
    """A command of a test."""

    keyhole: str


async def peep(_command: Any, _work: Any) -> Any:
    raise AssertionError


def test_every_command_and_every_root_field_says_what_it_costs_and_tells() -> None:
    doors = list(doors_of(schema._schema))
    assert {root for root, _, _ in doors} == {"Query", "Mutation", "Subscription"}
    assert all(isinstance(door, Door) for _, _, door in doors)
    assert all(isinstance(command.door, Door) for command in COMMANDS.values())


def test_a_command_without_a_door_is_not_even_a_line_of_the_table() -> None:
    with pytest.raises(UndeclaredDoor, match=r"Peep declares no door: say what it costs and tells"):
        Command(Peep, peep, anyone)
    assert Command(Peep, peep, anyone, door=PLAIN).door is PLAIN


def test_a_door_that_names_an_input_which_is_not_there_would_count_nothing_and_is_refused() -> None:
    with pytest.raises(UndeclaredDoor, match=r"names the input window, which it does not have; it has keyhole"):
        Command(Peep, peep, anyone, door=Door(guesses="window"))


def test_a_schema_with_a_root_field_without_a_door_is_refused() -> None:
    @strawberry.type
    class Query:
        @resolver("Whether there is somebody.", who=anyone)
        async def peep(self, keyhole: str) -> bool:
            return bool(keyhole)

    with pytest.raises(UndeclaredDoor, match=r"Query\.peep declares no door"):
        require_doors_of_fields(strawberry.Schema(Query)._schema)


def test_an_application_with_a_route_without_a_door_is_refused() -> None:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.add_api_route("/v1/keyhole", lambda: None)
    with pytest.raises(UndeclaredDoor, match=r"/v1/keyhole declares no door"):
        require_doors(app.routes)


def test_the_page_of_all_doors_is_of_this_code() -> None:
    assert PLACE.read_text(encoding="utf-8") == page(), "python -m api.doors"


def test_what_checks_a_secret_says_so() -> None:
    """By the names of inputs: whoever adds a command that takes one has to decide."""
    secrets = {"password", "current", "code", "mfa_code", "token", "refresh_token"}
    for request, command in COMMANDS.items():
        if command.name != "RegisterUser":  # it sets one
            assert bool(secrets & set(request.__dataclass_fields__)) <= bool(command.door.guesses), command.name


def test_whatever_the_api_executes_is_counted_first() -> None:
    """What the provider of payments tells is checked in another way: `api.rest.payments`."""
    uncounted = []
    for path in sorted((PLACE.parents[1] / "api").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        counted = {
            inner
            for each in ast.walk(tree)
            if isinstance(each, ast.AsyncWith) and any("throttled(" in ast.unparse(item) for item in each.items)
            for inner in ast.walk(each)
        }
        executed = [
            each for each in ast.walk(tree) if isinstance(each, ast.Call) and ast.unparse(each.func).endswith(EXECUTE)
        ]
        uncounted += [f"{path.name}:{each.lineno}" for each in executed if each not in counted]
    assert [each for each in uncounted if not each.startswith("payments.py")] == []


@pytest.fixture(scope="module")
async def api(stack: Stack) -> AsyncIterator[Api]:
    async with serving_quickly(stack) as running:
        yield running


async def signed_in(api: Api, *roles: Role, mfa: bool = False) -> str:
    """The access token of a new account."""
    request = RegisterUser(email=f"{uuid4().hex}@example.com", name="Ada", password=PASSWORD)
    outcome = await api.kontor.pipeline.execute(request, actor=SYSTEM)
    now = api.kontor.ports.clock.now()
    if mfa:
        ada = Actor.user(outcome.aggregate_id, (Role.CUSTOMER,))
        offered = await api.kontor.pipeline.execute(EnableMfa(current_password=PASSWORD), actor=ada)
        (secret,) = parse_qs(urlsplit(offered.secret["provisioning_uri"]).query)["secret"]
        code = code_at(base64.b32decode(secret), int(now.timestamp()) // STEP_S)
        outcome = await api.kontor.pipeline.execute(ConfirmMfa(code=code), actor=ada)
    issue = api.kontor.access_tokens.issue
    return issue(outcome.aggregate_id, roles or (Role.CUSTOMER,), uuid7(), version=outcome.version, now=now)


def wrong(name: str) -> dict[str, Any]:
    """The command's example with another secret each time, of nobody in particular."""
    given, door = dict(EXAMPLES[name]), PUBLIC[name].door
    if door.of:
        given[door.of] = f"{uuid4().hex}@example.com"
    return given | {to_camel(door.guesses): f"wrong {uuid4().hex}"}


def mutation_of(name: str, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A document that asks for the command with these inputs, and its variables."""
    camel = PUBLIC[name].name[0].lower() + PUBLIC[name].name[1:]
    kind = schema._schema.mutation_type
    assert isinstance(kind, GraphQLObjectType)
    field: GraphQLField = kind.fields[camel]
    if "input" in field.args:
        wanted = get_named_type(field.args["input"].type)
        assert isinstance(wanted, GraphQLInputObjectType)
        given = {"input": {key: value for key, value in given.items() if key in wanted.fields}}
    declared = ", ".join(f"${key}: {field.args[key].type}" for key in given)
    passed = ", ".join(f"{key}: ${key}" for key in given)
    return f"mutation({declared}) {{ {camel}({passed}) {{ userErrors {{ code }} }} }}", given


async def graphql(api: Api, name: str, given: dict[str, Any], token: str, address: str) -> str:
    """The code that the mutation is refused with."""
    document, variables = mutation_of(name, given)
    headers = {"X-Forwarded-For": address} | ({"Authorization": f"Bearer {token}"} if token else {})
    body = {"query": document, "variables": variables}
    async with api.http.post(f"{api.url}/graphql", json=body, headers=headers) as answer:
        (payload,) = (await answer.json())["data"].values()
    return str(payload["userErrors"][0]["code"])


async def rest(api: Api, name: str, given: dict[str, Any], token: str, address: str) -> str:
    """The code that the command over REST is refused with; a limit says when to come again."""
    status, body, headers = await api.command(name, given, token=token, address=address)
    assert status != 429 or "Retry-After" in headers
    return str(body["code"])


@pytest.mark.servers
@pytest.mark.parametrize("asked", [graphql, rest])
@pytest.mark.parametrize("name", GUESSES)
async def test_whatever_checks_a_secret_is_limited_by_the_address_over_both_doors(
    api: Api, name: str, asked: Any
) -> None:
    """Most of what the address may is guessed already; the rest at once, so that none may pass while another is looked
    at. The account has not been guessed at as often as it may."""
    needs_account = PUBLIC[name].permission is not anyone
    mfa = name == "disable-mfa"
    token = await signed_in(api, mfa=mfa) if needs_account else ""
    address = f"192.0.3.{2 * GUESSES.index(name) + (asked is rest)}"
    guessed = Share(f"wrong:{api.kontor.personal_data.digest(address)}", ADDRESS)
    for _ in range(ADDRESS.burst - LEFT):
        assert await api.kontor.rate_limits.take([guessed]) == 0.0
    codes = await asyncio.gather(*[asked(api, name, wrong(name), token, address) for _ in range(LEFT + MORE)])
    assert 0 < codes.count("RATE_LIMITED") <= MORE, codes  # some come back meanwhile


@pytest.mark.servers
async def test_networks_of_one_site_are_one_client_when_there_are_many_of_them(api: Api) -> None:
    site = Rate(burst=4 * ADDRESS.burst, every_s=ADDRESS.every_s / 4)
    for _ in range(site.burst - LEFT):
        guessed = Share(f"wrong:{api.kontor.personal_data.digest('2001:db8:f000::/48')}", site)
        assert await api.kontor.rate_limits.take([guessed]) == 0.0
    many = [rest(api, "verify-email", wrong("verify-email"), "", f"2001:db8:f000:{n:x}::1") for n in range(LEFT + MORE)]
    codes = await asyncio.gather(*many)
    assert 0 < codes.count("RATE_LIMITED") <= MORE, codes


@pytest.mark.servers
async def test_guesses_by_aliases_of_one_document_are_counted_each(api: Api) -> None:
    email = f"{uuid4().hex}@example.com"
    tries = "\n".join(
        f'a{n}: signIn(input: {{email: "{email}", password: "wrong {n}"}}) {{ userErrors {{ code }} }}'
        for n in range(ACCOUNT.burst + 3)
    )
    body = {"query": f"mutation {{ {tries} }}"}
    async with api.http.post(f"{api.url}/graphql", json=body, headers={"X-Forwarded-For": "192.0.2.70"}) as answer:
        told = (await answer.json())["data"]
    codes = [each["userErrors"][0]["code"] for each in told.values()]
    assert codes == ["BAD_CREDENTIALS"] * ACCOUNT.burst + ["RATE_LIMITED"] * 3


REGISTER = "mutation($i: RegisterUserInput!) { registerUser(input: $i) { ok userErrors { code message } } }"


@pytest.mark.servers
@pytest.mark.parametrize("over_rest", [False, True])
async def test_accounts_are_opened_only_so_often_from_an_address_and_what_is_refused_is_not_hashed(
    api: Api, monkeypatch: pytest.MonkeyPatch, over_rest: bool
) -> None:
    hashed: list[str] = []
    store = api.kontor.ports.credentials.set

    async def noted(user_id: Any, password: str) -> None:
        hashed.append(password)
        await store(user_id, password)

    monkeypatch.setattr(api.kontor.ports.credentials, "set", noted)

    async def register(address: str) -> str:
        given = {"email": f"{uuid4().hex}@example.com", "name": "Ada", "password": PASSWORD}
        if over_rest:
            status, body, _ = await api.command("register-user", given, address=address)
            return "ok" if status == 200 else str(body["code"])
        payload = await api.graphql(REGISTER, i=given, address=address)
        return "ok" if payload["ok"] else str(payload["userErrors"][0]["code"])

    address = f"198.51.100.{200 + over_rest}"
    answers = await asyncio.gather(*[register(address) for _ in range(MAILS_FROM.burst + 20)])
    assert set(answers) == {"ok", "RATE_LIMITED"}
    assert MAILS_FROM.burst <= answers.count("ok") <= MAILS_FROM.burst + 3  # some come back meanwhile
    assert len(hashed) == answers.count("ok")
    assert await register(f"198.51.100.{210 + over_rest}") == "ok"


@pytest.mark.servers
async def test_mails_to_one_mailbox_are_counted_together_whichever_command_sends_them(api: Api) -> None:
    email, token = f"{uuid4().hex}@example.com", await signed_in(api)
    reset = "mutation($e: String!) { requestPasswordReset(email: $e) { userErrors { code } } }"
    for n in range(MAILS.burst):
        assert not (await api.graphql(reset, e=email, address=f"203.0.115.{n}"))["userErrors"]
    given = {"email": email, "name": "Ada", "password": PASSWORD}
    for name, what, by in (("register-user", given, ""), ("update-profile", {"email": email.upper()}, token)):
        status, body, _ = await api.command(name, what, address="203.0.115.99", token=by)
        assert (status, body["code"]) == (429, "RATE_LIMITED"), name


@pytest.mark.servers
async def test_an_order_is_sought_by_number_only_so_often_and_what_is_found_does_not_count(api: Api) -> None:
    token = await signed_in(api)

    async def seek(number: str) -> list[str]:
        body = {"query": "query($n: String) { order(number: $n) { id } }", "variables": {"n": number}}
        headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": "192.0.2.81"}
        async with api.http.post(f"{api.url}/graphql", json=body, headers=headers) as answer:
            return [each["extensions"]["code"] for each in (await answer.json()).get("errors", [])]

    answers = await asyncio.gather(*[seek(f"K{n}") for n in range(ACCOUNT.burst + 5)])
    assert answers.count([]) == ACCOUNT.burst
    assert answers.count(["RATE_LIMITED"]) == 5


@pytest.mark.servers
async def test_posts_that_a_client_asks_for_are_counted(api: Api) -> None:
    token = await signed_in(api, Role.INTEGRATOR)
    nobody = {"endpointId": str(uuid4())}
    answers = [(await api.command("test-webhook", nobody, token=token))[1]["code"] for _ in range(POSTS.burst + 1)]
    assert answers == ["NOT_FOUND"] * POSTS.burst + ["RATE_LIMITED"]


@pytest.mark.servers
async def test_signatures_of_the_payment_provider_are_not_guessed_at_without_end(api: Api) -> None:
    async def guess(address: str) -> int:
        headers = {"Stripe-Signature": "t=1,v1=00", "X-Forwarded-For": address}
        async with api.http.post(f"{api.url}/v1/payments/stripe/webhook", data=b"{}", headers=headers) as answer:
            return answer.status

    statuses = await asyncio.gather(*[guess("192.0.2.90") for _ in range(ADDRESS.burst + 15)])
    assert set(statuses) == {400, 429}
    assert await guess("192.0.2.91") == 400
