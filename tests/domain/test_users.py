"""Users and the claims on their addresses."""

from __future__ import annotations

import json
from uuid import UUID

from adapters.event_codec import EventMapper
from domain.email_claims import EmailClaim
from domain.identity import email_claim_id
from domain.sessions import SignInAttempt
from domain.users import Role, User
from tests.given import CUSTOMER_ID, NOW

SESSION = UUID(int=0x5E)


def registered() -> User:
    return User.register(
        user_id=CUSTOMER_ID, sealed_email="s1.a", sealed_name="s1.b", roles=(Role.CUSTOMER, Role.STAFF), now=NOW
    )


def test_a_user_keeps_what_was_sealed_and_the_roles() -> None:
    user = registered()
    assert (user.id, user.email, user.name, user.roles) == (CUSTOMER_ID, "s1.a", "s1.b", (Role.CUSTOMER, Role.STAFF))


def test_an_attempt_to_sign_in_is_a_stream_of_its_own() -> None:
    opened = SignInAttempt.succeeded(user_id=CUSTOMER_ID, session_id=SESSION, now=NOW)
    assert (opened.id, opened.user_id, opened.session_id, opened.failure) == (SESSION, CUSTOMER_ID, SESSION, None)
    failed = SignInAttempt.failed(attempt_id=UUID(int=2), user_id=CUSTOMER_ID, reason="wrong password", now=NOW)
    assert (failed.id, failed.user_id, failed.session_id) == (UUID(int=2), CUSTOMER_ID, None)
    assert failed.failure == "wrong password"


def test_what_a_device_said_in_an_earlier_version_of_the_event_is_not_read_any_more() -> None:
    state = {"timestamp": "2026-01-01T12:00:00Z", "session_id": str(UUID(int=1)), "user_agent": "Firefox/140"}
    event = EventMapper().decode("user.signed_in", 1, json.dumps(state).encode(), CUSTOMER_ID, 2)
    assert event.user_agent == ""  # type: ignore[attr-defined]


def test_two_claims_on_one_address_are_one_stream() -> None:
    claims = [
        EmailClaim.claim(claim_id=email_claim_id("digest"), user_id=user_id, now=NOW)
        for user_id in (CUSTOMER_ID, UUID(int=2))
    ]
    assert claims[0].id == claims[1].id
    assert [claim.version for claim in claims] == [1, 1]
    assert claims[0].user_id == CUSTOMER_ID
