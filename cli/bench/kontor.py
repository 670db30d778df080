"""Contestant `kontor`: the event store as a process of this system has it, wired by `adapters.wiring`.

MODE is one of
  append            `PostgresEventStore.append` of one domain event and its command row
  pipeline          the whole command ReceiveStock: authorise, load, decide, append
  decide            load an aggregate of 20 events or more, decide, append one
  decide-uncached   the same without the cache of aggregates
  order             ReserveOrders of 500 lines: an order and 500 stock items in one save
Streams are stock items: `stock.opened`, then `stock.received` of about 300 bytes.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import count
from statistics import median
from time import perf_counter
from typing import Any, Final, cast
from uuid import UUID

import uvloop
from pydantic import SecretStr
from uuid_utils.compat import uuid7

from adapters.aggregate_cache import AggregateCache, Seen
from adapters.schema import migrate
from adapters.settings import Settings
from adapters.wiring import Kontor, open_kontor
from cli.bench.timing import (
    EVENTS_PER_STREAM,
    ORDER_LINES,
    ORDER_RUNS,
    ORDER_RUNS_WARM_UP,
    WARM_UP_S,
    Measured,
    Step,
    Task,
    database_url,
    percentile_ms,
    print_answer,
    require_c_implementation,
    run_clients,
)
from commands.catalogue import AddProduct
from commands.handling import Actor
from commands.inventory import ReceiveStock, ReserveOrders
from commands.ports import Append, VersionConflict
from domain.identity import OrderId, UserId, product_id, stock_item_id
from domain.inventory import REFERENCE_LENGTH_MAX, StockItem
from domain.money import Money
from domain.orders import Order, OrderLine, OrderStatus

ACTOR: Final = Actor.system("bench")
RECEIVED: Final[Any] = StockItem.Received
REFERENCE: Final = "x" * REFERENCE_LENGTH_MAX
DIGEST: Final = bytes(32)
SEEDED_EVENTS_PER_APPEND: Final = 1_000
SEEDED_AT_ONCE: Final = 500
# Products are made before the measurement, for streams to be opened at up to this rate; beyond it they are used again.
STREAMS_PER_S_MAX: Final = 1_500


class NoCache(AggregateCache):
    """Remembers nothing, so that every load reads the whole stream."""

    def get(self, aggregate_id: UUID) -> Seen:
        """Nothing was seen."""
        del aggregate_id
        return Seen()

    def put(self, aggregate_id: UUID, seen: Seen) -> None:
        """Forget it."""


def settings(url: str) -> Settings:
    """An installation of PostgreSQL alone: appending and loading ask nobody else."""
    # Always the same: a database remembers its key, and a log that grows is opened by many processes.
    key = SecretStr(base64.b64encode(bytes(32)).decode())
    return Settings(
        postgres_url=url,
        kafka_url="127.0.0.1:1",
        redis_url="redis://127.0.0.1:1",
        environment="development",
        master_key=key,
        jwt_key=key,
    )


def append_of(aggregate: Any, name: str = "ReceiveStock") -> Append:
    """Its pending events, as the pipeline would save them."""
    return append_with(aggregate.collect_events(), aggregate.id, aggregate.version, name)


def append_with(events: Sequence[Any], aggregate_id: UUID, version: int, name: str) -> Append:
    """The events, as the pipeline would save them."""
    command_id = uuid7()
    return Append(
        command_id=command_id,
        command_name=name,
        request_digest=DIGEST,
        result={"aggregate_id": aggregate_id, "version": version},
        actor=ACTOR.name,
        correlation_id=command_id,
        causation_id=None,
        events=events,
    )


async def store_all(kontor: Kontor, aggregates: Iterable[Any]) -> None:
    """Seed many new aggregates, a thousand events or so at a time."""
    events: list[Any] = []
    for aggregate in aggregates:
        events += aggregate.collect_events()
        if len(events) >= SEEDED_EVENTS_PER_APPEND:
            await kontor.store.append(_seed(events))
            events = []
    if events:
        await kontor.store.append(_seed(events))


def _seed(events: Sequence[Any]) -> Append:
    command_id = uuid7()
    return Append(command_id=command_id, command_name="Seed", request_digest=DIGEST, result={}, actor=ACTOR.name,
                  correlation_id=command_id, causation_id=None, events=events)  # fmt: skip


def now() -> datetime:
    """The present moment."""
    return datetime.now(UTC)


def stock_item_with(events: int, sku: str, *, quantity: int = 1) -> StockItem:
    """An unsaved one with that many events."""
    item = StockItem.open(sku=sku, now=now())
    for _ in range(events - 1):
        item.receive(quantity=quantity, reference=REFERENCE, now=now())
    return item


async def append(kontor: Kontor, task: Task) -> Measured:
    """One event an append, each writer on streams of its own, a new one every EVENTS_PER_STREAM.

    The event is made for its version without an aggregate, as the limit and the peers do; `decide` is with one."""
    skus = (f"BENCH-{secrets.token_hex(4)}-{number}" for number in count())

    def client_of(_number: int) -> Step:
        stream, version = opening(next(skus)), 0

        async def step(n: int) -> None:
            nonlocal stream, version
            if n % EVENTS_PER_STREAM == 0:
                stream, version = opening(next(skus)), 0
            version += 1
            event = stream
            if version > 1:
                event = RECEIVED(
                    originator_id=stream.originator_id,
                    originator_version=version,
                    timestamp=now(),
                    quantity=1,
                    reference=REFERENCE,
                )
            await kontor.store.append(append_with((event,), stream.originator_id, version, "ReceiveStock"))

        return step

    return await run_clients(task, client_of, refusals=(VersionConflict,))


def opening(sku: str) -> Any:
    """The first event of a stock item."""
    (event,) = StockItem.open(sku=sku, now=now()).collect_events()
    return event


async def pipeline(kontor: Kontor, task: Task) -> Measured:
    """The whole command ReceiveStock, each writer on SKUs of its own."""
    streams = task.clients + int((task.seconds + WARM_UP_S) * STREAMS_PER_S_MAX)
    names = [f"BENCH-{number}" for number in range(streams)]
    await _add_products(kontor, names)
    unused = iter(names)

    def client_of(number: int) -> Step:
        sku = names[number]

        async def step(n: int) -> None:
            nonlocal sku
            if n % EVENTS_PER_STREAM == 0:
                sku = next(unused, sku)
            await kontor.pipeline.execute(ReceiveStock(sku=sku, quantity=1, reference=REFERENCE), actor=ACTOR)

        return step

    return await run_clients(task, client_of)


async def _add_products(kontor: Kontor, skus: Sequence[str]) -> None:
    for chunk in batched(skus, SEEDED_AT_ONCE):
        adding = (AddProduct(sku=sku, name=f"The {sku}", price=Money(255, "GBP"), published=True) for sku in chunk)
        await asyncio.gather(*(kontor.pipeline.execute(each, actor=ACTOR) for each in adding))


def batched(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """The names in slices of that size."""
    return (names[start : start + size] for start in range(0, len(names), size))


async def decide(kontor: Kontor, task: Task) -> Measured:
    """Load one of the seeded streams, decide, append one event."""
    names = [f"BENCH-{number}" for number in range(task.streams)]
    await store_all(kontor, (stock_item_with(EVENTS_PER_STREAM, sku) for sku in names))
    streams: list[UUID] = [stock_item_id(sku) for sku in names]

    def client_of(number: int) -> Step:
        async def step(n: int) -> None:
            stream = streams[(number + n * task.clients) % len(streams)]
            loaded, _ = (await kontor.store.load([stream]))[stream]
            item = cast("StockItem", loaded)
            item.receive(quantity=item.on_hand % 7 + 1, reference=REFERENCE, now=now())
            await kontor.store.append(append_of(item))

        return step

    return await run_clients(task, client_of, refusals=(VersionConflict,))


async def reserve_orders(kontor: Kontor) -> dict[str, Any]:
    """Orders of 500 lines, one after the other, each reserved by one command: 501 aggregates in one save."""
    names = [f"BENCH-{number}" for number in range(ORDER_LINES)]
    await store_all(kontor, (stock_item_with(2, sku, quantity=100_000) for sku in names))
    latencies = []
    for number in range(ORDER_RUNS_WARM_UP + ORDER_RUNS):
        order = order_of(names, f"K{number}")
        await kontor.store.append(append_of(order, "PlaceOrder"))
        started = perf_counter()
        outcome = await kontor.pipeline.execute(ReserveOrders(order_ids=(OrderId(order.id),)), actor=ACTOR)
        latencies.append(perf_counter() - started)
        assert isinstance(outcome.aggregate, Order), outcome
        assert outcome.aggregate.status is OrderStatus.RESERVED, outcome.aggregate.reason
    counted = latencies[ORDER_RUNS_WARM_UP:]
    return {"p50_ms": round(median(counted) * 1000, 3), "p99_ms": percentile_ms(counted, 0.99), "runs": len(counted)}


def order_of(skus: Sequence[str], number: str) -> Order:
    """An unsaved order of one unit of each."""
    lines = [OrderLine(sku, product_id(sku), f"The {sku}", 1, Money(255, "GBP")) for sku in skus]
    return Order.place(order_id=OrderId(uuid7()), number=number, customer_id=UserId(uuid7()), lines=lines,
                       payment_method="card", placed_at=now(), now=now())  # fmt: skip


async def measure(task: Task) -> dict[str, Any]:
    """Do the task on the database that PGHOST and the like name; returns the answer."""
    await migrate(database_url())
    async with open_kontor(settings(database_url()), name="bench") as kontor:
        if task.mode == "order":
            return await reserve_orders(kontor)
        if task.mode == "decide-uncached":
            kontor.store._loads._cache = NoCache()
        does = {"append": append, "pipeline": pipeline}.get(task.mode, decide)
        return (await does(kontor, task)).as_row()


if __name__ == "__main__":
    require_c_implementation()
    print_answer(uvloop.run(measure(Task.given())))
