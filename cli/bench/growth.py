"""Whether the event store stays as quick as its log grows: the same measurements at each size of one log.

Nothing is read from a warm cache of ours: loads are without the cache of aggregates. PostgreSQL and the system keep
their own.
"""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final, LiteralString
from uuid import UUID

import uvloop

from adapters.schema import migrate
from adapters.wiring import Kontor, open_kontor
from cli.bench.contest import Failed, Say, answer_of, execute
from cli.bench.contestants import APPEND, OURS
from cli.bench.filling import LONG_STREAM_EVENTS, Filled, Filling
from cli.bench.kontor import NoCache, settings
from cli.bench.machine import wait_for_quiet
from cli.bench.server import Server, clean_environment
from cli.bench.timing import percentile_ms, url_of
from cli.stack.problem import Problem
from domain.identity import SHARDS

WRITERS: Final = 32
EVENTS_MIN: Final = 20_000  # half of them are the long stream
BYTES_PER_EVENT: Final = 950  # with its command, its indexes and its share of the write-ahead log
FREE_SHARE_MIN: Final = 2.5
TAIL_EVENTS: Final = 500
RECENT_EVENTS: Final = 100_000
WARM_UP: Final = 10
LOADS: Final = 300
READS: Final = 50
LONG_LOADS: Final = 3
SNAPSHOT_LOOK_S: Final = 0.01
SNAPSHOT_LOOKS_MAX: Final = 1_500
RUN_S_MAX: Final = 120.0

_FORGET: Final = "DELETE FROM snapshots WHERE originator_id = %s"
_IS_THERE: Final = "SELECT FROM snapshots WHERE originator_id = %s"


def require_room(folder: Path, events: int) -> None:
    """Raises Problem when the disk has less than 2.5 times what the log will need."""
    folder = next(each for each in (folder, *folder.parents) if each.exists())
    needed = int(events * BYTES_PER_EVENT * FREE_SHARE_MIN)
    if (free := shutil.disk_usage(folder).free) < needed:
        raise Problem(
            f"{events:,} events need {needed / 1e9:.1f} GB free on the disk of {folder}, and {free / 1e9:.1f} GB are: "
            "make room, or give smaller numbers with --events."
        )


@dataclass(frozen=True, slots=True)
class Growth:
    """How every size is measured."""

    server: Server
    seconds: float
    rounds: int
    idle_wait_s: float
    say: Say

    def measure(self, sizes: Sequence[int]) -> list[dict[str, Any]]:
        """One row of figures a size, in rising order; the log is dropped at the end."""
        rows = []
        with self.server.database() as place:
            url = url_of(place)
            uvloop.run(migrate(url))
            with self.server.connect(place["PGDATABASE"]) as connection:
                filling = Filling(connection)
                for size in sorted(set(sizes)):
                    began = perf_counter()
                    filling.up_to(size)
                    self.say(f"{size:>12,} events after {perf_counter() - began:.0f} s of filling")
                    rows.append({"events": size, **self._at_this_size(place, url, filling.filled)})
                    self.say(f"{'':>12} {rows[-1]}")
                    filling.goes_on()
        return rows

    def _at_this_size(self, place: dict[str, str], url: str, filled: Filled) -> dict[str, Any]:
        wait_for_quiet(self.server.folder, self.idle_wait_s)
        figures = uvloop.run(_read(url, filled))
        appends = []
        kontor = next(each for each in OURS if each.name == "kontor")
        asked = {"CLIENTS": str(WRITERS), "SECONDS": str(self.seconds), "MODE": kontor.modes[APPEND]}
        for _ in range(self.rounds):
            wait_for_quiet(self.server.folder, self.idle_wait_s)
            environment = clean_environment() | place | asked
            try:
                said = execute(kontor.argv, kontor.folder, environment, self.seconds + RUN_S_MAX)
                appends.append(answer_of(said))
            except Failed as error:
                raise Problem(f"Appending to a log of {filled.position:,} events failed: {error}") from error
        rates = {"append_commits_per_s": round(median(each["commits_per_s"] for each in appends))}
        latencies = {name: round(median(each[name] for each in appends), 3) for name in ("p50_ms", "p99_ms")}
        return rates | {f"append_{name}": value for name, value in latencies.items()} | figures


async def _read(url: str, filled: Filled) -> dict[str, Any]:
    chance = random.Random(filled.position)  # noqa: S311  # a choice, not a secret
    async with open_kontor(settings(url), name="bench") as kontor:
        kontor.store._loads._cache = NoCache()
        streams = [chance.choice(filled.full_streams) for _ in range(LOADS + WARM_UP)]
        loads = await _timed(streams, lambda stream: kontor.store.load([stream]))
        recent = range(max(0, filled.position - RECENT_EVENTS), max(1, filled.position - TAIL_EVENTS))
        positions = [chance.choice(recent) for _ in range(READS + WARM_UP)]
        tails = await _timed(positions, lambda position: kontor.log.after(position, limit=TAIL_EVENTS))
        # One event of SHARDS is in a shard: begin as far back as its 500 need.
        earlier = [(position, chance.randrange(SHARDS)) for position in positions]
        shards = await _timed(earlier, lambda each: _shard(kontor, *each))
        return {
            "load_p50_ms": percentile_ms(loads, 0.50),
            "load_p99_ms": percentile_ms(loads, 0.99),
            "tail_p50_ms": percentile_ms(tails, 0.50),
            "shard_p50_ms": percentile_ms(shards, 0.50),
            **await _long(kontor, filled.long_stream),
        }


async def _shard(kontor: Kontor, position: int, shard: int) -> object:
    start = max(0, position - 2 * SHARDS * TAIL_EVENTS)
    return await kontor.log.shard_after("inventory", shard, start, limit=TAIL_EVENTS)


async def _long(kontor: Kontor, stream: UUID) -> dict[str, Any]:
    """Loading a stream of 10,000 events, from its first and from its snapshot, which a load has taken."""
    whole = []
    for _ in range(LONG_LOADS):
        await _rows_of(kontor, _FORGET, stream)
        whole += await _timed([stream], lambda each: kontor.store.load([each]), warm_up=0)
        await _until_snapshot(kontor, stream)
    short = await _timed([stream] * (LOADS + WARM_UP), lambda each: kontor.store.load([each]))
    return {
        "long_load_p50_ms": percentile_ms(whole, 0.50),
        "long_load_from_snapshot_p50_ms": percentile_ms(short, 0.50),
    }


async def _until_snapshot(kontor: Kontor, stream: UUID) -> None:
    for _ in range(SNAPSHOT_LOOKS_MAX):
        if await _rows_of(kontor, _IS_THERE, stream):
            return
        await asyncio.sleep(SNAPSHOT_LOOK_S)
    raise Problem(f"No snapshot was taken of a stream of {LONG_STREAM_EVENTS:,} events: see the log on stderr.")


async def _rows_of(kontor: Kontor, statement: LiteralString, stream: UUID) -> int:
    async with kontor.pool.connection() as connection:
        cursor = await connection.execute(statement, [stream])
    return int(cursor.rowcount)


async def _timed(
    subjects: Sequence[Any], read: Callable[[Any], Awaitable[object]], *, warm_up: int = WARM_UP
) -> list[float]:
    """What reading each took, one after the other; the first ones are not counted."""
    took = []
    for subject in subjects:
        began = perf_counter()
        found = await read(subject)
        took.append(perf_counter() - began)
        assert found, subject
    return took[warm_up:]
