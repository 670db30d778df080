"""Is everything everywhere? Compares, per aggregate, the log with Kafka, every view and every Redis copy; and with it
where followers and the relay stand, and whose keys are destroyed (`streams.standing`).

Runs beside a working system: it looks at what the log held when it began, waits (bounded) until relay and
followers have passed that point, and lets rows be newer than it.
"""

from __future__ import annotations

import asyncio
from binascii import crc32
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from aiokafka import AIOKafkaConsumer, TopicPartition
from psycopg.sql import SQL, Identifier

from adapters.kafka_reading import read_past_what_cannot_be_read
from adapters.log import LogRecord
from adapters.packed_arrays import texts
from adapters.parked_events import PARKED_AGGREGATES
from adapters.read_store import rows_by_id
from adapters.record_signatures import RecordSignatures
from adapters.schema import followers
from adapters.wire import NotOurs
from adapters.wiring import Kontor
from domain import CONTEXTS
from domain.identity import SHARDS, shard_of
from projections import VIEWS
from projections.view import View
from streams import hash_chain
from streams.standing import Astray, astray, destroyed_without_erasure, relay_astray

PASSING_S_MAX: Final = 60.0
SETTLING_S_MAX: Final = 10.0
AGGREGATES_AT_ONCE: Final = 500
FINDINGS_MAX: Final = 1_000

_STREAMS = SQL(
    "SELECT originator_id, count(*), min(originator_version), max(originator_version) FROM events"
    " WHERE notification_id <= %s GROUP BY 1 HAVING min(originator_version) <> 1 OR max(originator_version) <> count(*)"
)
_REQUIRED = SQL(
    "SELECT context, shard, max(notification_id) FROM events WHERE notification_id <= %s GROUP BY context, shard"
)
_IDS = SQL(
    "SELECT DISTINCT originator_id FROM events WHERE context = %s AND notification_id <= %s"
    " AND split_part(topic, '.', 1) = ANY(%s) ORDER BY 1"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as the log says. `what`: missing, extra, stale, different, out of order, past the log,
    destroyed, or parked, whose row is not compared."""

    where: str
    what: str
    subject: str
    detail: str


@dataclass(slots=True)
class Verdict:
    """The findings (up to FINDINGS_MAX are kept, all are counted), what was compared, and what the log can heal:
    the rows of a view that are wrong in PostgreSQL or Redis, partitions of Kafka, followers and the relay that stand
    where the log has nothing, and keys that were destroyed without an erasure. `behind` are those who had not passed
    the position."""

    position: int = 0
    findings: list[Finding] = field(default_factory=list)
    findings_count: int = 0
    compared: dict[str, int] = field(default_factory=dict)
    chain_end: hash_chain.Anchor | None = None
    rows: dict[View[Any], set[UUID]] = field(default_factory=dict)
    partitions: set[tuple[str, int]] = field(default_factory=set)
    astray: list[Astray] = field(default_factory=list)
    relay_astray: bool = False
    keys: list[UUID] = field(default_factory=list)
    behind: set[str] = field(default_factory=set)

    def found(self, where: str, what: str, subject: object, detail: str) -> None:
        self.findings_count += 1
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(Finding(where, what, str(subject), detail))

    def count(self, what: str, number: int) -> None:
        self.compared[what] = self.compared.get(what, 0) + number


async def verify_all(kontor: Kontor, *, expected: Sequence[hash_chain.Anchor] = ()) -> Verdict:
    """Compare everything up to the present end of the log; `expected` is what the hash chain had at some positions."""
    verdict = Verdict(position=await kontor.log.end())
    await _passed(kontor, verdict)
    verdict.chain_end, verdict.compared["events in the hash chain"] = await hash_chain.check(
        kontor.hash_chain, verdict.position, verdict.found, expected, wait_s=PASSING_S_MAX
    )
    for aggregate_id, count, first, last in await kontor.reads.fetch(_STREAMS, [verdict.position]):
        verdict.found("log", "missing", aggregate_id, f"{count} events, versions {first} to {last}")
    for context in CONTEXTS:
        await _verify_topic(kontor, context, verdict)
    for view in _followed(kontor):
        await _verify_view(kontor, view, verdict)
    await _verify_standing(kontor, verdict)
    return verdict


async def _verify_standing(kontor: Kontor, verdict: Verdict) -> None:
    verdict.astray = await astray(kontor)
    for name, context, shard, position in verdict.astray:
        verdict.found(name, "past the log", f"{context}/{shard}", f"stands at {position}, where the log has no event")
    for told in await relay_astray(kontor):
        verdict.relay_astray = True
        verdict.found("relay", "past the log", told, "the log has no such event")
    verdict.keys = await destroyed_without_erasure(kontor)
    for person_id in verdict.keys:
        verdict.found("keys", "destroyed", person_id, "the log has no erasure of this person")


def shown(view: View[Any]) -> str:
    """How a generation is named: the view's name alone for the first."""
    return view.name if view.generation == 1 else view.table


def _followed(kontor: Kontor) -> list[View[Any]]:
    """Every generation of every view that is to keep up with the log."""
    return [followed for view in VIEWS.values() for followed in kontor.reads.generations.followed(view)]


async def _passed(kontor: Kontor, verdict: Verdict) -> None:
    """Wait until relay and followers are past the position; who is not after PASSING_S_MAX is a finding."""
    required = {
        (context, shard): end for context, shard, end in await kontor.reads.fetch(_REQUIRED, [verdict.position])
    }
    give_up_at = asyncio.get_running_loop().time() + PASSING_S_MAX
    while True:
        relayed = {
            (context, shard): position
            for context, shard, position in await kontor.reads.fetch(
                SQL("SELECT context, shard, position FROM relay_partitions"), []
            )
        }
        applied = await kontor.reads.positions()
        behind = [
            ("relay", context, shard, relayed.get((context, shard), 0), end)
            for (context, shard), end in required.items()
            if relayed.get((context, shard), 0) < end
        ] + [
            (name, context, shard, applied.get((name, context, shard), 0), required[context, shard])
            for name, contexts in followers(_followed(kontor)).items()
            for context in contexts
            for shard in range(SHARDS)
            if applied.get((name, context, shard), 0) < required.get((context, shard), 0)
        ]
        if not behind or asyncio.get_running_loop().time() > give_up_at:
            break
        await asyncio.sleep(0.2)
    verdict.behind = {name for name, *_ in behind}
    for name, context, shard, position, end in behind:
        verdict.found(
            name, "stale", f"{context}/{shard}", f"stands at {position}, the log at {end}; is the process running?"
        )


async def _verify_topic(kontor: Kontor, context: str, verdict: Verdict) -> None:
    """Every event of the log once or more in its partition, first times in order, and nothing else."""
    topic = kontor.settings.topic_prefix + context
    read_past_what_cannot_be_read()
    consumer = AIOKafkaConsumer(**kontor.settings.brokers.client_options(), enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, shard) for shard in range(SHARDS)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        # An explicit offset: seeking to the beginning races with the reset of a new assignment.
        for partition, start in (await consumer.beginning_offsets(partitions)).items():
            consumer.seek(partition, start)
        held = {shard: Held(context, verdict, kontor.signatures) for shard in range(SHARDS)}
        while [each for each in partitions if await consumer.position(each) < ends[each]]:
            for partition, messages in (await consumer.getmany(timeout_ms=1000)).items():
                for message in messages:
                    held[partition.partition].add(message)
    finally:
        await consumer.stop()
    log_end = await kontor.log.end()
    for shard, partition_held in held.items():
        partition_held.report(log_end)
        await _compare_partition(kontor, context, shard, partition_held.seen, verdict)


@dataclass(slots=True)
class Held:
    """What a partition holds: position to fingerprint. Reports what is out of order, past the log or not signed."""

    context: str
    verdict: Verdict
    signatures: RecordSignatures
    seen: dict[int, int] = field(default_factory=dict)
    highest: int = 0
    shard: int = 0
    forged: int = 0
    first_forged: str = ""

    def add(self, message: Any) -> None:
        self.shard = message.partition
        try:
            record = self.signatures.read(message).record
        except NotOurs as error:
            self.forged += 1
            self.first_forged = self.first_forged or str(error)
            return
        if record.position in self.seen:
            self.verdict.count("kafka records repeated", 1)
        elif record.position < self.highest:
            self.verdict.partitions.add((self.context, message.partition))
            detail = f"position {record.position} after {self.highest}"
            self.verdict.found("kafka", "out of order", record.aggregate_id, detail)
        self.seen[record.position] = fingerprint(record)
        self.highest = max(self.highest, record.position)
        self.verdict.count("kafka records", 1)

    def report(self, log_end: int) -> None:
        """What the partition holds that no log had: records that are not signed, one finding for all, and positions
        that the log has not reached."""
        where = f"kafka {self.context}/{self.shard}"
        if self.forged:
            self.verdict.partitions.add((self.context, self.shard))
            told = f"{self.forged} forged or unsigned; the first: {self.first_forged}"
            self.verdict.found("kafka", "extra", f"{self.context}/{self.shard}", told)
        for position in [each for each in self.seen if each > log_end]:
            self.verdict.partitions.add((self.context, self.shard))
            self.verdict.found(where, "past the log", position, f"the log ends at {log_end}")


async def _compare_partition(kontor: Kontor, context: str, shard: int, seen: dict[int, int], verdict: Verdict) -> None:
    where = f"kafka {context}/{shard}"
    found_before = verdict.findings_count
    async for record in _shard(kontor, context, shard, verdict.position):
        verdict.count("events", 1)
        if shard_of(record.aggregate_id) != shard:
            verdict.found("log", "different", record.aggregate_id, f"stored in shard {shard}")
        there = seen.pop(record.position, None)
        if there is None:
            verdict.found(
                where, "missing", record.aggregate_id, f"version {record.version}, position {record.position}"
            )
        elif there != fingerprint(record):
            verdict.found(
                where, "different", record.aggregate_id, f"version {record.version}, position {record.position}"
            )
    for position in seen:
        if position <= verdict.position:
            verdict.found(where, "extra", position, "a position the log does not have")
    if verdict.findings_count > found_before:
        verdict.partitions.add((context, shard))


async def _shard(kontor: Kontor, context: str, shard: int, until: int) -> AsyncIterator[LogRecord]:
    position = 0
    while records := await kontor.log.shard_after(context, shard, position, limit=2_000, until=until):
        for record in records:
            yield record
        position = records[-1].position


def fingerprint(record: LogRecord) -> int:
    """Equal for equal records, whichever road they came."""
    kind = f"{record.event_type}|{record.schema_version}"
    text = f"{kind}|{record.aggregate_id}|{record.version}|{record.recorded_at.timestamp()}"
    return crc32(record.state, crc32(text.encode()))


async def _verify_view(kontor: Kontor, view: View[Any], verdict: Verdict) -> None:
    """Every aggregate's row equals the fold of its events, and so does its copy in Redis where there is one."""
    name = shown(view)
    (context,) = view.contexts
    parked = {row[1] for row in await kontor.reads.fetch(SQL(PARKED_AGGREGATES), [texts([view.table])])}
    for aggregate_id in parked:
        verdict.found(name, "parked", aggregate_id, "see `kontor parked show`")
    known = [row[0] for row in await kontor.reads.fetch(_IDS, [context, verdict.position, list(view.follows)])]
    known = [aggregate_id for aggregate_id in known if aggregate_id not in parked]
    for start in range(0, len(known), AGGREGATES_AT_ONCE):
        ids = known[start : start + AGGREGATES_AT_ONCE]
        wrong = await _differing(kontor, view, ids, verdict.position)
        give_up_at = asyncio.get_running_loop().time() + SETTLING_S_MAX
        # What is on its way from the row to its copy is not wrong yet.
        while wrong and asyncio.get_running_loop().time() < give_up_at:
            await asyncio.sleep(0.5)
            wrong = await _differing(kontor, view, list({finding[2] for finding in wrong}), verdict.position)
        for where, what, subject, detail in wrong:
            verdict.found(where, what, subject, detail)
            verdict.rows.setdefault(view, set()).add(subject)
    verdict.count(f"rows of {name}", len(known))
    extra = SQL("SELECT id FROM {} t WHERE NOT EXISTS (SELECT FROM events WHERE originator_id = t.id)").format(
        Identifier(view.table)
    )
    for (row_id,) in await kontor.reads.fetch(extra, []):
        verdict.found(name, "extra", row_id, "a row without events")
        verdict.rows.setdefault(view, set()).add(row_id)


async def _differing(kontor: Kontor, view: View[Any], ids: list[UUID], until: int) -> list[tuple[str, str, UUID, str]]:
    copies = await kontor.copies.read(view, ids)
    async with kontor.pool.connection() as connection:
        rows = await rows_by_id(connection, view, ids)
    history: dict[UUID, list[LogRecord]] = {row_id: [] for row_id in ids}
    for record in await kontor.log.of_aggregates(ids):
        history[record.aggregate_id].append(record)
    wrong = []
    name = shown(view)
    for row_id, records in history.items():
        row, copy = rows.get(row_id), copies.get(row_id)
        least = max(record.version for record in records if record.position <= until)
        if row is None:
            wrong.append((name, "missing", row_id, f"the log has version {least}"))
            continue
        if row.version < least:
            wrong.append((name, "stale", row_id, f"version {row.version}, the log has {least}"))
        if row != _folded(view, records, row.version):
            wrong.append((name, "different", row_id, f"version {row.version} is not the fold of its events"))
        if copy is not None and copy.version < row.version:
            wrong.append((f"redis {name}", "stale", row_id, f"version {copy.version}, the row has {row.version}"))
        elif copy is not None and copy != _folded(view, records, copy.version):
            wrong.append((f"redis {name}", "different", row_id, f"version {copy.version}"))
    return wrong


def _folded(view: View[Any], records: list[LogRecord], version: int) -> Any:
    row = None
    for record in records:
        if record.version <= version:
            row = view.fold(row, record.decoded())
    return row
