"""Tokens of mailed links: the promises of the port, of the twin and of the table alike, and what the table adds."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from adapters.account_tokens import TOKENS_OF_A_PURPOSE_MAX
from adapters.memory import memory_ports
from adapters.wiring import Kontor
from commands.ports import AccountToken, AccountTokens, EventStore, PersonalData, TokenPurpose
from domain.disclosure import PersonalField
from domain.identity import email_claim_id
from tests.erasing import erased_in_the_log

pytestmark = pytest.mark.servers
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
VERIFY, RESET = TokenPurpose.EMAIL_VERIFICATION, TokenPurpose.PASSWORD_RESET
ADDRESS = email_claim_id("digest")
ONE, OTHER = UUID(int=1), UUID(int=2)


class World:
    """One of the two, and its people."""

    def __init__(self, tokens: AccountTokens, personal_data: PersonalData, store: EventStore | None = None) -> None:
        self.tokens, self.personal_data, self.store = tokens, personal_data, store

    async def person(self) -> UUID:
        person = uuid4()
        await self.personal_data.seal(person, (PersonalField.USER_NAME, "Ada"))
        return person

    async def made(self, person: UUID, purpose: TokenPurpose = RESET, *, now: datetime = NOW) -> str:
        return await self.tokens.make(
            person, purpose, address_id=ADDRESS, expires_at=now + timedelta(minutes=30), now=now
        )

    async def good(self, token: str, purpose: TokenPurpose = RESET, *, by: UUID = ONE, now: datetime = NOW) -> bool:
        return await self.tokens.find(token, purpose, by=by, now=now) is not None


@pytest.fixture(params=["memory", "postgres"])
async def world(request: pytest.FixtureRequest, kontor: Kontor) -> World:
    ports = memory_ports() if request.param == "memory" else kontor.ports
    return World(ports.account_tokens, ports.personal_data, ports.store)


async def test_a_token_says_whose_it_is_until_it_expires(world: World) -> None:
    person = await world.person()
    token = await world.made(person)
    assert await world.tokens.find(token, RESET, by=ONE, now=NOW) == AccountToken(person, ADDRESS)
    assert not await world.good(token, VERIFY)
    assert not await world.good(token + "x")
    assert await world.good(token, now=NOW + timedelta(minutes=29))
    assert not await world.good(token, now=NOW + timedelta(minutes=30))
    assert not await world.tokens.take(token, RESET, by=ONE, now=NOW + timedelta(minutes=30))


async def test_one_command_takes_a_token_however_often_it_asks(world: World) -> None:
    token = await world.made(await world.person())
    assert not await world.tokens.take(token, VERIFY, by=ONE, now=NOW)
    for _ in range(2):
        assert await world.tokens.take(token, RESET, by=ONE, now=NOW)
    assert not await world.tokens.take(token, RESET, by=OTHER, now=NOW)
    assert await world.good(token, by=ONE)
    assert not await world.good(token, by=OTHER)


async def test_of_many_at_once_one_takes_it(world: World) -> None:
    token = await world.made(await world.person())
    taken = await asyncio.gather(*(world.tokens.take(token, RESET, by=uuid4(), now=NOW) for _ in range(20)))
    assert sum(taken) == 1


async def test_a_later_token_leaves_the_earlier_ones_good(world: World) -> None:
    person = await world.person()
    made = [await world.made(person, now=NOW + timedelta(seconds=number)) for number in range(5)]
    assert len(set(made)) == 5
    assert all([await world.good(token) for token in made])


async def test_nobody_who_was_erased_or_never_was_gets_a_token(world: World) -> None:
    person = await world.person()
    assert world.store is not None
    await erased_in_the_log(world.store, person)
    await world.personal_data.destroy(person)
    assert not await world.good(await world.made(person))


async def test_the_table_keeps_no_token_and_no_more_than_its_bound(kontor: Kontor) -> None:
    world = World(kontor.ports.account_tokens, kontor.personal_data)
    person = await world.person()
    old = await world.made(person, now=NOW - timedelta(hours=1))
    verify = await world.made(person, VERIFY)
    made = [await world.made(person, now=NOW + timedelta(seconds=n)) for n in range(TOKENS_OF_A_PURPOSE_MAX + 2)]
    async with kontor.pool.connection() as connection:
        rows = await (await connection.execute("SELECT t::text FROM account_tokens t")).fetchall()
    assert len(rows) == TOKENS_OF_A_PURPOSE_MAX + 1
    told = "".join(row[0] for row in rows)
    assert not any(token in told or token.encode().hex() in told for token in (*made, verify, old))
    assert [await world.good(token) for token in made] == [False] * 2 + [True] * TOKENS_OF_A_PURPOSE_MAX
    assert await world.good(verify, VERIFY)
