"""The two statements that append to the log, and their parameters.

UNCONTENDED stores a batch in one round trip and leaves every judgement to the unique indexes: when all is well, and
it nearly always is, nothing is looked up. When one index objects, the whole statement fails and nothing is stored;
CAREFUL then takes the same batch, looks every stream and command up, and tells each its own refusal.
Both hold the same lock from before the first position is drawn until the commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

import msgspec

from adapters.packed_arrays import (
    NULL,
    PackedArray,
    array,
    bigint_element,
    bytea_element,
    int_element,
    repeated_text_element,
    smallint_element,
    uuid_element,
)
from commands.ports import Append

UNCONTENDED: Final = """
WITH turn AS MATERIALIZED (
    SELECT pg_advisory_xact_lock(7310110114111), pg_notify('kontor_events', '')
), stored AS (
    INSERT INTO events (originator_id, originator_version, topic, state, schema_version, context, shard,
                        command_id, correlation_id, causation_id, actor)
    SELECT u.* FROM turn, unnest(%b::uuid[], %b::bigint[], %b::text[], %b::bytea[], %b::smallint[], %b::text[],
                                 %b::smallint[], %b::uuid[], %b::uuid[], %b::uuid[], %b::text[]) AS u
    RETURNING notification_id
), span AS (
    SELECT min(notification_id) AS first FROM stored
), kept AS (
    INSERT INTO commands (command_id, name, actor, request_digest, result, first_position, last_position)
    SELECT c.id, c.name, c.actor, c.digest, c.result::jsonb,
           CASE WHEN c.events > 0 THEN span.first + c.place END,
           CASE WHEN c.events > 0 THEN span.first + c.place + c.events - 1 END
    FROM turn, span, unnest(%b::uuid[], %b::text[], %b::text[], %b::bytea[], %b::text[], %b::int[], %b::int[])
        AS c (id, name, actor, digest, result, events, place)
)
SELECT first FROM span
"""
CAREFUL: Final = """
SELECT place, refused, first_position FROM append_events(
    %b::uuid[], %b::text[], %b::text[], %b::bytea[], %b::text[], %b::uuid[], %b::uuid[],
    %b::int[], %b::uuid[], %b::bigint[], %b::text[], %b::bytea[], %b::smallint[], %b::text[], %b::smallint[])
"""
_EVENT_TYPES: Final = ("uuid", "bigint", "text", "bytea", "smallint", "text", "smallint")
_COMMAND_TYPES: Final = ("uuid", "text", "text", "bytea", "text")


class Packed(NamedTuple):
    """One append, each of its columns packed, its events' one after the other."""

    events: int
    event_columns: tuple[bytes, ...]  # as _EVENT_TYPES
    command_columns: tuple[bytes, ...]  # as _COMMAND_TYPES
    correlation_id: bytes
    causation_id: bytes


def packed(append: Append, events: Sequence[tuple[bytes, ...]]) -> Packed:
    """The append, ready to be put into a batch."""
    command_id = uuid_element(append.command_id)
    same = append.correlation_id is append.command_id
    return Packed(
        len(events),
        events[0] if len(events) == 1 else _joined(events),
        (
            command_id,
            repeated_text_element(append.command_name),
            repeated_text_element(append.actor),
            bytea_element(append.request_digest),
            bytea_element(msgspec.json.encode(append.result)),
        ),
        command_id if same else uuid_element(append.correlation_id),
        NULL if append.causation_id is None else uuid_element(append.causation_id),
    )


def packed_event(
    aggregate_id: UUID, version: int, topic: str, state: bytes, schema_version: int, context: str, shard: int
) -> tuple[bytes, ...]:
    """An event's columns; `state` is JSON."""
    return (
        uuid_element(aggregate_id),
        bigint_element(version),
        repeated_text_element(topic),
        bytea_element(state),
        smallint_element(schema_version),
        repeated_text_element(context),
        smallint_element(shard),
    )


def _joined(events: Sequence[tuple[bytes, ...]]) -> tuple[bytes, ...]:
    return tuple(b"".join(column) for column in zip(*events, strict=True)) if events else (b"",) * len(_EVENT_TYPES)


def uncontended(batch: Sequence[Packed]) -> list[PackedArray]:
    """The parameters of UNCONTENDED. Its answer is the position of the batch's first event; the others follow."""
    count, places = 0, []
    of_command: list[list[bytes]] = [[], [], [], []]
    for each in batch:
        places.append(int_element(count))
        count += each.events
        times = each.events
        of_command[0].append(each.command_columns[0] * times)
        of_command[1].append(each.correlation_id * times)
        of_command[2].append(each.causation_id * times)
        of_command[3].append(each.command_columns[2] * times)
    repeated = zip(("uuid", "uuid", "uuid", "text"), of_command, strict=True)
    return [
        *_event_arrays(batch, count),
        *(array(kind, count, pieces) for kind, pieces in repeated),
        *_command_arrays(batch),
        array("int", len(batch), [int_element(each.events) for each in batch]),
        array("int", len(batch), places),
    ]


def careful(batch: Sequence[Packed]) -> list[PackedArray]:
    """The parameters of CAREFUL. Its answer has a row per command: place from 1, refusal, first position."""
    count = sum(each.events for each in batch)
    return [
        *_command_arrays(batch),
        array("uuid", len(batch), [each.correlation_id for each in batch]),
        array("uuid", len(batch), [each.causation_id for each in batch]),
        array("int", count, [int_element(place) * each.events for place, each in enumerate(batch, 1)]),
        *_event_arrays(batch, count),
    ]


def _event_arrays(batch: Sequence[Packed], count: int) -> list[PackedArray]:
    columns = zip(*[each.event_columns for each in batch], strict=True)
    return [array(kind, count, pieces) for kind, pieces in zip(_EVENT_TYPES, columns, strict=True)]


def _command_arrays(batch: Sequence[Packed]) -> list[PackedArray]:
    columns = zip(*[each.command_columns for each in batch], strict=True)
    return [array(kind, len(batch), pieces) for kind, pieces in zip(_COMMAND_TYPES, columns, strict=True)]
