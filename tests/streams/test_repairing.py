"""What verification finds is healed from the log, beside a system that goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from msgspec.structs import replace

from adapters.wiring import Kontor
from commands.inventory import ReceiveStock
from domain.identity import SHARDS, shard_of, stock_item_id
from projections.inventory import STOCK
from streams.repairing import fold_again, repair
from streams.verification import verify_all
from tests.streams.test_chain import ACTOR, on_hand, receive
from tests.streams.test_rebuilding import follow
from tests.streams.test_relay import relay_of

pytestmark = pytest.mark.servers


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.verification.PASSING_S_MAX", 0.1)
    monkeypatch.setattr("streams.verification.SETTLING_S_MAX", 0.1)
    monkeypatch.setattr("streams.relay.LOOK_S", 0.5)


@pytest.fixture
async def relay(kontor: Kontor, topics: None) -> AsyncIterator[None]:
    running = asyncio.create_task(relay_of(kontor).run())
    yield
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def findings(kontor: Kontor) -> set[tuple[str, str]]:
    """Those about stock; nobody follows the rest here."""
    found = (await verify_all(kontor)).findings
    return {(each.where, each.what) for each in found if each.where.endswith("stock") or "kafka" in each.where}


async def published(kontor: Kontor) -> None:
    end = await kontor.log.end()
    async with kontor.pool.connection() as connection, asyncio.timeout(60):
        while True:
            ((position,),) = await (await connection.execute("SELECT position FROM relay_checkpoint")).fetchall()
            if position >= end:
                return
            await asyncio.sleep(0.1)


async def test_rows_that_are_wrong_missing_or_nobodys_are_folded_again(kontor: Kontor, relay: None) -> None:
    await receive(kontor, 3)
    await published(kontor)
    await follow(kontor)
    async with kontor.pool.connection() as connection:
        await connection.execute("UPDATE stock_v1 SET on_hand = 99 WHERE sku = 'A'")
        await connection.execute("DELETE FROM stock_v1 WHERE sku = 'B'")
        await connection.execute(
            "INSERT INTO stock_v1 SELECT (jsonb_populate_record(s, jsonb_build_object('id', %s::uuid, 'sku', 'X'))).*"
            " FROM stock_v1 s WHERE sku = 'C'",
            [uuid4()],
        )
    assert await findings(kontor) == {("stock", "different"), ("stock", "missing"), ("stock", "extra")}
    await repair(kontor, await verify_all(kontor))
    assert await findings(kontor) == set()
    assert await on_hand(kontor) == {"A": 3, "B": 3, "C": 3}


async def test_a_copy_that_differs_is_taken_away(kontor: Kontor, relay: None) -> None:
    await receive(kontor, 3)
    await published(kontor)
    await follow(kontor)
    (row,) = (await kontor.reads.by_id(STOCK, [stock_item_id("A")])).values()
    await kontor.copies.forget(STOCK, [row.id])
    await kontor.copies.copy(STOCK, [replace(row, on_hand=7)], incarnation=kontor.copies.incarnation)
    assert await findings(kontor) == {("redis stock", "different")}
    await repair(kontor, await verify_all(kontor))
    assert await findings(kontor) == set()
    assert await kontor.copies.read(STOCK, [row.id]) == {}


async def test_a_partition_that_is_not_the_log_is_published_again(kontor: Kontor, relay: None) -> None:
    await receive(kontor, 3)
    await published(kontor)
    await follow(kontor)
    aggregate_id = stock_item_id("A")
    async with kontor.pool.connection() as connection:
        # What Kafka has of it is then another event than the log's.
        await connection.execute(
            """UPDATE events SET state = replace(encode(state, 'escape'), '"quantity":1', '"quantity":2')::bytea
               WHERE originator_id = %s AND originator_version = 3""",
            [aggregate_id],
        )
    where = f"kafka inventory/{shard_of(aggregate_id)}"
    assert await findings(kontor) == {(where, "different"), ("stock", "different"), ("redis stock", "different")}
    await repair(kontor, await verify_all(kontor))
    assert await findings(kontor) == set()
    assert (await on_hand(kontor))["A"] == 4


async def test_strangers_records_are_cut_off_also_where_nothing_of_ours_is(kontor: Kontor, relay: None) -> None:
    await receive(kontor, 1)
    await published(kontor)
    await follow(kontor)
    used = shard_of(stock_item_id("A"))
    unused = next(each for each in range(SHARDS) if each not in {shard_of(stock_item_id(sku)) for sku in "ABC"})
    topic = f"{kontor.settings.topic_prefix}inventory"
    async with AIOKafkaProducer(bootstrap_servers=kontor.settings.kafka_url) as producer:
        for shard in (used, unused):
            await producer.send_and_wait(topic, b"{", b"stranger", shard)
    assert await findings(kontor) == {("kafka", "extra")}
    await repair(kontor, await verify_all(kontor))
    assert await findings(kontor) == set()
    await kontor.pipeline.execute(ReceiveStock(sku="A", quantity=10), actor=ACTOR)
    await published(kontor)
    await follow(kontor)
    assert await findings(kontor) == set()


async def test_a_row_is_folded_up_to_where_its_view_stands_and_goes_on_from_there(kontor: Kontor) -> None:
    await receive(kontor, 3)
    await follow(kontor)
    await kontor.pipeline.execute(ReceiveStock(sku="A", quantity=10), actor=ACTOR)
    await fold_again(kontor, STOCK, [stock_item_id("A")])
    assert (await on_hand(kontor))["A"] == 3
    await follow(kontor)
    assert (await on_hand(kontor))["A"] == 13
