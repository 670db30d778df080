"""What is kept of a person beside the log: gone with the account, and never there again, whoever comes too late."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg import Rollback
from psycopg.sql import SQL

from adapters.mfa import MfaTable
from adapters.wiring import Kontor, open_kontor
from api.graphql.consistency import Freshness
from api.graphql.context import RequestContext
from api.graphql.schema import schema
from commands.account_recovery import VerifyEmail
from commands.handling import ANONYMOUS, Actor, Outcome
from commands.ports import TokenPurpose
from commands.sessions import SignIn
from commands.users import EraseUser, RegisterUser, UpdateProfile
from domain.disclosure import PersonalField, Secret
from domain.errors import AlreadyExists, BadCredentials, IllegalTransition
from domain.identity import SHARDS, UserId, email_claim_id
from domain.users import Role, User
from streams import erasure
from tests.adapters.test_event_store import append_of
from tests.erasing import erased_in_the_log
from tests.given import NOW, PASSWORD, SYSTEM, recorded

pytestmark = pytest.mark.servers
REFRESH = "mutation($t: String!) { refreshTokens(refreshToken: $t) { ok tokens { accessToken } userErrors { code } } }"
_KEPT = SQL(
    "SELECT (SELECT count(*) FROM person_keys WHERE person_id = %(id)s AND wrapped_key IS NOT NULL),"
    " (SELECT count(*) FROM credentials WHERE user_id = %(id)s),"
    " (SELECT count(*) FROM sessions WHERE user_id = %(id)s),"
    " (SELECT count(*) FROM prepared_factors WHERE user_id = %(id)s),"
    " (SELECT count(*) FROM account_tokens WHERE user_id = %(id)s)"
)


NOTHING, EVERYTHING = (0,) * 5, (1,) * 5


async def kept(kontor: Kontor, person: UUID) -> tuple[int, ...]:
    """How many keys, passwords, sessions, second factors and mailed tokens are stored."""
    (row,) = await kontor.reads.fetch(_KEPT, {"id": person})  # type: ignore[arg-type]  # named parameters
    return tuple(row)


async def mailed_token(kontor: Kontor, user_id: UUID) -> str:
    """For a link that sets another password."""
    address_id, now = email_claim_id("digest"), kontor.ports.clock.now()
    return await kontor.ports.account_tokens.make(
        user_id, TokenPurpose.PASSWORD_RESET, address_id=address_id, expires_at=now + timedelta(hours=1), now=now
    )


async def with_everything(kontor: Kontor, email: str = "ada@example.com") -> tuple[UserId, str]:
    """An account with a password, a session and a second factor, and the session's refresh token."""
    made = await kontor.pipeline.execute(RegisterUser(email=email, name="Ada", password=PASSWORD), actor=SYSTEM)
    user_id = UserId(made.aggregate_id)
    signed_in = await kontor.pipeline.execute(SignIn(email=email, password=PASSWORD), actor=ANONYMOUS)
    await kontor.ports.mfa.prepare(user_id, email, now=NOW)
    await mailed_token(kontor, user_id)
    assert await kept(kontor, user_id) == EVERYTHING
    return user_id, signed_in.secret["refresh_token"]


async def erase_and_die(kontor: Kontor, user_id: UUID) -> User:
    """The event is stored, and nothing is destroyed yet."""
    user: Any = (await kontor.store.load([user_id]))[user_id][0]
    user.erase(by="user:test", now=NOW)
    await kontor.store.append(append_of(user))
    return user  # type: ignore[no-any-return]


async def test_erasing_leaves_no_row_that_is_a_persons(kontor: Kontor) -> None:
    user_id, _ = await with_everything(kontor)
    other, _ = await with_everything(kontor, "bob@example.com")
    for _ in range(2):
        await kontor.pipeline.execute(
            EraseUser(user_id=user_id, current_password=PASSWORD), actor=Actor.user(user_id, [Role.CUSTOMER])
        )
    assert await kept(kontor, user_id) == NOTHING
    assert await kept(kontor, other) == EVERYTHING


async def test_the_follower_destroys_in_the_transaction_of_its_position_and_may_repeat_it(kontor: Kontor) -> None:
    user_id, _ = await with_everything(kontor)
    user = (await kontor.store.load([user_id]))[user_id][0]
    user.erase(by="user:test", now=NOW)  # type: ignore[attr-defined]
    events = recorded(user.collect_events())
    await erased_in_the_log(kontor.store, user_id, version=events[0].version)
    async with kontor.followers.begin("erasure", "users", range(SHARDS)) as transaction:
        await erasure.apply(transaction, events)
        raise Rollback
    assert await kept(kontor, user_id) == (1, 0, 0, 0, 0), "all but the key goes with the event"
    for _ in range(2):
        async with kontor.followers.begin("erasure", "users", range(SHARDS)) as transaction:
            await erasure.apply(transaction, events)
        assert await kept(kontor, user_id) == NOTHING


async def test_who_comes_after_the_erasure_stores_nothing(kontor: Kontor) -> None:
    """Requests that had loaded the account before it was erased."""
    user_id, _ = await with_everything(kontor)
    proof = await kontor.ports.credentials.verify(user_id, PASSWORD)
    assert proof is not None
    await kontor.pipeline.execute(EraseUser(user_id=user_id, current_password=PASSWORD), actor=Actor.user(user_id, []))
    await kontor.ports.credentials.set(user_id, PASSWORD)
    await kontor.ports.credentials.stage(user_id, PASSWORD, by=uuid4())
    assert await kontor.ports.sessions.open(proof, user_agent="Firefox", now=NOW) is None
    await mailed_token(kontor, user_id)
    with pytest.raises(IllegalTransition, match="ERASED"):
        await kontor.ports.mfa.prepare(user_id, "ada@example.com", now=NOW)
    assert await kept(kontor, user_id) == NOTHING


async def test_a_second_factor_that_was_sealed_before_and_is_stored_after_the_erasure_is_not(kontor: Kontor) -> None:
    user_id, _ = await with_everything(kontor)

    class Late:
        """Seals, and then the person is erased."""

        digest = staticmethod(kontor.personal_data.digest)

        async def seal(self, person_id: UUID, *texts: tuple[PersonalField, str]) -> tuple[str, ...]:
            sealed = await kontor.personal_data.seal(person_id, *texts)
            await kontor.pipeline.execute(
                EraseUser(user_id=UserId(person_id), current_password=PASSWORD), actor=Actor.user(person_id, [])
            )
            return sealed

    await MfaTable(kontor.pool, Late()).prepare(user_id, "ada@example.com", now=NOW)  # type: ignore[arg-type]
    assert await kept(kontor, user_id) == NOTHING


async def test_of_everything_at_once_with_an_erasure_nothing_stays(kontor: Kontor) -> None:
    ports = kontor.ports
    people = [uuid4() for _ in range(25)]
    for person in people:
        await ports.personal_data.seal(person, (PersonalField.USER_NAME, "x"))
    await erased_in_the_log(kontor.store, *people)

    async def erase(person: UUID) -> None:
        async with kontor.followers.begin("erasure", "users", range(SHARDS)) as transaction:
            await transaction.erase(person)

    for person in people:
        await ports.credentials.set(person, PASSWORD)
        proof = await ports.credentials.verify(person, PASSWORD)
        assert proof is not None
        done = await asyncio.gather(
            ports.sessions.open(proof, user_agent="a", now=NOW),
            ports.mfa.prepare(person, "a", now=NOW),
            ports.credentials.stage(person, "another horse battery", by=uuid4()),
            mailed_token(kontor, person),
            erase(person),
            ports.sessions.open(proof, user_agent="b", now=NOW),
            mailed_token(kontor, person),
            return_exceptions=True,
        )
        assert all(not isinstance(each, Exception) or isinstance(each, IllegalTransition) for each in done), done
    assert [await kept(kontor, person) for person in people] == [NOTHING] * len(people)


async def test_an_erased_account_gets_no_tokens_even_before_its_sessions_are_destroyed(kontor: Kontor) -> None:
    user_id, refresh_token = await with_everything(kontor)
    await erase_and_die(kontor, user_id)
    context = RequestContext(kontor, actor=ANONYMOUS, freshness=Freshness(kontor.positions, kontor.reads))
    answer = await schema.execute(REFRESH, variable_values={"t": refresh_token}, context_value=context)
    assert answer.errors is None
    assert answer.data == {"refreshTokens": {"ok": False, "tokens": None, "userErrors": [{"code": "BAD_CREDENTIALS"}]}}


async def test_an_erased_account_does_not_sign_in_even_before_its_password_is_destroyed(kontor: Kontor) -> None:
    user_id, _ = await with_everything(kontor)
    await erase_and_die(kontor, user_id)  # and its address is still claimed
    with pytest.raises(BadCredentials):
        await kontor.pipeline.execute(SignIn(email="ada@example.com", password=PASSWORD), actor=ANONYMOUS)


async def changing(kontor: Kontor, user_id: UserId, email: str) -> Secret:
    """The token of the link that changes the account's address to this one."""
    request = UpdateProfile(email=email, current_password=PASSWORD)
    await kontor.pipeline.execute(request, actor=Actor.user(user_id, [Role.CUSTOMER]))
    claim_id, now = email_claim_id(kontor.personal_data.digest(email)), kontor.ports.clock.now()
    return Secret(
        await kontor.ports.account_tokens.make(
            user_id, TokenPurpose.EMAIL_CHANGE, address_id=claim_id, expires_at=now + timedelta(hours=1), now=now
        )
    )


async def test_of_many_who_want_one_address_at_once_in_two_processes_one_gets_it(kontor: Kontor) -> None:
    """Registering and changing one's address, where a claim is new and where it was released before."""
    async with open_kontor(kontor.settings, name="second") as second:
        owners = [await with_everything(kontor, f"owner{n}@example.com") for n in range(4)]
        for n, email in enumerate(["new@example.com", "owner0@example.com"]):
            if n == 1:
                await kontor.pipeline.execute(
                    EraseUser(user_id=owners[0][0], current_password=PASSWORD), actor=Actor.user(owners[0][0], [])
                )
            tokens = [await changing(kontor, owners[place][0], email) for place in (1, 2, 3)]
            wanted: list[Any] = [
                *(each.pipeline.execute(RegisterUser(email=email, name="x", password=PASSWORD), actor=SYSTEM)
                  for each in (kontor, second, kontor)),
                *(each.pipeline.execute(VerifyEmail(token=token), actor=ANONYMOUS)
                  for each, token in zip((second, kontor, second), tokens, strict=True)),
            ]  # fmt: skip
            results = await asyncio.gather(*wanted, return_exceptions=True)
            assert sum(isinstance(result, Outcome) for result in results) == 1, results
            assert sum(isinstance(result, AlreadyExists) for result in results) == len(wanted) - 1, results
