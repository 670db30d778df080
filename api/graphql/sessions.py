"""Signing in and out; one's own sessions: which devices are signed in, and which of them asks."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

import strawberry

from adapters.access_tokens import ACCESS_TOKEN_S
from adapters.security_log import tell
from api.graphql.context import Info, RequestContext, parsed_id
from api.graphql.receipts import OkPayload, UserError, answered
from api.graphql.resolvers import resolver
from api.graphql.users import User
from api.security import access_token_for
from api.throttling import RefreshTokens, throttled
from commands.administration import EndReusedSession
from commands.doors import PLAIN
from commands.handling import Actor, signed_in
from commands.security_events import SecurityEvent
from commands.sessions import SignIn, SignOut
from domain import users as domain
from domain.disclosure import Secret, hidden_repr
from domain.errors import AccountSuspended, BadCredentials, DomainError
from domain.identity import UserId

ACTOR: Final = Actor.system("sessions")
NO_SESSION: Final = UUID(int=0)


@strawberry.type(description="What a signed-in client holds.")
class Tokens:
    access_token: str = strawberry.field(description="Send it as `Authorization: Bearer`.")
    refresh_token: str = strawberry.field(description="Good once, for the next pair of tokens.")
    expires_in: int = strawberry.field(description="Seconds until the access token expires.")
    __repr__ = hidden_repr


@strawberry.type(description="The answer to signing in.")
class SignInPayload:
    ok: bool = strawberry.field(description="Is the caller signed in?")
    user_errors: list[UserError] = strawberry.field(description="Why not; empty when it worked.")
    tokens: Tokens | None = strawberry.field(description="The new tokens.")
    user: User | None = strawberry.field(description="Who signed in.")


@strawberry.input(description="Who signs in.")
class SignInInput:
    email: str = strawberry.field(description="The account's address.")
    password: str = strawberry.field(description="Its password.")
    mfa_code: str | None = strawberry.field(default=None, description="A code of time or recovery, where it needs one.")
    __repr__ = hidden_repr


@strawberry.type(description="A device that is signed in.")
class Session:
    id: strawberry.ID = strawberry.field(description="For `signOut`.")
    created_at: datetime = strawberry.field(description="When it signed in.")
    last_used_at: datetime = strawberry.field(description="When it last got new tokens.")
    user_agent: str | None = strawberry.field(description="What the device said of itself; null where it said nothing.")
    current: bool = strawberry.field(description="Is this the session of the access token that asks?")


def signed_in_payload(
    context: RequestContext, user: domain.User, *, session_id: UUID, refresh_token: str
) -> SignInPayload:
    """The account with a fresh pair of tokens."""
    access_token = access_token_for(user, session_id, context.kontor)
    tokens = Tokens(access_token=access_token, refresh_token=refresh_token, expires_in=ACCESS_TOKEN_S)
    return SignInPayload(ok=True, user_errors=[], tokens=tokens, user=User.of_aggregate(user))


@strawberry.type
class SessionsQuery:
    @resolver("One's own sessions that have not ended, the last used first, 100 at most.", who=signed_in, door=PLAIN)
    async def my_sessions(self, info: Info) -> list[Session]:
        """From the table itself, never late. Raises Unauthenticated."""
        context = info.context
        user_id = context.actor.user_id
        if user_id is None:
            return []
        now = context.kontor.ports.clock.now()
        return [
            Session(
                id=strawberry.ID(str(session.id)),
                created_at=session.created_at,
                last_used_at=session.last_used_at,
                user_agent=session.user_agent or None,
                current=session.id == context.session_id,
            )
            for session in await context.kontor.sessions.listed(user_id, now=now)
        ]


@strawberry.type
class SessionsMutation:
    @resolver("Sign in with e-mail address and password.")
    async def sign_in(self, info: Info, input: SignInInput) -> SignInPayload:
        """See `commands.sessions.sign_in`. Takes no idempotency key: tokens are never stored, so never repeated."""
        context = info.context
        request = SignIn(
            email=input.email,
            password=Secret(input.password),
            mfa_code=None if input.mfa_code is None else Secret(input.mfa_code),
            user_agent=context.user_agent,
        )
        try:
            async with throttled(context.kontor, request, actor=context.actor, address=context.address):
                outcome = await context.kontor.pipeline.execute(request, actor=context.actor)
        except DomainError as error:
            return SignInPayload(ok=False, user_errors=[UserError.of(error)], tokens=None, user=None)
        assert isinstance(outcome.aggregate, domain.User), outcome.command_id
        session_id, refresh_token = UUID(outcome.secret["session_id"]), outcome.secret["refresh_token"]
        return signed_in_payload(context, outcome.aggregate, session_id=session_id, refresh_token=refresh_token)

    @resolver("Exchange a refresh token for new tokens. Used twice, it ends the session.", door=RefreshTokens.DOOR)
    async def refresh_tokens(self, info: Info, refresh_token: str) -> SignInPayload:
        """See `adapters.sessions.SessionTable.rotate`."""
        context = info.context
        try:
            async with throttled(context.kontor, RefreshTokens(), actor=context.actor, address=context.address):

                async def ended(whose: UUID, session: UUID) -> None:
                    """With this event its access tokens are void in every process."""
                    request = EndReusedSession(user_id=UserId(whose), session_id=session)
                    await context.kontor.pipeline.execute(request, actor=ACTOR, correlation_id=context.correlation_id)

                user_id, session_id, fresh = await context.kontor.sessions.rotate(refresh_token, reused=ended)
            user = (await context.kontor.store.load([user_id])).get(user_id, (None, None))[0]
            if not isinstance(user, domain.User) or user.erased:
                raise BadCredentials("The account of this refresh token does not exist any more; register anew.")
            if user.suspended:
                raise AccountSuspended("This account is suspended; ask the shop why.")
            # The access token says which version of the account it was made from. What ended the session after that
            # is a later version, which makes the token void; what ended it before shows here.
            if not await context.kontor.sessions.is_live(session_id, now=context.kontor.ports.clock.now()):
                raise BadCredentials("The session of this refresh token has ended; sign in again.")
        except DomainError as error:
            tell(
                SecurityEvent.SESSION_RENEWED, who=context.actor.name, what="refreshTokens", outcome=error.code.lower()
            )
            return SignInPayload(ok=False, user_errors=[UserError.of(error)], tokens=None, user=None)
        tell(SecurityEvent.SESSION_RENEWED, who=f"user:{user_id}", what="refreshTokens", subjects=[str(session_id)])
        return signed_in_payload(context, user, session_id=session_id, refresh_token=fresh)

    @resolver("End one of one's own sessions; without an id, all of them.")
    async def sign_out(self, info: Info, session_id: strawberry.ID | None = None) -> OkPayload:
        """See `commands.sessions.sign_out`. An id that is none ends nothing."""
        request = SignOut(session_id=None if session_id is None else parsed_id(session_id) or NO_SESSION)
        return OkPayload.of(await answered(info.context, lambda: request, None))
