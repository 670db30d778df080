"""Contestant `faust`: the limit of one Faust worker, whose agent takes records and does nothing with them.

Reads the topic of orders from its beginning with the settings of our worker. EVENTS says after how many to stop.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from time import perf_counter
from typing import Any, Final

import faust
import uvloop

from adapters.kafka import RECORD_BYTES_MAX
from adapters.settings import Settings
from cli.bench.order_log import CONTEXT
from cli.bench.timing import print_answer
from streams.faust_worker import QuietWorker

SETTINGS: Final = Settings.from_environment()
EVENTS: Final = int(os.environ["EVENTS"])
TAKEN_AT_ONCE: Final = 500
WITHIN_S: Final = 0.02

app = faust.App(
    f"{SETTINGS.worker_group}-faust-limit",
    broker=f"kafka://{SETTINGS.kafka_url}",
    autodiscover=False,
    value_serializer="raw",
    key_serializer="raw",
    topic_allow_declare=False,
    topic_disable_leader=True,
    table_standby_replicas=0,
    consumer_auto_offset_reset="earliest",
    consumer_max_fetch_size=RECORD_BYTES_MAX,
    stream_wait_empty=False,
    web_enabled=False,
    worker_redirect_stdouts=False,
    loghandlers=[],
    datadir=tempfile.mkdtemp(prefix="kontor-bench-faust-"),
)
topic = app.topic(SETTINGS.topic_prefix + CONTEXT, key_type=bytes, value_type=bytes)


@app.agent(topic, concurrency=1)
async def nothing(stream: Any) -> None:
    """Count."""
    seen, began = 0, 0.0
    async for events in stream.noack_take(TAKEN_AT_ONCE, within=WITHIN_S):
        began = began or perf_counter()
        first = seen == 0
        seen += len(events)
        if first:
            counted_from = seen
        for event in events:
            await stream.ack(event)
        if seen >= EVENTS:
            print()  # Faust's worker has hidden the cursor, on this line
            print_answer({"events_per_s": round((seen - counted_from) / (perf_counter() - began)), "events": seen})
            sys.stdout.flush()
            os._exit(0)  # a clean end of Faust takes seconds, and nothing is left to keep


def main() -> None:
    """Work until the last event."""
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    QuietWorker(app, loglevel="WARNING", quiet=True, redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    main()
