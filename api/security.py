"""Who asks: the bearer token of a request, verified, as an Actor and the session it belongs to."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Final
from uuid import UUID

from adapters.access_tokens import AccessTokens
from commands.handling import ANONYMOUS, Actor
from domain.errors import Unauthenticated
from domain.users import Role

NOBODY: Final = ""


def actor_of(authorization: str | None, tokens: AccessTokens) -> tuple[Actor, UUID | None]:
    """The actor an `Authorization` header names, and the session of its token; ANONYMOUS and None without one.

    Raises Unauthenticated for anything that is not a bearer token of ours that is still good: a request that
    says who it is and is wrong is never served as somebody else's."""
    token = _bearer(authorization)
    if token is None:
        return ANONYMOUS, None
    user_id, roles, session_id = tokens.verify(token)
    return Actor.user(user_id, roles), session_id


def good_until(authorization: str | None, tokens: AccessTokens) -> datetime | None:
    """When the actor of `actor_of` is to be asked again; None for ANONYMOUS. Raises Unauthenticated as it does."""
    token = _bearer(authorization)
    return None if token is None else tokens.good_until(token)


def viewer_of(authorization: bytes | None, tokens: AccessTokens) -> str | None:
    """Who asks, as a text that is the same for all who see the same: user and roles, NOBODY without a token. None for
    what `actor_of` refuses."""
    if authorization is None:
        return NOBODY
    try:
        token = _bearer(authorization.decode("latin-1"))
        return NOBODY if token is None else _viewer(*tokens.verify(token)[:2])
    except Unauthenticated:
        return None


@lru_cache(4_096)
def _viewer(user_id: UUID, roles: tuple[Role, ...]) -> str:
    return f"{user_id} {' '.join(sorted(roles))}"


def _bearer(authorization: str | None) -> str | None:
    if authorization is None:
        return None
    scheme, _, token = authorization.strip().partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("Send the access token as `Authorization: Bearer <token>`.")
    return token.strip()
