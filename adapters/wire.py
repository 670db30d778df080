"""An event on Kafka: CloudEvents 1.0, binary mode. Attributes are `ce_` headers, the state is the value, the
aggregate id is the key, the shard is the partition.

`previous` is the position of the record before it in the same partition: a reader whose last position is
smaller has missed something.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from adapters.log import LogRecord
from domain import aggregate_type_of
from domain.identity import event_id

TYPE_PREFIX: Final = "kontor."


class NotOurs(Exception):
    """A Kafka record that the relay did not write: a header is missing or malformed."""


@dataclass(frozen=True, slots=True)
class Linked:
    """A record with the link to the one before it in its partition."""

    record: LogRecord
    previous: int


def headers_of(record: LogRecord, *, previous: int) -> list[tuple[str, bytes]]:
    """The headers of the record."""
    attributes = {
        "ce_specversion": "1.0",
        "ce_id": event_id(record.aggregate_id, record.version),
        "ce_source": f"/kontor/{aggregate_type_of(record.event_type)}",
        "ce_type": TYPE_PREFIX + record.event_type,
        "ce_subject": record.aggregate_id,
        "ce_time": record.recorded_at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "ce_dataschema": f"/schemas/{record.event_type}/{record.schema_version}.json",
        "content-type": "application/json",
        "ce_position": record.position,
        "ce_sequence": record.version,
        "ce_partitionkey": record.aggregate_id,
        "ce_correlationid": record.correlation_id,
        "ce_causationid": record.causation_id or record.command_id,
        "ce_commandid": record.command_id,
        "ce_actor": record.actor,
        "ce_previous": previous,
    }
    return [(name, str(value).encode()) for name, value in attributes.items()]


def parsed(context: str, partition: int, value: bytes | None, headers: Iterable[tuple[str, bytes]]) -> Linked:
    """The record as the log has it. Raises NotOurs."""
    found = dict(headers)
    try:
        command_id = UUID(found["ce_commandid"].decode())
        causation_id = UUID(found["ce_causationid"].decode())
        record = LogRecord(
            position=int(found["ce_position"]),
            event_type=found["ce_type"].decode().removeprefix(TYPE_PREFIX),
            schema_version=int(found["ce_dataschema"].decode().rpartition("/")[2].removesuffix(".json")),
            aggregate_id=UUID(found["ce_subject"].decode()),
            version=int(found["ce_sequence"]),
            recorded_at=datetime.fromisoformat(found["ce_time"].decode()),
            actor=found["ce_actor"].decode(),
            command_id=command_id,
            correlation_id=UUID(found["ce_correlationid"].decode()),
            causation_id=None if causation_id == command_id else causation_id,
            context=context,
            shard=partition,
            state=value or b"",
        )
        return Linked(record, int(found["ce_previous"]))
    except (KeyError, ValueError) as error:
        raise NotOurs(f"a record in {context}/{partition} is not the relay's: {error!r}") from error
