"""What follows a context: its name, what it follows, and how it applies events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from projections.view import Recorded, View
from streams.ports import Changes, FollowerTransaction

AfterCommit = Callable[[], Awaitable[None]]
Apply = Callable[[Changes, Sequence[Recorded]], Awaitable[AfterCommit | None]]
Skip = Callable[[FollowerTransaction, UUID, int, int], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """Something that follows a context. `apply` works in the transaction that stores the position, and may
    return what is to be done after its commit (and may be lost there).

    `skip` (aggregate, version, position) notes that an event was given up, where `apply` would miss it."""

    name: str
    follows: frozenset[str] | None  # aggregate types, None for all
    apply: Apply
    skip: Skip | None = None
    view: View[Any] | None = None  # whose rows `apply` writes
    parks: bool = True  # otherwise an event that cannot be applied is raised

    def wants(self, event_type: str) -> bool:
        """Is an event of this type its business?"""
        return self.follows is None or event_type.partition(".")[0] in self.follows
