"""Users and the claims on their addresses."""

from __future__ import annotations

import json
from uuid import UUID

from adapters.event_codec import EventMapper
from domain.identity import email_claim_id
from domain.users import EmailClaim, Role, User
from tests.given import CUSTOMER_ID, NOW


def registered() -> User:
    return User.register(
        user_id=CUSTOMER_ID, sealed_email="s1.a", sealed_name="s1.b", roles=(Role.CUSTOMER, Role.STAFF), now=NOW
    )


def test_a_user_keeps_what_was_sealed_and_the_roles() -> None:
    user = registered()
    assert (user.id, user.email, user.name, user.roles) == (CUSTOMER_ID, "s1.a", "s1.b", (Role.CUSTOMER, Role.STAFF))


def test_signing_in_is_recorded_without_what_the_device_says_of_itself() -> None:
    user = registered()
    user.sign_in(session_id=UUID(int=1), now=NOW)
    event = user.collect_events()[-1]
    assert (event.session_id, event.user_agent) == (UUID(int=1), "")


def test_what_a_device_said_in_an_earlier_version_of_the_event_is_not_read_any_more() -> None:
    state = {"timestamp": "2026-01-01T12:00:00Z", "session_id": str(UUID(int=1)), "user_agent": "Firefox/140"}
    event = EventMapper().decode("user.signed_in", 1, json.dumps(state).encode(), CUSTOMER_ID, 2)
    assert event.user_agent == ""  # type: ignore[attr-defined]


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
