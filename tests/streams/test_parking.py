"""Poison parks its aggregate, in order; others flow; infrastructure parks nothing; operators release what is mended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from adapters.parked_events import ParkedEvent, ParkedEvents
from adapters.wiring import Kontor
from commands.inventory import ReceiveStock
from domain.identity import shard_of, stock_item_id
from projections.inventory import STOCK
from projections.view import Recorded
from streams.applying import Chain
from streams.following import Follower
from streams.parking import is_poison
from streams.ports import Changes
from streams.views import Copier, view_follower
from tests.streams.test_chain import ACTOR, on_hand, published, receive

pytestmark = pytest.mark.servers


class Bad(Exception):
    """What the code under repair raises."""


class Sick:
    """The stock view, whose code fails for some events until it is mended."""

    def __init__(self, kontor: Kontor, *skus: str, version: int = 3) -> None:
        self._bad = {stock_item_id(sku) for sku in skus}
        self._version = version
        self.kontor = kontor
        self.error: Exception = Bad("no such thing")
        self.chain = Chain(kontor.followers)
        view = view_follower(STOCK, Copier(kontor.reads, kontor.copies))

        async def apply(transaction: Changes, events: Sequence[Recorded]) -> Any:
            for recorded in events:
                if recorded.aggregate_id in self._bad and recorded.version == self._version:
                    raise self.error
            return await view.apply(transaction, events)

        self.follower: Follower = replace(view, apply=apply)

    async def take_all(self) -> None:
        await self.chain.take(self.follower, "inventory", await published(self.kontor))

    def mend(self) -> None:
        self._bad = set()

    async def parked(self) -> list[ParkedEvent]:
        return await ParkedEvents(self.kontor.pool).all()

    async def grant(self, wish: Any, sku: str) -> None:
        aggregate_id = stock_item_id(sku)
        await ParkedEvents(self.kontor.pool).wish(wish, follower="stock_v1", aggregate_id=aggregate_id)
        await self.chain.resume(self.follower, aggregate_id, "inventory", shard_of(aggregate_id))


async def test_poison_parks_its_aggregate_in_order_and_others_flow(kontor: Kontor) -> None:
    await receive(kontor, 5)
    sick = Sick(kontor, "B")
    await sick.take_all()
    assert await on_hand(kontor) == {"A": 5, "B": 1, "C": 5}
    parked = await sick.parked()
    assert [(each.aggregate_id, each.version) for each in parked] == [(stock_item_id("B"), n) for n in (3, 4, 5, 6)]
    assert [each.reason for each in parked] == ["Bad: no such thing", "", "", ""]


async def test_what_comes_later_for_a_parked_aggregate_waits_behind_it(kontor: Kontor) -> None:
    await receive(kontor, 2)
    sick = Sick(kontor, "B")
    await sick.take_all()
    for sku in "AB":
        await kontor.pipeline.execute(ReceiveStock(sku=sku, quantity=10), actor=ACTOR)
    sick.mend()  # even so: order before all
    await sick.take_all()
    assert await on_hand(kontor) == {"A": 12, "B": 1, "C": 2}
    assert [each.version for each in await sick.parked()] == [3, 4]


async def test_a_retry_of_mended_code_applies_them_in_order_and_the_stream_goes_on(kontor: Kontor) -> None:
    await receive(kontor, 5)
    sick = Sick(kontor, "B")
    await sick.take_all()
    sick.mend()
    await sick.grant("retry", "B")
    assert await sick.parked() == []
    assert await on_hand(kontor) == {"A": 5, "B": 5, "C": 5}
    await kontor.pipeline.execute(ReceiveStock(sku="B", quantity=10), actor=ACTOR)
    await sick.take_all()
    assert (await on_hand(kontor))["B"] == 15


async def test_a_retry_that_fails_says_so_and_keeps_the_order(kontor: Kontor) -> None:
    await receive(kontor, 5)
    sick = Sick(kontor, "B")
    await sick.take_all()
    sick.error = Bad("still not")
    await sick.grant("retry", "B")
    parked = await sick.parked()
    assert [(each.version, each.attempts, each.reason, each.wish) for each in parked] == [
        (3, 2, "Bad: still not", None), (4, 0, "", None), (5, 0, "", None), (6, 0, "", None),
    ]  # fmt: skip


async def test_a_discarded_event_is_left_out_and_those_behind_it_are_applied(kontor: Kontor) -> None:
    await receive(kontor, 5)
    sick = Sick(kontor, "B")
    await sick.take_all()
    await sick.grant("discard", "B")
    assert await sick.parked() == []
    assert (await on_hand(kontor))["B"] == 4
    (row,) = (await kontor.reads.by_id(STOCK, [stock_item_id("B")])).values()
    assert row.version == 6


async def test_an_event_that_cannot_be_decoded_is_poison(kontor: Kontor) -> None:
    await receive(kontor, 3)
    async with kontor.pool.connection() as connection:
        await connection.execute(
            "UPDATE events SET topic = 'stock.unheard_of' WHERE originator_id = %s AND originator_version = 3",
            [stock_item_id("B")],
        )
    sick = Sick(kontor)
    await sick.take_all()
    assert await on_hand(kontor) == {"A": 3, "B": 1, "C": 3}
    reasons = [each.reason for each in await sick.parked()]
    assert "stock.unheard_of v" in reasons[0]
    assert reasons[1:] == [""]


async def test_a_record_that_only_kafka_has_wrong_is_taken_from_the_log(kontor: Kontor) -> None:
    await receive(kontor, 3)
    sick = Sick(kontor)
    records = [
        replace(linked, record=linked.record._replace(state=b"[]")) if linked.record.version == 3 else linked
        for linked in await published(kontor)
    ]
    await sick.chain.take(sick.follower, "inventory", records)
    assert await sick.parked() == []
    assert await on_hand(kontor) == {"A": 3, "B": 3, "C": 3}


@pytest.mark.parametrize(
    "error",
    [psycopg.errors.UndefinedTable("no table"), psycopg.errors.InsufficientPrivilege("no right"), MemoryError()],
)
async def test_what_is_not_the_events_fault_parks_nothing(kontor: Kontor, error: Exception) -> None:
    await receive(kontor, 3)
    sick = Sick(kontor, "B")
    sick.error = error
    with pytest.raises(type(error)):
        await sick.take_all()
    assert await sick.parked() == []


async def test_a_database_that_is_away_for_a_moment_parks_nothing(kontor: Kontor) -> None:
    await receive(kontor, 3)
    sick = Sick(kontor, "B")
    failures = [psycopg.OperationalError("gone"), OSError("gone")]
    before = sick.follower.apply

    async def apply(transaction: Changes, events: Sequence[Recorded]) -> Any:
        if failures:
            raise failures.pop()
        return await before(transaction, events)

    sick.mend()
    await sick.chain.take(replace(sick.follower, apply=apply), "inventory", await published(kontor))
    assert failures == []
    assert await sick.parked() == []
    assert await on_hand(kontor) == {"A": 3, "B": 3, "C": 3}


async def test_the_refill_of_a_gap_parks_too(kontor: Kontor) -> None:
    await receive(kontor, 5)
    sick = Sick(kontor, "B")
    last_of_shard = {linked.record.shard: linked for linked in await published(kontor)}
    await sick.chain.take(sick.follower, "inventory", list(last_of_shard.values()))
    assert await on_hand(kontor) == {"A": 5, "B": 1, "C": 5}
    assert len(await sick.parked()) == 4


async def test_too_many_parked_aggregates_stop_the_follower_until_they_are_released(
    kontor: Kontor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.applying.PARKED_AGGREGATES_MAX", 2)
    monkeypatch.setattr("streams.applying.STOPPED_S", 0.0)
    await receive(kontor, 3)
    sick = Sick(kontor, "A", "B", "C")
    await sick.take_all()
    assert len({each.aggregate_id for each in await sick.parked()}) == 2
    stood = await kontor.reads.positions()
    sick.mend()
    await sick.take_all()
    assert await kontor.reads.positions() == stood
    for aggregate_id in {each.aggregate_id for each in await sick.parked()}:
        await ParkedEvents(kontor.pool).wish("retry", follower="stock_v1", aggregate_id=aggregate_id)
        await sick.chain.resume(sick.follower, aggregate_id, "inventory", shard_of(aggregate_id))
    await sick.take_all()
    assert await sick.parked() == []
    assert await on_hand(kontor) == {"A": 3, "B": 3, "C": 3}


def test_a_group_of_errors_is_poison_only_when_all_of_it_is() -> None:
    assert is_poison(ExceptionGroup("", [ValueError("a"), Bad("b")]))
    assert not is_poison(ExceptionGroup("", [ValueError("a"), OSError("away")]))


def test_a_worker_without_memory_does_not_blame_the_event() -> None:
    assert not is_poison(psycopg.DatabaseError("out of memory for query result"))
    assert not is_poison(ExceptionGroup("", [psycopg.DatabaseError("out of memory for query result")]))
    assert is_poison(psycopg.errors.CheckViolation("the row breaks a rule"))
