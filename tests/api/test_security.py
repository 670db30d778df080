"""The bearer token of a request."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from adapters.access_tokens import ACCESS_TOKEN_S, AccessTokens
from api.security import actor_of
from commands.handling import ANONYMOUS
from domain.errors import Unauthenticated
from domain.users import Role

TOKENS = AccessTokens(b"k" * 32)


def test_without_a_header_one_is_anonymous() -> None:
    assert actor_of(None, TOKENS) == (ANONYMOUS, None)


def test_a_good_token_names_user_roles_and_session() -> None:
    user_id, session_id = uuid4(), uuid4()
    token = TOKENS.issue(user_id, [Role.STAFF], session_id, now=datetime.now(UTC))
    actor, session = actor_of(f"bearer {token}", TOKENS)
    assert (actor.user_id, actor.roles, actor.is_staff) == (user_id, frozenset({Role.STAFF}), True)
    assert session == session_id


def test_an_expired_token_is_refused() -> None:
    then = datetime.now(UTC) - timedelta(seconds=ACCESS_TOKEN_S + 1)
    with pytest.raises(Unauthenticated, match="expired"):
        actor_of(f"Bearer {TOKENS.issue(uuid4(), [Role.CUSTOMER], uuid4(), now=then)}", TOKENS)


def test_a_token_of_another_key_is_refused() -> None:
    token = AccessTokens(b"o" * 32).issue(uuid4(), [Role.ADMIN], uuid4(), now=datetime.now(UTC))
    with pytest.raises(Unauthenticated):
        actor_of(f"Bearer {token}", TOKENS)


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic eDp5", "nope", "Bearer nope", "Bearer " + "x" * 5_000]
)
def test_a_header_that_is_no_bearer_token_is_refused_and_not_ignored(header: str) -> None:
    with pytest.raises(Unauthenticated):
        actor_of(header, TOKENS)
