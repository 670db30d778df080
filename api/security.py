"""Who asks: the bearer token of a request, verified, as an Actor."""

from __future__ import annotations

from typing import Final

from adapters.sessions import AccessTokens
from commands.handling import ANONYMOUS, Actor
from domain.errors import Unauthenticated

TOKEN_LENGTH_MAX: Final = 4_096


def actor_of(authorization: str | None, tokens: AccessTokens) -> Actor:
    """The actor an `Authorization` header names; ANONYMOUS without one.

    Raises Unauthenticated for anything that is not a bearer token of ours that is still good: a request that
    says who it is and is wrong is never served as somebody else's."""
    if authorization is None:
        return ANONYMOUS
    scheme, _, token = authorization.strip().partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("Send the access token as `Authorization: Bearer <token>`.")
    if len(token) > TOKEN_LENGTH_MAX:
        raise Unauthenticated("The access token is not valid or has expired; refresh it, or sign in again.")
    user_id, roles, _ = tokens.verify(token.strip())
    return Actor.user(user_id, roles)
