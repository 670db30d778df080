"""Finding accounts: for STAFF, by whole address or id; names and addresses are opened only where they are shown."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from adapters.consistency import Token
from adapters.wiring import Kontor
from commands.account_recovery import VerifyEmail
from commands.handling import ANONYMOUS, Actor, Outcome
from commands.ports import TokenPurpose
from commands.users import EraseUser, RegisterUser, UpdateProfile
from domain.disclosure import Secret
from domain.identity import UserId, email_claim_id
from projections.users import USERS
from tests.api.reading import asked, shown
from tests.given import CUSTOMER, PASSWORD, STAFF, SYSTEM

pytestmark = pytest.mark.servers
USERS_PAGE = """query($search: String, $first: Int, $after: String, $token: ConsistencyToken) {
  users(search: $search, first: $first, after: $after, consistentWith: $token) {
    edges { cursor node { id } } nodes { id email name roles } totalCount pageInfo { hasNextPage endCursor } } }"""


async def register(kontor: Kontor, *names: str) -> list[Outcome]:
    """Accounts of these names at example.com, in this order, shown by the view."""
    made = [
        await kontor.pipeline.execute(
            RegisterUser(email=f"{name}@Example.com", name=name.title(), password=PASSWORD), actor=SYSTEM
        )
        for name in names
    ]
    await shown(kontor, USERS)
    return made


async def page(kontor: Kontor, **variables: Any) -> dict[str, Any]:
    answer = await asked(kontor, USERS_PAGE, STAFF, **variables)
    assert answer.errors is None, answer.errors
    return (answer.data or {})["users"]


def names(found: dict[str, Any]) -> list[str]:
    return [node["name"] for node in found["nodes"]]


async def test_an_account_is_found_by_its_whole_address_or_its_id(kontor: Kontor) -> None:
    ada, bob = await register(kontor, "ada", "bob")
    found = await page(kontor, search=" ADA@example.com ")
    assert found["nodes"] == [
        {"id": str(ada.aggregate_id), "email": "ada@example.com", "name": "Ada", "roles": ["CUSTOMER"]}
    ]
    assert found["totalCount"] == 1
    assert names(await page(kontor, search=str(bob.aggregate_id))) == ["Bob"]
    assert (await page(kontor, search="nobody@example.com"))["totalCount"] == 0


async def test_the_address_is_the_present_one(kontor: Kontor) -> None:
    (ada,) = await register(kontor, "ada")
    herself = Actor.user(ada.aggregate_id, [])
    await kontor.pipeline.execute(UpdateProfile(email="lovelace@example.com", current_password=PASSWORD), actor=herself)
    assert names(await page(kontor, search="lovelace@example.com")) == []  # it is not confirmed yet
    claim_id, now = email_claim_id(kontor.personal_data.digest("lovelace@example.com")), kontor.ports.clock.now()
    token = await kontor.ports.account_tokens.make(
        ada.aggregate_id, TokenPurpose.EMAIL_CHANGE, address_id=claim_id, expires_at=now + timedelta(hours=1), now=now
    )
    await kontor.pipeline.execute(VerifyEmail(token=Secret(token)), actor=ANONYMOUS)
    await shown(kontor, USERS)
    assert names(await page(kontor, search="lovelace@example.com")) == ["Ada"]
    assert names(await page(kontor, search="ada@example.com")) == []
    await kontor.pipeline.execute(EraseUser(user_id=UserId(ada.aggregate_id), current_password=PASSWORD), actor=herself)
    await shown(kontor, USERS)
    assert names(await page(kontor, search="lovelace@example.com")) == []
    assert names(await page(kontor)) == ["(erased)"]


async def test_pages_of_all_accounts_are_each_account_once_the_newest_first(kontor: Kontor) -> None:
    made = await register(kontor, *(f"p{number}" for number in range(7)))
    async with kontor.pool.connection() as connection:  # some at the same moment
        await connection.execute("UPDATE users_v1 SET created_at = date_trunc('minute', created_at)")
    ids, after = [], None
    for _ in range(8):  # a page each of the accounts, and one more
        found = await page(kontor, first=2, after=after)
        assert found["totalCount"] == 7
        ids += [edge["node"]["id"] for edge in found["edges"]]
        after = found["pageInfo"]["endCursor"]
        if not found["pageInfo"]["hasNextPage"]:
            break
    assert len(ids) == 7
    assert set(ids) == {str(each.aggregate_id) for each in made}
    assert names(await page(kontor, first=7, search="")) == names(await page(kontor, first=7))


async def test_who_may_not_or_cannot_ask_is_told_why(kontor: Kontor) -> None:
    await register(kontor, "ada")
    told = {}
    for case, actor, variables in (
        ("anonymous", ANONYMOUS, {}),
        ("customer", CUSTOMER, {}),
        ("part of an address", STAFF, {"search": "ada@"}),
        ("name", STAFF, {"search": "Ada"}),
        ("control character", STAFF, {"search": "ada\0@example.com"}),
        ("long", STAFF, {"search": "a" * 100_000}),
        ("page", STAFF, {"first": 101}),
        ("cursor", STAFF, {"after": "x"}),
    ):
        answer = await asked(kontor, USERS_PAGE, actor, **variables)
        assert answer.errors is not None, case
        error = answer.errors[0].original_error
        told[case] = (type(error).__name__, str(error).split(";")[0][:60])
    sealed = ("Invalid", "Accounts are found by their whole e-mail address or id")
    assert told == {
        "anonymous": ("Unauthenticated", told["anonymous"][1]),
        "customer": ("Forbidden", "This needs the role STAFF."),
        "part of an address": sealed,
        "name": sealed,
        "control character": sealed,
        "long": sealed,
        "page": ("Invalid", "first is 101"),
        "cursor": ("Invalid", "This is not a cursor of this list"),
    }


async def test_a_read_with_the_token_says_when_the_view_is_behind(kontor: Kontor) -> None:
    request = RegisterUser(email="ada@example.com", name="Ada", password=PASSWORD)
    token = Token(tuple((await kontor.pipeline.execute(request, actor=SYSTEM)).heads)).encoded()
    answer = await asked(kontor, USERS_PAGE, STAFF, search="ada@example.com", token=token)
    assert (answer.extensions or {})["consistency"]["stale"] is True
    await shown(kontor, USERS)
    assert names(await page(kontor, search="ada@example.com", token=token)) == ["Ada"]
