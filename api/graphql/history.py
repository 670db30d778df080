"""What happened to one aggregate, from the log itself: never late, never a copy."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
import strawberry
from eventsourcing.persistence import MapperDeserialisationError
from strawberry.scalars import JSON

from adapters.event_codec import EventMapper
from adapters.log import LogRecord
from api.graphql.context import RequestContext
from api.graphql.cursors import page_size
from api.graphql.scalars import Cursor
from commands.handling import Actor
from domain import AUDIENCES, may_read, readable_fields
from domain.audience import Audience
from domain.disclosure import PersonalField
from domain.orders import Order

HISTORY_ENTRIES_MAX: Final = 1_000
LOOKS_MAX: Final = 10  # at so many events each, where some are not shown
LOOK_EVENTS: Final = 200
# The events with a reason that is sealed for the order's customer, and the first version that has it so.
_SEALED_SINCE: Final = {Order.Cancelled.TOPIC: 2, Order.Refunded.TOPIC: 2}
_MAPPER: Final = EventMapper()


@strawberry.type(description="One event of one aggregate.")
class HistoryEntry:
    position: Cursor = strawberry.field(description="The event's place in the log.")
    version: int = strawberry.field(description="The aggregate's version after the event, from 1.")
    type: str = strawberry.field(description="What happened, like order.placed.")
    at: datetime = strawberry.field(description="When it was recorded.")
    actor: str | None = strawberry.field(description="Who did it; null where that is not the reader's to know.")
    data: JSON = strawberry.field(description="What the event says, in its present shape.")
    correlation_id: strawberry.ID | None = strawberry.field(description="Shared by all that followed from one request.")
    causation_id: strawberry.ID | None = strawberry.field(description="The event or command this one followed from.")

    @classmethod
    def of(cls, record: LogRecord, actor: Actor, *, with_actor: bool) -> HistoryEntry:
        """The record, upcast to its event's present shape, as this actor may read it."""
        data, _ = event_data(record, actor)
        return cls(
            position=Cursor(str(record.position)),
            version=record.version,
            type=record.event_type,
            at=record.recorded_at,
            actor=record.actor if with_actor else None,
            data=data,
            correlation_id=strawberry.ID(str(record.correlation_id)),
            causation_id=strawberry.ID(str(record.causation_id)) if record.causation_id else None,
        )


def event_data(record: LogRecord, actor: Actor) -> tuple[Any, int]:
    """What the event says to this actor, and the version of that shape: the present one, or as it is stored where this
    code cannot read it, so that one such event hides no other."""
    data, schema_version = _present_data(record)
    return readable_fields(actor.roles, record.event_type, data) if isinstance(data, dict) else data, schema_version


def _present_data(record: LogRecord) -> tuple[Any, int]:
    try:
        stored = _MAPPER.to_stored_event(record.decoded().event)
        return msgspec.json.decode(stored.state), stored.schema_version
    except MapperDeserialisationError:
        try:
            return msgspec.json.decode(record.state), record.schema_version
        except msgspec.DecodeError:
            return record.state.decode(errors="replace"), record.schema_version


def is_shown(record: LogRecord, actor: Actor) -> bool:
    """What belongs to business is for everybody who may see the aggregate, all else for its audience."""
    return AUDIENCES.get(record.event_type) is Audience.BUSINESS or may_read(actor.roles, record.event_type)


async def history(
    context: RequestContext,
    aggregate_id: UUID,
    first: int | None,
    *,
    usual: int,
    with_actor: bool,
    until: int | None = None,
    shows: Callable[[LogRecord], bool] | None = None,
    person: UUID | None = None,
) -> list[HistoryEntry]:
    """The first events of the aggregate that the actor may read, up to the position `until`. `shows` is asked of each
    event in turn; then what stands behind the first LOOKS_MAX reads is not found. `person` is whose sealed
    reasons are opened. Raises Invalid outside 1 to HISTORY_ENTRIES_MAX."""
    limit = page_size(first, most=HISTORY_ENTRIES_MAX, usual=usual)
    page = limit if shows is None else max(limit, LOOK_EVENTS)
    shown, seen = list[LogRecord](), -1
    for _ in range(LOOKS_MAX):
        records = await context.kontor.log.of_aggregate(aggregate_id, limit=page, after_version=seen)
        wanted = [record for record in records if until is None or record.position <= until]
        shown += [record for record in wanted if (shows is None or shows(record)) and is_shown(record, context.actor)]
        if len(wanted) < page or len(shown) >= limit:
            break
        seen = records[-1].version
    entries = [HistoryEntry.of(record, context.actor, with_actor=with_actor) for record in shown[:limit]]
    if person is not None:
        await _open(context, person, shown[:limit], entries)
    return entries


async def _open(context: RequestContext, person: UUID, records: list[LogRecord], entries: list[HistoryEntry]) -> None:
    """Show the reasons that are sealed for the person; null once the person was erased."""
    for record, entry in zip(records, entries, strict=True):
        data: Any = entry.data
        if record.schema_version >= _SEALED_SINCE.get(record.event_type, record.schema_version + 1):
            data["reason"] = await context.opened.load((person, PersonalField.ORDER_REASON, data["reason"]))
