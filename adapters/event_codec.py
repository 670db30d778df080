"""Events to stored bytes and back: plain JSON, typed by the event class.

This is the library's Mapper with another state format: ISO times, string ids, integer minor units, no type
wrappers, so that SQL, Kafka consumers and files read the same JSON. Upcasters run on every way in.
"""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

import msgspec
from eventsourcing.domain import Aggregate, DomainEventProtocol
from eventsourcing.persistence import JSONTranscoder, Mapper, MapperDeserialisationError, StoredEvent
from eventsourcing.utils import resolve_topic

from domain import aggregate_type_of

# Known from the columns beside the state, so not repeated in it.
_COLUMNS = ("originator_id", "originator_version", "originator_topic")


class EventMapper(Mapper[UUID]):
    """Converts domain events to the library's StoredEvent and back. Stateless."""

    def __init__(self) -> None:
        super().__init__(JSONTranscoder())

    def to_stored_event(self, domain_event: DomainEventProtocol[UUID]) -> StoredEvent:
        state = {name: value for name, value in vars(domain_event).items() if name not in _COLUMNS}
        return StoredEvent(
            domain_event.originator_id,
            domain_event.originator_version,
            cast("str", type(domain_event).TOPIC),  # type: ignore[attr-defined]  # every event class has one
            msgspec.json.encode(state),
        )

    def to_domain_event(self, stored_event: StoredEvent) -> DomainEventProtocol[UUID]:
        """Raises MapperDeserialisationError, naming the event, when its bytes do not fit its class."""
        return self.decode(
            stored_event.topic,
            getattr(stored_event, "schema_version", 1),
            stored_event.state,
            cast("UUID", stored_event.originator_id),
            stored_event.originator_version,
        )

    def decode(
        self, event_type: str, schema_version: int, state: bytes, aggregate_id: UUID, version: int
    ) -> DomainEventProtocol[UUID]:
        """The event of its present class. Raises MapperDeserialisationError."""
        try:
            event_class: type[Any] = resolve_topic(event_type)
            fields: dict[str, Any] = msgspec.json.decode(state)
            for old in range(schema_version, schema_version_of(event_class)):
                getattr(event_class, f"upcast_v{old}_v{old + 1}")(fields)
            fields["originator_id"], fields["originator_version"] = aggregate_id, version
            if issubclass(event_class, Aggregate.Created):
                fields["originator_topic"] = aggregate_type_of(event_type)
            return cast("DomainEventProtocol[UUID]", msgspec.convert(fields, event_class))
        except Exception as error:
            raise MapperDeserialisationError(
                f"{event_type} v{schema_version} of {aggregate_id} (version {version}) cannot be read: {error}"
            ) from error


def schema_version_of(event_class: type[Any]) -> int:
    """The version of the class's fields; goes up with an `upcast_vN_vN+1` beside it."""
    return getattr(event_class, "class_version", 1)
