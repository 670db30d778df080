"""Another second factor ends every other session, and none else."""

from __future__ import annotations

from uuid import UUID

from commands.credentials import ConfirmMfa, DisableMfa, EnableMfa
from commands.handling import ANONYMOUS, Actor
from commands.sessions import SignIn
from tests.given import PASSWORD, InMemory

EMAIL = "ada@example.com"


async def signed_in(kontor: InMemory, user_id: UUID, code: str | None = None) -> Actor:
    """As the API knows her by the access token of a new session."""
    outcome = await kontor.execute(SignIn(email=EMAIL, password=PASSWORD, mfa_code=code), ANONYMOUS)
    return Actor.user(user_id, [], session_id=UUID(outcome.secret["session_id"]))


async def test_a_second_factor_that_is_set_up_or_given_up_ends_every_other_session() -> None:
    kontor = InMemory()
    user_id = (await kontor.customer(EMAIL)).user_id
    assert user_id is not None
    ada, thief = await signed_in(kontor, user_id), await signed_in(kontor, user_id)
    await kontor.execute(EnableMfa(current_password=PASSWORD), ada)
    assert kontor.sessions.ended == set()
    await kontor.execute(ConfirmMfa(code="000001"), ada)
    assert kontor.sessions.ended == {thief.session_id}
    other = await signed_in(kontor, user_id, "000002")
    await kontor.execute(DisableMfa(code="000003", current_password=PASSWORD), ada)
    assert kontor.sessions.ended == {thief.session_id, other.session_id}
    assert await kontor.sessions.live(user_id, now=kontor.clock.now()) == {ada.session_id}
