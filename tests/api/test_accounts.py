"""One's own account over GraphQL on the running system."""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from adapters.mfa import STEP_S, code_at
from tests.api.test_road_of_one_order import Client
from tests.conftest import Stack

pytestmark = pytest.mark.servers
PASSWORD, NEW_PASSWORD = "correct horse battery", "another horse battery"
REASONS = "ok userErrors { code field }"
REGISTER = f"mutation($i: RegisterUserInput!) {{ registerUser(input: $i) {{ {REASONS} }} }}"
SIGN_IN = f"mutation($i: SignInInput!) {{ signIn(input: $i) {{ {REASONS} tokens {{ accessToken refreshToken }} }} }}"
REFRESH = f"mutation($t: String!) {{ refreshTokens(refreshToken: $t) {{ {REASONS} tokens {{ refreshToken }} }} }}"
PROFILE = f"""mutation($n: String, $e: String, $k: ID) {{
  updateProfile(name: $n, email: $e, currentPassword: \"{PASSWORD}\", idempotencyKey: $k) {{
  {REASONS} receipt {{ token version replayed }} user {{ name email pendingEmail version }} }} }}"""
PASSWORDS = f"mutation($c: String!, $n: String!) {{ changePassword(current: $c, new: $n) {{ {REASONS} }} }}"
SIGN_OUT = f"mutation($s: ID) {{ signOut(sessionId: $s) {{ {REASONS} }} }}"
ENABLE = f'mutation {{ enableMfa(currentPassword: "{PASSWORD}") {{ {REASONS} provisioningUri recoveryCodes }} }}'
CONFIRM = f"mutation($c: String!) {{ confirmMfa(code: $c) {{ {REASONS} receipt {{ token }} }} }}"
DISABLE = f"""mutation($c: String!) {{ disableMfa(code: $c, currentPassword: "{PASSWORD}") {{
  {REASONS} receipt {{ token }} }} }}"""
GRANT = f"""mutation($u: ID!, $r: Role!) {{ grantRole(userId: $u, role: $r) {{ {REASONS} user {{ roles }} }} }}"""
REVOKE = f"""mutation($u: ID!, $r: Role!) {{ revokeRole(userId: $u, role: $r) {{ {REASONS} user {{ roles }} }} }}"""
ERASE = f"""mutation($u: ID!) {{ eraseUser(userId: $u, currentPassword: \"{PASSWORD}\") {{
  {REASONS} receipt {{ token version }} }} }}"""
ME = "query($t: ConsistencyToken) { me(consistentWith: $t) { name email mfaEnabled roles } }"


class Person:
    """Somebody with an account, and how they use it."""

    def __init__(self, anyone: Client, email: str) -> None:
        self.anyone, self.email, self.id = anyone, email, ""
        self.client = anyone

    async def sign_in(self, password: str = PASSWORD, **more: str) -> dict[str, Any]:
        answer = await self.anyone(SIGN_IN, i={"email": self.email, "password": password} | more)
        return answer["signIn"]

    async def __call__(self, document: str, **variables: Any) -> dict[str, Any]:
        """The answer of a document's one field."""
        (answer,) = (await self.client(document, **variables)).values()
        return answer


def codes(answer: dict[str, Any]) -> list[str]:
    """Why not; empty when it was done."""
    assert answer["ok"] is not bool(answer["userErrors"])
    return [error["code"] for error in answer["userErrors"]]


@pytest.fixture
async def anyone(stack: Stack) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http:
        yield Client(http, stack.status["http_url"])


@pytest.fixture
async def ada(anyone: Client) -> Person:
    person = Person(anyone, f"{uuid.uuid4().hex}@example.com")
    made = await anyone(REGISTER, i={"email": person.email, "name": "Ada", "password": PASSWORD})
    assert codes(made["registerUser"]) == []
    person.client = await anyone.signed_in(person.email, PASSWORD)
    person.id = (await person.client("{ me { id } }"))["me"]["id"]
    return person


@pytest.fixture
async def admin(stack: Stack, anyone: Client) -> Client:
    return await anyone.signed_in(**stack.status["logins"]["admin"])


async def test_a_profile_is_changed_once_for_a_key_and_shown_to_its_owner(ada: Person) -> None:
    email = f"{uuid.uuid4().hex}@example.com"
    for replayed in (False, True):
        changed = await ada(PROFILE, n="Ada L.", e=email, k="once")
        assert codes(changed) == []
        assert changed["receipt"]["replayed"] is replayed
        shown, version = {"name": "Ada L.", "email": ada.email, "pendingEmail": email}, changed["receipt"]["version"]
        assert changed["user"] == shown | {"version": version}
    me = await ada(ME, t=changed["receipt"]["token"])
    assert me == {"name": "Ada L.", "email": ada.email, "mfaEnabled": False, "roles": ["CUSTOMER"]}
    refused = await ada(PROFILE, e="nonsense")
    assert refused["userErrors"] == [{"code": "INVALID", "field": ["email"]}]


async def test_a_changed_password_is_the_only_one_and_ends_sessions(ada: Person) -> None:
    tokens = (await ada.sign_in())["tokens"]
    assert codes(await ada(PASSWORDS, c="wrong", n=NEW_PASSWORD)) == ["BAD_CREDENTIALS"]
    assert codes(await ada(PASSWORDS, c=PASSWORD, n="short")) == ["WEAK_PASSWORD"]
    assert codes(await ada(PASSWORDS, c=PASSWORD, n=NEW_PASSWORD)) == []
    assert codes((await ada.anyone(REFRESH, t=tokens["refreshToken"]))["refreshTokens"]) == ["BAD_CREDENTIALS"]
    assert codes(await ada.sign_in()) == ["BAD_CREDENTIALS"]
    assert codes(await ada.sign_in(NEW_PASSWORD)) == []


async def test_a_session_that_was_signed_out_is_not_refreshed(ada: Person) -> None:
    tokens = (await ada.sign_in())["tokens"]
    for nobodys in ("no id", str(uuid.uuid4())):
        assert codes(await ada(SIGN_OUT, s=nobodys)) == []
    refreshed = (await ada.anyone(REFRESH, t=tokens["refreshToken"]))["refreshTokens"]
    assert codes(refreshed) == []
    assert codes(await ada(SIGN_OUT)) == []
    again = (await ada.anyone(REFRESH, t=refreshed["tokens"]["refreshToken"]))["refreshTokens"]
    assert codes(again) == ["BAD_CREDENTIALS"]


async def test_a_second_factor_from_set_up_to_given_up(ada: Person) -> None:
    enabled = await ada(ENABLE)
    secret = base64.b32decode(parse_qs(urlsplit(enabled["provisioningUri"]).query)["secret"][0])
    step = int(time.time()) // STEP_S
    assert codes(await ada(CONFIRM, c="000000x")) == ["MFA_INVALID"]
    confirmed = await ada(CONFIRM, c=code_at(secret, step - 1))
    assert codes(confirmed) == []
    assert (await ada(ME, t=confirmed["receipt"]["token"]))["mfaEnabled"] is True
    assert codes(await ada(ENABLE)) == ["ILLEGAL_TRANSITION"]
    assert (await ada.sign_in())["userErrors"] == [{"code": "MFA_REQUIRED", "field": ["mfaCode"]}]
    assert codes(await ada.sign_in(mfaCode=code_at(secret, step - 1))) == ["MFA_INVALID"]
    assert codes(await ada.sign_in(mfaCode=code_at(secret, step))) == []
    recovery = enabled["recoveryCodes"]
    for expected in ([], ["MFA_INVALID"]):
        assert codes(await ada.sign_in(mfaCode=recovery[0])) == expected
    given_up = await ada(DISABLE, c=recovery[1])
    assert codes(given_up) == []
    assert (await ada(ME, t=given_up["receipt"]["token"]))["mfaEnabled"] is False
    assert codes(await ada.sign_in()) == []


async def test_roles_are_granted_and_revoked_by_admins_alone(ada: Person, admin: Client) -> None:
    # With the revocation her access token is void.
    for document, field, roles, code in (
        (GRANT, "grantRole", ["CUSTOMER", "STAFF"], "FORBIDDEN"),
        (REVOKE, "revokeRole", ["CUSTOMER"], "UNAUTHENTICATED"),
    ):
        for _ in range(2):
            assert (await admin(document, u=ada.id, r="STAFF"))[field]["user"]["roles"] == roles
        refused = await ada.client.send(document, u=ada.id, r="ADMIN")
        assert refused["errors"][0]["extensions"]["code"] == code
        nobody = (await admin(document, u=str(uuid.uuid4()), r="STAFF"))[field]
        assert nobody["userErrors"] == [{"code": "NOT_FOUND", "field": ["userId"]}]


async def test_an_account_is_erased_by_itself_or_an_admin_and_stays_erased(ada: Person, admin: Client) -> None:
    other = await Client(ada.anyone.http, ada.anyone.url).signed_in(ada.email, PASSWORD)
    nobody = (await other(ERASE, u=str(uuid.uuid4())))["eraseUser"]
    assert codes(nobody) == ["NOT_FOUND"]
    versions = [(await client(ERASE, u=ada.id))["eraseUser"]["receipt"]["version"] for client in (other, admin)]
    assert versions[0] == versions[1]
    for document, variables in ((PROFILE, {"n": "x"}), (ENABLE, {}), (SIGN_OUT, {})):
        refused = await ada.client.send(document, **variables)
        assert refused["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    granted = (await admin(GRANT, u=ada.id, r="STAFF"))["grantRole"]
    assert codes(granted) == ["ILLEGAL_TRANSITION"]
