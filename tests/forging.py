"""Bytes that anybody who may produce to a topic can put there."""

from __future__ import annotations

import struct
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.record.util import calc_crc32c

_CRC_AT: Final = 17  # of a batch in the format of Kafka 0.11 and later; it covers all that stands behind it
_NAME: Final = "QQQQ"


def made_unreadable(batch: bytes) -> bytes:
    """The batch with a header whose name, `_NAME`, is no UTF-8. Brokers do not look at names."""
    changed = bytearray(batch.replace(_NAME.encode(), b"\xff\xfe\xfd\xfc"))
    struct.pack_into(">I", changed, _CRC_AT, calc_crc32c(bytes(changed[_CRC_AT + 4 :])))
    return bytes(changed)


async def send_unreadable(producer: AIOKafkaProducer, topic: str, partition: int) -> None:
    """One record that aiokafka cannot decode."""
    batch: Any = producer.create_batch()
    batch.append(key=b"stranger", value=b"{}", timestamp=None, headers=[(_NAME, b"")])
    batch._buffer = made_unreadable(bytes(batch._build()))
    await (await producer.send_batch(batch, topic, partition=partition))
