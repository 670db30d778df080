"""The log as integrators, analysts and auditors read it: what happened, page by page, never late and never with a hole.

Positions are in the order of commits, so whoever goes on from the cursor of the last event misses nothing that is for
him: a reader is shown the types whose audience (`domain.audience`) he is of.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import strawberry
from strawberry.scalars import JSON

from adapters.log import LogRecord
from api.graphql.context import Info, parsed_id
from api.graphql.cursors import PageInfo, page_size
from api.graphql.history import event_data
from api.graphql.resolvers import resolver
from api.graphql.scalars import Cursor
from commands.doors import PLAIN
from commands.handling import Actor, log_reader
from domain import EVENT_TYPES, aggregate_type_of, readable_types
from domain.errors import Forbidden, Invalid
from domain.identity import event_id_text
from domain.text import plain_text

EVENTS: Final = 50
ACTOR_LENGTH_MAX: Final = 200
POSITION_DIGITS_MAX: Final = 18  # a position fits 63 bits


@strawberry.type(description="Something that happened, as the log has it. What is personal in it stays sealed.")
class Event:
    position: Cursor = strawberry.field(description="Its place in the log; pass it as `since`.")
    id: strawberry.ID = strawberry.field(description="A UUID, for ever the same on every road: the CloudEvents id.")
    type: str = strawberry.field(description="What happened, like order.placed.")
    schema_version: int = strawberry.field(description="The version of the shape of `data`.")
    aggregate_type: str = strawberry.field(description="What it happened to, like order.")
    aggregate_id: strawberry.ID = strawberry.field(description="Which one.")
    version: int = strawberry.field(description="The aggregate's version after the event, from 1.")
    recorded_at: datetime = strawberry.field(description="When it was recorded.")
    actor: str | None = strawberry.field(description="Who did it: `user:<id>`, `system:<what>` or `anonymous`.")
    correlation_id: strawberry.ID | None = strawberry.field(description="Shared by all that followed from one request.")
    causation_id: strawberry.ID | None = strawberry.field(description="The event or command this one followed from.")
    data: JSON = strawberry.field(description="What the event says, in its present shape.")

    @classmethod
    def of(cls, record: LogRecord, actor: Actor) -> Event:
        """The record, upcast to its event's present shape, as this actor may read it; as it is stored, where this code
        cannot read it."""
        data, schema_version = event_data(record, actor)
        return cls(
            position=Cursor(str(record.position)),
            id=strawberry.ID(event_id_text(record.aggregate_id, record.version)),
            type=record.event_type,
            schema_version=schema_version,
            aggregate_type=aggregate_type_of(record.event_type),
            aggregate_id=strawberry.ID(str(record.aggregate_id)),
            version=record.version,
            recorded_at=record.recorded_at,
            actor=record.actor,
            correlation_id=strawberry.ID(str(record.correlation_id)),
            causation_id=strawberry.ID(str(record.causation_id)) if record.causation_id else None,
            data=data,
        )


@strawberry.type(description="An event on a page.")
class EventEdge:
    cursor: Cursor = strawberry.field(description="Its place in the log; pass it as `since`.")
    node: Event = strawberry.field(description="The event.")


@strawberry.type(description="A page of events.")
class EventConnection:
    edges: list[EventEdge] = strawberry.field(description="The events with their cursors.")
    nodes: list[Event] = strawberry.field(description="The events.")
    page_info: PageInfo = strawberry.field(description="Where the page stands.")

    @classmethod
    def of(cls, records: list[LogRecord], actor: Actor, *, size: int, since: str | None) -> EventConnection:
        """The first `size` of the records; the caller has read one more, to learn whether there is more."""
        nodes = [Event.of(record, actor) for record in records[:size]]
        info = PageInfo(
            has_next_page=len(records) > size,
            has_previous_page=since is not None,
            start_cursor=nodes[0].position if nodes else None,
            end_cursor=nodes[-1].position if nodes else None,
        )
        return cls(edges=[EventEdge(cursor=node.position, node=node) for node in nodes], nodes=nodes, page_info=info)


def parsed_position(cursor: str | None, *, field: str) -> int:
    """The position; 0, before everything, for None. Raises Invalid for a cursor that no event has."""
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= POSITION_DIGITS_MAX):
        raise Invalid("This is no position in the log; pass on an event's `position` as it is.", field=(field,))
    return int(cursor)


def known_types(types: list[str]) -> list[str]:
    """Each once. Raises Invalid for a type that no event has."""
    if unknown := sorted(set(types) - EVENT_TYPES):
        raise Invalid(
            f"There are no events of type {unknown[0][:100]!r}; types are like order.placed.", field=("types",)
        )
    return sorted(set(types))


def types_for(actor: Actor, types: list[str] | None) -> frozenset[str] | None:
    """The types that this reader of the log is shown; None for all there are. Raises Invalid like `known_types`,
    Forbidden where one was named that is not for the reader."""
    wanted = frozenset(known_types(types)) if types is not None else None
    readable = readable_types(actor.roles)
    if wanted is not None and (hidden := sorted(wanted - readable)):
        raise Forbidden(f"Events of the type {hidden[0]} are for STAFF and ADMIN; leave it out of `types`.")
    return wanted if wanted is not None or readable == EVENT_TYPES else readable


@strawberry.type
class EventsQuery:
    @resolver(
        "The log: who did what, oldest first, after `since`. STAFF, ANALYST, INTEGRATOR.", who=log_reader, door=PLAIN
    )
    async def events(
        self,
        info: Info,
        since: Cursor | None = None,
        types: list[str] | None = None,
        aggregate_id: strawberry.ID | None = None,
        correlation_id: strawberry.ID | None = None,
        actor: str | None = None,
        first: int | None = EVENTS,
    ) -> EventConnection:
        """Raises Unauthenticated, Forbidden, or Invalid for a page size outside 1 to 100, a type or cursor that is
        none. An id that cannot be one has no events."""
        context = info.context
        size, position = page_size(first, usual=EVENTS), parsed_position(since, field="since")
        of_aggregate, of_correlation = parsed_id(aggregate_id), parsed_id(correlation_id)
        by = None if actor is None else plain_text(actor, field="actor", length_max=ACTOR_LENGTH_MAX)
        shown = types_for(context.actor, types)
        if (aggregate_id is not None and of_aggregate is None) or (
            correlation_id is not None and of_correlation is None
        ):
            return EventConnection.of([], context.actor, size=size, since=since)
        records = await context.kontor.log.matching(
            position,
            limit=size + 1,
            types=None if types is None else sorted(shown or ()),
            readable=shown,
            aggregate_id=of_aggregate,
            correlation_id=of_correlation,
            actor=by,
        )
        return EventConnection.of(records, context.actor, size=size, since=since)
