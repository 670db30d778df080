"""From Kafka records to applied events: the chain.

Every partition is a chain: a record names its position and the position of the one before it (`previous`).
A follower (a view, or the checkout) stores the position it has applied, in the transaction of its rows, and
does with a record exactly one of three things:
- position <= last: it was applied, drop it;
- previous <= last: it is the next, apply it;
- previous > last: something is missing. Read the missing events from the log in Postgres, apply them, go on.
A record past the end of the log is dropped, too, whoever signed it: the log decides, Kafka is a hint.
So a lost or repeated record, a deleted topic, a new view and a rebuild are all the same to it, and Kafka
offsets are only a hint.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar
from uuid import UUID

import structlog

from adapters.away import AWAY, pause
from adapters.joint_transactions import Apart
from adapters.log import LogRecord
from adapters.parked_events import PARKED_AGGREGATES_MAX
from adapters.wire import Linked
from projections.view import Recorded, View
from streams.following import AfterCommit, Follower
from streams.parking import Gone, Stopped, is_poison, tried
from streams.ports import Changes, FollowerStore, FollowerTransaction

log = structlog.get_logger()
T = TypeVar("T")
# By position.
Decoded = dict[int, Recorded]

REFILL_EVENTS: Final = 1_000  # one transaction of a refill
BULK_EVENTS: Final = 2_000  # one of followers that catch up
BULK_AT_ONCE: Final = 3  # shards that catch up: Postgres works for one while another folds
CAREFUL_EVENTS: Final = 200  # one in which each event has a savepoint
RETRY_PAUSE_S_MIN: Final = 0.2
RETRY_PAUSE_S_MAX: Final = 5.0
STOPPED_S: Final = 10.0


class Chain:
    """Keeps followers' chains: says what of a batch is dropped, applied, refilled or parked, and when a follower
    stops. Any number of processes may work on the same shard: the store lets one at a time."""

    def __init__(self, store: FollowerStore) -> None:
        self._store = store
        # Followers that have parked too much, and when they are tried again.
        self._stopped: dict[str, float] = {}
        # Shards that catch up, or wait for their turn: whoever comes second finds it done.
        self._behind: dict[tuple[str, int], asyncio.Lock] = {}
        self._bulk = asyncio.Semaphore(BULK_AT_ONCE)

    async def take(
        self, follower: Follower, context: str, records: Sequence[Linked], decoded: Decoded | None = None
    ) -> None:
        """Apply a batch of one context's records, whatever of it is new, refilling every gap first. Followers that
        take the same batch may share what is decoded.

        Returns when all is committed, poison parked; or at once when the follower has stopped: what it misses is
        a gap, and refilled when it goes on. A database that is away is waited for, for ever; anything else is
        raised and the batch may be given again."""
        by_shard = _by_shard(records)
        while by_shard and not self._stands(follower):
            attempt = partial(self._apply_chained, follower, context, by_shard, {} if decoded is None else decoded)
            try:
                gaps = await self._persist(follower.name, attempt)
            except Gone:
                break
            except Stopped as error:
                self._stop(follower, error)
                break
            except Exception as error:
                if not (follower.parks and is_poison(error)):
                    raise
                # From the log, one by one: what Kafka brought may be what is wrong.
                log.warning("poison", follower=follower.name, context=context, error=repr(error))
                gaps = {shard: chain[-1].record.position for shard, chain in by_shard.items()}
                by_shard = {}
            for shard, until in gaps.items():
                await self.refill(follower, context, shard, until=until)
            by_shard = {shard: by_shard[shard] for shard in gaps if shard in by_shard}

    async def take_all(
        self, followers: Sequence[Follower], context: str, records: Sequence[Linked], decoded: Decoded
    ) -> None:
        """As `take` for each of these followers. Where nothing is missing and nothing is parked, and it mostly is so,
        all of them move in one transaction; otherwise each goes by itself, and none waits for another's trouble."""
        by_shard = _by_shard(records)
        together = by_shard and not any(self._stands(follower) for follower in followers)
        if together and await self._persist(
            context, partial(self._apply_together, followers, context, by_shard, decoded)
        ):
            return
        async with asyncio.TaskGroup() as group:
            for follower in followers:
                group.create_task(self.take(follower, context, records, decoded))

    async def refill(self, follower: Follower, context: str, shard: int, *, until: int) -> int:
        """Apply the events of a shard from the follower's position up to `until`, from the log, in bounded
        transactions; returns how many. May be interrupted anywhere: it goes on from the stored position.

        Poison is parked; a follower that has stopped is left where it stands."""
        applied = 0
        while not self._stands(follower):
            place = (follower, context, shard, until)
            try:
                try:
                    count = await self._persist(follower.name, partial(self._refill_once, *place))
                except Exception as error:
                    if not (follower.parks and is_poison(error)):
                        raise
                    count = await self._persist(follower.name, partial(self._refill_carefully, *place))
            except Gone:
                break
            except Stopped as error:
                self._stop(follower, error)
                break
            if count == 0:
                break
            applied += count
        if applied and follower.parks:  # whoever builds a view anew tells of it himself
            log.info("refilled", follower=follower.name, context=context, shard=shard, events=applied)
        return applied

    async def published(self, context: str, shard: int) -> tuple[int, int] | None:
        """See `streams.ports.FollowerStore.published`; however long the database is away."""
        return await self._persist(context, partial(self._store.published, context, shard))

    def catches_up(self, context: str, shard: int) -> bool:
        """Is `catch_up` at work for this shard, or waiting for its turn?"""
        gate = self._behind.get((context, shard))
        return gate is not None and gate.locked()

    async def catch_up(self, followers: Sequence[Follower], context: str, shard: int, *, until: int) -> int:
        """Bring followers that are far behind to `until`, in bulk: the log is read and decoded once for all. Returns
        how many events it read. As `refill` in everything else; one that cannot go on is left to that."""
        async with self._behind.setdefault((context, shard), asyncio.Lock()), self._bulk:
            names, read = [follower.name for follower in followers], 0
            standing = await self._persist(context, partial(self._store.standing, names, context, shard))
            position = min(standing.values(), default=until)
            while position < until and not all(self._stands(follower) for follower in followers):
                records = await self._persist(
                    context, partial(self._store.after, context, shard, position, limit=BULK_EVENTS, until=until)
                )
                if not records:
                    break
                befores = [position, *(record.position for record in records)]
                linked = [Linked(record, before) for record, before in zip(records, befores, strict=False)]
                await self.take_all(followers, context, linked, {})
                position, read = records[-1].position, read + len(records)
            return read

    async def resume(self, follower: Follower, aggregate_id: UUID, context: str, shard: int) -> None:
        """Do what is wished for an aggregate's parked events, in order, up to the first that fails again."""
        while await self._persist(follower.name, partial(self._resume_once, follower, aggregate_id, context, shard)):
            pass
        self._stopped.pop(follower.name, None)

    def _stands(self, follower: Follower) -> bool:
        return self._stopped.get(follower.name, 0.0) > asyncio.get_running_loop().time()

    def _stop(self, follower: Follower, error: Stopped) -> None:
        log.error("follower_stopped", follower=follower.name, reason=str(error))
        self._stopped[follower.name] = asyncio.get_running_loop().time() + STOPPED_S

    async def _apply_together(
        self, followers: Sequence[Follower], context: str, by_shard: Mapping[int, list[Linked]], decoded: Decoded
    ) -> bool:
        """Apply all, or, because of what only `take` can do, nothing."""
        after_commit = []
        reads = {follower.name: _reads_of(follower, by_shard) for follower in followers}
        try:
            async with self._store.together(context, sorted(by_shard), reads) as transactions:
                for follower in followers:
                    transaction = transactions[follower.name]
                    fresh, moved = _whole(by_shard, transaction)
                    after_commit.append(await _changed(transaction, follower, fresh, moved, decoded))
        except Apart:
            return False
        except Exception as error:
            if not is_poison(error):
                raise
            return False
        await asyncio.gather(*(each() for each in after_commit if each is not None))
        return True

    async def _apply_chained(
        self, follower: Follower, context: str, by_shard: dict[int, list[Linked]], decoded: Decoded
    ) -> dict[int, int]:
        """Apply up to the first gap of each shard; returns the gaps: shard to the position before the gap's end."""
        after_commit = None
        gaps: dict[int, int] = {}
        async with self._store.begin(follower.name, context, sorted(by_shard)) as transaction:
            _require_standing(follower, transaction)
            fresh: list[LogRecord] = []
            moved: dict[int, int] = {}
            for shard, chain in by_shard.items():
                records, gap = next_of(chain, transaction.positions[shard], transaction.log_end)
                if records:
                    fresh += records
                    moved[shard] = records[-1].position
                if gap is not None:
                    gaps[shard] = gap
            after_commit = await _apply(transaction, follower, fresh, moved, decoded)
        if after_commit is not None:
            await after_commit()
        return gaps

    async def _refill_once(self, follower: Follower, context: str, shard: int, until: int) -> int:
        async with self._store.begin(follower.name, context, [shard]) as transaction:
            _require_standing(follower, transaction)
            last = transaction.positions[shard]
            records = await transaction.after(shard, last, limit=REFILL_EVENTS, until=until)
            if not records:
                return 0
            after_commit = await _apply(transaction, follower, records, {shard: records[-1].position}, {})
        if after_commit is not None:
            await after_commit()
        return len(records)

    async def _refill_carefully(self, follower: Follower, context: str, shard: int, until: int) -> int:
        """As `_refill_once`, each event by itself, parking those that cannot be applied."""
        after_commit: list[AfterCommit] = []
        async with self._store.begin(follower.name, context, [shard], careful=True) as transaction:
            _require_standing(follower, transaction)
            last, parked = transaction.positions[shard], transaction.parked
            records = await transaction.after(shard, last, limit=CAREFUL_EVENTS, until=until)
            for record in records:
                reason = ""
                if follower.wants(record.event_type) and record.aggregate_id not in parked:
                    reason = await tried(transaction, follower, record, after_commit)
                if reason:
                    parked.add(record.aggregate_id)
                    log.error("parked", follower=follower.name, aggregate=str(record.aggregate_id),
                              version=record.version, position=record.position, reason=reason)  # fmt: skip
                if record.aggregate_id in parked:
                    await transaction.park([record], reason)
                last = record.position
                if len(parked) >= PARKED_AGGREGATES_MAX:
                    break  # what is parked so far is kept; the next transaction stops
            if records:
                await transaction.move({shard: last})
        for each in after_commit:
            await each()
        return len(records)

    async def _resume_once(self, follower: Follower, aggregate_id: UUID, context: str, shard: int) -> bool:
        """True when something was done and more may be wished."""
        after_commit: list[AfterCommit] = []
        done = 0
        async with self._store.begin(follower.name, context, [shard], careful=True) as transaction:
            parked = await transaction.parked_of(aggregate_id, limit=CAREFUL_EVENTS)
            versions = [event.version for event in parked]
            records = {record.version: record for record in await transaction.of_versions(aggregate_id, versions)}
            for event in parked:
                # What was parked behind it since somebody wished waits for nothing else.
                if event.wish is None and (event.reason or not done):
                    break
                if event.wish != "discard":
                    record = records[event.version]
                    if reason := await tried(transaction, follower, record, after_commit):
                        await transaction.failed_again(event, reason)
                        break
                elif follower.skip is not None:
                    await follower.skip(transaction, aggregate_id, event.version, event.position)
                await transaction.release(event)
                done += 1
            if done:  # these rows stand at positions that were copied long ago
                await transaction.note_uncopied(shard, parked[0].position - 1)
        for each in after_commit:
            await each()
        return done == CAREFUL_EVENTS

    async def _persist(self, name: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """The attempt's result, however long the database is away. Positions make repeating it safe."""
        pause_s = RETRY_PAUSE_S_MIN
        while True:
            try:
                return await attempt()
            except AWAY as error:
                log.warning("database_away", follower=name, error=str(error), pause_s=pause_s)
                await pause(pause_s)
                pause_s = min(2 * pause_s, RETRY_PAUSE_S_MAX)


def next_of(chain: Sequence[Linked], last: int, log_end: int) -> tuple[list[LogRecord], int | None]:
    """Of a shard's records, those that come next after position `last`, up to the first gap; and if there is one,
    the position before its end. What lies past the end of the log is left out."""
    fresh: list[LogRecord] = []
    if past := [linked.record for linked in chain if linked.record.position > log_end]:
        log.warning("records_past_the_log", context=past[0].context, shard=past[0].shard, records=len(past),
                    position=past[0].position, log_end=log_end)  # fmt: skip
    for linked in chain:
        if not last < linked.record.position <= log_end:
            continue
        if linked.previous > last:
            return fresh, linked.previous
        fresh.append(linked.record)
        last = linked.record.position
    return fresh, None


def _by_shard(records: Sequence[Linked]) -> dict[int, list[Linked]]:
    by_shard: dict[int, list[Linked]] = {}
    for linked in records:
        by_shard.setdefault(linked.record.shard, []).append(linked)
    return by_shard


def _reads_of(follower: Follower, by_shard: Mapping[int, Sequence[Linked]]) -> tuple[View[Any], Sequence[UUID]] | None:
    """The rows that the follower needs to apply these."""
    if follower.view is None:
        return None
    wanted = (linked.record for chain in by_shard.values() for linked in chain)
    ids = dict.fromkeys(record.aggregate_id for record in wanted if follower.wants(record.event_type))
    return follower.view, list(ids)


def _whole(by_shard: Mapping[int, Sequence[Linked]], transaction: Changes) -> tuple[list[LogRecord], dict[int, int]]:
    """What is new of these, and how far it moves the shards. Raises Apart for a gap, a parked aggregate or a follower
    that is no more."""
    if not transaction.positions or transaction.parked:
        raise Apart
    fresh: list[LogRecord] = []
    moved: dict[int, int] = {}
    for shard, chain in by_shard.items():
        records, gap = next_of(chain, transaction.positions[shard], transaction.log_end)
        if gap is not None:
            raise Apart
        if records:
            fresh += records
            moved[shard] = records[-1].position
    return fresh, moved


def _require_standing(follower: Follower, transaction: FollowerTransaction) -> None:
    """Raises Gone, or Stopped."""
    if not transaction.positions:
        raise Gone(follower.name)
    if len(transaction.parked) >= PARKED_AGGREGATES_MAX:
        raise Stopped(follower.name)


async def _apply(
    transaction: FollowerTransaction,
    follower: Follower,
    records: Sequence[LogRecord],
    moved: Mapping[int, int],
    decoded: Decoded,
) -> AfterCommit | None:
    """Apply the records that have not been, but for parked aggregates, and move the positions."""
    parked = transaction.parked
    if parked:
        wanted = (record for record in records if follower.wants(record.event_type))
        if waiting := [record for record in wanted if record.aggregate_id in parked]:
            await transaction.park(waiting, "")
        records = [record for record in records if record.aggregate_id not in parked]
    return await _changed(transaction, follower, records, moved, decoded)


async def _changed(
    transaction: Changes,
    follower: Follower,
    records: Sequence[LogRecord],
    moved: Mapping[int, int],
    decoded: Decoded,
) -> AfterCommit | None:
    """Apply the records and move the positions."""
    if not moved:
        return None
    wanted = [record for record in records if follower.wants(record.event_type)]
    if len(moved) > 1:
        wanted.sort(key=lambda record: record.position)
    events = []
    for record in wanted:
        event = decoded.get(record.position)
        if event is None:
            event = decoded[record.position] = record.decoded()
        events.append(event)
    after_commit = await follower.apply(transaction, events) if events else None
    await transaction.move(moved)
    return after_commit
