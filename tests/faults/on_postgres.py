"""What happens to PostgreSQL, and to what is stored in it."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.sql import SQL

from adapters.appending import CAREFUL, UNCONTENDED
from adapters.event_store import PostgresEventStore
from adapters.group_commit import APPEND_LOCK
from adapters.prepared_connection import APPLICATION
from adapters.snapshots import SNAPSHOT_EVENTS
from commands.handling import Actor
from commands.inventory import AdjustStock
from domain.identity import stock_item_id
from tests.faults.proxy import Link
from tests.faults.scene import Scene
from tests.faults.small_disk import filled, small_disk
from tests.faults.system import PROGRAMS

FOREIGN_S: Final = 4.0
DOWN_S: Final = 5.0
DOWN_LONG_S: Final = 30.0
BACK_S_MAX: Final = 10.0
FULL_S: Final = 2.0
FULL_LONG_S: Final = 25.0
COUNTED: Final = 5_000
ROOM_BYTES: Final = 8 * 2**20
HELD_S: Final = 1.5
LOOK_S: Final = 0.002
HOLDERS_S_MAX: Final = 20.0
SNAPSHOT_S_MAX: Final = 40.0
LOCKED_S_MAX: Final = 60.0
LOST_ANSWERS: Final = 5
# What callers are told when nothing is wrong.
UNMOVED: Final = {(200, ""), (409, "ILLEGAL_TRANSITION")}
READY: Final = b"Z\0\0\0\x05I"  # the server's last word about a statement: outside of any transaction

_HOLDER: Final = (
    "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1"
    f" AND classid = {APPEND_LOCK >> 32} AND objid = {APPEND_LOCK & 0xFFFFFFFF}"
)
_SNAPSHOT: Final = SQL(
    "SELECT originator_version, topic, state, position, shape FROM snapshots WHERE originator_id = %s"
)
_SPOIL: Final = {
    "not JSON": "state = 'x'",
    "without its fields": "state = '{}'",
    "cut": "state = substr(state, 1, length(state) / 2)",
    "of a newer schema": "shape = 'of newer code'",
    "of no known aggregate": "topic = 'nothing'",
}


async def server_processes_of_the_log_end(scene: Scene) -> None:
    for _ in range(4):
        await scene.moment(0.1, 0.5)
        await scene.terminate_connections(APPLICATION)


async def postgres_stops_at_once(scene: Scene) -> None:
    await scene.kill("postgres", sent=signal.SIGQUIT)


async def a_foreign_transaction_stays_open(scene: Scene) -> None:
    async with await psycopg.AsyncConnection.connect(scene.settings.postgres_url) as connection:
        await connection.execute("SELECT pg_current_xact_id()")
        await connection.execute("SELECT count(*) FROM events")
        await asyncio.sleep(FOREIGN_S)


async def answers_to_commits_are_lost(scene: Scene) -> None:
    """The server has stored the batch; its answer vanishes with the connection. Callers must not notice."""
    lost = 0
    armed = False

    def swallow(link: Link, from_client: bool, chunk: bytes) -> bool:
        nonlocal lost, armed
        if APPLICATION.encode() not in link.head:
            return True
        if from_client:
            stores = any(b"\0" + each.name + b"\0" in chunk[:64] for each in (UNCONTENDED, CAREFUL))
            link.notes["stores"] = chunk[:1] == b"B" and stores
        elif armed and link.notes.get("stores") and chunk.endswith(READY):
            lost, armed = lost + 1, False
            return False
        return True

    async def disarmed() -> bool:
        return not armed

    began = scene.now()
    scene.system.proxies["postgres"].watch = swallow
    try:
        for _ in range(LOST_ANSWERS):
            await scene.moment(0.1, 0.6)
            armed = True
            await scene.until(disarmed)
    finally:
        scene.system.proxies["postgres"].watch = None
    await scene.moment(1, 1.5)
    scene.require(lost == LOST_ANSWERS, f"only {lost} of {LOST_ANSWERS} answers were lost")
    told = {(answer.status, answer.code) for answer in scene.crowd.answers if answer.sent_at > began} - UNMOVED
    scene.require(not told, f"callers were told of a lost answer: {told}")


async def postgres_is_down(scene: Scene) -> None:
    pids = [await scene.pid(name) for name in PROGRAMS]
    await scene.system.stopped("postgres")
    since = scene.now()
    await asyncio.sleep(DOWN_LONG_S if scene.long else DOWN_S)
    scene.impossible.append((since, scene.now()))
    await scene.system.started("postgres")
    back_at = scene.now()

    async def acknowledged() -> bool:
        return any(answer.status == 200 and answer.answered_at > back_at for answer in scene.crowd.answers)

    scene.require(
        await scene.until(acknowledged, s_max=BACK_S_MAX), f"nothing is stored {BACK_S_MAX} s after it is back"
    )
    await scene.moment(1, 2)
    scene.require([await scene.pid(name) for name in PROGRAMS] == pids, "a process was started again")


async def the_disk_is_full(scene: Scene) -> None:
    """The log lies on a disk of its own, which fills up and is emptied again."""
    async with await psycopg.AsyncConnection.connect(scene.settings.postgres_url, autocommit=True) as connection:
        await connection.execute(f"SET lock_timeout = '{LOCKED_S_MAX:g}s'".encode())  # moving a table waits for all
        ((used,),) = await (await connection.execute("SELECT pg_table_size('events')")).fetchall()
        with small_disk(scene.system.home.path / "small", used + ROOM_BYTES, like=scene.system.home.postgres) as disk:
            await connection.execute(f"CREATE TABLESPACE small LOCATION '{disk}'".encode())
            try:
                await connection.execute("ALTER TABLE events SET TABLESPACE small")
                log = scene.system.supervisor.specs["postgres"].log
                told_before = log.stat().st_size

                async def told() -> bool:
                    with log.open("rb") as file:
                        file.seek(told_before)
                        return b"No space left on device" in file.read()

                since = scene.now()
                with filled(disk):
                    scene.require(await scene.until(told, s_max=20), "the disk was not full")
                    await asyncio.sleep(FULL_LONG_S if scene.long else FULL_S)
                    until = scene.now()
                await scene.moment(1, 2)
                told_so = any(
                    answer.status == 503 and since < answer.sent_at and answer.answered_at < until
                    for answer in scene.crowd.answers
                )
                scene.require(told_so, "nobody was told of the full disk while it was full")
            finally:
                await connection.execute("ALTER TABLE events SET TABLESPACE pg_default")
                await connection.execute("DROP TABLESPACE small")


async def a_writer_stands_between_its_position_and_its_commit(scene: Scene) -> None:
    """Its server process is frozen while it holds the lock under which positions are drawn; others write meanwhile."""
    async with await psycopg.AsyncConnection.connect(scene.settings.postgres_url, autocommit=True) as connection:
        for _ in range(scene.times(2)):
            held = await _freeze_holder(scene, connection)
            scene.require(held, "no writer was caught with the lock")
            await scene.moment(0.1, 0.5)


async def _holders(connection: psycopg.AsyncConnection[Any]) -> list[Any]:
    return await (await connection.execute(_HOLDER)).fetchall()


async def _freeze_holder(scene: Scene, connection: psycopg.AsyncConnection[Any]) -> bool:
    give_up_at = scene.now() + HOLDERS_S_MAX
    while scene.now() < give_up_at:
        found = await _holders(connection)
        if not found:
            await asyncio.sleep(LOOK_S)
            continue
        ((pid,),) = found
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            asked = asyncio.create_task(_holders(connection))
            try:
                # It may have stopped with a lock that this question needs; then another is looked for. The question is
                # not cut short: psycopg closes a connection whose statement it cannot cancel.
                answered, _ = await asyncio.wait({asked}, timeout=1)
                if answered and asked.result() == found:
                    await asyncio.sleep(HELD_S)
                    return True
            finally:
                os.kill(pid, signal.SIGCONT)
                await asked
    return False


async def snapshots_are_spoilt(scene: Scene) -> None:
    """Whatever is in place of a snapshot, an aggregate is what its events say."""
    item_id = stock_item_id(scene.crowd.sku(0))
    for number in range(SNAPSHOT_EVENTS):
        counted = AdjustStock(sku=scene.crowd.sku(0), on_hand=COUNTED + number % 2, reason="counted")
        await scene.kontor.pipeline.execute(counted, actor=Actor.system("faults"))

    async def taken() -> bool:
        return bool(await scene.kontor.reads.fetch(_SNAPSHOT, [item_id]))

    if not await scene.until(taken, s_max=SNAPSHOT_S_MAX):
        scene.require(False, f"no snapshot was taken of {item_id}")
        return
    (old,) = await scene.kontor.reads.fetch(_SNAPSHOT, [item_id])
    for damage, change in scene.dice.sample(list(_SPOIL.items()), k=len(_SPOIL)):
        await scene.kontor.reads.fetch(
            SQL(f"UPDATE snapshots SET {change} WHERE originator_id = %s RETURNING 1"), [item_id]
        )
        await _is_as_replayed(scene, item_id, damage)
    await scene.kill("api")  # what it remembers is gone: now it has to load what is there
    await scene.moment(1, 2)
    await scene.kontor.reads.fetch(
        SQL("UPDATE snapshots SET originator_version = %s, topic = %s, state = %s, position = %s, shape = %s"
            " WHERE originator_id = %s RETURNING 1"), [*old, item_id])  # fmt: skip
    await scene.kill("api")
    await _is_as_replayed(scene, item_id, "stale")


async def _is_as_replayed(scene: Scene, item_id: UUID, damage: str) -> None:
    # One that has seen nothing yet.
    async with PostgresEventStore(scene.kontor.pool, scene.settings.postgres_url) as store:
        loaded: Any = (await store.load([item_id]))[item_id][0]
    replayed: Any = None
    for record in await scene.kontor.log.of_aggregates([item_id]):
        if record.version <= loaded.version:
            event: Any = record.decoded().event
            replayed = event.mutate(replayed)
    same = vars(loaded) | {"_pending_events": []} == vars(replayed) | {"_pending_events": []}
    scene.require(same, f"with a snapshot that is {damage}, {item_id} is not what its {loaded.version} events say")
