"""Healing what verification has found, from the log: rows folded anew, copies taken away, partitions published again.

Runs beside a working system: a row is replaced while its view's position of that shard is locked, with what is
up to there. May be interrupted and repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final
from uuid import UUID

import structlog
from psycopg.sql import SQL, Identifier

from adapters.log import LogRecord
from adapters.read_store import tell_changed, write
from adapters.relay_store import mark_lost, marked_lost
from adapters.wiring import Kontor
from domain.identity import shard_of
from projections.view import View
from streams.standing import allow_keys_again, publish_everything_again, set_back
from streams.verification import Verdict, verify_all

log = structlog.get_logger()

PUBLISHED_S_MAX: Final = 60.0
LOOK_S: Final = 0.5


async def fold_again(kontor: Kontor, view: View[Any], ids: Iterable[UUID]) -> None:
    """Make these rows, and their copies, what the log says; rows of which it knows nothing go."""
    by_shard: dict[int, list[UUID]] = {}
    for row_id in ids:
        by_shard.setdefault(shard_of(row_id), []).append(row_id)
    for shard, its_ids in by_shard.items():
        await _fold_shard(kontor, view, shard, its_ids)
        await kontor.copies.forget(view, its_ids)


async def _fold_shard(kontor: Kontor, view: View[Any], shard: int, ids: Sequence[UUID]) -> None:
    async with kontor.pool.connection() as connection, connection.transaction():
        locked = await connection.execute(
            "SELECT position FROM view_positions WHERE view = %s AND context = ANY(%s) AND shard = %s FOR UPDATE",
            [view.table, sorted(view.contexts), shard],
        )
        ((position,),) = await locked.fetchall()
        records: list[LogRecord] = await kontor.log.of_aggregates(ids)
        await connection.execute(SQL("DELETE FROM {} WHERE id = ANY(%s)").format(Identifier(view.table)), [list(ids)])
        await tell_changed(connection, view, ids)
        await write(connection, view, [record.decoded() for record in records if record.position <= position])


async def publish_again(kontor: Kontor, partitions: Sequence[tuple[str, int]]) -> bool:
    """Have the relay publish these partitions (context, shard) anew; readers drop what they have seen. False when
    that is not done after PUBLISHED_S_MAX; it will be when a relay runs."""
    give_up_at = asyncio.get_running_loop().time() + PUBLISHED_S_MAX
    async with kontor.pool.connection() as connection:
        await mark_lost(connection, partitions)
        while await marked_lost(connection):
            if asyncio.get_running_loop().time() > give_up_at:
                return False
            await asyncio.sleep(LOOK_S)
    return True


async def repair(kontor: Kontor, verdict: Verdict) -> None:
    """Heal what the verdict names and the log knows. A follower that stands where the log has nothing is set back and
    waited for before rows are compared again: until then nobody can say which of them are wrong."""
    returned = set[str]()
    if verdict.keys:
        await allow_keys_again(kontor, verdict.keys)
    if verdict.relay_astray:
        await publish_everything_again(kontor)
    if verdict.astray:
        await set_back(kontor, verdict.astray)
        returned = {name for name, *_ in verdict.astray}
        verdict = await verify_all(kontor)
    for view, ids in verdict.rows.items():
        if view.table in returned & verdict.behind:
            log.warning("not_folded_yet", view=view.table, rows=len(ids), hint="is a worker running?")
            continue
        await fold_again(kontor, view, ids)
        log.info("folded_again", view=view.table, rows=len(ids))
    if verdict.partitions and not await publish_again(kontor, sorted(verdict.partitions)):
        log.warning("not_published_yet", partitions=sorted(verdict.partitions), hint="is a relay running?")
