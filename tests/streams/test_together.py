"""Followers that move in one transaction, on a real PostgreSQL: all of it or nothing, and what they cannot do together
each does alone."""

from __future__ import annotations

import asyncio
import random
from typing import Any
from uuid import uuid4

import pytest

from adapters.wiring import Kontor
from commands.effects import Planned
from projections.inventory import STOCK
from projections.view import Recorded
from streams.applying import Chain
from streams.following import Follower
from streams.views import view_follower
from tests.streams.test_catching_up import FOLLOWS_STOCK, Noting
from tests.streams.test_chain import on_hand, published, receive

pytestmark = pytest.mark.servers

_STANDING: Any = b"SELECT view, sum(position)::int FROM view_positions WHERE context = 'inventory' GROUP BY view"
_PARKED: Any = b"SELECT follower, count(*)::int FROM parked_events GROUP BY follower"
_TERMINATE: Any = (
    b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    b" AND state = 'idle in transaction' AND pid <> pg_backend_pid()"
)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The followers that went alone."""
    names: list[str] = []
    take = Chain.take

    async def noted(self: Chain, follower: Follower, *rest: Any) -> None:
        names.append(follower.name)
        await take(self, follower, *rest)

    monkeypatch.setattr(Chain, "take", noted)
    return names


async def test_they_move_in_one_transaction_and_what_comes_again_is_dropped(kontor: Kontor, alone: list[str]) -> None:
    await receive(kontor, 5)
    await kontor.reads.fetch(FOLLOWS_STOCK, [])
    chain, noting = Chain(kontor.followers), Noting()
    followers = [view_follower(STOCK, None), noting.follower]
    records = await published(kontor)
    for start in (0, 4, 2, 0):
        await chain.take_all(followers, "inventory", records[start : start + 9], {})
    await chain.take_all(followers, "inventory", records, {})
    assert await on_hand(kontor) == {"A": 5, "B": 5, "C": 5}
    assert sorted(noting.seen) == [linked.record.position for linked in records]
    standing = dict(await kontor.reads.fetch(_STANDING, []))
    assert standing["checkout"] == standing["stock_v1"] > 0
    assert alone == []


async def test_one_with_poison_undoes_what_all_did_and_each_goes_alone(kontor: Kontor, alone: list[str]) -> None:
    await receive(kontor, 2)
    await kontor.reads.fetch(FOLLOWS_STOCK, [])

    async def failing(_transaction: Any, _events: list[Recorded]) -> None:
        raise ValueError("poison")

    records = await published(kontor)
    sick = Follower(name="checkout", follows=None, apply=failing)
    await Chain(kontor.followers).take_all([view_follower(STOCK, None), sick], "inventory", records, {})
    assert await on_hand(kontor) == {"A": 2, "B": 2, "C": 2}
    assert await kontor.reads.fetch(_PARKED, []) == [("checkout", len(records))]
    assert set(alone) == {"stock_v1", "checkout"}


async def test_what_the_database_refuses_at_the_end_undoes_all_of_it(kontor: Kontor, alone: list[str]) -> None:
    await receive(kontor, 1)
    await kontor.reads.fetch(FOLLOWS_STOCK, [])

    async def plans(transaction: Any, events: list[Recorded]) -> None:
        await transaction.plan([Planned(event_id=uuid4(), effect="mail.\x00", subject_id=uuid4()) for _ in events])

    records = await published(kontor)
    refused = Follower(name="checkout", follows=None, apply=plans)
    chain = Chain(kontor.followers)
    await chain.take_all([view_follower(STOCK, None), refused], "inventory", records, {})
    assert await on_hand(kontor) == {"A": 1, "B": 1, "C": 1}
    assert await kontor.reads.fetch(_PARKED, []) == [("checkout", len(records))]
    assert set(alone) == {"stock_v1", "checkout"}


async def test_a_connection_that_is_lost_in_the_middle_loses_and_repeats_nothing(
    kontor: Kontor, alone: list[str]
) -> None:
    await receive(kontor, 3)
    await kontor.reads.fetch(FOLLOWS_STOCK, [])
    losses = [True, True]

    async def losing(_transaction: Any, _events: list[Recorded]) -> None:
        if losses:
            losses.pop()
            assert await kontor.reads.fetch(_TERMINATE, [])

    records = await published(kontor)
    unlucky = Follower(name="checkout", follows=None, apply=losing)
    chain = Chain(kontor.followers)
    await chain.take_all([view_follower(STOCK, None), unlucky], "inventory", records[:5], {})
    await chain.take_all([view_follower(STOCK, None), unlucky], "inventory", records, {})
    assert await on_hand(kontor) == {"A": 3, "B": 3, "C": 3}
    assert (losses, alone) == ([], [])


@pytest.mark.parametrize("seed", range(5))
async def test_two_workers_that_lose_and_repeat_records_at_random_end_at_the_fold(kontor: Kontor, seed: int) -> None:
    dice = random.Random(seed)
    await receive(kontor, 10)
    await kontor.reads.fetch(FOLLOWS_STOCK, [])
    records = await published(kontor)
    noting = Noting()
    followers = [view_follower(STOCK, None), noting.follower]

    async def work(chain: Chain) -> None:
        for _ in range(8):
            start = dice.randrange(len(records))
            batch = [linked for linked in records[start : start + 8] if dice.random() > 0.3]
            await chain.take_all(followers, "inventory", batch, {})
        await chain.take_all(followers, "inventory", records, {})

    await asyncio.gather(*(work(Chain(kontor.followers)) for _ in range(2)))
    assert await on_hand(kontor) == {"A": 10, "B": 10, "C": 10}, f"seed {seed}"
    assert sorted(noting.seen) == [linked.record.position for linked in records], f"seed {seed}"
