"""One's own sessions: which devices are signed in, and which of them asks."""

from __future__ import annotations

from datetime import datetime

import strawberry

from api.graphql.context import Info
from api.graphql.resolvers import resolver
from commands.handling import signed_in


@strawberry.type(description="A device that is signed in.")
class Session:
    id: strawberry.ID = strawberry.field(description="For `signOut`.")
    created_at: datetime = strawberry.field(description="When it signed in.")
    last_used_at: datetime = strawberry.field(description="When it last got new tokens.")
    user_agent: str | None = strawberry.field(description="What the device said of itself; null where it said nothing.")
    current: bool = strawberry.field(description="Is this the session of the access token that asks?")


@strawberry.type
class SessionsQuery:
    @resolver("One's own sessions that have not ended, the last used first, 100 at most.", who=signed_in)
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
