"""Followers that are far behind: in bulk from the log, and on from where the relay was."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
from structlog.testing import capture_logs

from adapters.wiring import Kontor, open_kontor
from cli.bench.installed import Installation
from cli.bench.order_log import OrderLog
from domain.identity import SHARDS
from projections.view import Recorded
from streams import tail
from streams.applying import Chain
from streams.batches import apply_batch
from streams.following import Follower
from streams.parking import Stopped
from streams.skipping import FAR_RECORDS
from streams.verification import verify_all
from tests.conftest import Stack
from tests.streams.test_chain import chain_of, on_hand, published, receive

pytestmark = pytest.mark.servers
EVENTS = 36_000  # three times FAR_RECORDS in each of twelve partitions
AGENTS = 2  # read the orders: the views' and the checkout


class Noting:
    """A follower beside the view, under the checkout's name, that notes the positions it is given."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.follower = Follower(name="checkout", follows=None, apply=self.apply)

    async def apply(self, _transaction: Any, events: list[Recorded]) -> None:
        self.seen += [recorded.position for recorded in events]


async def shards_of(kontor: Kontor) -> dict[int, int]:
    """Shard to the position of its last event of stock."""
    return {linked.record.shard: linked.record.position for linked in await published(kontor)}


async def test_catching_up_applies_what_is_missing_once_and_in_order(
    kontor: Kontor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.applying.BULK_EVENTS", 2)
    await receive(kontor, 5)
    chain, follower = chain_of(kontor)
    records = await published(kontor)
    await chain.take(follower, "inventory", records[:4])
    for _ in range(2):
        for shard, end in (await shards_of(kontor)).items():
            await chain.catch_up([follower], "inventory", shard, until=end)
    assert await on_hand(kontor) == {"A": 5, "B": 5, "C": 5}


async def test_followers_that_catch_up_together_each_go_on_from_where_they_stand(kontor: Kontor) -> None:
    await receive(kontor, 5)
    chain, view = chain_of(kontor)
    records = await published(kontor)
    noting = Noting()
    other = noting.follower
    await kontor.reads.fetch(FOLLOWS_STOCK, [])
    await chain.take(other, "inventory", records[:5])
    already = list(noting.seen)
    for shard, end in (await shards_of(kontor)).items():
        await chain.catch_up([view, other], "inventory", shard, until=end)
    assert await on_hand(kontor) == {"A": 5, "B": 5, "C": 5}
    assert len(already) > 0
    assert sorted(noting.seen) == [linked.record.position for linked in records]


async def test_one_that_cannot_apply_an_event_does_not_keep_the_others(kontor: Kontor) -> None:
    await receive(kontor, 5)
    chain, view = chain_of(kontor)

    async def failing(_transaction: Any, events: list[Recorded]) -> None:
        raise ValueError("poison")

    await kontor.reads.fetch(FOLLOWS_STOCK, [])
    sick = Follower(name="checkout", follows=None, apply=failing)
    for shard, end in (await shards_of(kontor)).items():
        await chain.catch_up([sick, view], "inventory", shard, until=end)
    assert await on_hand(kontor) == {"A": 5, "B": 5, "C": 5}
    parked = await kontor.reads.fetch(_PARKED, [])
    assert parked == [("checkout", len(await published(kontor)))]


async def test_a_shard_that_two_find_behind_is_caught_up_once(kontor: Kontor) -> None:
    await receive(kontor, 5)
    chain, view = chain_of(kontor)
    for shard, end in (await shards_of(kontor)).items():
        read = await asyncio.gather(*(chain.catch_up([view], "inventory", shard, until=end) for _ in range(2)))
        assert min(read) == 0 < max(read)
    assert await on_hand(kontor) == {"A": 5, "B": 5, "C": 5}


async def test_who_waits_for_his_turn_has_no_lost_tail(kontor: Kontor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.patience.PATIENCE_S", 0.0)
    monkeypatch.setattr("streams.tail.LOOK_S", 0.01)
    await receive(kontor, 5)
    await kontor.reads.fetch(FOLLOWS_STOCK, [])
    chain, looks, go_on = Chain(kontor.followers), asyncio.Queue[None](), asyncio.Event()
    noting = Noting()

    async def slow(transaction: Any, events: list[Recorded]) -> None:
        await go_on.wait()
        await noting.apply(transaction, events)

    follower = Follower(name="checkout", follows=None, apply=slow)
    shard, end = next(iter((await shards_of(kontor)).items()))

    class Standing:
        async def behind(self) -> dict[tuple[str, str, int], tuple[int, int]]:
            looks.put_nowait(None)
            return {("checkout", "inventory", shard): (0, end)}

    with capture_logs() as logs:
        catching_up = asyncio.create_task(chain.catch_up([follower], "inventory", shard, until=end))
        watching = asyncio.create_task(
            tail.watch(cast("Any", Standing()), chain, lambda: {"checkout": follower}, lambda: {("inventory", shard)})
        )
        for _ in range(5):
            await looks.get()
        assert not [line for line in logs if line["event"] == "tail_lost"]
        go_on.set()
        await catching_up
        while not [line for line in logs if line["event"] == "tail_lost"]:
            await looks.get()
        watching.cancel()
    assert len(noting.seen) == len(set(noting.seen)) > 0


async def test_what_is_published_meanwhile_is_caught_up_too(kontor: Kontor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.batches.FAR_RECORDS", 1)
    await receive(kontor, 5)
    _, view = chain_of(kontor)
    records = [linked.record for linked in await published(kontor)]
    shard = records[0].shard
    positions = [record.position for record in records if record.shard == shard]
    assert len(positions) >= 4
    # The relay: position and offset, then, and then not far.
    ends = [(positions[2], 2), (positions[3], 3)]

    class Moving(Chain):
        async def published(self, context: str, shard: int) -> tuple[int, int] | None:
            return ends.pop(0)

    skipped = []

    async def skip(shard: int, offset: int) -> None:
        skipped.append((shard, offset))

    await apply_batch(Moving(kontor.followers), "inventory", [view], [], {shard: (positions[0], 0)}, skip)
    assert skipped == [(shard, 3)]
    standing = await kontor.followers.standing([view.name], "inventory", shard)
    assert standing == {view.name: positions[2]}


async def test_one_that_has_stopped_costs_no_reading_of_what_it_misses(kontor: Kontor) -> None:
    await receive(kontor, 5)
    await kontor.reads.fetch(FOLLOWS_STOCK, [])
    chain = Chain(kontor.followers)
    follower = Follower(name="checkout", follows=None, apply=Noting().apply)
    chain._stop(follower, Stopped("checkout"))
    for shard, end in (await shards_of(kontor)).items():
        assert await chain.catch_up([follower], "inventory", shard, until=end) == 0


async def test_nobody_is_behind_who_is_no_more(kontor: Kontor) -> None:
    await receive(kontor, 1)
    chain = Chain(kontor.followers)
    gone = Follower(name="gone", follows=None, apply=Noting().apply)
    (shard, end), *_ = (await shards_of(kontor)).items()
    assert await chain.catch_up([gone], "inventory", shard, until=end) == 0


@pytest.mark.acceptance
async def test_a_worker_that_is_far_behind_passes_over_the_backlog_and_then_follows(stack: Stack) -> None:
    installation = installation_of(stack)
    with installation.another() as other:
        with psycopg.connect(other.variables["KONTOR_POSTGRES_URL"], autocommit=True) as connection:
            OrderLog(connection).fill(EVENTS)
            # These orders are of the past: nothing follows from them.
            connection.execute(PASSED)
        log = stack.home / "logs" / "worker-far.log"
        async with open_kontor(other.settings, name="test") as kontor:
            with other.process("relay", log="relay-far"):
                await until(lambda: count(kontor, "SELECT position FROM relay_checkpoint"), EVENTS, 240)
                with other.process("worker", log="worker-far"):
                    applied = "SELECT count(*) FROM order_timeline_v1 WHERE jsonb_array_length(steps) = 5"
                    await until(lambda: count(kontor, applied), EVENTS // 5 - 400, 240)
                    caught_up = await passed_over(log)
                    assert sum(caught_up) > EVENTS - 12 * 2 * FAR_RECORDS
                    # Once each, to the end of what was published: what had been fetched before does not ask again.
                    assert len(caught_up) <= AGENTS * SHARDS
                    # It follows Kafka again, and its offsets are committed beyond what was passed over.
                    await receive(kontor, 1)
                    await until(lambda: count(kontor, "SELECT sum(on_hand) FROM stock_v1"), 3, 120)
                    await until(lambda: count(kontor, applied), EVENTS // 5 - 400, 240)
                    assert (await verify_all(kontor)).findings == []


PASSED: Any = (
    b"UPDATE view_positions v SET position = coalesce((SELECT max(notification_id) FROM events e"
    b" WHERE e.context = v.context AND e.shard = v.shard), 0) WHERE v.view IN ('checkout', 'effects')"
)
FOLLOWS_STOCK: Any = (
    b"INSERT INTO view_positions (view, context, shard) SELECT 'checkout', 'inventory', s"
    b" FROM generate_series(0, 11) s RETURNING 1"
)
_PARKED: Any = b"SELECT follower, count(*) FROM parked_events GROUP BY follower"


def installation_of(stack: Stack) -> Installation:
    """The stack as the benches know it."""
    settings = stack.settings
    return Installation(
        stack.home,
        stack.status,
        {
            "KONTOR_ENVIRONMENT": "development",
            "KONTOR_POSTGRES_URL": settings.postgres_url,
            "KONTOR_KAFKA_URL": settings.kafka_url,
            "KONTOR_REDIS_URL": settings.redis_url,
            "KONTOR_MASTER_KEY": settings.master_key.get_secret_value(),
            "KONTOR_RECORD_KEY": settings.record_key.get_secret_value(),
            "KONTOR_JWT_KEY": settings.jwt_key.get_secret_value(),
        },
    )


async def count(kontor: Kontor, query: str) -> int:
    ((found,),) = await kontor.reads.fetch(query.encode(), [])  # type: ignore[arg-type]
    return int(found or 0)


async def until(look: Any, least: int, seconds: float) -> None:
    give_up_at = time.monotonic() + seconds
    while (seen := await look()) < least:
        assert time.monotonic() < give_up_at, f"{seen} of {least} after {seconds} s"
        await asyncio.sleep(0.2)


async def passed_over(log: Path) -> list[int]:
    """How many events each catching up has read."""
    return [int(found) for found in re.findall(r'"events": ?(\d+)[^\n]*"caught_up"', log.read_text())]
