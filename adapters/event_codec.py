"""Events to stored bytes and back: plain JSON, typed by the event class.

This is the library's Mapper with another state format: ISO times, string ids, integer minor units, no type
wrappers, so that SQL, Kafka consumers and files read the same JSON. Upcasters run on every way in.
"""

from __future__ import annotations

import keyword
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast
from uuid import UUID

import msgspec
from eventsourcing.domain import Aggregate, DomainEventProtocol
from eventsourcing.persistence import JSONTranscoder, Mapper, MapperDeserialisationError, StoredEvent
from eventsourcing.utils import TopicError, resolve_topic

from domain import CONTEXT_OF, aggregate_type_of

# Known from the columns beside the state, so not repeated in it.
_COLUMNS = ("originator_id", "originator_version", "originator_topic")


@dataclass(frozen=True)
class VersionedStoredEvent(StoredEvent):
    """The library's stored event, and the version of the shape of its state."""

    schema_version: int = 1


class WrittenByNewerCode(MapperDeserialisationError):
    """The event, or the version of its shape, is not known to this process: one of a later version has written it.
    Nothing is wrong with it, and whoever asks again may meet a process that can read it."""


class EventMapper(Mapper[UUID]):
    """Converts domain events to the library's StoredEvent and back. Stateless."""

    def __init__(self) -> None:
        super().__init__(JSONTranscoder())

    def to_stored_event(self, domain_event: DomainEventProtocol[UUID]) -> VersionedStoredEvent:
        topic, _, schema_version = stored_kind_of(type(domain_event))
        return VersionedStoredEvent(
            domain_event.originator_id,
            domain_event.originator_version,
            topic,
            self.encode(domain_event),
            schema_version,
        )

    def encode(self, domain_event: DomainEventProtocol[UUID]) -> bytes:
        """The state alone."""
        state = vars(domain_event).copy()
        for name in _COLUMNS:
            state.pop(name, None)
        for name, stored_name in renamed_fields(type(domain_event)).items():
            state[stored_name] = state.pop(name)
        return msgspec.json.encode(state)

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
        """The event of its present class. Raises MapperDeserialisationError, and of these WrittenByNewerCode."""
        try:
            event_class, upcasts, renamed, columns = _reading(event_type, schema_version)
            fields: dict[str, Any] = msgspec.json.decode(state)
            for upcast in upcasts:
                getattr(event_class, upcast)(fields)
            for name, stored_name in renamed:
                fields[name] = fields.pop(stored_name)
            fields |= columns
            fields["originator_id"], fields["originator_version"] = aggregate_id, version
            return cast("DomainEventProtocol[UUID]", msgspec.convert(fields, event_class))
        except Exception as error:
            kind = WrittenByNewerCode if isinstance(error, _Unknown) else MapperDeserialisationError
            raise kind(
                f"{event_type} v{schema_version} of {aggregate_id} (version {version}) cannot be read: {error}"
            ) from error


class _Unknown(Exception):
    """An event, or a version of its shape, that this code does not know."""


def schema_version_of(event_class: type[Any]) -> int:
    """The version of the class's fields; goes up with an `upcast_vN_vN+1` beside it."""
    return getattr(event_class, "class_version", 1)


@cache
def _reading(
    event_type: str, schema_version: int
) -> tuple[Any, Sequence[str], Sequence[tuple[str, str]], Mapping[str, str]]:
    """How an event of this type is read: its class, its upcasters, its renamed fields, and what its type says."""
    try:
        event_class: Any = resolve_topic(event_type)
    except TopicError:
        raise _Unknown("this code knows no such event; a newer one has written it and can read it") from None
    known = schema_version_of(event_class)
    if schema_version > known:  # its fields might fit, and mean something else
        raise _Unknown(f"this code knows versions up to {known}; a newer one has written it and can read it")
    versions = range(schema_version, known)
    upcasts = [f"upcast_v{old}_v{old + 1}" for old in versions]
    is_first = issubclass(event_class, Aggregate.Created)
    columns = {"originator_topic": aggregate_type_of(event_type)} if is_first else {}
    return event_class, upcasts, list(renamed_fields(event_class).items()), columns


@cache
def renamed_fields(event_class: Any) -> Mapping[str, str]:
    """The class's fields that are stored under a name no Python field can have: `from_` is stored as `from`."""
    return {
        name: name[:-1]
        for name in event_class.__dataclass_fields__
        if name.endswith("_") and keyword.iskeyword(name[:-1])
    }


@cache
def stored_kind_of(event_class: Any) -> tuple[str, str, int]:
    """Its topic, its context, and its schema version."""
    topic: str = event_class.TOPIC
    return topic, CONTEXT_OF[aggregate_type_of(topic)], schema_version_of(event_class)
