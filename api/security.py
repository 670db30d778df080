"""Who asks: the bearer token of a request, verified, as an Actor and the session it belongs to.

Every transport asks here: GraphQL over HTTP and WebSocket, REST, and the answers that are kept in front of them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Final, NamedTuple
from uuid import UUID

from adapters.access_tokens import AccessTokens
from adapters.security_log import tell
from adapters.void_tokens import Claims, TokensUnchecked
from adapters.wiring import Kontor
from commands.handling import ANONYMOUS, Actor
from commands.rights import present_roles
from commands.security_events import SecurityEvent
from domain.errors import Unauthenticated
from domain.users import Role, User

NOBODY: Final = ""


class Caller(NamedTuple):
    """The actor of a request; session and claims are those of its token, None without one."""

    actor: Actor
    session_id: UUID | None
    claims: Claims | None


class Viewer(NamedTuple):
    """Who asks, as a text that is the same for all who see the same: user and roles, NOBODY without a token."""

    text: str
    claims: Claims | None


async def caller_of(authorization: str | None, kontor: Kontor) -> Caller:
    """As `actor_of`, once it is known which tokens are void. Raises Unauthenticated as it does, or TokensUnchecked
    when that does not become known in time."""
    if authorization is not None:
        await kontor.void_tokens.heard()
    try:
        return _caller(authorization, kontor.access_tokens)
    except Unauthenticated:
        tell(SecurityEvent.IDENTITY_REFUSED, who=ANONYMOUS.name, what="access token", outcome="refused")
        raise


def access_token_for(user: User, session_id: UUID, kontor: Kontor) -> str:
    """A new access token of the session, with what its user may do now."""
    ports = kontor.ports
    roles = present_roles(user, factor_required=ports.factor_required)
    return kontor.access_tokens.issue(user.id, roles, session_id, version=user.version, now=ports.clock.now())


def actor_of(authorization: str | None, tokens: AccessTokens) -> tuple[Actor, UUID | None]:
    """The actor an `Authorization` header names, and the session of its token; ANONYMOUS and None without one.

    Raises Unauthenticated for anything that is not a bearer token of ours that is still good: a request that
    says who it is and is wrong is never served as somebody else's. Raises TokensUnchecked as `AccessTokens.verify`."""
    return _caller(authorization, tokens)[:2]


def _caller(authorization: str | None, tokens: AccessTokens) -> Caller:
    token = _bearer(authorization)
    if token is None:
        return Caller(ANONYMOUS, None, None)
    claims = tokens.verify(token)
    return Caller(Actor.user(claims.user_id, claims.roles, session_id=claims.session_id), claims.session_id, claims)


def from_address(actor: Actor, address: str) -> Actor:
    """The actor; of an anonymous one it is noted where the request came from."""
    return replace(actor, address=address) if actor == ANONYMOUS else actor


def viewer_of(authorization: bytes | None, tokens: AccessTokens) -> Viewer | None:
    """Who asks. None for what `actor_of` refuses."""
    if authorization is None:
        return Viewer(NOBODY, None)
    try:
        token = _bearer(authorization.decode("latin-1"))
        if token is None:
            return Viewer(NOBODY, None)
        claims = tokens.verify(token)
    except (Unauthenticated, TokensUnchecked):
        return None
    return Viewer(_viewer(claims.user_id, claims.roles), claims)


def still_good(viewer: Viewer, tokens: AccessTokens) -> bool:
    """May the viewer still be answered, now that time has passed since its token was verified?"""
    if viewer.claims is None:
        return True
    try:
        tokens.require_good(viewer.claims)
    except (Unauthenticated, TokensUnchecked):
        return False
    return True


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
