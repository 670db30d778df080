"""What can be guessed may be tried only so often, whichever way it comes; refusals tell nobody who has an account."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from pwdlib.hashers.argon2 import Argon2Hasher

from api.throttling import ACCOUNT, ADDRESS, MAILS
from commands.users import RegisterUser
from tests.api.serving import Api, serving_quickly
from tests.conftest import Stack
from tests.given import PASSWORD, SYSTEM

pytestmark = pytest.mark.servers

REASONS = "ok userErrors { code message }"
SIGN_IN = f"""mutation($e: String!, $p: String!) {{
  signIn(input: {{email: $e, password: $p}}) {{ {REASONS} tokens {{ accessToken }} }} }}"""
REFRESH = f"mutation($t: String!) {{ refreshTokens(refreshToken: $t) {{ {REASONS} }} }}"
FORGOTTEN = f"mutation($e: String!) {{ requestPasswordReset(email: $e) {{ {REASONS} }} }}"
ENABLE = f'mutation {{ enableMfa(currentPassword: "{PASSWORD}") {{ {REASONS} }} }}'
CONFIRM = f"mutation($c: String!) {{ confirmMfa(code: $c) {{ {REASONS} }} }}"


@pytest.fixture(scope="module")
async def api(stack: Stack) -> AsyncIterator[Api]:
    async with serving_quickly(stack) as running:
        yield running


async def account(api: Api) -> str:
    email = f"{uuid4().hex}@example.com"
    await api.kontor.pipeline.execute(RegisterUser(email=email, name="Ada", password=PASSWORD), actor=SYSTEM)
    return email


def codes(payload: dict) -> list[str]:
    return [error["code"] for error in payload["userErrors"]]


@pytest.mark.parametrize("exists", [True, False])
async def test_an_account_is_guessed_at_ten_times_and_then_nobody_tells_even_what_is_right(
    api: Api, exists: bool
) -> None:
    email = await account(api) if exists else f"{uuid4().hex}@example.com"
    wrong = [
        api.graphql(SIGN_IN, e=email, p="wrong password", address=f"192.0.2.{n}") for n in range(ACCOUNT.burst - 1)
    ]
    assert [codes(each) for each in await asyncio.gather(*wrong)] == [["BAD_CREDENTIALS"]] * len(wrong)
    status, body, _ = await api.command("sign-in", {"email": email.upper(), "password": "wrong password"})
    assert (status, body["code"]) == (401, "BAD_CREDENTIALS")
    refused = await api.graphql(SIGN_IN, e=email, p=PASSWORD, address="192.0.2.99")
    assert codes(refused) == ["RATE_LIMITED"]
    (wait_s,) = re.findall(r"try again in (\d+) s", refused["userErrors"][0]["message"])
    assert 0 < int(wait_s) <= ACCOUNT.every_s
    status, body, headers = await api.command("sign-in", {"email": f" {email}", "password": PASSWORD})
    assert (status, body["code"]) == (429, "RATE_LIMITED")
    assert 0 < int(headers["Retry-After"]) <= ACCOUNT.every_s


async def test_redis_shows_neither_who_was_guessed_at_nor_from_where(api: Api) -> None:
    email = await account(api)
    await api.graphql(SIGN_IN, e=email, p="wrong password", address="198.51.100.60")
    redis, prefix = api.kontor.redis, f"{api.kontor.settings.topic_prefix}rate:"
    keys = [key async for key in redis.scan_iter(match=f"{prefix}*")]
    assert keys
    assert not any(email.encode() in key or b"198.51" in key for key in keys)
    assert -1 not in [await redis.ttl(key) for key in keys], "each is forgotten by itself"


async def test_who_knows_the_password_may_come_as_often_and_as_many_at_once_as_they_like(api: Api) -> None:
    email = await account(api)
    many = [api.graphql(SIGN_IN, e=email, p=PASSWORD, address="198.51.100.1") for _ in range(ACCOUNT.burst + 5)]
    assert {each["ok"] for each in await asyncio.gather(*many)} == {True}


async def test_an_address_has_so_many_guesses_and_cannot_lie_about_itself(api: Api) -> None:
    async def guess(address: str) -> list[str]:
        return codes(await api.graphql(REFRESH, t=uuid4().hex, address=address))

    answers = await asyncio.gather(*[guess(f"6.6.6.{n}, 198.51.100.7") for n in range(ADDRESS.burst + 15)])
    # Some come back meanwhile.
    assert 0 < answers.count(["RATE_LIMITED"]) <= 15
    assert answers.count(["RATE_LIMITED"]) + answers.count(["BAD_CREDENTIALS"]) == len(answers)
    assert await guess("198.51.100.8") == ["BAD_CREDENTIALS"]
    status, body, _ = await api.command("verify-email", {"token": "made up"}, address="198.51.100.8")
    assert (status, body["code"]) == (422, "INVALID")


@pytest.mark.parametrize("exists", [True, False])
async def test_mails_are_asked_for_only_so_often_whether_there_is_an_account(api: Api, exists: bool) -> None:
    email = await account(api) if exists else f"{uuid4().hex}@example.com"
    answers = [codes(await api.graphql(FORGOTTEN, e=email, address=f"203.0.113.{n}")) for n in range(MAILS.burst + 1)]
    assert answers == [[]] * MAILS.burst + [["RATE_LIMITED"]]
    status, body, headers = await api.command("request-password-reset", {"email": email})
    assert (status, body["code"], "Retry-After" in headers) == (429, "RATE_LIMITED", True)


async def test_codes_of_a_second_factor_are_guessed_only_so_often(api: Api) -> None:
    email = await account(api)
    signed_in = await api.graphql(SIGN_IN, e=email, p=PASSWORD, address="198.51.100.20")
    token = signed_in["tokens"]["accessToken"]
    assert (await api.graphql(ENABLE, token=token))["ok"]
    answers = [
        codes(await api.graphql(CONFIRM, c=f"x{n}", token=token, address=f"203.0.114.{n}"))
        for n in range(ACCOUNT.burst + 1)
    ]
    assert answers == [["MFA_INVALID"]] * ACCOUNT.burst + [["RATE_LIMITED"]]
    status, _, _ = await api.command("disable-mfa", {"code": "x"}, token=token)
    assert status == 429


async def test_a_wrong_password_and_no_account_cost_the_same(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes the time of an answer is one hash; a clock would see it only where nothing else runs."""
    computed: list[str] = []
    verify = Argon2Hasher.verify

    def noted(self: Argon2Hasher, password: str, hashed: str) -> bool:
        computed.append(hashed.split("$")[3])  # the parameters that say what it costs
        return verify(self, password, hashed)

    monkeypatch.setattr(Argon2Hasher, "verify", noted)
    for email in (await account(api), f"{uuid4().hex}@example.com"):
        refused = await api.graphql(SIGN_IN, e=email, p="wrong password", address="198.51.100.30")
        assert codes(refused) == ["BAD_CREDENTIALS"]
    there, nowhere = computed
    assert there == nowhere
