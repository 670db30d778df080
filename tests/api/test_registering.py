"""Registering tells no caller whether an address has an account: neither by its answer nor by its time."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from adapters.consistency import Token
from api.throttling import ANSWER_STEP_S
from commands.users import RegisterUser
from tests.api.serving import Api, serving_quickly
from tests.conftest import Stack
from tests.given import PASSWORD, SYSTEM

pytestmark = pytest.mark.servers
REGISTER = """mutation($i: RegisterUserInput!) { registerUser(input: $i) {
  ok userErrors { code } user { id } receipt { token aggregateId commandId version replayed } } }"""
SIGN_IN = "mutation($i: SignInInput!) { signIn(input: $i) { ok tokens { accessToken } } }"
ME = "{ me { email name roles pendingEmail } }"


@pytest.fixture(scope="module")
async def api(stack: Stack) -> AsyncIterator[Api]:
    async with serving_quickly(stack) as running:
        yield running


async def taken_address(api: Api) -> str:
    email = f"{uuid4().hex}@example.com"
    await api.kontor.pipeline.execute(RegisterUser(email=email, name="Ada", password=PASSWORD), actor=SYSTEM)
    return email


async def register(api: Api, email: str, over: str) -> tuple[Any, float]:
    """The answer without its ids, and how long it took."""
    given = {"email": email, "name": "Eve", "password": "another horse battery"}
    started = time.monotonic()
    if over == "rest":
        status, body, headers = await api.command("register-user", given, address=f"2001:db8:{uuid4().hex[:4]}::1")
        told: Any = status, {**body, "commandId": "", "aggregateId": ""}, sorted(headers)
        assert body["aggregateId"] == body["commandId"]
    else:
        told = await api.graphql(REGISTER, i=given, address=f"2001:db8:{uuid4().hex[:4]}::1")
        receipt = told["receipt"]
        assert receipt.pop("commandId") == receipt.pop("aggregateId")
    return told, time.monotonic() - started


@pytest.mark.parametrize("over", ["rest", "graphql"])
async def test_the_answer_is_the_same_for_a_taken_address_and_takes_a_step_as_well(api: Api, over: str) -> None:
    free, free_s = await register(api, f"{uuid4().hex}@example.com", over)
    taken, taken_s = await register(api, await taken_address(api), over)
    assert free == taken
    assert min(free_s, taken_s) >= ANSWER_STEP_S
    if over == "graphql":
        nothing = {"token": Token(()).encoded(), "version": 0, "replayed": False}
        assert free == {"ok": True, "userErrors": [], "user": None, "receipt": nothing}


async def test_who_has_registered_signs_in_at_once_and_is_shown_before_any_view_has_seen_it(api: Api) -> None:
    """No worker runs here."""
    email = f"{uuid4().hex}@example.com"
    await register(api, email, "graphql")
    given = {"email": email, "password": "another horse battery"}
    signed_in = await api.graphql(SIGN_IN, i=given)
    headers = {"Authorization": f"Bearer {signed_in['tokens']['accessToken']}"}
    async with api.http.post(f"{api.url}/graphql", json={"query": ME}, headers=headers) as answer:
        me = (await answer.json())["data"]["me"]
    assert me == {"email": email, "name": "Eve", "roles": ["CUSTOMER"], "pendingEmail": None}
