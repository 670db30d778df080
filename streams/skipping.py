"""Passing over records that need not come through Faust, which hands on some 10,000 a second at best.

Whoever is far behind reads the log in bulk and goes on from where the relay was then. Faust has no such move: it would
wait for the acknowledgement of what is passed over and never commit again, so its account of it is set here. An offset
is only a hint: if this goes wrong, the chain sees a gap, or drops what comes again.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka.errors import KafkaError
from faust.types import TP, Message

FAR_RECORDS: Final = 1_000  # so many on Kafka behind a batch: the log is faster


def is_far(consumer: Any, tp: TP, offset: int) -> bool:
    """Are there that many records behind this one, as of the last answer of Kafka?"""
    try:
        end = consumer.highwater(tp)
    except (AssertionError, AttributeError):  # how aiokafka says that the partition is another worker's meanwhile
        return False
    return end is not None and end - offset > FAR_RECORDS


async def skip_to(consumer: Any, tp: TP, offset: int) -> bool:
    """Go on with the record at this offset. False, and nothing that counts has happened, when the partition is another
    worker's meanwhile or Kafka is away."""
    if tp not in consumer.assignment():
        return False
    with contextlib.suppress(KafkaError):
        await consumer.seek_wait({tp: offset})
        consumer._committed_offset[tp] = offset
        consumer._acked.pop(tp, None)
        consumer._acked_index.pop(tp, None)
        consumer._gap.pop(tp, None)
        await consumer._commit({tp: offset})
        return True
    return False


@dataclass(slots=True)
class _Passage:
    generation: int | None
    seen: int
    until: int


@dataclass(slots=True)
class PassedOver:
    """What one agent has passed over, for the thousands of records before that which Faust had fetched already: they
    come still, and nothing needs to be asked or done for them.

    A partition is forgotten with its first record that was fetched afterwards: behind the passage, in another
    generation of the group, or out of order, as when the partition came back at an older offset or its topic was made
    anew."""

    _passages: dict[TP, _Passage] = field(default_factory=dict)

    def add(self, last: Message, until: int) -> None:
        """The partition of this record, its last so far, goes on with the record at offset `until`."""
        self._passages[last.tp] = _Passage(last.generation_id, last.offset, until)

    def has(self, message: Message) -> bool:
        """Was it fetched before its partition was passed over? To be asked once for each record, as they come."""
        passage = self._passages.get(message.tp)
        if passage is None:
            return False
        if message.generation_id != passage.generation or not passage.seen < message.offset < passage.until:
            del self._passages[message.tp]
            return False
        passage.seen = message.offset
        return True
