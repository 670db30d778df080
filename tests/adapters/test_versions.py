"""An event that was stored in an earlier shape is read in its present one, on every road. No server needed."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest
from eventsourcing.persistence import MapperDeserialisationError, StoredEvent

from adapters.event_codec import (
    EventMapper,
    VersionedStoredEvent,
    WrittenByNewerCode,
    renamed_fields,
    schema_version_of,
)
from adapters.log import LogRecord
from adapters.memory import MemoryEventStore
from adapters.wire import headers_of, parsed
from commands.ports import Append, StreamHead
from domain.catalogue import Product
from domain.identity import shard_of, stock_item_id
from domain.inventory import StockItem
from domain.money import Money
from tests.given import GBP_2_55, NOW, InMemory

MUG = stock_item_id("MUG")
V1_NONE = b'{"timestamp":"2026-01-01T12:00:00Z","quantity":5,"reference":null}'
V1_SOME = b'{"timestamp":"2026-01-01T12:00:00Z","quantity":5,"reference":"PO-1"}'
V2_NONE = b'{"timestamp":"2026-01-01T12:00:00Z","quantity":5,"reference":""}'
STORED = [(1, V1_NONE, ""), (1, V1_SOME, "PO-1"), (2, V2_NONE, "")]
MAPPER = EventMapper()

by_version = pytest.mark.parametrize(("schema_version", "state", "reference"), STORED)


def record(schema_version: int, state: bytes) -> LogRecord:
    """A row of the log, as an earlier release has written it."""
    return LogRecord(
        position=7,
        event_type="stock.received",
        schema_version=schema_version,
        aggregate_id=MUG,
        version=2,
        recorded_at=NOW,
        actor="user:1",
        command_id=UUID(int=1),
        correlation_id=UUID(int=1),
        causation_id=None,
        context="inventory",
        shard=shard_of(MUG),
        state=state,
    )


def received(event: Any) -> tuple[int, str, int, datetime]:
    assert type(event) is StockItem.Received
    return event.quantity, event.reference, event.originator_version, event.timestamp


@by_version
def test_the_mapper_reads_it(schema_version: int, state: bytes, reference: str) -> None:
    event = MAPPER.decode("stock.received", schema_version, state, MUG, 2)
    assert received(event) == (5, reference, 2, NOW)


@by_version
def test_the_librarys_mapper_reads_it(schema_version: int, state: bytes, reference: str) -> None:
    stored = VersionedStoredEvent(MUG, 2, "stock.received", state, schema_version)
    assert received(MAPPER.to_domain_event(stored)) == (5, reference, 2, NOW)


def test_a_stored_event_that_does_not_say_its_version_has_the_first() -> None:
    assert received(MAPPER.to_domain_event(StoredEvent(MUG, 2, "stock.received", V1_NONE))) == (5, "", 2, NOW)


def test_an_event_in_a_shape_of_newer_code_is_refused_even_when_its_fields_fit() -> None:
    with pytest.raises(WrittenByNewerCode, match=r"stock.received v3 .* this code knows versions up to 2"):
        MAPPER.decode("stock.received", 3, V2_NONE, MUG, 2)
    with pytest.raises(WrittenByNewerCode, match=r"stock.melted v1 .* this code knows no such event"):
        MAPPER.decode("stock.melted", 1, V2_NONE, MUG, 2)


@by_version
def test_a_row_of_the_log_is_decoded(schema_version: int, state: bytes, reference: str) -> None:
    recorded = record(schema_version, state).decoded()
    assert received(recorded.event) == (5, reference, 2, NOW)
    assert (recorded.event_type, recorded.version, recorded.position) == ("stock.received", 2, 7)


@by_version
def test_a_kafka_record_carries_its_version(schema_version: int, state: bytes, reference: str) -> None:
    row = record(schema_version, state)
    headers = headers_of(row, previous=6)
    assert dict(headers)["ce_dataschema"] == f"/schemas/stock.received/{schema_version}.json".encode()
    linked = parsed("inventory", row.shard, state, headers)
    assert (linked.record, linked.previous) == (row, 6)
    assert received(linked.record.decoded().event) == (5, reference, 2, NOW)


@by_version
async def test_the_memory_event_store_loads_it(schema_version: int, state: bytes, reference: str) -> None:
    store = MemoryEventStore()
    item = StockItem.open(sku="MUG", now=NOW)
    await store.append(append_of(1, item))
    item.receive(quantity=1, reference="to be replaced", now=NOW)
    await store.append(append_of(2, item))
    store.stored[1] = store._streams[MUG][1] = VersionedStoredEvent(MUG, 2, "stock.received", state, schema_version)
    ((loaded, head),) = (await store.load([MUG])).values()
    assert isinstance(loaded, StockItem)
    assert (loaded.on_hand, loaded.version, head) == (5, 2, StreamHead(MUG, "inventory", 2, 2))
    assert received(store.events[1]) == (5, reference, 2, NOW)


def append_of(number: int, item: StockItem) -> Append:
    return Append(
        command_id=UUID(int=number),
        command_name="Test",
        request_digest=b"",
        result={},
        actor="system:test",
        correlation_id=UUID(int=number),
        causation_id=None,
        events=item.collect_events(),
    )


async def test_what_is_stored_today_says_its_version() -> None:
    kontor = InMemory()
    await kontor.product("MUG", units=5)
    versions = {each.topic: getattr(each, "schema_version", None) for each in kontor.store.stored}
    assert versions == {"product.added": 1, "stock.opened": 1, "stock.received": 2}
    assert msgspec.json.decode(kontor.store.stored[-1].state)["reference"] == ""


def test_an_upcaster_runs_only_on_what_is_older(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []
    upcast = StockItem.Received.upcast_v1_v2
    monkeypatch.setattr(
        StockItem.Received, "upcast_v1_v2", staticmethod(lambda state: (seen.append(dict(state)), upcast(state)))
    )
    MAPPER.decode("stock.received", 2, V2_NONE, MUG, 2)
    assert seen == []
    MAPPER.decode("stock.received", 1, V1_NONE, MUG, 2)
    assert [state["reference"] for state in seen] == [None]


@pytest.mark.parametrize("state", [b'{"quantity":5,"reference":null}', b"not JSON", V1_NONE.replace(b"null", b"7")])
def test_what_fits_no_version_says_what_it_is(state: bytes) -> None:
    with pytest.raises(MapperDeserialisationError, match=r"stock\.received v1 of 0d256ea4.* \(version 2\)"):
        MAPPER.decode("stock.received", 1, state, MUG, 2)


def test_a_field_that_python_cannot_call_by_its_name_is_stored_under_it() -> None:
    product = Product.add(sku="MUG", name="Mug", description="", price=GBP_2_55, published=True, now=NOW)
    product.reprice(price=Money(199, "GBP"), now=NOW)
    repriced = product.collect_events()[1]
    stored = MAPPER.to_stored_event(repriced)
    assert msgspec.json.decode(stored.state) == {
        "timestamp": "2026-01-01T12:00:00Z",
        "from": {"minor": 255, "currency": "GBP"},
        "to": {"minor": 199, "currency": "GBP"},
    }
    assert MAPPER.to_domain_event(stored) == repriced
    assert (renamed_fields(Product.Repriced), renamed_fields(Product.Created)) == ({"from_": "from"}, {})


def test_only_a_class_that_says_so_has_a_later_version() -> None:
    assert (schema_version_of(StockItem.Received), schema_version_of(StockItem.Released)) == (2, 1)
