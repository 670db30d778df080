"""aiokafka's reading of batches, for topics to which strangers may write.

aiokafka raises for a batch that it cannot decode (a header's name that is no UTF-8, a codec that is not installed) and
never gets past it: one record of anybody would stop every consumer of the partition for good. Here such a batch is
left out, and so is one that is compressed: the relay compresses nothing, and a small batch can hold gigabytes.
A batch is of one producer, so nothing of the relay is left out with it; what it stood in for is read from the log.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

import structlog
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException

log = structlog.get_logger()

TOLD_EVERY_S: Final = 10.0
_COMPRESSION: Final = 0x07  # of a batch's attributes


class ReadableRecords(PartitionRecords):  # type: ignore[misc]  # aiokafka has no types
    """The records of one answer to a fetch, without the batches that cannot be read."""

    next_fetch_offset: int
    _told_at: dict[str, float] = {}  # noqa: RUF012  # of the process: one line a topic and TOLD_EVERY_S

    def _unpack_records(self) -> Iterator[Any]:
        if self._isolation_level == READ_COMMITTED:
            yield from super()._unpack_records()
            return
        records = self._records
        while records.has_next():
            batch = records.next_batch()
            if self._check_crcs and not batch.validate_crc():
                raise CorruptRecordException(f"Invalid CRC - {self._tp}")
            for record in () if batch.is_control_batch else self._decoded(batch):
                if record.offset < self.next_fetch_offset:
                    continue
                consumer_record = self._consumer_record(self._tp, record)
                self.next_fetch_offset = record.offset + 1
                yield consumer_record
            self.next_fetch_offset = batch.next_offset

    def _decoded(self, batch: Any) -> list[Any]:
        if getattr(batch, "attributes", 0) & _COMPRESSION:
            self._tell(batch, "it is compressed, which the relay's are not")
            return []
        try:
            return list(batch)
        except Exception as error:  # whatever it is: only a stranger's batch cannot be decoded
            self._tell(batch, repr(error)[:200])
            return []

    def _tell(self, batch: Any, reason: str) -> None:
        now = time.monotonic()
        if now - self._told_at.get(self._tp.topic, -TOLD_EVERY_S) >= TOLD_EVERY_S:
            self._told_at[self._tp.topic] = now
            log.error("batch_left_out", topic=self._tp.topic, partition=self._tp.partition,
                      next_offset=batch.next_offset, reason=reason)  # fmt: skip


def read_past_what_cannot_be_read() -> None:
    """Have every consumer of this process read so. Safe to repeat."""
    fetcher.PartitionRecords = ReadableRecords
