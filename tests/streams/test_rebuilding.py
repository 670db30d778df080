"""A generation built beside the one that is read: filled from the log, followed, compared, read, taken back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from psycopg.sql import SQL

from adapters.consistency import Token
from adapters.view_generations import NoCandidate
from adapters.wiring import Kontor
from commands.inventory import ReceiveStock
from domain.identity import stock_item_id
from projections.inventory import STOCK, StockRow
from projections.view import Recorded
from streams import rebuilding
from streams.applying import Chain
from streams.rebuilding import differences, rebuild
from streams.views import Copier, view_follower
from tests.streams.test_chain import ACTOR, chain_of, on_hand, published, receive

pytestmark = pytest.mark.servers


async def follow(kontor: Kontor) -> None:
    """What a worker does with what was published: every generation that is followed."""
    chain, copier = Chain(kontor.followers), Copier(kontor.reads, kontor.copies)
    records = await published(kontor)
    for view in kontor.reads.generations.followed(STOCK):
        await chain.take(view_follower(view, copier), "inventory", records)


async def built(kontor: Kontor) -> Any:
    told: list[tuple[int, int]] = []
    candidate = await rebuild(kontor, STOCK, progress=lambda done, of: told.append((done, of)))
    assert told[-1][0] == told[-1][1]
    return candidate


async def spoil(kontor: Kontor) -> None:
    async with kontor.pool.connection() as connection:
        await connection.execute("UPDATE stock_v1 SET on_hand = 99 WHERE sku = 'A'")


async def test_a_rebuilt_view_is_compared_read_and_taken_back(kontor: Kontor) -> None:
    await receive(kontor, 5)
    await follow(kontor)
    await spoil(kontor)
    candidate = await built(kontor)
    assert candidate.table == "stock_v1_2"
    assert await on_hand(kontor) == {"A": 99, "B": 5, "C": 5}
    found = [each async for each in differences(kontor, STOCK, candidate)]
    assert [(each.id, each.columns["on_hand"]) for each in found] == [(stock_item_id("A"), (99, 5))]

    await kontor.pipeline.execute(ReceiveStock(sku="A", quantity=1), actor=ACTOR)
    await follow(kontor)
    assert await kontor.reads.generations.promote(STOCK)
    assert await on_hand(kontor) == {"A": 6, "B": 5, "C": 5}

    await kontor.pipeline.execute(ReceiveStock(sku="B", quantity=1), actor=ACTOR)
    await follow(kontor)  # the one before is kept up to date
    assert await kontor.reads.generations.rollback(STOCK)
    assert await on_hand(kontor) == {"A": 100, "B": 6, "C": 5}


async def test_a_generation_that_is_behind_is_not_read(kontor: Kontor) -> None:
    await receive(kontor, 2)
    await follow(kontor)
    await built(kontor)
    await kontor.pipeline.execute(ReceiveStock(sku="A", quantity=1), actor=ACTOR)
    chain, follower = chain_of(kontor)
    await chain.take(follower, "inventory", await published(kontor))  # a worker that does not know of it yet
    assert not await kontor.reads.generations.promote(STOCK)
    assert kontor.reads.generations.live(STOCK).generation == 1
    await follow(kontor)
    assert await kontor.reads.generations.promote(STOCK)


async def test_a_rebuild_that_died_goes_on_where_it_was(kontor: Kontor, monkeypatch: pytest.MonkeyPatch) -> None:
    await receive(kontor, 5)
    await follow(kontor)
    monkeypatch.setattr("streams.applying.BULK_EVENTS", 2)
    before, applied, started_again = rebuilding.view_follower, list[int](), False

    def dying(view: Any, copier: Copier | None) -> Any:
        follower = before(view, copier)

        async def apply(transaction: Any, events: Sequence[Recorded]) -> Any:
            applied.extend(recorded.position for recorded in events)
            if len(applied) >= 10 and not started_again:
                raise RuntimeError("the process dies")
            return await follower.apply(transaction, events)

        return replace(follower, apply=apply)

    monkeypatch.setattr(rebuilding, "view_follower", dying)
    with pytest.raises(ExceptionGroup):
        await built(kontor)
    assert kontor.reads.generations.followed(STOCK) == [STOCK]
    died_with, started_again = len(applied), True
    candidate = await built(kontor)
    assert candidate.generation == 2
    assert len(applied) - died_with < 18  # not from the beginning
    assert [each async for each in differences(kontor, STOCK, candidate)] == []


async def test_poison_ends_a_rebuild_and_leaves_what_is_read_alone(
    kontor: Kontor, monkeypatch: pytest.MonkeyPatch
) -> None:
    await receive(kontor, 3)
    await follow(kontor)
    evolve = STOCK.evolve

    def failing(row: StockRow | None, recorded: Recorded) -> StockRow:
        if recorded.aggregate_id == stock_item_id("B") and recorded.version == 3:
            raise ValueError("cannot be applied")
        return evolve(row, recorded)

    with pytest.raises(ExceptionGroup) as raised:
        await rebuild(kontor, replace(STOCK, evolve=failing), progress=lambda *_: None)
    assert raised.group_contains(ValueError, match="cannot be applied")
    assert await kontor.reads.fetch(SQL("SELECT * FROM parked_events"), []) == []
    assert await on_hand(kontor) == {"A": 3, "B": 3, "C": 3}
    with pytest.raises(NoCandidate):
        await kontor.reads.generations.promote(STOCK)


async def test_the_log_may_grow_while_a_generation_is_built(kontor: Kontor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.applying.BULK_EVENTS", 3)
    monkeypatch.setattr(rebuilding, "NEAR_EVENTS", 0)
    await receive(kontor, 10)
    await follow(kontor)
    writing = asyncio.create_task(receive(kontor, 5, skus=("D", "E", "F")))
    candidate = await built(kontor)
    await writing
    await follow(kontor)
    assert [each async for each in differences(kontor, STOCK, candidate)] == []
    assert (await kontor.reads.standing(candidate))[0] == 0


async def test_a_token_is_of_the_generation_that_is_read(kontor: Kontor) -> None:
    await receive(kontor, 1)
    await follow(kontor)
    await built(kontor)
    await follow(kontor)
    assert await kontor.reads.generations.promote(STOCK)
    outcome = await kontor.pipeline.execute(ReceiveStock(sku="A", quantity=1), actor=ACTOR)
    token = Token(tuple(outcome.heads))
    chain, follower = chain_of(kontor)
    await chain.take(follower, "inventory", await published(kontor))  # the one before alone
    assert not await kontor.positions.wait(STOCK, token, timeout_s=0.3)
    await follow(kontor)
    assert await kontor.positions.wait(STOCK, token, timeout_s=60)


async def test_workers_that_still_follow_a_dropped_generation_go_on_without_it(kontor: Kontor) -> None:
    await receive(kontor, 2)
    await follow(kontor)
    candidate = await built(kontor)
    await kontor.reads.generations.drop(STOCK)
    copier = Copier(kontor.reads, kontor.copies)
    chain = Chain(kontor.followers)
    await chain.take(view_follower(candidate, copier), "inventory", await published(kontor))
    assert await chain.refill(view_follower(candidate, copier), "inventory", 0, until=10**6) == 0
    assert kontor.reads.generations.followed(STOCK) == [STOCK]


async def test_what_is_built_is_copied_when_it_is_followed_and_not_before(kontor: Kontor) -> None:
    await receive(kontor, 2)
    await follow(kontor)
    candidate = await built(kontor)
    ids = [stock_item_id(sku) for sku in "ABC"]
    assert await kontor.copies.read(candidate, ids) == {}
    assert await kontor.reads.fetch(_UNCOPIED, [candidate.table]) == []  # nothing old is there, so nothing is missing
    await kontor.pipeline.execute(ReceiveStock(sku="A", quantity=1), actor=ACTOR)
    await follow(kontor)
    assert list(await kontor.copies.read(candidate, ids)) == [stock_item_id("A")]


_UNCOPIED = SQL("SELECT 1 FROM view_positions WHERE view = %s AND copied < position")
