"""An event on Kafka: CloudEvents 1.0, binary mode. Attributes are `ce_` headers, the state is the value, the
aggregate id is the key, the shard is the partition. The relay signs all of it: see `adapters.record_signatures`.

`previous` is the position of the record before it in the same partition: a reader whose last position is
smaller has missed something.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Final
from uuid import UUID

import msgspec

from adapters.log import LogRecord
from domain import aggregate_type_of
from domain.identity import event_id_text

TYPE_PREFIX: Final = "kontor."
TEST_TYPE: Final = f"{TYPE_PREFIX}webhook.test"
POSITION_MAX: Final = 2**63 - 1  # a bigint
_JSON: Final = "application/json"
# Of `headers_of`, in its order.
HEADER_NAMES: Final = (
    "ce_specversion", "ce_source", "ce_type", "ce_dataschema", "content-type", "ce_id", "ce_subject", "ce_time",
    "ce_position", "ce_sequence", "ce_partitionkey", "ce_correlationid", "ce_causationid", "ce_commandid", "ce_actor",
    "ce_previous",
)  # fmt: skip


class NotOurs(Exception):
    """A Kafka record that the relay did not write: it is not signed, wrongly signed or malformed."""


@dataclass(frozen=True, slots=True)
class Linked:
    """A record with the link to the one before it in its partition."""

    record: LogRecord
    previous: int


def key_of(record: LogRecord) -> bytes:
    """The key of the record: what shares it stays in order."""
    return str(record.aggregate_id).encode()


def headers_of(record: LogRecord, *, previous: int) -> list[tuple[str, bytes]]:
    """The headers of the record. Written for the relay, which writes sixteen of them twenty thousand times a second."""
    aggregate = key_of(record)
    command = str(record.command_id).encode()
    same = record.correlation_id == record.command_id
    cause = record.causation_id
    return [
        *_headers_of_type(record.event_type, record.schema_version),
        ("ce_id", event_id_text(record.aggregate_id, record.version).encode()),
        ("ce_subject", aggregate),
        ("ce_time", _time(record.recorded_at)),
        ("ce_position", b"%d" % record.position),
        ("ce_sequence", b"%d" % record.version),
        ("ce_partitionkey", aggregate),
        ("ce_correlationid", command if same else str(record.correlation_id).encode()),
        ("ce_causationid", command if cause is None else str(cause).encode()),
        ("ce_commandid", command),
        ("ce_actor", record.actor.encode()),
        ("ce_previous", b"%d" % previous),
    ]


@cache
def _headers_of_type(event_type: str, schema_version: int) -> tuple[tuple[str, bytes], ...]:
    return (
        ("ce_specversion", b"1.0"),
        ("ce_source", f"/kontor/{aggregate_type_of(event_type)}".encode()),
        ("ce_type", f"{TYPE_PREFIX}{event_type}".encode()),
        ("ce_dataschema", f"/schemas/{event_type}/{schema_version}.json".encode()),
        ("content-type", _JSON.encode()),
    )


@lru_cache(1_024)  # what is committed together has the same time
def _time(at: datetime) -> bytes:
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds").encode() + b"Z"


def structured(record: LogRecord) -> bytes:
    """The event as one JSON document (CloudEvents 1.0, structured mode), with the attributes that it has on Kafka but
    for `previous`. Always the same bytes."""
    headers = headers_of(record, previous=0)
    told = {name.removeprefix("ce_"): value.decode() for name, value in headers if name.startswith("ce_")}
    del told["previous"]
    return msgspec.json.encode(told | {"datacontenttype": _JSON, "data": msgspec.Raw(record.state)})


def structured_test(test_id: UUID, endpoint_id: UUID, now: datetime) -> bytes:
    """An event that is in no log and says nothing: its receiver learns that it is reached."""
    told = {
        "specversion": "1.0",
        "id": str(test_id),
        "source": "/kontor/webhook",
        "type": TEST_TYPE,
        "subject": str(endpoint_id),
        "time": _time(now).decode(),
    }
    return msgspec.json.encode(told | {"datacontenttype": _JSON, "data": {}})


def parsed(context: str, partition: int, value: bytes | None, headers: Iterable[tuple[str, bytes]]) -> Linked:
    """The record that these headers tell, whoever wrote them: `adapters.record_signatures` says who did. Raises
    NotOurs."""
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
        previous = int(found["ce_previous"])
        if not 0 <= previous < record.position <= POSITION_MAX:
            raise ValueError(f"position {record.position} after {previous}")
        return Linked(record, previous)
    except (KeyError, ValueError) as error:
        raise NotOurs(f"a record in {context}/{partition} is not the relay's: {error!r}") from error
