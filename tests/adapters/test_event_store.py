"""The event store on a real PostgreSQL: order, conflicts, lost connections."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import psycopg
import pytest

from adapters import group_commit
from adapters.event_store import PostgresEventStore
from adapters.log import EventLog
from adapters.wiring import Kontor
from commands.catalogue import AddProduct
from commands.handling import Actor
from commands.ports import Append, CommandRepeated, VersionConflict
from domain.inventory import StockItem
from domain.money import Money

pytestmark = pytest.mark.servers
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def append_of(*items: StockItem, command_id: UUID | None = None) -> Append:
    command_id = command_id or uuid4()
    return Append(
        command_id=command_id,
        command_name="Test",
        request_digest=b"digest",
        result={"aggregate_id": str(items[0].id) if items else "", "version": 1},
        actor="system:test",
        correlation_id=command_id,
        causation_id=None,
        events=[event for item in items for event in item.collect_events()],
    )


def opened(sku: str) -> StockItem:
    return StockItem.open(sku=sku, now=NOW)


async def test_what_is_appended_is_loaded(kontor: Kontor) -> None:
    item = opened("A")
    item.receive(quantity=5, reference=None, now=NOW)
    (head,) = await kontor.store.append(append_of(item))
    loaded, loaded_head = (await kontor.store.load([item.id]))[item.id]
    assert loaded.on_hand == 5
    assert loaded_head == head
    assert head.version == 2


async def test_a_load_after_another_process_appended_is_not_the_cached_state(kontor: Kontor) -> None:
    item = opened("A")
    await kontor.store.append(append_of(item))
    assert (await kontor.store.load([item.id]))[item.id][0].on_hand == 0
    async with PostgresEventStore(kontor.pool, kontor.settings.postgres_url) as other:
        ((theirs, _),) = (await other.load([item.id])).values()
        theirs.receive(quantity=3, reference=None, now=NOW)
        await other.append(append_of(theirs))
    assert (await kontor.store.load([item.id]))[item.id][0].on_hand == 3


async def test_a_decision_that_is_not_saved_leaves_no_trace(kontor: Kontor) -> None:
    item = opened("A")
    item.receive(quantity=3, reference=None, now=NOW)
    await kontor.store.append(append_of(item))
    ((loaded, _),) = (await kontor.store.load([item.id])).values()
    loaded.reserve(order_id=uuid4(), quantity=2, expires_at=NOW, now=NOW)
    ((again, head),) = (await kontor.store.load([item.id])).values()
    assert (again.holds, again.version, head.version, again.pending_events) == ({}, 2, 2, [])


async def test_of_two_appends_to_one_stream_the_second_conflicts_and_stores_nothing(kontor: Kontor) -> None:
    first, second = opened("A"), opened("A")
    results = await asyncio.gather(
        kontor.store.append(append_of(first)),
        kontor.store.append(append_of(second, opened("B"))),
        return_exceptions=True,
    )
    assert isinstance(results[1], VersionConflict)
    assert await kontor.store.load([opened("B").id]) == {}


async def test_a_conflict_is_told_to_its_caller_alone(kontor: Kontor) -> None:
    await kontor.store.append(append_of(opened("taken")))
    appends = [append_of(opened(f"free-{n}")) for n in range(20)]
    appends.insert(10, append_of(opened("taken")))
    results = await asyncio.gather(*(kontor.store.append(each) for each in appends), return_exceptions=True)
    assert [n for n, result in enumerate(results) if isinstance(result, Exception)] == [10]
    assert isinstance(results[10], VersionConflict)


async def test_a_command_id_is_stored_once(kontor: Kontor) -> None:
    command_id = uuid4()
    results = await asyncio.gather(
        *(kontor.store.append(append_of(opened(f"sku-{n}"), command_id=command_id)) for n in range(5)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, CommandRepeated) for result in results) == 4
    assert await kontor.log.end() == 1


async def test_the_same_command_twice_at_once_is_a_replay_not_a_conflict_with_itself(kontor: Kontor) -> None:
    request = AddProduct(sku="A", name="A", price=Money(100, "GBP"))
    outcomes = await asyncio.gather(
        *(kontor.pipeline.execute(request, actor=Actor.system("test"), idempotency_key="k") for _ in range(5))
    )
    assert sorted(outcome.replayed for outcome in outcomes) == [False, True, True, True, True]
    assert len({outcome.aggregate_id for outcome in outcomes}) == 1


async def test_positions_told_to_callers_are_those_of_the_log(kontor: Kontor) -> None:
    appends = [append_of(opened(f"a-{n}"), opened(f"b-{n}")) for n in range(50)]
    heads = [head for each in await asyncio.gather(*map(kontor.store.append, appends)) for head in each]
    log = {record.aggregate_id: record.position for record in await kontor.log.after(0, limit=1000)}
    assert {head.aggregate_id: head.position for head in heads} == log


async def test_a_reader_never_passes_an_event_of_a_slow_writer(kontor: Kontor) -> None:
    """The first writer has drawn its position and not committed; the second must not commit before it."""
    command_id = uuid4()
    async with await psycopg.AsyncConnection.connect(kontor.settings.postgres_url) as slow:
        await slow.execute(
            "SELECT * FROM append_events("
            " ARRAY[ROW(0, 1, %s, 'Slow', 'test', '', '{}')::pending_command],"
            " ARRAY[ROW(%s, 1, 1, 0, %s, %s, NULL, 'stock.opened', 'inventory', 'test', '{}')::pending_event])",
            [command_id, uuid4(), command_id, command_id],
        )
        second = asyncio.ensure_future(kontor.store.append(append_of(opened("fast"))))
        await asyncio.sleep(0.3)
        assert not second.done()
        assert await kontor.log.after(0, limit=10) == []
        await slow.commit()
    (head,) = await second
    positions = [record.position for record in await kontor.log.after(0, limit=10)]
    assert len(positions) == 2
    assert head.position == positions[1]


async def test_a_tailing_reader_sees_every_event_in_order_while_two_stores_write(kontor: Kontor) -> None:
    seen: list[int] = []
    done = asyncio.Event()

    async def tail() -> None:
        log = EventLog(kontor.pool)
        while True:
            finished = done.is_set()
            records = await log.after(seen[-1] if seen else 0, limit=100)
            seen.extend(record.position for record in records)
            if finished and not records:
                return

    async with PostgresEventStore(kontor.pool, kontor.settings.postgres_url) as other:
        reader = asyncio.create_task(tail())
        stores = (kontor.store, other)
        for batch in range(10):
            await asyncio.gather(
                *(stores[n % 2].append(append_of(opened(f"{batch}-{n}"), opened(f"{batch}-{n}-b"))) for n in range(40))
            )
        done.set()
        await reader
    assert len(seen) == 800
    assert seen == sorted(set(seen))


class CuttingProxy:
    """A TCP proxy before PostgreSQL that can swallow one answer and cut the connection: the server has committed,
    the client does not know."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port)
        self._url = url
        self.cut_next_answer = False
        self.cuts = 0

    async def __aenter__(self) -> CuttingProxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    @property
    def url(self) -> str:
        port = self._server.sockets[0].getsockname()[1]
        return self._url.replace(f"{self._target[0]}:{self._target[1]}", f"127.0.0.1:{port}")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(*self._target)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, answers: bool) -> None:
            while data := await source.read(65536):
                # A CommandComplete or ReadyForQuery after the function's row: the commit has happened.
                if answers and self.cut_next_answer:
                    self.cut_next_answer = False
                    self.cuts += 1
                    break
                sink.write(data)
                await sink.drain()
            writer.close()
            server_writer.close()

        await asyncio.gather(
            pump(reader, server_writer, False), pump(server_reader, writer, True), return_exceptions=True
        )


async def test_a_connection_cut_after_the_commit_is_success_not_a_conflict(kontor: Kontor) -> None:
    async with (
        CuttingProxy(kontor.settings.postgres_url) as proxy,
        PostgresEventStore(kontor.pool, proxy.url) as store,
    ):
        for n in range(10):  # the statement is prepared by now: one answer a call
            await store.append(append_of(opened(f"warm-{n}")))
        proxy.cut_next_answer = True
        (head,) = await store.append(append_of(opened("cut")))
    assert proxy.cuts == 1
    records = await kontor.log.of_aggregate(opened("cut").id, limit=10)
    assert [record.position for record in records] == [head.position]


async def test_what_waits_behind_an_append_of_its_stream_does_not_wait_again_for_a_store_that_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(group_commit, "RESOLVE_S_MAX", 2.0)
    loop = asyncio.get_running_loop()
    async with group_commit.GroupCommit("postgresql://127.0.0.1:1/nowhere") as commits:
        began = loop.time()
        one_after_the_other = [append_of(opened("A")) for _ in range(4)]
        results = await asyncio.gather(*map(commits.append, one_after_the_other), return_exceptions=True)
        took_s = loop.time() - began
    assert [type(result) for result in results] == [group_commit.StoreUnavailable] * 4
    assert 2.0 <= took_s < 6.0  # 8 s, were each to wait for itself


async def test_a_terminated_server_process_loses_and_doubles_nothing(kontor: Kontor) -> None:
    async with await psycopg.AsyncConnection.connect(kontor.settings.postgres_url, autocommit=True) as other:

        async def terminate() -> None:
            for _ in range(10):
                await asyncio.sleep(0.02)
                await other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'kontor.group-commit' AND datname = current_database()"
                )

        killer = asyncio.create_task(terminate())
        for batch in range(10):
            await asyncio.gather(*(kontor.store.append(append_of(opened(f"{batch}-{n}"))) for n in range(20)))
            await asyncio.sleep(0.02)
        await killer
    assert len(await kontor.log.after(0, limit=1000)) == 200


async def test_of_what_is_stored_together_each_has_the_correlation_of_its_cause(kontor: Kontor) -> None:
    first, second, third = opened("A"), opened("B"), opened("C")
    causes = {(first.id, 1): UUID(int=1), (second.id, 1): UUID(int=2)}
    append = append_of(first, second, third)
    append.causes, append.correlations = causes, {UUID(int=1): UUID(int=11)}
    await kontor.store.append(append)
    records = {each.aggregate_id: each for each in await kontor.log.after(0, limit=10)}
    assert {name: (records[name].causation_id, records[name].correlation_id) for name in records} == {
        first.id: (UUID(int=1), UUID(int=11)),
        second.id: (UUID(int=2), append.command_id),
        third.id: (None, append.command_id),
    }
    assert await kontor.log.last_correlation(first.id) == UUID(int=11)
    assert await kontor.log.last_correlation(uuid4()) is None
