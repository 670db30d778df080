"""The views themselves: how far each has come."""

from __future__ import annotations

from enum import Enum

import strawberry

from api.graphql.context import Info
from api.graphql.resolvers import resolver
from api.graphql.scalars import Cursor
from api.view_lag import ViewLag, view_lags
from commands.doors import PLAIN
from commands.handling import staff


@strawberry.enum(description="Does a view go on?")
class ViewState(Enum):
    LIVE = "LIVE"
    REBUILDING = "REBUILDING"
    STOPPED = "STOPPED"


@strawberry.type(description="How far a view has come.")
class ViewStatus:
    name: str = strawberry.field(description="The view.")
    version: int = strawberry.field(description="The version of its rows.")
    state: ViewState = strawberry.field(
        description="REBUILDING: it is read as ever, and being built anew beside that, see `kontor views`. "
        "STOPPED: too much is parked, see `kontor parked list`."
    )
    position: Cursor = strawberry.field(description="Everything in the log up to here is in the view.")
    lag_events: int = strawberry.field(description="Events it has not applied yet.")
    lag_seconds: float = strawberry.field(description="The age of the oldest of them; 0 without any.")
    parked_aggregates: int = strawberry.field(description="Aggregates with an event that could not be applied.")

    @classmethod
    def of(cls, lag: ViewLag) -> ViewStatus:
        """The lag as it is shown."""
        return cls(
            name=lag.name,
            version=lag.version,
            state=ViewState.STOPPED if lag.stopped else ViewState.REBUILDING if lag.rebuilding else ViewState.LIVE,
            position=Cursor(str(lag.position)),
            lag_events=lag.events,
            lag_seconds=lag.seconds,
            parked_aggregates=lag.parked,
        )


@strawberry.type
class ViewsQuery:
    @resolver("Every view and how far it has come. STAFF.", who=staff, door=PLAIN)
    async def views(self, info: Info) -> list[ViewStatus]:
        """Raises Unauthenticated or Forbidden."""
        return [ViewStatus.of(lag) for lag in await view_lags(info.context.kontor.reads)]
