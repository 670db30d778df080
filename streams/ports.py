"""What the streams need of the world: protocols only.

`adapters/follower_store.py`, `adapters/relay_store.py`, `adapters/topics.py`, `adapters/read_store.py` and
`adapters/redis_views.py` keep them on real servers. A store that is away raises one of `adapters.away.AWAY`, topics one
of `adapters.topics.TOPICS_AWAY`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar
from uuid import UUID

from adapters.log import LogRecord
from adapters.parked_events import ParkedEvent
from adapters.relay_store import Partition, Partitions, Published
from adapters.wire import Linked
from commands.effects import Dropped, Planned
from projections.view import Recorded, Row, View

R = TypeVar("R", bound=Row)
Place = tuple[str, int]  # context and shard
Span = tuple[int, int]  # after this position, up to and with that


class Changes(Protocol):
    """What a follower changes in the transaction that moves its position: all of it is kept, or nothing."""

    @property
    def positions(self) -> Mapping[int, int]:
        """Where the follower stands in each of the shards, locked until the end; empty when it is no more."""

    @property
    def parked(self) -> set[UUID]:
        """The aggregates of which something is parked for the follower, in any shard. The caller's to change."""

    @property
    def log_end(self) -> int:
        """The position of the newest event of the log, as of the moment the positions were locked."""

    async def write(self, view: View[R], events: Sequence[Recorded]) -> list[R]:
        """Fold events into the view's rows (see `projections.view.folded`); returns the changed ones."""

    async def erase(self, person_id: UUID) -> None:
        """Destroy the person's key, and what is stored about the person beside events, if the log has the person's
        erasure; nothing happens where it has not. Safe to repeat."""

    async def plan(self, changes: Sequence[Planned | Dropped]) -> None:
        """Write into the ledger of effects what is planned, in order, and take out what is dropped. Safe to repeat."""

    async def move(self, positions: Mapping[int, int]) -> None:
        """Note where the follower stands in these shards, and wake who waits for it."""


class FollowerTransaction(Changes, Protocol):
    """One transaction of a follower on some shards of a context."""

    async def after(self, shard: int, position: int, *, limit: int, until: int) -> list[LogRecord]:
        """The next events of the shard in the log, up to and with `until`."""

    async def of_versions(self, aggregate_id: UUID, versions: Sequence[int]) -> list[LogRecord]:
        """These events of one aggregate, in order."""

    def savepoint(self) -> AbstractAsyncContextManager[Any]:
        """What is done inside is undone when it raises, and the transaction goes on. Only in one that is careful."""

    async def skip(self, view: View[Any], aggregate_id: UUID, version: int, position: int) -> None:
        """Have the aggregate's row, if it is at the version before, stand at this one."""

    async def note_uncopied(self, shard: int, position: int) -> None:
        """Rows changed by events after this position may not be copied."""

    async def park(self, records: Sequence[LogRecord], reason: str) -> None:
        """Park these, the reason empty for those that wait behind another. Safe to repeat."""

    async def parked_of(self, aggregate_id: UUID, *, limit: int) -> list[ParkedEvent]:
        """The first `limit` parked events of an aggregate, in order."""

    async def release(self, event: ParkedEvent) -> None:
        """It is parked no more."""

    async def failed_again(self, event: ParkedEvent, reason: str) -> None:
        """It stays, for this reason, and nothing is wished for its aggregate any more."""


class FollowerStore(Protocol):
    """Where followers stand. Any number of processes may work on the same shards: one at a time."""

    def begin(
        self, follower: str, context: str, shards: Iterable[int], *, careful: bool = False
    ) -> AbstractAsyncContextManager[FollowerTransaction]:
        """A transaction, committed when the block ends without an error. A `careful` one has savepoints; the others
        tell the errors of a statement with the next that is answered."""

    def together(
        self, context: str, shards: Iterable[int], reads: Mapping[str, tuple[View[Any], Sequence[UUID]] | None]
    ) -> AbstractAsyncContextManager[Mapping[str, Changes]]:
        """One transaction for several followers, each with what is its own of it; `reads` names the rows that a
        follower's `write` is going to need. Errors of the database may come at the end. Raises Apart
        (`adapters.joint_transactions`) for what can only be done by each alone."""

    async def standing(self, followers: Sequence[str], context: str, shard: int) -> dict[str, int]:
        """Where those of these followers that follow the shard stand in it."""

    async def after(self, context: str, shard: int, position: int, *, limit: int, until: int) -> list[LogRecord]:
        """The next events of the shard in the log, up to and with `until`, outside of any transaction."""

    async def published(self, context: str, shard: int) -> tuple[int, int] | None:
        """The last position that was published to the shard's partition, and its offset; None when there is none, or
        the partition is to be published again."""

    async def behind(self) -> dict[tuple[str, str, int], tuple[int, int]]:
        """Per (follower, context, shard) that stands before what was published: its position and the published."""


class Wishes(Protocol):
    """What operators wish for parked events."""

    async def wished(self) -> list[tuple[str, UUID, str, int]]:
        """The aggregates that are to be tried again: follower, aggregate, context, shard."""


class CopiedRows(Protocol):
    """Rows of views that have copies, and how far copies are known to be there."""

    def followed(self, view: View[R]) -> list[View[R]]:
        """The generations of the view that are kept up to date."""

    async def uncopied(self) -> dict[tuple[str, str, int], Span]:
        """Per (view, context, shard) of which something may not be copied: the positions between which it is."""

    async def changed_after(self, view: View[R], position: int, *, limit: int) -> list[R]:
        """The rows last changed after a position, in that order."""

    async def note_copied(self, view: View[Any], spans: Mapping[Place, Span]) -> None:
        """Rows changed between these positions are copied; nothing is noted where something before them is not, and
        where the view does not stand there (any more)."""


class Copies(Protocol):
    """The copies. They may be lost at any time; from then on it is another incarnation that holds them."""

    @property
    def incarnation(self) -> bytes:
        """The last one that was heard of."""

    async def begin(self) -> None:
        """Hear of it, and begin one where copies may have been lost; what the one before held is not read any more."""

    async def copy(self, view: View[R], rows: Sequence[R], *, incarnation: bytes) -> bool:
        """Put the rows there, each unless a newer one is; may be repeated. False: not possible now, or the
        incarnation, which was the last one before the rows were read or committed, is over."""


class Leadership(Protocol):
    """The relay's store, for the one process that leads."""

    @property
    def published(self) -> Published:
        """How far the log was published when this leadership began."""

    @property
    def news(self) -> asyncio.Event:
        """Set when something was appended to the log."""

    def require(self) -> None:
        """Raises one of AWAY when the leadership is known to be lost."""

    async def after(self, position: int, *, limit: int) -> list[LogRecord]:
        """The next events of the log, of all contexts."""

    async def shard_after(self, context: str, shard: int, position: int, *, limit: int, until: int) -> list[LogRecord]:
        """The next events of one shard of one context, up to and with `until`."""

    async def checkpoint(self, epoch: int, position: int, sent: Partitions) -> bool:
        """Note what is published; False, and nothing is noted, when the epoch is over. A partition that is marked
        as lost stays so."""

    async def mark_lost(self, partitions: Sequence[Partition]) -> None:
        """Note that these are to be published again. Safe to repeat."""

    async def marked_lost(self) -> dict[Partition, int]:
        """The partitions that are to be published again, with the position they had."""

    async def published_again(self, partition: Partition, offset: int) -> bool:
        """The partition is whole; this is the offset of its last record. False, and nothing is noted, when the epoch
        is over."""


class RelayStore(Protocol):
    """How far the log is published, and who may say so."""

    def lead(self) -> AbstractAsyncContextManager[Leadership]:
        """Wait until nobody else leads, and lead, with the next epoch, until the block ends."""


class OpenTopics(Protocol):
    """The topics, through one producer. After any error it must be thrown away."""

    async def send(self, records: Sequence[Linked]) -> list[int]:
        """Send in order and wait for every acknowledgement; returns the offsets.

        Raises one of TOPICS_AWAY; then some may have been stored."""

    async def ends(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The offsets that the next records get."""

    async def outermost(self, offsets: Mapping[Partition, int]) -> dict[Partition, tuple[Linked, Linked]]:
        """The first record of each partition, and the one at this offset; without those where one of them is not
        there or not the relay's."""

    async def between(self, offsets: Mapping[Partition, tuple[int, int]]) -> dict[Partition, list[Linked]]:
        """The records of each partition from the first offset up to and with the second; without those that are not
        the relay's."""

    async def cut(self, before: Mapping[Partition, int]) -> None:
        """Take away all records before these offsets."""


class Topics(Protocol):
    """The topics of the contexts; a partition for each shard."""

    def open(self) -> AbstractAsyncContextManager[OpenTopics]:
        """With a new producer; topics that are missing are made."""
