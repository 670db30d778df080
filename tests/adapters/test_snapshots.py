"""Snapshots: a load of a long aggregate reads few events, and comes to the same state as without them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from eventsourcing.domain import Aggregate
from psycopg.sql import SQL

from adapters import snapshots
from adapters.event_store import PostgresEventStore
from adapters.snapshots import SNAPSHOT_EVENTS, decoded, encoded
from adapters.wiring import Kontor
from commands.ports import StreamHead
from domain.identity import OrderId
from domain.inventory import StockItem
from domain.money import Money
from domain.orders import Order
from tests.adapters.test_event_store import NOW, append_of, opened
from tests.given import order_line, placed_order

EVENTS = SNAPSHOT_EVENTS + 100


def long_item(events: int = EVENTS) -> StockItem:
    """A stock item with so many events, and some holds."""
    item = opened("LONG")
    for _ in range(events - 3):
        item.receive(quantity=1, reference="crate", now=NOW)
    for _ in range(2):
        item.reserve(order_id=OrderId(uuid4()), quantity=2, expires_at=NOW + timedelta(minutes=15), now=NOW)
    assert item.version == events
    return item


def state_of(aggregate: Aggregate) -> dict[str, Any]:
    return vars(aggregate) | {"_pending_events": []}


@pytest.mark.parametrize(
    "aggregate",
    [long_item(10), placed_order(order_line(), order_line("CUP", 3, Money(1_99, "GBP")))],
    ids=["stock item with holds", "order with lines"],
)
def test_a_snapshot_restores_every_attribute_with_its_type(aggregate: StockItem | Order) -> None:
    aggregate.collect_events()
    restored = decoded(type(aggregate).TOPIC, encoded(aggregate), aggregate.id, aggregate.version)
    assert state_of(restored) == state_of(aggregate)
    assert {name: type(value) for name, value in vars(restored).items()} == {
        name: type(value) for name, value in vars(aggregate).items()
    }


async def loaded_anew(kontor: Kontor, item: StockItem) -> tuple[Any, StreamHead]:
    """As a process loads it that has just started."""
    async with PostgresEventStore(kontor.pool, kontor.settings.postgres_url) as other:
        return (await other.load([item.id]))[item.id]


async def snapshot_rows(kontor: Kontor) -> list[tuple[Any, ...]]:
    return await kontor.reads.fetch(SQL("SELECT originator_version, state FROM snapshots"), [])


async def taken(kontor: Kontor, item: StockItem) -> None:
    """Load until the snapshot is there; it is written beside the loads."""
    async with asyncio.timeout(60):
        while not await snapshot_rows(kontor):
            await kontor.store.load([item.id])
            await asyncio.sleep(0.01)


@pytest.mark.servers
async def test_a_long_aggregate_gets_a_snapshot_and_is_the_same_with_and_without_it(kontor: Kontor) -> None:
    item = long_item()
    await kontor.store.append(append_of(item))
    whole = (await kontor.store.load([item.id]))[item.id]
    await taken(kontor, item)
    loaded = await loaded_anew(kontor, item)
    await kontor.reads.fetch(SQL("DELETE FROM snapshots RETURNING 1"), [])
    without = await loaded_anew(kontor, item)
    assert state_of(loaded[0]) == state_of(without[0]) == state_of(whole[0])
    assert loaded[1] == without[1] == whole[1]


@pytest.mark.servers
async def test_a_load_reads_only_the_events_after_the_snapshot(kontor: Kontor) -> None:
    item = long_item()
    await kontor.store.append(append_of(item))
    await taken(kontor, item)
    # What is no longer there cannot have been read.
    await kontor.reads.fetch(SQL("DELETE FROM events WHERE originator_version BETWEEN 2 AND 50 RETURNING 1"), [])
    loaded, head = await loaded_anew(kontor, item)
    assert (loaded.version, head.version, loaded.on_hand) == (EVENTS, EVENTS, EVENTS - 3)
    loaded.receive(quantity=5, reference="crate", now=NOW)
    await kontor.store.append(append_of(loaded))
    later, _ = await loaded_anew(kontor, item)
    assert later.on_hand == EVENTS + 2


@pytest.mark.servers
@pytest.mark.parametrize(
    "damage",
    [
        "state = 'x'",
        "state = '{}'",
        "state = overlay(state placing '!' from 2)",
        "topic = 'nothing'",
        "shape = 'of other code'",
    ],
)
async def test_a_snapshot_that_cannot_be_read_is_as_none(kontor: Kontor, damage: str) -> None:
    item = long_item()
    await kontor.store.append(append_of(item))
    await taken(kontor, item)
    assert await kontor.reads.fetch(SQL(f"UPDATE snapshots SET {damage} RETURNING 1"), [])
    loaded, _ = await loaded_anew(kontor, item)
    assert state_of(loaded) == state_of((await kontor.store.load([item.id]))[item.id][0])


@pytest.mark.servers
async def test_a_short_aggregate_gets_none(kontor: Kontor) -> None:
    item = long_item(SNAPSHOT_EVENTS - 1)
    await kontor.store.append(append_of(item))
    await kontor.store.load([item.id])
    await asyncio.sleep(0.1)
    assert await snapshot_rows(kontor) == []


@pytest.mark.servers
async def test_a_snapshot_that_cannot_be_taken_harms_no_load(kontor: Kontor, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Aggregate) -> bytes:
        raise RuntimeError("no")

    monkeypatch.setattr(snapshots, "encoded", broken)
    item = long_item()
    await kontor.store.append(append_of(item))
    for _ in range(3):
        loaded, _ = (await kontor.store.load([item.id]))[item.id]
        await asyncio.sleep(0.02)
    assert loaded.version == EVENTS
