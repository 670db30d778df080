"""The library's Application and our event store on one log: each reads the other's events, and conflicts are shared."""

from __future__ import annotations

import asyncio

import pytest
from eventsourcing.persistence import IntegrityError

from adapters.library import LogApplication
from adapters.wiring import Kontor
from commands.ports import VersionConflict
from domain.inventory import StockItem
from tests.adapters.test_event_store import NOW, append_of, opened

pytestmark = pytest.mark.servers


async def test_each_reads_what_the_other_wrote(kontor: Kontor) -> None:
    library = await asyncio.to_thread(LogApplication.on, kontor.settings.postgres_url)
    try:
        await kontor.store.append(append_of(opened("ours")))
        item: StockItem = await asyncio.to_thread(library.repository.get, opened("ours").id)
        item.receive(quantity=7, reference=None, now=NOW)
        await asyncio.to_thread(library.save, item)
        ((loaded, head),) = (await kontor.store.load([item.id])).values()
        assert (loaded.on_hand, loaded.version, head.position) == (7, 2, 2)
        notifications = await asyncio.to_thread(library.notification_log.select, start=1, limit=10)
        assert [each.topic for each in notifications] == ["stock.opened", "stock.received"]
    finally:
        library.close()


async def test_a_conflict_is_a_conflict_for_both(kontor: Kontor) -> None:
    library = await asyncio.to_thread(LogApplication.on, kontor.settings.postgres_url)
    try:
        await asyncio.to_thread(library.save, opened("first"))
        with pytest.raises(VersionConflict):
            await kontor.store.append(append_of(opened("first")))
        with pytest.raises(IntegrityError, match="conflict"):
            await asyncio.to_thread(library.save, opened("first"), opened("second"))
        assert await kontor.store.load([opened("second").id]) == {}
    finally:
        library.close()
