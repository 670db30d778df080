"""What is taken away is gone at once: over HTTP, REST, kept answers and open sockets, in every process."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from time import monotonic, time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from adapters.mfa import STEP_S, code_at
from adapters.wiring import Kontor
from commands.users import EraseUser, GrantRole, RegisterUser, RevokeRole
from domain.identity import UserId
from domain.users import Role
from tests.api.following import EVENTS, Client, until
from tests.api.following import Served as Followed
from tests.api.served import Served, codes, served
from tests.conftest import Stack, installation_on
from tests.given import PASSWORD, SYSTEM

pytestmark = pytest.mark.servers

BOUND_S = 5.0  # on a busy machine; usually milliseconds
ME = "{ me { id roles } }"
SIGN_IN = """mutation($email: String!, $password: String!) { signIn(input: {email: $email, password: $password}) {
  ok tokens { accessToken refreshToken } userErrors { code } } }"""
REFRESH = """mutation($token: String!) { refreshTokens(refreshToken: $token) {
  ok tokens { accessToken refreshToken } user { roles } userErrors { code } } }"""
ADD = """mutation { addProduct(input: {sku: "VOID", name: "Mug", price: {amountMinor: 1, currency: GBP}}) {
  ok userErrors { code } } }"""
GRANT = "mutation($id: ID!) { grantRole(userId: $id, role: ADMIN) { ok userErrors { code } } }"
USERS = "{ users(first: 1) { nodes { id } } }"
KEPT = '{ stockItem(sku: "VOID") { sku } }'
OUT = "mutation($id: ID) { signOut(sessionId: $id) { ok } }"
ENABLE = f'mutation {{ enableMfa(currentPassword: "{PASSWORD}") {{ provisioningUri }} }}'
CONFIRM = "mutation($code: String!) { confirmMfa(code: $code) { ok userErrors { code } } }"
SESSIONS = "{ mySessions { id current } }"


@dataclass(frozen=True)
class Person:
    id: UserId
    email: str
    access: str
    refresh: str


class Company:
    """Two API processes on one installation, and people who sign in to the first."""

    def __init__(self, here: Served, there: Served) -> None:
        self.here, self.there = here, there

    @property
    def kontor(self) -> Kontor:
        return self.here.kontor

    async def person(self, email: str, *roles: Role) -> Person:
        register = RegisterUser(email=email, name="Ada", password=PASSWORD, roles=(Role.CUSTOMER, *roles))
        user_id = (await self.kontor.pipeline.execute(register, actor=SYSTEM)).aggregate_id
        return await self.signed_in(UserId(user_id), email)

    async def signed_in(self, user_id: UserId, email: str) -> Person:
        answer = await self.here.ask(SIGN_IN, variables={"email": email, "password": PASSWORD})
        tokens = answer["data"]["signIn"]["tokens"]
        return Person(user_id, email, tokens["accessToken"], tokens["refreshToken"])

    async def system(self, request: Any) -> None:
        await self.kontor.pipeline.execute(request, actor=SYSTEM)

    async def refused_everywhere(self, person: Person) -> None:
        """At once where it was taken away, within the bound elsewhere: over GraphQL and REST."""
        assert codes(await self.here.ask(ME, person.access)) == ["UNAUTHENTICATED"]
        began = monotonic()
        await until(lambda: self._refused(self.there, person))
        assert monotonic() - began < BOUND_S
        for api in (self.here, self.there):
            headers = {"Authorization": f"Bearer {person.access}"}
            status, _, told = await api.post("/v1/commands/sign-out", "{}", headers)
            assert (status, told["code"]) == (401, "UNAUTHENTICATED")

    async def _refused(self, api: Served, person: Person) -> bool:
        return codes(await api.ask(ME, person.access)) == ["UNAUTHENTICATED"]


@pytest.fixture
async def company(stack: Stack) -> AsyncIterator[Company]:
    async with installation_on(stack) as settings, served(settings) as here, served(settings) as there:
        yield Company(here, there)


async def test_a_revoked_admin_makes_no_other_admin_and_refreshes_to_what_is_left(company: Company) -> None:
    eve, accomplice = await company.person("eve@example.com", Role.ADMIN), await company.person("bob@example.com")
    await company.system(RevokeRole(user_id=eve.id, role=Role.ADMIN))
    await company.refused_everywhere(eve)
    for api in (company.here, company.there):
        answer = await api.ask(GRANT, eve.access, variables={"id": str(accomplice.id)})
        assert codes(answer) == ["UNAUTHENTICATED"]
    told = (await company.there.ask(REFRESH, variables={"token": eve.refresh}))["data"]["refreshTokens"]
    assert told["user"]["roles"] == ["CUSTOMER"]
    assert codes(await company.there.ask(USERS, told["tokens"]["accessToken"])) == ["FORBIDDEN"]


async def test_an_erased_member_of_staff_writes_nothing(company: Company) -> None:
    bob = await company.person("bob@example.com", Role.STAFF)
    await company.system(EraseUser(user_id=bob.id, current_password=PASSWORD))
    await company.refused_everywhere(bob)
    for api in (company.here, company.there):
        assert codes(await api.ask(ADD, bob.access)) == ["UNAUTHENTICATED"]


async def test_a_role_that_is_granted_takes_nothing_away(company: Company) -> None:
    ada = await company.person("ada@example.com")
    await company.system(GrantRole(user_id=ada.id, role=Role.STAFF))
    for api in (company.here, company.there):
        assert codes(await api.ask(SESSIONS, ada.access)) == []


async def test_signing_out_everywhere_ends_every_token_and_a_new_one_is_good(company: Company) -> None:
    ada = await company.person("ada@example.com")
    other = await company.signed_in(ada.id, ada.email)
    assert (await company.here.ask(OUT, ada.access))["data"]["signOut"]["ok"]
    for each in (ada, other):
        await company.refused_everywhere(each)
    again = await company.signed_in(ada.id, ada.email)
    for api in (company.here, company.there):
        assert codes(await api.ask(SESSIONS, again.access)) == []


async def test_a_refresh_token_used_twice_makes_the_access_tokens_of_its_session_void_and_no_others(
    company: Company,
) -> None:
    ada = await company.person("ada@example.com")
    other = await company.signed_in(ada.id, ada.email)
    answers = [(await company.here.ask(REFRESH, variables={"token": ada.refresh}))["data"] for _ in range(2)]
    assert [each["refreshTokens"]["userErrors"] for each in answers] == [[], [{"code": "TOKEN_REUSED"}]]
    await company.refused_everywhere(ada)
    for api in (company.here, company.there):
        assert codes(await api.ask(SESSIONS, other.access)) == []


async def test_signing_one_session_out_leaves_the_others(company: Company) -> None:
    ada = await company.person("ada@example.com")
    other = await company.signed_in(ada.id, ada.email)
    sessions = (await company.here.ask(SESSIONS, ada.access))["data"]["mySessions"]
    (own,) = [each["id"] for each in sessions if each["current"]]
    assert (await company.here.ask(OUT, other.access, variables={"id": own}))["data"]["signOut"]["ok"]
    await company.refused_everywhere(ada)
    for api in (company.here, company.there):
        assert codes(await api.ask(SESSIONS, other.access)) == []


async def test_a_second_factor_that_is_set_up_makes_the_tokens_of_every_other_session_void(company: Company) -> None:
    ada = await company.person("ada@example.com")
    thief = await company.signed_in(ada.id, ada.email)
    enabled = (await company.here.ask(ENABLE, ada.access))["data"]["enableMfa"]
    secret = base64.b32decode(parse_qs(urlsplit(enabled["provisioningUri"]).query)["secret"][0])
    code = code_at(secret, int(time()) // STEP_S)
    assert (await company.here.ask(CONFIRM, ada.access, variables={"code": code}))["data"]["confirmMfa"]["ok"]
    await company.refused_everywhere(thief)
    for api in (company.here, company.there):
        assert (await api.ask(ME, ada.access))["data"]["me"]["id"] == str(ada.id)


async def test_an_admin_suspends_an_account_which_then_neither_signs_in_nor_refreshes(company: Company) -> None:
    grace, bob = await company.person("grace@example.com", Role.ADMIN), await company.person("bob@example.com")
    suspend = "mutation($id: ID!) { suspendUser(userId: $id, reason: FRAUD) { ok user { suspendedAt } } }"
    answer = await company.here.ask(suspend, grace.access, variables={"id": str(bob.id)})
    assert answer["data"]["suspendUser"]["user"]["suspendedAt"]
    await company.refused_everywhere(bob)
    signing_in = {"email": bob.email, "password": PASSWORD}
    assert (await company.there.ask(SIGN_IN, variables=signing_in))["data"]["signIn"]["userErrors"] == [
        {"code": "ACCOUNT_SUSPENDED"}
    ]
    refreshed = (await company.there.ask(REFRESH, variables={"token": bob.refresh}))["data"]["refreshTokens"]
    assert (refreshed["ok"], refreshed["tokens"]) == (False, None)
    resume = "mutation($id: ID!) { resumeUser(userId: $id) { ok user { suspendedAt } } }"
    answer = await company.there.ask(resume, grace.access, variables={"id": str(bob.id)})
    assert answer["data"]["resumeUser"] == {"ok": True, "user": {"suspendedAt": None}}
    assert (await company.there.ask(SIGN_IN, variables=signing_in))["data"]["signIn"]["ok"]


async def test_a_role_that_needs_a_second_factor_is_in_no_token_without_one(stack: Stack) -> None:
    async with installation_on(stack) as settings, served(settings, require_mfa="STAFF,ADMIN") as api:
        company = Company(api, api)
        bob = await company.person("bob@example.com", Role.STAFF)
        assert codes(await api.ask(USERS, bob.access)) == ["FORBIDDEN"]
        assert codes(await api.ask(SESSIONS, bob.access)) == []


async def test_a_kept_answer_is_not_given_to_a_void_token(company: Company) -> None:
    bob = await company.person("bob@example.com", Role.STAFF)

    async def kept(api: Served) -> bool:
        body = json.dumps({"query": KEPT})
        head = {"Authorization": f"Bearer {bob.access}"}
        return "etag" in (await api.post("/graphql", body, head))[1]

    for api in (company.here, company.there):
        await until(lambda api=api: kept(api))
    await company.system(RevokeRole(user_id=bob.id, role=Role.STAFF))
    assert codes(await company.here.ask(KEPT, bob.access)) == ["UNAUTHENTICATED"]
    await company.refused_everywhere(bob)
    assert codes(await company.there.ask(KEPT, bob.access)) == ["UNAUTHENTICATED"]


async def test_open_sockets_of_a_void_token_are_closed_in_every_process_and_others_stay(company: Company) -> None:
    bob, ada = [await company.person(f"{name}@example.com", Role.STAFF) for name in ("bob", "ada")]
    sides = [Followed(api.kontor, None, api.port) for api in (company.here, company.there)]  # type: ignore[arg-type]
    async with (
        sides[0].client(bob.access) as first,
        sides[1].client(bob.access) as second,
        sides[1].client(ada.access) as third,
    ):
        await third.subscribe(EVENTS, since=str(await company.kontor.log.end()))
        for client in (first, second):
            await client.subscribe(EVENTS, since=str(await company.kontor.log.end()))
        await company.system(RevokeRole(user_id=bob.id, role=Role.STAFF))
        began = monotonic()
        for client in (first, second):
            assert await _closed(client) == (4403, "The rights of the access token were taken away: refresh it and "
                                             "connect again, or sign in")  # fmt: skip
        assert monotonic() - began < BOUND_S
        assert (await third.item())["type"] == "user.role_revoked"


async def _closed(client: Client) -> tuple[int | None, str | None]:
    code = await client.closed()
    return code, client.ws.close_reason


async def test_a_process_that_starts_later_knows_what_was_taken_away_before(company: Company) -> None:
    bob = await company.person("bob@example.com", Role.STAFF)
    await company.system(RevokeRole(user_id=bob.id, role=Role.STAFF))
    async with served(company.kontor.settings) as late:
        assert codes(await late.ask(ME, bob.access)) == ["UNAUTHENTICATED"]


async def test_a_process_that_cannot_read_the_log_accepts_no_token_and_goes_on_when_it_can(company: Company) -> None:
    ada = await company.person("ada@example.com")
    await company.there.kontor.void_token_reader.close()
    await until(lambda: _untrusted(company.there.kontor))
    assert codes(await company.there.ask(SESSIONS, ada.access)) == ["UNAVAILABLE"]
    headers = {"Authorization": f"Bearer {ada.access}"}
    status, _, told = await company.there.post("/v1/commands/sign-out", "{}", headers)
    assert (status, told["code"]) == (503, "UNAVAILABLE")
    await company.there.kontor.void_token_reader.start()
    assert codes(await company.there.ask(SESSIONS, ada.access)) == []


async def _untrusted(kontor: Kontor) -> bool:
    return not kontor.void_tokens.trusted


async def test_a_reader_whose_connection_is_cut_goes_on_and_misses_nothing(company: Company) -> None:
    bob = await company.person("bob@example.com", Role.STAFF)
    async with company.kontor.pool.connection() as connection:
        for _ in range(3):
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'kontor.void-tokens' AND datname = current_database()"
            )
            await asyncio.sleep(0.1)
    await company.system(RevokeRole(user_id=bob.id, role=Role.STAFF))
    await company.refused_everywhere(bob)
