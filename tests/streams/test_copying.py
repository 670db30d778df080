"""What is known of copies in Redis: never more than is there, so that what was lost is copied again."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg.sql import SQL

from adapters.wiring import Kontor
from domain.identity import shard_of, stock_item_id
from projections.inventory import STOCK
from streams.applying import Chain
from streams.views import Copier, joined, view_follower
from tests.streams.test_chain import published, receive

pytestmark = pytest.mark.servers
SKU, ITEM = "A", stock_item_id("A")
PLACE = ("inventory", shard_of(ITEM))


async def mark(kontor: Kontor) -> tuple[int, int]:
    """Up to where copies of the item's shard are noted, and where its view stands."""
    uncopied = await kontor.reads.uncopied()
    position = (await kontor.reads.positions())[STOCK.table, *PLACE]
    return uncopied.get((STOCK.table, *PLACE), (position, position))


class Dying(Copier):
    """Of a worker that dies after every commit."""

    async def copy(self, *_: Any) -> None:
        pass


async def apply_all(kontor: Kontor, copier: Copier) -> None:
    await Chain(kontor.followers).take(view_follower(STOCK, copier), "inventory", await published(kontor))


async def copied_version(kontor: Kontor) -> int:
    copies = await kontor.copies.read(STOCK, [ITEM])
    return copies[ITEM].version if ITEM in copies else 0


async def test_what_is_copied_is_noted(kontor: Kontor) -> None:
    copier = Copier(kontor.reads, kontor.copies)
    await receive(kontor, 2, (SKU,))
    await apply_all(kontor, copier)
    assert await mark(kontor) == (0, 4)
    await copier._look()
    assert await mark(kontor) == (4, 4)


async def test_the_mark_stays_before_what_another_worker_did_not_copy(kontor: Kontor) -> None:
    """One worker dies between commit and copy; the next copies a later event of the shard and knows nothing of it."""
    await receive(kontor, 2, (SKU,))
    await apply_all(kontor, Dying(kontor.reads, kontor.copies))
    copier = Copier(kontor.reads, kontor.copies)
    await kontor.reads.note_copied(STOCK, {PLACE: (4, 5)})
    assert await mark(kontor) == (0, 4)
    for _ in range(2):  # what stands at two looks is copied again
        assert await copied_version(kontor) == 0
        await copier._look()
    assert await copied_version(kontor) == 3
    assert await mark(kontor) == (4, 4)


class Late(Copier):
    """Between commit and copy Redis was emptied, and everybody has heard of it."""

    def __init__(self, kontor: Kontor) -> None:
        super().__init__(kontor.reads, kontor.copies)
        self.kontor = kontor

    async def copy(self, *of_commit: Any) -> None:
        await self.kontor.redis.delete(self.kontor.copies._key)
        await self.kontor.copies.begin()
        await super().copy(*of_commit)


async def test_what_was_committed_before_redis_was_emptied_is_read_again_before_it_is_copied(kontor: Kontor) -> None:
    """A newer row may have been committed, copied and emptied meanwhile."""
    await receive(kontor, 2, (SKU,))
    await apply_all(kontor, Late(kontor))
    assert await copied_version(kontor) == 0
    assert await mark(kontor) == (0, 4)
    copier = Copier(kontor.reads, kontor.copies)
    for _ in range(2):
        await copier._look()
    assert await copied_version(kontor) == 3
    assert await mark(kontor) == (4, 4)


async def test_what_was_copied_to_a_redis_that_was_emptied_is_not_noted(kontor: Kontor) -> None:
    copier = Copier(kontor.reads, kontor.copies)
    await receive(kontor, 2, (SKU,))
    await apply_all(kontor, copier)
    await kontor.redis.delete(kontor.copies._key)
    await copier._look()
    assert await mark(kontor) == (0, 4)
    await copier._look()
    assert await mark(kontor) == (4, 4)
    assert await copied_version(kontor) == 3


async def test_what_was_copied_and_lost_by_a_server_that_died_is_not_noted(kontor: Kontor) -> None:
    """Rows and positions are not awaited on the disk: they come again, and so must their copies."""
    copier = Copier(kontor.reads, kontor.copies)
    await receive(kontor, 2, (SKU,))
    await apply_all(kontor, copier)
    rolled_back = SQL("UPDATE view_positions SET position = 2 WHERE view = %s AND shard = %s RETURNING 1")
    await kontor.reads.fetch(rolled_back, [STOCK.table, PLACE[1]])
    await copier._look()
    assert await mark(kontor) == (0, 2)


async def test_noting_less_than_is_known_changes_nothing(kontor: Kontor) -> None:
    await receive(kontor, 2, (SKU,))
    await apply_all(kontor, Dying(kontor.reads, kontor.copies))
    await kontor.reads.note_copied(STOCK, {PLACE: (0, 3)})
    await kontor.reads.note_copied(STOCK, {PLACE: (0, 2)})
    assert await mark(kontor) == (3, 4)


def test_spans_are_joined_where_they_meet() -> None:
    assert joined(None, (3, 5)) == (3, 5)
    assert joined((3, 5), (5, 7)) == joined((5, 7), (3, 5)) == (3, 7)
    assert joined((3, 5), (6, 7)) == joined((6, 7), (3, 5)) == (3, 5)
