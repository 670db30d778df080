"""Passwords and sessions on the real tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from adapters.sessions import SESSION_S
from adapters.wiring import Kontor
from domain.errors import BadCredentials, TokenReused

pytestmark = pytest.mark.servers


async def person(kontor: Kontor) -> UUID:
    """Somebody who has a key, as everybody with an account."""
    made = uuid4()
    await kontor.personal_data.seal(made, "Ada")
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
