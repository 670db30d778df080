"""What is done in the world because of an event: the words in which it is planned. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Cause:
    """The event that something is planned or dropped for: it counts only when the log has it."""

    aggregate_id: UUID
    version: int
    event_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """Something to be done in the world because of an event, once: `(event_id, effect)` is its name. Effects of one
    kind (`payment` of `payment.capture`) about one subject are done one after the other."""

    event_id: UUID
    effect: str
    subject_id: UUID
    due_at: datetime | None = None  # None: at once
    give_up_at: datetime | None = None
    correlation_id: UUID | None = None  # the event's: what is recorded of the effect has it, too
    cause: Cause | None = None  # None: a command asks for it, not an event

    @property
    def kind(self) -> str:
        return self.effect.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Dropped:
    """What was planned for a subject is not wanted any more."""

    effect: str
    subject_id: UUID
    cause: Cause | None = None
