"""How far every generation of a view is, at `/metrics` and in the query `views`; what another process does is seen."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg.sql import SQL

from adapters.metrics import REGISTRY
from adapters.read_store import ReadStore
from adapters.wiring import Kontor
from api import view_gauges
from api.gauges import LOOK_S
from api.view_gauges import ViewGauges
from api.view_lag import view_lags
from projections.inventory import STOCK
from streams.applying import Chain
from streams.rebuilding import rebuild
from streams.views import Copier, view_follower
from tests.api.reading import asked
from tests.given import STAFF
from tests.streams.test_chain import receive

pytestmark = pytest.mark.servers
STATES = "{ views { name state lagEvents } }"


async def figures(kontor: Kontor, gauges: ViewGauges | None = None) -> dict[str, dict[str, float]]:
    """What is told of the stock's generations; by itself as by a process that has never looked before."""
    await (gauges or ViewGauges(kontor.reads)).refresh()
    told: dict[str, dict[str, float]] = {}
    for metric in REGISTRY.collect():
        for sample in metric.samples:
            if sample.labels.get("view") == STOCK.base:
                name = sample.labels.get("state", sample.name.removeprefix("kontor_view_"))
                told.setdefault(sample.labels["generation"], {})[name] = sample.value
    return told


async def apply(kontor: Kontor, view: Any, *, events: int) -> None:
    """The generation has applied so many events of the shard of the SKU A alone."""
    chain, copier = Chain(kontor.followers), Copier(kontor.reads, kontor.copies)
    query = SQL("SELECT shard, notification_id FROM events WHERE context = 'inventory' ORDER BY 2 LIMIT 1 OFFSET %s")
    ((shard, until),) = await kontor.reads.fetch(query, [events - 1])
    await chain.refill(view_follower(view, copier), "inventory", shard, until=until)


async def states(kontor: Kontor) -> dict[str, str]:
    answer = await asked(kontor, STATES, STAFF)
    assert answer.errors is None, answer.errors
    return {each["name"]: each["state"] for each in (answer.data or {})["views"]}


async def park(kontor: Kontor, follower: str, aggregates: int) -> None:
    async with kontor.pool.connection() as connection:
        await connection.execute(
            "INSERT INTO parked_events (follower, aggregate_id, version, position, context, shard, event_type, reason)"
            " SELECT %s, gen_random_uuid(), 1, 1, 'inventory', 0, 'stock.received', 'cannot' FROM"
            " generate_series(1, %s)",
            [follower, aggregates],
        )


async def test_a_generation_that_is_being_filled_is_seen_with_what_it_has_done(kontor: Kontor) -> None:
    await receive(kontor, 9, skus=("A",))  # 10 events: the ledger's opening too
    assert await figures(kontor) == {"1": {"events_behind": 10, "parked_aggregates": 0, "live": 1}}
    assert (await states(kontor))["stock"] == "LIVE"
    candidate = await kontor.reads.generations.begin(STOCK)
    gauges = ViewGauges(kontor.reads)
    assert (await figures(kontor, gauges))["2"] == {
        "events_behind": 10, "events_done": 0, "parked_aggregates": 0, "filling": 1,
    }  # fmt: skip
    for done in (4, 7, 10):
        await apply(kontor, candidate, events=done)
        gauges._looked_at = float("-inf")
        there = (await figures(kontor, gauges))["2"]
        assert (there["events_done"], there["events_behind"]) == (done, 10 - done)
        assert (await figures(kontor))["2"] == there
    assert (await states(kontor)) == {**await states(kontor), "stock": "REBUILDING", "orders": "LIVE"}


async def test_once_it_is_filled_it_waits_beside_and_the_view_is_live(kontor: Kontor) -> None:
    await receive(kontor, 3)
    await rebuild(kontor, STOCK, progress=lambda *_: None)
    assert (await states(kontor))["stock"] == "LIVE"
    there = (await figures(kontor))["2"]
    assert (there["beside"], "events_done" in there) == (1, False)
    assert there["events_behind"] == 0


async def test_another_process_knows_of_it(kontor: Kontor) -> None:
    other = ReadStore(kontor.pool)
    await kontor.reads.generations.begin(STOCK)
    await other.generations.refresh()
    assert [lag.name for lag in await view_lags(other) if lag.rebuilding] == ["stock"]
    await kontor.reads.generations.drop(STOCK)
    await other.generations.refresh()
    assert [lag.name for lag in await view_lags(other) if lag.rebuilding] == []
    assert list(await figures(kontor)) == ["1"]


async def test_a_view_that_stands_still_is_stopped_whatever_is_built_beside_it(kontor: Kontor) -> None:
    await kontor.reads.generations.begin(STOCK)
    await park(kontor, STOCK.table, 99)
    assert (await states(kontor))["stock"] == "REBUILDING"
    await park(kontor, STOCK.table, 1)
    assert (await states(kontor))["stock"] == "STOPPED"
    there = await figures(kontor)
    assert (there["1"]["parked_aggregates"], there["1"]["stopped"], there["2"]["filling"]) == (100, 1, 1)


async def test_what_is_far_behind_is_counted_in_part_and_estimated(
    kontor: Kontor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view_gauges, "COUNTED_EVENTS", 5)
    await receive(kontor, 39, skus=("A",))  # one shard, evenly
    assert (await figures(kontor))["1"]["events_behind"] == pytest.approx(40, rel=0.2)
    monkeypatch.setattr(view_gauges, "SLICE_EVENTS", 15)
    candidate = await kontor.reads.generations.begin(STOCK)
    await apply(kontor, candidate, events=40)
    gauges, told = ViewGauges(kontor.reads), []
    for _ in range(4):
        gauges._looked_at = float("-inf")
        told.append((await figures(kontor, gauges))["2"]["events_done"])
    assert told == [15, 30, 40, 40]


async def test_scrapes_one_after_another_look_once(kontor: Kontor) -> None:
    gauges = ViewGauges(kontor.reads)
    before = await figures(kontor, gauges)
    await receive(kontor, 1, skus=("A",))
    assert await figures(kontor, gauges) == before
    gauges._looked_at -= LOOK_S
    assert (await figures(kontor, gauges))["1"]["events_behind"] == 2


async def test_without_the_database_there_are_no_views_in_it(kontor: Kontor, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await figures(kontor) != {}

    async def away(*_: object) -> None:
        raise OSError("the server is away")

    monkeypatch.setattr(kontor.reads, "fetch", away)
    assert await figures(kontor) == {}
