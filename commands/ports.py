"""What the commands need of the world, as protocols; `adapters` has the real ones and the in-memory twins."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from eventsourcing.domain import Aggregate

PendingEvent = Any  # the library's CanMutateAggregate[UUID]; its generic protocol adds nothing here


class StreamHead(NamedTuple):
    """Where a stream ends: the aggregate's version, and that event's position in the log."""

    aggregate_id: UUID
    context: str
    version: int
    position: int


@dataclass(frozen=True, slots=True)
class StoredCommand:
    """A command that was executed: the digest of its content, its result, and how far it moved which streams."""

    command_id: UUID
    request_digest: bytes
    result: Mapping[str, Any]
    heads: tuple[StreamHead, ...]


@dataclass(slots=True, kw_only=True)  # not frozen: that makes it four times as slow to make, once per command
class Append:
    """All that one command writes; stored whole or not at all."""

    command_id: UUID
    command_name: str
    request_digest: bytes
    result: Mapping[str, Any]
    actor: str
    correlation_id: UUID
    causation_id: UUID | None
    events: Sequence[PendingEvent] = field(default_factory=tuple)


class VersionConflict(Exception):
    """Another command moved one of the streams first; nothing of this append was stored. Load and decide again."""


class CommandRepeated(Exception):
    """A command of this id is stored already; nothing of this append was stored. Its result can be looked up."""


class Overloaded(Exception):
    """The queue of appends is full; nothing was stored. Try again after a pause."""


class EventStore(Protocol):
    """The log. Every promise holds across processes."""

    async def load(self, aggregate_ids: Sequence[UUID]) -> dict[UUID, tuple[Aggregate, StreamHead]]:
        """The present state of those that exist, in one query."""

    def append(self, append: Append) -> Awaitable[tuple[StreamHead, ...]]:
        """Store the events and the command in one transaction; return once that is durable.

        Raises VersionConflict, CommandRepeated or Overloaded; then nothing was stored. A connection lost
        in the middle is resolved by the command id: the answer is the truth, never a guess."""

    async def find_command(self, command_id: UUID) -> StoredCommand | None:
        """The stored command of this id."""


class PersonalData(Protocol):
    """Seals what is personal with a key per person."""

    async def seal(self, person_id: UUID, *texts: str) -> tuple[str, ...]:
        """Tokens that only the person's key opens; makes the key on first use, which is before anything else of the
        person is stored. Raises IllegalTransition for somebody who was erased."""

    async def open(self, tokens: Iterable[tuple[UUID, str]]) -> list[str | None]:
        """The texts, in order; None where the person's key is gone."""

    def digest(self, text: str) -> str:
        """A keyed digest: equal for equal texts, and useless without the key."""

    async def destroy(self, person_id: UUID) -> None:
        """Destroy the person's key for ever; nothing personal can be sealed for them again. Safe to repeat."""


class Credentials(Protocol):
    """Password hashes; not facts, so not in the log."""

    async def set(self, user_id: UUID, password: str) -> None:
        """Store the hash of the password, over any earlier one; nothing for somebody who was erased."""

    async def verify(self, user_id: UUID | None, password: str) -> bool:
        """True when the password is the user's; takes as long for a user that does not exist."""

    async def destroy(self, user_id: UUID) -> None:
        """No password is the user's any more. Safe to repeat."""


class Sessions(Protocol):
    """Signed-in devices; not facts, so not in the log."""

    async def open(self, user_id: UUID, *, user_agent: str, now: datetime) -> tuple[UUID, str]:
        """A new session: its id and its refresh token, which is stored only as a digest. For somebody who was
        erased nothing is stored: both are good for nothing."""

    async def live(self, user_id: UUID, *, now: datetime) -> set[UUID]:
        """The user's sessions that are neither ended nor expired."""

    async def end(self, session_ids: Iterable[UUID], *, now: datetime) -> None:
        """End these. Access tokens that are out stay good for the rest of their short life. Safe to repeat."""

    async def destroy(self, user_id: UUID) -> None:
        """Nothing is known of the user's sessions any more. Safe to repeat."""


class Mfa(Protocol):
    """Second factors; not facts, so not in the log."""

    async def prepare(self, user_id: UUID, account: str) -> tuple[str, tuple[str, ...]]:
        """A new secret, over any earlier one: its provisioning URI and its recovery codes. Nothing asks for codes
        before the account says so. Nothing is stored for somebody who was erased."""

    async def take(self, user_id: UUID, code: str, *, now: datetime, recovery: bool = True) -> bool:
        """True once for each code, of time or recovery, that is the user's; without `recovery` only those of time."""

    async def destroy(self, user_id: UUID) -> None:
        """No code is the user's any more. Safe to repeat."""


class WebhookSecrets(Protocol):
    """What signs webhook deliveries; not facts, so not in the log."""

    def make(self) -> str:
        """A new secret, good for nothing until it is kept."""

    async def keep(self, endpoint_id: UUID, secret: str, *, now: datetime) -> None:
        """This secret is the endpoint's from now on; the one before stays good for 24 hours, earlier ones do not.

        Not safe to repeat: the second time it is also the one before."""

    async def current(self, endpoint_id: UUID, *, now: datetime) -> list[str]:
        """The secrets that are good, newest first."""

    async def destroy(self, endpoint_id: UUID) -> None:
        """None is good any more. Safe to repeat."""


class OrderNumbers(Protocol):
    """Short numbers for people."""

    async def next(self) -> str:
        """A number no other order has; numbers may be skipped."""


class Clock(Protocol):
    def now(self) -> datetime:
        """The present moment, aware, UTC."""


class Ids(Protocol):
    def new(self) -> UUID:
        """A new UUIDv7."""


class Meter(Protocol):
    """Counts and times what the pipeline does."""

    def measured(self, command: str) -> AbstractContextManager[None]:
        """Times one execution; how it ended is told by what passes through."""

    def conflicted(self, command: str) -> None:
        """A command lost a race and decides again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The world as one command sees it."""

    store: EventStore
    personal_data: PersonalData
    credentials: Credentials
    sessions: Sessions
    mfa: Mfa
    webhook_secrets: WebhookSecrets
    order_numbers: OrderNumbers
    clock: Clock
    ids: Ids
    meter: Meter
    digest_key: bytes  # keys the digest of a command's content, which may hold a password
