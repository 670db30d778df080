"""The two statements that append to the log, and their parameters.

UNCONTENDED stores a batch in one round trip and leaves every judgement to the unique indexes: when all is well, and
it nearly always is, nothing is looked up. When one index objects, the whole statement fails and nothing is stored;
CAREFUL then takes the same batch, looks every stream and command up, and tells each its own refusal.
Both hold the same lock from before the first position is drawn until the commit.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final, NamedTuple
from uuid import UUID

import msgspec

from adapters.packed_arrays import (
    BIGINT_FIELD,
    BIGINT_OID,
    BYTEA_OID,
    INT_FIELD,
    INT_OID,
    JSONB_OID,
    SMALLINT_FIELD,
    SMALLINT_OID,
    UUID_FIELD,
    UUID_OID,
    array,
    field,
    null_field,
    repeated_text_field,
)
from adapters.prepared_connection import Statement
from commands.ports import Append
from domain.identity import shard_of

UNCONTENDED: Final = Statement(
    b"append_uncontended",
    b"""
WITH turn AS MATERIALIZED (
    SELECT pg_advisory_xact_lock(7310110114111), pg_notify('kontor_events', '')
), stored AS (
    INSERT INTO events (originator_id, originator_version, schema_version, shard, command_id, correlation_id,
                        causation_id, topic, context, actor, state)
    SELECT u.* FROM turn, unnest($2::pending_event[]) AS u
    RETURNING notification_id
), span AS (
    SELECT min(notification_id) AS first FROM stored
), kept AS (
    INSERT INTO commands (command_id, name, actor, request_digest, result, first_position, last_position)
    SELECT c.command_id, c.name, c.actor, c.request_digest, c.result,
           CASE WHEN c.events > 0 THEN span.first + c.place END,
           CASE WHEN c.events > 0 THEN span.first + c.place + c.events - 1 END
    FROM turn, span, unnest($1::pending_command[]) AS c
)
SELECT first FROM span
""",
)
# A row per command, in order: refusal, first position.
CAREFUL: Final = Statement(
    b"append_careful",
    b"SELECT refused, first_position FROM append_events($1::pending_command[], $2::pending_event[])",
)
# A composite type has another id in each database.
ROW_TYPES: Final = Statement(
    b"append_row_types",
    b"SELECT 'pending_command'::regtype::oid::bigint AS commands, 'pending_event'::regtype::oid::bigint AS events",
)

# The length of the whole, the number of fields, then those of a fixed length.
_EVENT: Final = struct.Struct(f">ii{UUID_FIELD}{BIGINT_FIELD}{SMALLINT_FIELD}{SMALLINT_FIELD}{UUID_FIELD}{UUID_FIELD}")
_EVENT_FIELDS: Final = 11
_EVENT_LENGTH: Final = _EVENT.size - 4  # without the length itself
_COMMAND: Final = struct.Struct(f">ii{INT_FIELD}{INT_FIELD}{UUID_FIELD}")
_COMMAND_FIELDS: Final = 7
_COMMAND_LENGTH: Final = _COMMAND.size - 4
_FIELD_HEAD: Final = 8
_NO_CAUSE: Final = null_field(UUID_OID)
_JSONB_VERSION: Final = b"\x01"


class PendingRow(NamedTuple):
    """What an event has beside what its command tells of it; `state` is JSON."""

    aggregate_id: UUID
    version: int
    topic: str
    state: bytes
    schema_version: int
    context: str


class Packed(NamedTuple):
    """One append, ready to be put into a batch."""

    length: int  # its number of events
    events: bytes  # elements of pending_event[]
    command_id: bytes
    command: bytes  # the fields of its pending_command behind the id


def packed(append: Append, rows: Iterable[PendingRow]) -> Packed:
    """The append with its events."""
    command_id = append.command_id.bytes
    usual_correlation = command_id if append.correlation_id is append.command_id else append.correlation_id.bytes
    usual_cause, causes, correlations = _cause(append.causation_id), append.causes, append.correlations
    actor = repeated_text_field(append.actor)
    pieces: list[bytes] = []
    count = 0
    for aggregate_id, version, topic, state, schema_version, context in rows:
        kind = _kind_fields(topic, context)
        causation, correlation_id = usual_cause, usual_correlation
        if causes and (cause := causes.get((aggregate_id, version))) is not None:
            causation = _cause(cause)
            correlation_id = correlations[cause].bytes if cause in correlations else usual_correlation
        length = _EVENT_LENGTH + len(causation) + len(kind) + len(actor) + _FIELD_HEAD + len(state)
        head = _EVENT.pack(
            length, _EVENT_FIELDS, UUID_OID, 16, aggregate_id.bytes, BIGINT_OID, 8, version,
            SMALLINT_OID, 2, schema_version, SMALLINT_OID, 2, shard_of(aggregate_id),
            UUID_OID, 16, command_id, UUID_OID, 16, correlation_id,
        )  # fmt: skip
        pieces += (head, causation, kind, actor, field(BYTEA_OID, state))
        count += 1
    result = msgspec.json.encode(append.result)
    name, digest = repeated_text_field(append.command_name), field(BYTEA_OID, append.request_digest)
    command = b"".join((name, actor, digest, field(JSONB_OID, _JSONB_VERSION + result)))
    return Packed(count, b"".join(pieces), command_id, command)


def _cause(causation_id: UUID | None) -> bytes:
    return _NO_CAUSE if causation_id is None else field(UUID_OID, causation_id.bytes)


@cache
def _kind_fields(topic: str, context: str) -> bytes:
    return repeated_text_field(topic) + repeated_text_field(context)


def parameters(batch: Sequence[Packed], row_types: tuple[int, int]) -> list[bytes]:
    """The parameters of both statements; `row_types` is the row that ROW_TYPES answers."""
    place = 0
    events: list[bytes] = []
    commands: list[bytes] = []
    for length, of_events, command_id, command in batch:
        head = _COMMAND.pack(
            _COMMAND_LENGTH + len(command), _COMMAND_FIELDS, INT_OID, 4, place, INT_OID, 4, length,
            UUID_OID, 16, command_id,
        )  # fmt: skip
        commands += (head, command)
        events.append(of_events)
        place += length
    command_type, event_type = row_types
    return [array(command_type, len(batch), commands), array(event_type, place, events)]
