"""Passwords and sessions on the real tables."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from adapters.metrics import REGISTRY
from adapters.sessions import SESSION_S
from adapters.wiring import Kontor
from domain.disclosure import PersonalField
from domain.errors import BadCredentials, TokenReused

pytestmark = pytest.mark.servers


async def person(kontor: Kontor) -> UUID:
    """Somebody who has a key, as everybody with an account."""
    made = uuid4()
    await kontor.personal_data.seal(made, (PersonalField.USER_NAME, "Ada"))
    return made


async def test_a_password_is_replaced_and_destroyed(kontor: Kontor) -> None:
    passwords, ada, bob = kontor.ports.credentials, await person(kontor), await person(kontor)
    await passwords.set(bob, "first password")
    for password in ("first password", "second password"):
        await passwords.set(ada, password)
    assert not await passwords.verify(ada, "first password")
    assert await passwords.verify(ada, "second password")
    assert not await passwords.verify(None, "nobody has this password")
    for _ in range(2):
        await passwords.destroy(ada)
    assert not await passwords.verify(ada, "second password")
    assert await passwords.verify(bob, "first password")


async def test_sessions_end_one_by_one_by_time_and_with_the_account(kontor: Kontor) -> None:
    sessions, ada, bob, now = kontor.ports.sessions, await person(kontor), await person(kontor), datetime.now(UTC)
    first, second, third = [(await sessions.open(ada, user_agent="x" * 300, now=now))[0] for _ in range(3)]
    bobs, _ = await sessions.open(bob, user_agent="", now=now)
    for _ in range(2):
        await sessions.end([first], now=now)
    await sessions.end([], now=now)
    assert await sessions.live(ada, now=now) == {second, third}
    assert await sessions.live(ada, now=now + timedelta(seconds=SESSION_S)) == set()
    for _ in range(2):
        await sessions.destroy(ada)
    assert await sessions.live(ada, now=now) == set()
    assert await sessions.live(bob, now=now) == {bobs}


async def test_a_refresh_token_is_good_once_and_used_twice_ends_its_session(kontor: Kontor) -> None:
    sessions, ada, now = kontor.sessions, await person(kontor), datetime.now(UTC)
    opened, first = await sessions.open(ada, user_agent="", now=now)
    user_id, session_id, second = await sessions.rotate(first)
    assert (user_id, session_id) == (ada, opened)
    with pytest.raises(TokenReused):
        await sessions.rotate(first)
    for token in (first, second, "made up"):
        with pytest.raises(BadCredentials):
            await sessions.rotate(token)
    assert await sessions.live(ada, now=now) == set()


async def test_the_token_of_an_ended_session_is_good_for_nothing(kontor: Kontor) -> None:
    sessions, ada, now = kontor.sessions, await person(kontor), datetime.now(UTC)
    opened, token = await sessions.open(ada, user_agent="", now=now)
    await sessions.end([opened], now=now)
    with pytest.raises(BadCredentials):
        await sessions.rotate(token)


@pytest.mark.parametrize("ago", [1, 2, 5])
async def test_any_earlier_token_of_a_session_ends_it_and_raises_the_alarm(kontor: Kontor, ago: int) -> None:
    sessions, ada, now = kontor.sessions, await person(kontor), datetime.now(UTC)
    opened, token = await sessions.open(ada, user_agent="", now=now)
    other, _ = await sessions.open(ada, user_agent="", now=now)
    tokens = [token]
    for _ in range(5):
        tokens.append((await sessions.rotate(tokens[-1]))[2])
    before = REGISTRY.get_sample_value("kontor_refresh_tokens_reused_total") or 0
    with capture_logs() as logged, pytest.raises(TokenReused):
        await sessions.rotate(tokens[-1 - ago])
    assert [(each["event"], each["session_id"]) for each in logged] == [("refresh_token_reused", str(opened))]
    assert REGISTRY.get_sample_value("kontor_refresh_tokens_reused_total") == before + 1
    with pytest.raises(BadCredentials):
        await sessions.rotate(tokens[-1])
    assert await sessions.live(ada, now=now) == {other}


async def test_of_two_at_once_with_one_token_one_gets_the_next(kontor: Kontor) -> None:
    sessions, ada, now = kontor.sessions, await person(kontor), datetime.now(UTC)
    _, token = await sessions.open(ada, user_agent="", now=now)
    answers = await asyncio.gather(*[sessions.rotate(token) for _ in range(6)], return_exceptions=True)
    kinds = [type(each) for each in answers]
    assert (kinds.count(tuple), kinds.count(TokenReused), kinds.count(BadCredentials)) == (1, 1, 4)
    assert await sessions.live(ada, now=now) == set()


async def test_tokens_are_stored_as_digests_and_go_with_their_session(kontor: Kontor) -> None:
    sessions, ada, now = kontor.sessions, await person(kontor), datetime.now(UTC)
    tokens = [(await sessions.open(ada, user_agent="", now=now))[1]]
    for _ in range(3):
        tokens.append((await sessions.rotate(tokens[-1]))[2])
    async with kontor.pool.connection() as connection:
        stored = (
            "SELECT (SELECT array_agg(t::text) FROM earlier_refresh_tokens t),"
            " (SELECT array_agg(s::text) FROM sessions s)"
        )
        (row,) = await (await connection.execute(stored)).fetchall()
        assert (len(row[0]), len(row[1])) == (2, 1)
        assert not any(token in repr(row) or token.encode().hex() in repr(row) for token in tokens)
        await sessions.open(ada, user_agent="", now=now + timedelta(seconds=SESSION_S))
        (row,) = await (await connection.execute(stored)).fetchall()
        assert (row[0], len(row[1])) == (None, 1), "what has expired is cleared away at the next sign-in"
