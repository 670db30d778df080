"""The views themselves: how far each has come."""

from __future__ import annotations

import strawberry

from api.graphql.context import Info
from api.graphql.resolvers import resolver
from api.graphql.scalars import Cursor
from api.view_lag import ViewLag, view_lags
from commands.handling import staff


@strawberry.type(description="How far a view has come.")
class ViewStatus:
    name: str = strawberry.field(description="The view.")
    version: int = strawberry.field(description="The version of its rows.")
    position: Cursor = strawberry.field(description="Everything in the log up to here is in the view.")
    lag_events: int = strawberry.field(description="Events it has not applied yet.")
    lag_seconds: float = strawberry.field(description="The age of the oldest of them; 0 without any.")

    @classmethod
    def of(cls, lag: ViewLag) -> ViewStatus:
        """The lag as it is shown."""
        return cls(
            name=lag.name,
            version=lag.version,
            position=Cursor(str(lag.position)),
            lag_events=lag.events,
            lag_seconds=lag.seconds,
        )


@strawberry.type
class ViewsQuery:
    @resolver("Every view and how far it has come. STAFF.")
    async def views(self, info: Info) -> list[ViewStatus]:
        """Raises Unauthenticated or Forbidden."""
        staff(info.context.actor)
        return [ViewStatus.of(lag) for lag in await view_lags(info.context.kontor.reads)]
