"""Aggregates as they were last seen, so that a load reads only what has been appended since.

The cache is never trusted: every load asks the log for events after the cached version. What is handed out
is a copy; a decision that is not saved leaves no trace here.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from eventsourcing.domain import Aggregate, CanMutateAggregate

from commands.ports import StreamHead

AGGREGATES_MAX: Final = 20_000


@dataclass(slots=True)
class Seen:
    """One aggregate, and where its stream ended. It only ever moves forward."""

    aggregate: Aggregate | None = None
    head: StreamHead | None = None
    snapshot_version: int = 0  # of the newest snapshot that this process knows of

    @property
    def version(self) -> int:
        return self.head.version if self.head is not None else 0

    def advance(self, event: CanMutateAggregate[UUID], head: StreamHead) -> None:
        """Apply the next event; one that was seen meanwhile by another load is passed over."""
        if head.version > self.version:
            self.aggregate = event.mutate(self.aggregate)
            self.head = head


class AggregateCache:
    """The AGGREGATES_MAX most recently loaded ones."""

    def __init__(self) -> None:
        self._seen: OrderedDict[UUID, Seen] = OrderedDict()

    def get(self, aggregate_id: UUID) -> Seen:
        """What was seen of it, or nothing yet."""
        seen = self._seen.get(aggregate_id)
        if seen is None:
            return Seen()
        self._seen.move_to_end(aggregate_id)
        return seen

    def put(self, aggregate_id: UUID, seen: Seen) -> None:
        self._seen[aggregate_id] = seen
        self._seen.move_to_end(aggregate_id)
        while len(self._seen) > AGGREGATES_MAX:
            self._seen.popitem(last=False)


def copy_of(aggregate: Aggregate) -> Any:
    """A copy to decide on. Its containers are copied; what they hold is immutable by the domain's style."""
    copied = object.__new__(type(aggregate))
    copied.__dict__ = {
        name: value.copy() if isinstance(value, dict | list | set) else value for name, value in vars(aggregate).items()
    }
    return copied
