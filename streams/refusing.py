"""Records that the worker does not believe: left out, logged once a burst, and counted in the database.

What one of them stood in for is missing from the chain, and is read from the log: with the next record that is
believed, or by the watch of the tail (`streams.tail`). A flood of them costs a look at each, and nothing of the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import structlog
from psycopg_pool import AsyncConnectionPool

from adapters.away import AWAY, pause
from adapters.record_signatures import Message, RecordSignatures
from adapters.refused_records import Refused, note_refused
from adapters.wire import Linked, NotOurs

log = structlog.get_logger()

NOTED_EVERY_S: Final = 5.0
TOPICS_MAX: Final = 1_000  # partitions that are counted at once; far more than there are


@dataclass(slots=True)
class _Burst:
    count: int = 0
    reason: str = ""


class Refusals:
    """Reads records for the worker, and counts those that it refuses, by topic and partition."""

    def __init__(self, signatures: RecordSignatures, pool: AsyncConnectionPool[Any]) -> None:
        self._signatures = signatures
        self._pool = pool
        self._bursts: dict[tuple[str, int], _Burst] = {}

    def read(self, message: Message) -> Linked | None:
        """The record; None for one that the relay did not sign for this partition."""
        try:
            return self._signatures.read(message)
        except NotOurs as refused:
            self._count(message.topic, message.partition, str(refused))
            return None

    def _count(self, topic: str, partition: int, reason: str) -> None:
        burst = self._bursts.get((topic, partition))
        if burst is None:
            if len(self._bursts) >= TOPICS_MAX:
                return
            burst = self._bursts[topic, partition] = _Burst()
            log.error("record_not_ours", topic=topic, partition=partition, error=reason)
        burst.count += 1
        burst.reason = reason

    async def run(self) -> None:
        """Note what was counted, every NOTED_EVERY_S, until cancelled."""
        while True:
            await pause(NOTED_EVERY_S)
            await self.note()

    async def note(self) -> None:
        """Write down what was counted; what cannot be written now is kept for the next time."""
        bursts, self._bursts = self._bursts, {}
        refused = [Refused(topic, partition, burst.count, burst.reason) for (topic, partition), burst in bursts.items()]
        if not refused:
            return
        try:
            await note_refused(self._pool, refused)
        except AWAY:
            for place, burst in bursts.items():
                self._bursts.setdefault(place, _Burst(reason=burst.reason)).count += burst.count
            return
        for each in refused:
            log.warning("records_refused", topic=each.topic, partition=each.partition, records=each.records)
