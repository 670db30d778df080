"""Passwords and sessions on the real tables."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from adapters.metrics import REGISTRY
from adapters.sessions import SESSION_S, SessionTable
from adapters.wiring import Kontor
from domain.disclosure import PersonalField
from domain.errors import BadCredentials, TokenReused
from tests.given import PASSWORD

pytestmark = pytest.mark.servers


async def person(kontor: Kontor) -> UUID:
    """Somebody who has a key and a password, as everybody with an account."""
    made = uuid4()
    await kontor.personal_data.seal(made, (PersonalField.USER_NAME, "Ada"))
    await kontor.ports.credentials.set(made, PASSWORD)
    return made


async def opened_by(kontor: Kontor, user_id: UUID, now: datetime, *, user_agent: str = "") -> tuple[UUID, str]:
    """A new session: its id and its refresh token."""
    proof = await kontor.ports.credentials.verify(user_id, PASSWORD)
    assert proof is not None
    session = await kontor.ports.sessions.open(proof, user_agent=user_agent, now=now)
    assert session is not None
    return session


async def end(kontor: Kontor, session_id: UUID) -> None:
    async with kontor.pool.connection() as connection:
        await connection.execute("UPDATE sessions SET revoked_at = now() WHERE session_id = %s", [session_id])


async def test_a_password_is_one_persons(kontor: Kontor) -> None:
    passwords, ada, bob = kontor.ports.credentials, await person(kontor), await person(kontor)
    for password in ("first password", "second password"):
        await passwords.set(ada, password)
    assert not await passwords.verify(ada, "first password")
    assert await passwords.verify(ada, "second password")
    assert not await passwords.verify(None, "nobody has this password")
    assert not await passwords.verify(bob, "second password")
    assert await passwords.verify(bob, PASSWORD)


async def test_sessions_end_one_by_one_and_by_time(kontor: Kontor) -> None:
    sessions, ada, bob, now = kontor.sessions, await person(kontor), await person(kontor), datetime.now(UTC)
    first, second, third = [(await opened_by(kontor, ada, now, user_agent="x" * 300))[0] for _ in range(3)]
    bobs, _ = await opened_by(kontor, bob, now)
    await end(kontor, first)
    assert await sessions.live(ada, now=now) == {second, third}
    assert await sessions.live(ada, now=now + timedelta(seconds=SESSION_S)) == set()
    assert await sessions.live(bob, now=now) == {bobs}
    alive = [await sessions.is_live(each, now=now) for each in (first, second, bobs, uuid4())]
    assert alive == [False, True, True, False]
    assert not await sessions.is_live(second, now=now + timedelta(seconds=SESSION_S))


async def test_a_refresh_token_is_good_once_and_used_twice_ends_its_session(kontor: Kontor) -> None:
    sessions, ada, now = kontor.sessions, await person(kontor), datetime.now(UTC)
    opened, first = await opened_by(kontor, ada, now)
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
    opened, token = await opened_by(kontor, ada, now)
    await end(kontor, opened)
    with pytest.raises(BadCredentials):
        await sessions.rotate(token)


@pytest.mark.parametrize("ago", [1, 2, 5])
async def test_any_earlier_token_of_a_session_ends_it_and_raises_the_alarm(kontor: Kontor, ago: int) -> None:
    sessions, ada, now = kontor.sessions, await person(kontor), datetime.now(UTC)
    opened, token = await opened_by(kontor, ada, now)
    other, _ = await opened_by(kontor, ada, now)
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
    _, token = await opened_by(kontor, ada, now)
    answers = await asyncio.gather(*[sessions.rotate(token) for _ in range(6)], return_exceptions=True)
    kinds = [type(each) for each in answers]
    assert (kinds.count(tuple), kinds.count(TokenReused), kinds.count(BadCredentials)) == (1, 1, 4)
    assert await sessions.live(ada, now=now) == set()


async def test_tokens_are_stored_as_digests_and_go_with_their_session(kontor: Kontor) -> None:
    sessions, ada, now = kontor.sessions, await person(kontor), datetime.now(UTC)
    tokens = [(await opened_by(kontor, ada, now))[1]]
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
        await opened_by(kontor, ada, now + timedelta(seconds=SESSION_S + 60))  # after the last use
        (row,) = await (await connection.execute(stored)).fetchall()
        assert (row[0], len(row[1])) == (None, 1), "what has expired is cleared away at the next sign-in"


async def test_a_session_ends_without_use_and_after_its_longest_time_whatever_its_use(kontor: Kontor) -> None:
    ada, now = await person(kontor), datetime.now(UTC)
    table = SessionTable(kontor.pool, idle=timedelta(days=30), longest=timedelta(days=180))
    for used_before, opened_before, good in ((29, 29, True), (31, 31, False), (1, 179, True), (1, 181, False)):
        session_id, token = await opened_by(kontor, ada, now)
        async with kontor.pool.connection() as connection:
            await connection.execute(
                "UPDATE sessions SET last_used_at = %s, created_at = %s WHERE session_id = %s",
                [now - timedelta(days=used_before), now - timedelta(days=opened_before), session_id],
            )
        if good:
            assert (await table.rotate(token))[:2] == (ada, session_id)
        else:
            with pytest.raises(BadCredentials):
                await table.rotate(token)


async def test_who_uses_a_refresh_token_twice_is_told_of_before_the_session_ends(kontor: Kontor) -> None:
    ada, now = await person(kontor), datetime.now(UTC)
    session_id, token = await opened_by(kontor, ada, now)
    await kontor.sessions.rotate(token)

    async def dies(user_id: UUID, ended: UUID) -> None:
        assert (user_id, ended) == (ada, session_id)
        raise ConnectionError

    told: list[tuple[UUID, UUID]] = []

    async def tells(user_id: UUID, ended: UUID) -> None:
        told.append((user_id, ended))

    with pytest.raises(ConnectionError):
        await kontor.sessions.rotate(token, reused=dies)
    assert await kontor.sessions.live(ada, now=now) == {session_id}
    with pytest.raises(TokenReused):
        await kontor.sessions.rotate(token, reused=tells)
    assert told == [(ada, session_id)]
    assert await kontor.sessions.live(ada, now=now) == set()
