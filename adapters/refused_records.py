"""The table `refused_records`: how many records of each partition were not believed, when last and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg_pool import AsyncConnectionPool

REASON_LENGTH_MAX: Final = 500
_NOTE: Final = """
INSERT INTO refused_records AS r (topic, shard, records, reason)
SELECT * FROM unnest(%s::text[], %s::smallint[], %s::bigint[], %s::text[])
ON CONFLICT (topic, shard) DO UPDATE
SET records = r.records + excluded.records, reason = excluded.reason, last_at = clock_timestamp()
"""


@dataclass(frozen=True, slots=True)
class Refused:
    """So many records of one partition, and why the last of them was not believed."""

    topic: str
    partition: int
    records: int
    reason: str


async def note_refused(pool: AsyncConnectionPool[Any], refused: Sequence[Refused]) -> None:
    """Add these to what was counted before. Raises one of `adapters.away.AWAY`."""
    ordered = sorted(refused, key=lambda each: (each.topic, each.partition))  # two workers lock rows in one order
    async with pool.connection() as connection:
        await connection.execute(
            _NOTE.encode(),
            [
                [each.topic for each in ordered],
                [each.partition for each in ordered],
                [each.records for each in ordered],
                [each.reason[:REASON_LENGTH_MAX].replace("\x00", "") for each in ordered],
            ],
        )
