"""Loads that share queries: everybody is answered, with what was stored before he asked."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import psycopg
import pytest

from adapters import group_load
from adapters.prepared_connection import Statement
from adapters.wiring import Kontor
from tests.adapters.test_event_store import NOW, append_of, opened

pytestmark = pytest.mark.servers


async def test_loads_that_come_at_any_moment_are_all_answered(kontor: Kontor) -> None:
    items = [opened(f"L{number}") for number in range(20)]
    await kontor.store.append(append_of(*items))

    async def load_again_and_again(number: int) -> None:
        for turn in range(100):
            wanted = items[(number + turn) % 20].id
            assert (await kontor.store.load([wanted]))[wanted][0].version == 1
            for _ in range((number * 7 + turn) % 5):
                await asyncio.sleep(0)

    async with asyncio.timeout(60):
        await asyncio.gather(*(load_again_and_again(number) for number in range(16)))


async def test_a_load_sees_what_was_stored_before_it_was_asked_for(kontor: Kontor) -> None:
    item = opened("A")
    await kontor.store.append(append_of(item))

    async def reader() -> None:
        for _ in range(50):
            await kontor.store.load([item.id])

    others = [asyncio.create_task(reader()) for _ in range(8)]
    for expected in range(2, 40):
        ((mine, head),) = (await kontor.store.load([item.id])).values()
        assert (mine.version, head.version) == (expected - 1, expected - 1)
        mine.receive(quantity=1, reference=None, now=NOW)
        await kontor.store.append(append_of(mine))
    await asyncio.gather(*others)


async def test_more_streams_than_one_query_takes_are_loaded_in_several(
    kontor: Kontor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_load, "LOAD_STREAMS_MAX", 5)
    items = [opened(f"M{number}") for number in range(12)]
    await kontor.store.append(append_of(*items))
    together = await asyncio.gather(
        kontor.store.load([item.id for item in items]),
        *(kontor.store.load([item.id, items[0].id]) for item in items),
    )
    assert [len(each) for each in together] == [12, 1, *[2] * 11]
    assert await kontor.store.load([uuid4()]) == {}


async def test_an_error_is_told_to_everybody_who_waited_and_to_nobody_after(
    kontor: Kontor, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = opened("A")
    await kontor.store.append(append_of(item))
    with monkeypatch.context() as broken:
        broken.setattr(group_load, "_LOAD", Statement.of("SELECT nothing FROM nowhere WHERE %b = %b AND %s"))
        results = await asyncio.gather(*(kontor.store.load([item.id]) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(result, psycopg.Error) for result in results)
    assert len(await kontor.store.load([item.id])) == 1
