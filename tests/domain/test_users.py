"""Users and the claims on their addresses."""

from __future__ import annotations

from uuid import UUID

from domain.identity import email_claim_id
from domain.users import USER_AGENT_LENGTH_MAX, EmailClaim, Role, User
from tests.given import CUSTOMER_ID, NOW


def registered() -> User:
    return User.register(
        user_id=CUSTOMER_ID, sealed_email="s1.a", sealed_name="s1.b", roles=(Role.CUSTOMER, Role.STAFF), now=NOW
    )


def test_a_user_keeps_what_was_sealed_and_the_roles() -> None:
    user = registered()
    assert (user.id, user.email, user.name, user.roles) == (CUSTOMER_ID, "s1.a", "s1.b", (Role.CUSTOMER, Role.STAFF))


def test_signing_in_is_recorded_with_the_device_cut_to_a_bounded_length() -> None:
    user = registered()
    user.sign_in(session_id=UUID(int=1), user_agent="x" * (USER_AGENT_LENGTH_MAX + 1), now=NOW)
    event = user.collect_events()[-1]
    assert (event.session_id, event.user_agent) == (UUID(int=1), "x" * USER_AGENT_LENGTH_MAX)


def test_a_refused_sign_in_is_recorded_and_changes_nothing_else() -> None:
    user = registered()
    before = (user.email, user.name, user.roles)
    user.refuse_sign_in(reason="wrong password", now=NOW)
    assert user.collect_events()[-1].reason == "wrong password"
    assert (user.email, user.name, user.roles) == before


def test_two_claims_on_one_address_are_one_stream() -> None:
    claims = [
        EmailClaim.claim(claim_id=email_claim_id("digest"), user_id=user_id, now=NOW)
        for user_id in (CUSTOMER_ID, UUID(int=2))
    ]
    assert claims[0].id == claims[1].id
    assert [claim.version for claim in claims] == [1, 1]
    assert claims[0].user_id == CUSTOMER_ID
