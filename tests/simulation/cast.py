"""Who acts in a run: relays, workers, clients and an operator. Each runs the programs' own code on the twins."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final
from uuid import UUID

import psycopg

from adapters.group_commit import StoreUnavailable
from adapters.memory import memory_ports
from adapters.relay_store import Partition
from commands import COMMANDS
from commands.handling import Actor, Outcome, Pipeline
from commands.ports import Ports
from domain.errors import Conflict, DomainError, IdempotencyInProgress
from projections import VIEWS
from projections.view import Recorded, View
from streams import erasure, parking, tail
from streams.applying import Chain
from streams.batches import apply_batch
from streams.following import AfterCommit, Follower
from streams.patience import Unassigned
from streams.ports import Changes
from streams.reacting import checkout_follower
from streams.relay import Relay
from streams.views import Copier, view_follower
from tests.simulation.copies import Redis, SimulatedCopies
from tests.simulation.database import Database, SimulatedEventStore
from tests.simulation.followers import SimulatedFollowerStore, SimulatedRows, wish
from tests.simulation.relaying import SimulatedRelayStore
from tests.simulation.topics import Consumer, Kafka, SimulatedTopics
from tests.simulation.world import Process, World

SYSTEM: Final = Actor.system("simulation")
BATCH_WITHIN_S: Final = 0.2
FAR: Final = 0.1
RESTART_S_MAX: Final = 2.0
REPEAT_S_MAX: Final = 0.5


class Bad(Exception):
    """What a view's code raises for an event it cannot apply."""


@dataclass(slots=True)
class Poison:
    """Which events a follower cannot apply until its code is mended: a version of every third aggregate or so.

    `cured`: an operator has had what was parked retried with mended code, or the first event discarded."""

    follower: str = ""
    version: int = 0
    remainder: int = 0
    mended: bool = False
    cured: bool = False

    def hits(self, follower: str, recorded: Recorded) -> bool:
        return (
            not self.mended
            and follower == self.follower
            and recorded.version == self.version
            and recorded.aggregate_id.int % 3 == self.remainder
        )


@dataclass(slots=True)
class Stage:
    """Everything that outlives a process."""

    world: World
    database: Database
    kafka: Kafka
    redis: Redis
    views: list[View[Any]]
    ports: Ports
    poison: Poison = field(default_factory=Poison)
    decoded: dict[int, Recorded] = field(default_factory=dict)  # by position, for the checker
    ended: list[str] = field(default_factory=list)  # how processes ended by themselves, for reasons not foreseen

    @classmethod
    def of(cls, world: World, views: list[View[Any]]) -> Stage:
        ports = replace(memory_ports(), clock=world, ids=world)
        stage = cls(world, Database(world), Kafka(world), Redis(world), views, ports)
        followers = {(view.table, next(iter(view.contexts))) for view in views}
        for name, context in sorted(followers | {("checkout", "orders"), ("erasure", "users")}):
            stage.database.followers.setdefault(context, []).append(name)
            for shard in range(12):
                stage.database.rows["position"][name, context, shard] = 0
        return stage

    def pipeline(self, process: Process) -> Pipeline:
        store = SimulatedEventStore(process, self.database, StoreUnavailable)
        return Pipeline(COMMANDS, replace(self.ports, store=store))


class Host:
    """Keeps one program running: what ends or is killed is started again."""

    def __init__(self, stage: Stage, name: str, program: Callable[[Process], list[Any]]) -> None:
        self.stage = stage
        self.name = name
        self._program = program
        self.process = Process(stage.world, name)
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        world = self.stage.world
        while True:
            self.process = Process(world, self.name)
            tasks = self.process.start(*self._program(self.process))
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                    world.tell(f"{self.name} ends: {error!r}")
                    if not isinstance(error, Unassigned):
                        self.stage.ended.append(f"{self.name}: {error!r}")
            self.process.kill()
            await asyncio.sleep(world.dice.random() * RESTART_S_MAX)


def relay(stage: Stage, process: Process) -> list[Any]:
    return [Relay(SimulatedRelayStore(process, stage.database), SimulatedTopics(process, stage.kafka)).run()]


class Worker:
    """The worker process: its agents are here, all else is the program's."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.consumers: list[Consumer] = []
        self.assigned: set[int] = set()

    def program(self, process: Process) -> list[Any]:
        stage = self._stage
        store = SimulatedFollowerStore(process, stage.database)
        chain = Chain(store)
        copier = Copier(SimulatedRows(process, stage.database), SimulatedCopies(process, stage.redis))
        checkout = checkout_follower(partial(stage.pipeline, process))
        by_context: dict[str, list[Follower]] = {"users": [erasure.FOLLOWER]}
        for view in stage.views:
            (context,) = view.contexts
            by_context.setdefault(context, []).append(view_follower(view, copier))
        agents = {f"{context}-views": (context, followers) for context, followers in by_context.items()}
        agents["checkout"] = ("orders", [checkout])
        agents = {
            agent: (context, [poisoned(stage, follower) for follower in followers])
            for agent, (context, followers) in agents.items()
        }
        followed = {follower.name: follower for _, followers in agents.values() for follower in followers}
        for consumer in self.consumers:
            stage.kafka.consumers.remove(consumer)
        self.consumers = [Consumer(process, stage.kafka, agent, context) for agent, (context, _) in agents.items()]
        self.assign(self.assigned)
        return [
            *(
                _agent(process, consumer, chain, context, followers)
                for consumer, (context, followers) in zip(self.consumers, agents.values(), strict=True)
            ),
            copier.run(),
            tail.watch(store, chain, lambda: followed, self._partitions),
            parking.grant(store, lambda: followed, chain.resume),
        ]

    def assign(self, shards: set[int]) -> None:
        self.assigned = shards
        for consumer in self.consumers:
            consumer.assign(shards)

    def _partitions(self) -> set[Partition]:
        return {partition for consumer in self.consumers for partition in consumer.assigned}


async def _agent(
    process: Process, consumer: Consumer, chain: Chain, context: str, followers: Sequence[Follower]
) -> None:
    """See `streams.app.Worker.follow`."""
    while True:
        batch = await consumer.batch()
        far = {}
        for shard in sorted({shard for (_, shard), _, _ in batch}):
            if process.world.strikes("a partition far behind", FAR) and (ends := await chain.published(context, shard)):
                far[shard] = ends
        near = [linked for (_, shard), _, linked in batch if shard not in far]
        await apply_batch(chain, context, followers, near, far, consumer.skip)
        if process.alive:
            consumer.acknowledge(batch)
        await asyncio.sleep(process.world.dice.random() * BATCH_WITHIN_S)


def poisoned(stage: Stage, follower: Follower) -> Follower:
    """The follower, whose code cannot apply some events."""

    async def apply(transaction: Changes, events: Sequence[Recorded]) -> AfterCommit | None:
        for recorded in events:
            if stage.poison.hits(follower.name, recorded):
                raise Bad(f"version {recorded.version}")
        return await follower.apply(transaction, events)

    return replace(follower, apply=apply)


@dataclass(slots=True)
class Acknowledged:
    """What a client was answered: which streams' ends it was told, under which key."""

    request: Any
    key: str
    outcome: Outcome


class Client:
    """Sends commands, each with a key, again and again until it is answered."""

    def __init__(self, stage: Stage, name: str) -> None:
        self._stage = stage
        self.name = name
        self.acknowledged: list[Acknowledged] = []
        self._sent = 0

    async def send(self, request: Any) -> Outcome | None:
        """The answer; None for a refusal."""
        world = self._stage.world
        self._sent += 1
        key = f"{self.name}-{self._sent}"
        twice = world.strikes("a command sent twice at once", 0.05)
        answers = await asyncio.gather(*(self._answered(request, key) for _ in range(1 + twice)))
        return answers[0]

    async def _answered(self, request: Any, key: str) -> Outcome | None:
        world = self._stage.world
        while True:
            process = Process(world, self.name)  # an API process: how many there are makes no difference
            task = asyncio.create_task(
                self._stage.pipeline(process).execute(request, actor=SYSTEM, idempotency_key=key)
            )
            if world.strikes("api dies", 0.03):
                asyncio.get_running_loop().call_later(world.dice.random() * 0.01, _end, process, task)
            try:
                outcome = await task
            except asyncio.CancelledError:
                if (me := asyncio.current_task()) is not None and me.cancelling():
                    raise
            except (StoreUnavailable, psycopg.OperationalError, Conflict, IdempotencyInProgress):
                pass
            except DomainError as error:
                world.tell(f"{key} {type(request).__name__} is refused: {error}")
                return None
            else:
                self.acknowledged.append(Acknowledged(request, key, outcome))
                return outcome
            await asyncio.sleep(world.dice.random() * REPEAT_S_MAX)


def _end(process: Process, task: asyncio.Task[Any]) -> None:
    process.alive = False
    task.cancel()


async def repeat(world: World, attempt: Callable[[], Awaitable[None]]) -> None:
    """An operator at the command line, while the database is away."""
    while True:
        try:
            return await attempt()
        except psycopg.OperationalError:
            await asyncio.sleep(world.dice.random())


async def wish_for_all(stage: Stage, wished: Any) -> None:
    """`kontor parked retry` or `discard`, of everything that is parked."""
    operator = Process(stage.world, "operator")
    for follower, aggregate_id in sorted({key[:2] for key in stage.database.rows["parked"]}):
        await repeat(stage.world, partial(wish, operator, stage.database, follower, aggregate_id, wished))


def views_of(world: World) -> list[View[Any]]:
    """The views of a run: those every run has, and some of the others."""
    always = {"users", "catalogue", "stock", "orders"}
    return [view for view in VIEWS.values() if view.name in always or world.dice.random() < 0.25]


def aggregates(acknowledged: Sequence[Acknowledged], request: type[Any]) -> list[UUID]:
    return [each.outcome.aggregate_id for each in acknowledged if isinstance(each.request, request)]
