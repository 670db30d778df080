"""The worker: one Faust app whose agents fold the topics into the views and drive the checkout.

Faust consumes; Postgres owns the truth about position. Faust alone would lose records (an agent that fails
acknowledges what it failed on; offsets are committed past records in flight), so agents take batches without
acknowledgement, acknowledge in order after the commit, and an agent that fails stops the process. What Faust
still gets wrong, the chain repairs (`streams.applying`).

Importing this module reads the settings from the environment.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import faust
import structlog
from faust.streams import Stream
from mode.supervisors import CrashingSupervisor

from adapters.kafka import RECORD_BYTES_MAX
from adapters.settings import Settings
from adapters.wire import Linked, NotOurs, parsed
from adapters.wiring import Kontor, open_kontor
from projections import views_of
from projections.view import View
from streams.applying import Chain
from streams.following import Follower
from streams.views import Copier, view_follower

log = structlog.get_logger()

BATCH_RECORDS_MAX: Final = 500
BATCH_WITHIN_S: Final = 0.02  # how often Faust looks into its buffer: half of it is the delay it adds
COMMIT_INTERVAL_S: Final = 1.0
SESSION_TIMEOUT_S: Final = 15.0

AgentBody = Callable[[Any], Coroutine[Any, Any, None]]
SETTINGS: Final = Settings.from_environment()


class Worker(faust.App):
    """A Faust app that opens Kontor's connections before its agents start and closes them after."""

    kontor: Kontor
    chain: Chain
    copier: Copier

    async def on_start(self) -> None:
        self.resources = AsyncExitStack()
        self.kontor = await self.resources.enter_async_context(open_kontor(SETTINGS, name="worker"))
        self.chain = Chain(self.kontor.pool, self.kontor.log)
        self.copier = Copier(self.kontor.reads, self.kontor.copies)
        self._followers: dict[str, Follower] = {}
        await super().on_start()

    async def on_shutdown(self) -> None:
        await super().on_shutdown()
        await self.resources.aclose()

    async def follow(self, stream: Stream[Any], context: str, followers: Callable[[], list[Follower]]) -> None:
        """The body of every agent: batches of one topic, applied by each follower, then acknowledged in order."""
        async for events in stream.noack_take(BATCH_RECORDS_MAX, within=BATCH_WITHIN_S):
            records = [linked for event in events if (linked := linked_of(context, event)) is not None]
            for follower in followers():
                await self.chain.take(follower, context, records)
            for event in events:
                await stream.ack(event)

    def view_followers(self, context: str) -> list[Follower]:
        """Every generation of every view of the context that is to be kept up to date."""
        generations = self.kontor.reads.generations
        return [self._follower(followed) for view in views_of(context) for followed in generations.followed(view)]

    def _follower(self, view: View[Any]) -> Follower:
        if view.table not in self._followers:
            self._followers[view.table] = view_follower(view, self.copier)
        return self._followers[view.table]


def linked_of(context: str, event: Any) -> Linked | None:
    """The record of a Faust event; None for one that the relay did not write. If it stands where one of ours
    was, the next record shows the gap."""
    message = event.message
    headers = message.headers or ()
    pairs = headers.items() if isinstance(headers, dict) else headers
    try:
        return parsed(context, message.partition, message.value, pairs)
    except NotOurs as error:
        log.error("record_not_ours", topic=message.topic, partition=message.partition, offset=message.offset,
                  error=str(error))  # fmt: skip
        return None


app = Worker(
    SETTINGS.worker_group,
    broker=[f"kafka://{server}" for server in SETTINGS.kafka_url.split(",")],
    autodiscover=False,
    value_serializer="raw",
    key_serializer="raw",
    processing_guarantee="at_least_once",  # exactly_once hangs at shutdown with aiokafka 0.14
    producer_threaded=False,
    topic_allow_declare=False,
    topic_disable_leader=True,
    table_standby_replicas=0,
    consumer_auto_offset_reset="earliest",
    consumer_max_fetch_size=RECORD_BYTES_MAX,
    broker_commit_interval=COMMIT_INTERVAL_S,
    broker_session_timeout=SESSION_TIMEOUT_S,
    broker_heartbeat_interval=SESSION_TIMEOUT_S / 5,
    broker_request_timeout=30.0,
    stream_wait_empty=False,
    web_enabled=False,
    worker_redirect_stdouts=False,
    loghandlers=[],
    logging_config=None,
    datadir=os.environ.get("KONTOR_FAUST_DIR", "/tmp/kontor-faust"),  # noqa: S108  # no tables: stays empty
)


def topic_of(context: str) -> Any:
    """The topic, as raw bytes: the chain parses it, so that a record that is not ours is named as such."""
    return app.topic(
        SETTINGS.topic_prefix + context, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
    )


def agent(context: str, name: str) -> Callable[[AgentBody], AgentBody]:
    """Declares an agent: one coroutine, and a failure stops the process instead of skipping the record."""

    def declare(body: AgentBody) -> AgentBody:
        app.agent(topic_of(context), name=name, concurrency=1, supervisor_strategy=CrashingSupervisor)(body)
        return body

    return declare


def announce_ready() -> None:
    """Tell whoever started this process that it serves."""
    if SETTINGS.ready_file:
        Path(SETTINGS.ready_file).write_text(str(os.getpid()))
