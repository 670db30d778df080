"""The chain on a real PostgreSQL: duplicates dropped, gaps refilled from the log, nothing twice."""

from __future__ import annotations

import asyncio
import random

import pytest

from adapters.log import LogRecord
from adapters.wire import Linked, headers_of, parsed
from adapters.wiring import Kontor
from commands.catalogue import AddProduct
from commands.handling import Actor
from commands.inventory import ReceiveStock
from domain.identity import stock_item_id
from domain.money import Money
from projections.inventory import STOCK
from streams.applying import Chain
from streams.verification import verify_all
from streams.views import Copier, view_follower

pytestmark = pytest.mark.servers
ACTOR = Actor.system("test")


async def receive(kontor: Kontor, times: int, skus: tuple[str, ...] = ("A", "B", "C")) -> None:
    for sku in skus:
        await kontor.pipeline.execute(AddProduct(sku=sku, name=sku, price=Money(100, "GBP")), actor=ACTOR)
    for _ in range(times):
        for sku in skus:
            await kontor.pipeline.execute(ReceiveStock(sku=sku, quantity=1), actor=ACTOR)


async def published(kontor: Kontor, context: str = "inventory") -> list[Linked]:
    """The records as the relay would send them."""
    last: dict[int, int] = {}
    records = []
    for record in await kontor.log.after(0, limit=10_000):
        if record.context == context:
            linked = parsed(context, record.shard, record.state, headers_of(record, previous=last.get(record.shard, 0)))
            records.append(linked)
            last[record.shard] = record.position
    return records


def chain_of(kontor: Kontor) -> tuple[Chain, object]:
    copier = Copier(kontor.reads, kontor.copies)
    return Chain(kontor.followers), view_follower(STOCK, copier)


async def on_hand(kontor: Kontor) -> dict[str, int]:
    rows = await kontor.reads.by_id(STOCK, [stock_item_id(sku) for sku in "ABC"])
    return {row.sku: row.on_hand for row in rows.values()}


async def test_a_record_read_from_kafka_is_the_record_of_the_log(kontor: Kontor) -> None:
    await receive(kontor, 1)
    log: dict[int, LogRecord] = {record.position: record for record in await kontor.log.after(0, limit=100)}
    for linked in await published(kontor):
        assert linked.record == log[linked.record.position]


async def test_records_in_order_are_applied_once_however_often_they_come(kontor: Kontor) -> None:
    await receive(kontor, 5)
    chain, follower = chain_of(kontor)
    records = await published(kontor)
    for _ in range(3):
        await chain.take(follower, "inventory", records)
    assert await on_hand(kontor) == {"A": 5, "B": 5, "C": 5}


async def test_a_missing_record_is_refilled_from_the_log(kontor: Kontor) -> None:
    await receive(kontor, 5)
    chain, follower = chain_of(kontor)
    records = await published(kontor)
    await chain.take(follower, "inventory", records[:4] + records[-1:])
    by_shard = {linked.record.shard for linked in records[-1:]}
    rows = await kontor.reads.by_id(STOCK, [linked.record.aggregate_id for linked in records[-1:]])
    assert by_shard
    assert [row.on_hand for row in rows.values()] == [5]


async def test_a_new_view_is_filled_from_the_log_by_its_first_record(kontor: Kontor) -> None:
    await receive(kontor, 5)
    chain, follower = chain_of(kontor)
    last_of_shard = {linked.record.shard: linked for linked in await published(kontor)}
    await chain.take(follower, "inventory", list(last_of_shard.values()))
    assert await on_hand(kontor) == {"A": 5, "B": 5, "C": 5}


async def test_a_lost_tail_is_refilled_up_to_what_was_published(kontor: Kontor) -> None:
    await receive(kontor, 5)
    chain, follower = chain_of(kontor)
    records = await published(kontor)
    last = records[-1].record
    applied = await chain.refill(follower, "inventory", last.shard, until=last.position)
    assert applied == sum(linked.record.shard == last.shard for linked in records)
    assert await chain.refill(follower, "inventory", last.shard, until=last.position) == 0


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_is_lost_repeated_or_cut_rows_equal_the_fold(kontor: Kontor, seed: int) -> None:
    """Two workers on the same shards, batches lost and repeated at random: the rows are the fold of the log."""
    dice = random.Random(seed)
    await receive(kontor, 10)
    records = await published(kontor)
    workers = [chain_of(kontor) for _ in range(2)]

    async def work(chain: Chain, follower: object) -> None:
        for _ in range(8):
            start = dice.randrange(len(records))
            batch = [linked for linked in records[start : start + 8] if dice.random() > 0.3]
            await chain.take(follower, "inventory", batch)
        await chain.take(follower, "inventory", list({linked.record.shard: linked for linked in records}.values()))

    await asyncio.gather(*(work(*worker) for worker in workers))
    assert await on_hand(kontor) == {"A": 10, "B": 10, "C": 10}, f"seed {seed}"


async def test_verification_names_a_row_that_is_not_the_fold_of_its_events(
    kontor: Kontor, topics: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.verification.PASSING_S_MAX", 0.1)
    monkeypatch.setattr("streams.verification.SETTLING_S_MAX", 0.1)
    await receive(kontor, 3)
    chain, follower = chain_of(kontor)
    await chain.take(follower, "inventory", await published(kontor))
    async with kontor.pool.connection() as connection:
        await connection.execute("UPDATE stock_v1 SET on_hand = 99 WHERE sku = 'A'")
        await connection.execute("DELETE FROM stock_v1 WHERE sku = 'B'")
    found = {(finding.where, finding.what, finding.subject) for finding in (await verify_all(kontor)).findings}
    assert ("stock", "different", str(stock_item_id("A"))) in found
    assert ("stock", "missing", str(stock_item_id("B"))) in found
    assert not any(where == "stock" and subject == str(stock_item_id("C")) for where, _, subject in found)
    assert any(where.startswith("kafka") and what == "missing" for where, what, _ in found)
