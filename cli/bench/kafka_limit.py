"""Contestant `aiokafka`: the limit of the relay, sending the same records that are in memory already.

EVENTS says how many; they go to the topic of orders in the relay's batches, each acknowledged before the next.
"""

from __future__ import annotations

import asyncio
import os
from time import perf_counter

import uvloop

from adapters import kafka
from adapters.settings import Settings
from adapters.wire import headers_of
from adapters.wiring import open_kontor
from cli.bench.timing import print_answer
from streams.relay import BATCH_EVENTS


async def main() -> None:
    """Read, send, answer."""
    settings, events = Settings.from_environment(), int(os.environ["EVENTS"])
    async with open_kontor(settings, name="bench") as kontor:
        records = await kontor.log.after(0, limit=events)
    messages = [
        (record.state, str(record.aggregate_id).encode(), record.shard, headers_of(record, previous=0))
        for record in records
    ]
    async with kafka.producer(settings.brokers) as producer:
        began = perf_counter()
        for start in range(0, len(messages), BATCH_EVENTS):
            waiting = [
                await producer.send(
                    f"{settings.topic_prefix}orders", value=value, key=key, partition=shard, headers=headers
                )
                for value, key, shard, headers in messages[start : start + BATCH_EVENTS]
            ]
            await asyncio.gather(*waiting)
        took = perf_counter() - began
    print_answer({"events_per_s": round(len(messages) / took), "events": len(messages)})


if __name__ == "__main__":
    uvloop.run(main())
