"""Loaders: one read for all who ask in one turn, nothing twice, bounded batches, failures told to each."""

from __future__ import annotations

import asyncio

import pytest

from api.graphql import loading
from api.graphql.loading import Loader


class Storage:
    """Squares of even numbers, and what was read."""

    def __init__(self) -> None:
        self.reads: list[list[int]] = []

    async def read(self, keys: list[int]) -> dict[int, int]:
        self.reads.append(list(keys))
        await asyncio.sleep(0)
        if 13 in keys:
            raise ConnectionError("thirteen")
        return {key: key * key for key in keys if key % 2 == 0}


async def test_who_asks_in_one_turn_shares_one_read() -> None:
    storage = Storage()
    loader = Loader(storage.read)
    answers = await asyncio.gather(loader.load(2), loader.load_many([4, 3, 2]), loader.many([6]))
    assert answers[:2] == [4, [16, None, 4]]
    assert answers[2][6] == 36
    assert storage.reads == [[2, 4, 3, 6]]


async def test_nothing_is_read_twice_also_what_there_is_not() -> None:
    storage = Storage()
    loader = Loader(storage.read)
    for _ in range(2):
        assert await loader.load_many([2, 3]) == [4, None]
    assert await loader.load_many([3, 4]) == [None, 16]
    assert storage.reads == [[2, 3], [4]]


async def test_what_is_known_already_is_not_read() -> None:
    storage = Storage()
    loader = Loader(storage.read)
    loader.prime(2, 5)
    assert await loader.load(2) == 5
    assert storage.reads == []


async def test_a_batch_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "BATCH_MAX", 3)
    storage = Storage()
    assert len(await Loader(storage.read).load_many(range(7))) == 7
    assert storage.reads == [[0, 1, 2], [3, 4, 5], [6]]


async def test_a_failure_is_told_to_all_who_ask_and_read_once() -> None:
    storage = Storage()
    loader = Loader(storage.read)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await loader.load(13)
    assert storage.reads == [[13]]


async def test_who_is_cancelled_takes_nothing_from_the_others() -> None:
    storage = Storage()
    loader = Loader(storage.read)
    impatient, patient = asyncio.create_task(loader.load(2)), asyncio.create_task(loader.load(2))
    while not storage.reads:
        await asyncio.sleep(0)
    impatient.cancel()
    assert await patient == 4
    assert impatient.cancelled()
    assert storage.reads == [[2]]
