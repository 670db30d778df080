"""Whoever changes a view's row, or takes away a key, tells it: with the commit, and not without one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID, uuid4

import psycopg
import pytest

from adapters.view_notices import ALL, CHANNEL, Notice, mark_of, read
from adapters.wiring import Kontor
from domain.disclosure import PersonalField
from domain.identity import shard_of, stock_item_id
from projections.inventory import STOCK
from streams.applying import Chain
from streams.following import Follower
from streams.repairing import fold_again
from streams.views import view_follower
from tests.erasing import erased_in_the_log
from tests.streams.test_catching_up import FOLLOWS_STOCK
from tests.streams.test_chain import published, receive
from tests.streams.test_parking import Sick

pytestmark = pytest.mark.servers
END = "the end of the test's notices"
SKUS = ("A", "B", "C")
Told = Callable[[], Awaitable[list[Notice]]]


@pytest.fixture
async def told(kontor: Kontor) -> AsyncIterator[Told]:
    """Everything that was told since it was asked last."""
    async with await psycopg.AsyncConnection.connect(kontor.settings.postgres_url, autocommit=True) as listening:
        await listening.execute(f"LISTEN {CHANNEL}".encode())

        async def since() -> list[Notice]:
            await listening.execute("SELECT pg_notify(%s, %s)", [CHANNEL, f"~ {END} -"])
            payloads = []
            async with asyncio.timeout(20):
                async for notify in listening.notifies():
                    if END in notify.payload:
                        return payloads
                    payloads.append(read(notify.payload))
            raise AssertionError

        yield since


def changed(notices: list[Notice], table: str = STOCK.table) -> set[str]:
    """The marks that were told of this table."""
    return {mark for each in notices for change in each.changes if table in change.tables for mark in change.marks}


MARKS = {mark_of(stock_item_id(sku)) for sku in SKUS}


async def nothing(*_: object) -> None:
    """What a follower does that is no view."""


async def test_a_batch_of_several_followers_is_told_in_one_notice(kontor: Kontor, told: Told) -> None:
    await receive(kontor, 2)
    records = await published(kontor)
    await told()
    view, other = view_follower(STOCK, None), Follower(name="checkout", follows=frozenset(), apply=nothing)
    await kontor.reads.fetch(FOLLOWS_STOCK, [])
    await Chain(kontor.followers).take_all([view, other], "inventory", records, {})
    notices = await told()
    assert [bool(each.positions) and bool(each.changes) for each in notices] == [True]
    assert changed(notices) == MARKS


async def test_refilling_tells_and_what_is_rolled_back_is_not_told(kontor: Kontor, told: Told) -> None:
    await receive(kontor, 2)
    await told()
    shard = shard_of(stock_item_id("A"))
    chain = Chain(kontor.followers)
    await chain.refill(view_follower(STOCK, None), "inventory", shard, until=await kontor.log.end())
    assert mark_of(stock_item_id("A")) in changed(await told())

    with pytest.raises(LookupError):
        await skipped_and_undone(kontor, shard)
    assert changed(await told()) == set()


async def skipped_and_undone(kontor: Kontor, shard: int) -> None:
    async with kontor.followers.begin(STOCK.table, "inventory", [shard]) as transaction:
        await transaction.skip(STOCK, stock_item_id("A"), 3, 99)
        raise LookupError


@pytest.mark.parametrize("wish", ["retry", "discard"])
async def test_parked_events_that_are_dealt_with_are_told(kontor: Kontor, told: Told, wish: str) -> None:
    await receive(kontor, 4)
    sick = Sick(kontor, "B")
    await sick.take_all()
    sick.mend()
    await told()
    await sick.grant(wish, "B")
    assert changed(await told()) == {mark_of(stock_item_id("B"))}


async def test_rows_that_are_repaired_or_go_are_told(kontor: Kontor, told: Told) -> None:
    await receive(kontor, 1)
    await Chain(kontor.followers).take(view_follower(STOCK, None), "inventory", await published(kontor))
    await told()
    unknown = UUID(int=7)
    await fold_again(kontor, STOCK, [stock_item_id("A"), unknown])
    assert changed(await told()) == {mark_of(stock_item_id("A")), mark_of(unknown)}


async def test_destroying_a_key_is_told(kontor: Kontor, told: Told) -> None:
    person = uuid4()
    await kontor.personal_data.seal(person, (PersonalField.USER_NAME, "a name"))
    await erased_in_the_log(kontor.store, person)
    await told()
    await kontor.personal_data.destroy(person)
    assert changed(await told(), "person_keys") == {mark_of(person)}


async def test_too_many_to_be_named_are_all(kontor: Kontor, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.view_notices.MARKS_MAX", 2)
    await receive(kontor, 1)
    await told()
    await Chain(kontor.followers).take_all([view_follower(STOCK, None)], "inventory", await published(kontor), {})
    assert changed(await told()) == {ALL}
