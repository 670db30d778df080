"""The worker: one Faust app whose agents fold the topics into the views and drive the checkout.

Faust consumes; Postgres owns the truth about position. Faust alone would lose records (an agent that fails
acknowledges what it failed on; offsets are committed past records in flight), so agents take batches without
acknowledgement, acknowledge in order after the commit, and an agent that fails stops the process. What Faust
still gets wrong, the chain repairs (`streams.applying`).

Importing this module reads the settings from the environment.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Coroutine, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

import faust
import structlog
from faust.streams import Stream
from faust.types import Message
from mode.supervisors import CrashingSupervisor

from adapters.effects_ledger import Effect
from adapters.kafka import RECORD_BYTES_MAX
from adapters.settings import Settings
from adapters.wiring import Kontor, open_kontor
from projections import views_of
from projections.view import View
from streams.applying import Chain
from streams.batches import apply_batch, far_ends
from streams.credentials import credentials_of
from streams.doing import AT_ONCE, doers
from streams.eager import EagerConsumer, events_of
from streams.effects import Effects, effects_follower
from streams.following import Follower
from streams.refusing import Refusals
from streams.skipping import PassedOver, is_far, skip_to
from streams.views import Copier, view_follower

log = structlog.get_logger()

BATCH_RECORDS_MAX: Final = 500  # gathered while the batch before is applied; no window is waited for
COMMIT_INTERVAL_S: Final = 1.0
SESSION_TIMEOUT_S: Final = 15.0

AgentBody = Callable[[Any], Coroutine[Any, Any, None]]
SETTINGS: Final = Settings.from_environment()


class Worker(faust.App):
    """A Faust app that opens Kontor's connections before its agents start and closes them after."""

    kontor: Kontor
    chain: Chain
    copier: Copier
    effects: dict[str, Effects[Effect]]  # by kind
    planner: Follower
    refusals: Refusals

    def _new_transport(self) -> Any:
        transport: Any = super()._new_transport()
        transport.Consumer = EagerConsumer
        return transport

    async def on_start(self) -> None:
        self.resources = AsyncExitStack()
        self.kontor = await self.resources.enter_async_context(open_kontor(SETTINGS, name="worker"))
        self.chain = Chain(self.kontor.followers)
        self.refusals = Refusals(self.kontor.signatures, self.kontor.pool)
        self.copier = Copier(self.kontor.reads, self.kontor.copies)
        ledger, do = self.kontor.effects, doers(self.kontor)
        self.effects = {kind: Effects(ledger, kind, do[kind], at_once=at_once) for kind, at_once in AT_ONCE.items()}
        self.planner = effects_follower(self.wake_effects, mails=self.kontor.mailer is not None)
        self._followers: dict[str, Follower] = {}
        await super().on_start()

    async def on_shutdown(self) -> None:
        await super().on_shutdown()
        await self.resources.aclose()

    async def _wait_for_table_recovery_completed(self) -> bool:
        """There are no tables. Faust would wait for partitions, a minute at times, and what the worker does beside its
        agents with them: see `streams.patience`."""
        return False

    def wake_effects(self, kinds: Collection[str]) -> None:
        """Something of these kinds was planned."""
        for kind in kinds:
            self.effects[kind].wake()

    async def follow(self, stream: Stream[Any], context: str, followers: Callable[[], list[Follower]]) -> None:
        """The body of every agent: what has come of one topic, applied by each follower, then acknowledged in order.

        Raises what the chain raises, in a group."""
        stream.enable_acks = False
        gathered: asyncio.Queue[Any] = asyncio.Queue(BATCH_RECORDS_MAX)
        passed_over = PassedOver()

        async def apply() -> None:
            while True:
                events = [await gathered.get()]
                while not gathered.empty():
                    events.append(gathered.get_nowait())
                await self._apply(context, events, followers(), passed_over)
                for event in events:
                    await stream.ack(event)

        async with asyncio.TaskGroup() as group:
            applying = group.create_task(apply())
            async for event in events_of(stream):
                await gathered.put(event)
            applying.cancel()

    async def _apply(
        self, context: str, events: Sequence[Any], followers: Sequence[Follower], passed_over: PassedOver
    ) -> None:
        fresh = [event for event in events if not passed_over.has(event.message)]
        last = {event.message.partition: event.message for event in fresh}
        far = {shard: ends for shard, message in last.items() if (ends := await self._far_ends(message))}
        near = [event for event in fresh if event.message.partition not in far]
        records = [linked for event in near if (linked := self.refusals.read(event.message)) is not None]

        async def skip(shard: int, offset: int) -> None:
            if await skip_to(self.consumer, last[shard].tp, offset):
                passed_over.add(last[shard], offset)

        await apply_batch(self.chain, context, followers, records, far, skip)

    async def _far_ends(self, message: Message) -> tuple[int, int] | None:
        """The position and offset that the relay has reached, if they are far behind this record."""
        if not is_far(self.consumer, message.tp, message.offset):
            return None
        context = message.topic.removeprefix(SETTINGS.topic_prefix)
        return await far_ends(self.chain, context, message.partition, message.offset)

    def view_followers(self, context: str) -> list[Follower]:
        """Every generation of every view of the context that is to be kept up to date."""
        generations = self.kontor.reads.generations
        return [self._follower(followed) for view in views_of(context) for followed in generations.followed(view)]

    def _follower(self, view: View[Any]) -> Follower:
        if view.table not in self._followers:
            self._followers[view.table] = view_follower(view, self.copier)
        return self._followers[view.table]


app = Worker(
    SETTINGS.worker_group,
    broker=[f"kafka://{server}" for server in SETTINGS.kafka_url.split(",")],
    broker_credentials=credentials_of(SETTINGS.brokers),
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
    datadir=os.environ.get("KONTOR_FAUST_DIR") or mkdtemp(prefix="kontor-faust-"),  # no tables: stays empty
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
