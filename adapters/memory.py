"""In-memory twins of the ports: the same promises within one process, and nothing outlives it.

Events are kept as the stored bytes, so what does not survive the log does not survive here either.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final, cast
from uuid import UUID

import msgspec
from eventsourcing.domain import Aggregate, CanMutateAggregate
from eventsourcing.persistence import StoredEvent

from adapters.event_codec import EventMapper
from commands.ports import Append, CommandRepeated, Ports, StoredCommand, StreamHead, VersionConflict
from domain import CONTEXT_OF, aggregate_type_of

START: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)
_ID_BASE: Final = UUID("01900000-0000-7000-8000-000000000000").int  # the shape of a UUIDv7


class MemoryEventStore:
    """See `commands.ports.EventStore`. `stored` is the log; an event's position is its place in it, from 1."""

    def __init__(self) -> None:
        self.stored: list[StoredEvent] = []
        self.appends: list[Append] = []
        self._mapper = EventMapper()
        self._heads: dict[UUID, StreamHead] = {}
        self._commands: dict[UUID, StoredCommand] = {}

    @property
    def events(self) -> list[Any]:
        """Every event, in the order of the log."""
        return [self._mapper.to_domain_event(stored) for stored in self.stored]

    @property
    def event_types(self) -> list[str]:
        """The TOPIC of every event, in the order of the log."""
        return [stored.topic for stored in self.stored]

    async def load(self, aggregate_ids: Sequence[UUID]) -> dict[UUID, tuple[Aggregate, StreamHead]]:
        """See `commands.ports.EventStore.load`."""
        wanted = self._heads.keys() & set(aggregate_ids)
        aggregates: dict[UUID, Aggregate | None] = dict.fromkeys(wanted)
        for stored in self.stored:
            aggregate_id = cast("UUID", stored.originator_id)
            if aggregate_id in wanted:
                event = cast("CanMutateAggregate[UUID]", self._mapper.to_domain_event(stored))
                aggregates[aggregate_id] = event.mutate(aggregates[aggregate_id])
        return {key: (found, self._heads[key]) for key, found in aggregates.items() if found is not None}

    async def append(self, append: Append) -> tuple[StreamHead, ...]:
        """See `commands.ports.EventStore.append`; it is never Overloaded."""
        if append.command_id in self._commands:
            raise CommandRepeated(append.command_id)
        rows = [self._mapper.to_stored_event(event) for event in append.events]
        moved: dict[UUID, StreamHead] = {}
        for position, row in enumerate(rows, len(self.stored) + 1):
            aggregate_id = cast("UUID", row.originator_id)
            head = moved.get(aggregate_id) or self._heads.get(aggregate_id)
            if row.originator_version != (head.version if head else 0) + 1:
                raise VersionConflict(append.command_name)
            context = CONTEXT_OF[aggregate_type_of(row.topic)]
            moved[aggregate_id] = StreamHead(aggregate_id, context, row.originator_version, position)
        heads = tuple(moved.values())
        result = msgspec.json.decode(msgspec.json.encode(append.result))
        # Nothing above has changed anything, so a refused append leaves no trace.
        self._commands[append.command_id] = StoredCommand(append.command_id, append.request_digest, result, heads)
        self.stored.extend(rows)
        self.appends.append(append)
        self._heads |= moved
        return heads

    async def find_command(self, command_id: UUID) -> StoredCommand | None:
        """See `commands.ports.EventStore.find_command`."""
        return self._commands.get(command_id)


class MemoryPersonalData:
    """See `commands.ports.PersonalData`. A token hides its text by reference: what it seals is looked up."""

    def __init__(self) -> None:
        self._sealed: dict[tuple[UUID, str], str] = {}

    async def seal(self, person_id: UUID, *texts: str) -> tuple[str, ...]:
        """See `commands.ports.PersonalData.seal`."""
        tokens = tuple(f"memory.{len(self._sealed) + place}" for place in range(len(texts)))
        self._sealed |= {(person_id, token): text for token, text in zip(tokens, texts, strict=True)}
        return tokens

    def opened(self, person_id: UUID, token: str) -> str | None:
        """The text, or None when it was not sealed for this person."""
        return self._sealed.get((person_id, token))

    def digest(self, text: str) -> str:
        """See `commands.ports.PersonalData.digest`."""
        return hashlib.blake2b(text.encode(), key=b"memory", digest_size=32).hexdigest()


class MemoryCredentials:
    """See `commands.ports.Credentials`. Keeps digests that are quick to compute: not for real passwords."""

    def __init__(self) -> None:
        self._digests: dict[UUID, bytes] = {}

    async def set(self, user_id: UUID, password: str) -> None:
        """See `commands.ports.Credentials.set`."""
        self._digests[user_id] = _password_digest(user_id, password)

    async def verify(self, user_id: UUID | None, password: str) -> bool:
        """See `commands.ports.Credentials.verify`."""
        return user_id is not None and self._digests.get(user_id) == _password_digest(user_id, password)


def _password_digest(user_id: UUID, password: str) -> bytes:
    return hashlib.blake2b(password.encode(), salt=user_id.bytes).digest()


@dataclass(slots=True)
class MemorySessions:
    """See `commands.ports.Sessions`. `opened` lists each session's user, device and moment."""

    opened: dict[UUID, tuple[UUID, str, datetime]] = field(default_factory=dict)

    async def open(self, user_id: UUID, *, user_agent: str, now: datetime) -> tuple[UUID, str]:
        """See `commands.ports.Sessions.open`."""
        session_id = UUID(int=len(self.opened) + 1)
        self.opened[session_id] = (user_id, user_agent, now)
        return session_id, f"refresh-{len(self.opened)}"


class MemoryOrderNumbers:
    """See `commands.ports.OrderNumbers`: K1, K2 and so on."""

    def __init__(self) -> None:
        self._numbers = count(1)

    async def next(self) -> str:
        """See `commands.ports.OrderNumbers.next`."""
        return f"K{next(self._numbers)}"


@dataclass(slots=True)
class FixedClock:
    """See `commands.ports.Clock`. It stands still until it is set."""

    moment: datetime = START

    def now(self) -> datetime:
        """See `commands.ports.Clock.now`."""
        return self.moment

    def advance(self, by: timedelta) -> None:
        """Move on."""
        self.moment += by


class CountedIds:
    """See `commands.ports.Ids`. The same ids in the same order in every run."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def new(self) -> UUID:
        """See `commands.ports.Ids.new`."""
        return UUID(int=_ID_BASE + next(self._numbers))


@dataclass(slots=True)
class MemoryMeter:
    """See `commands.ports.Meter`. `ended` has the name and the end of each execution, `conflicts` each lost race."""

    ended: list[tuple[str, str]] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)

    @contextmanager
    def measured(self, command: str) -> Iterator[None]:
        """See `commands.ports.Meter.measured`."""
        try:
            yield
        except BaseException as error:
            self.ended.append((command, type(error).__name__))
            raise
        self.ended.append((command, "done"))

    def conflicted(self, command: str) -> None:
        """See `commands.ports.Meter.conflicted`."""
        self.conflicts.append(command)


def memory_ports() -> Ports:
    """A world of its own: empty, at START."""
    return Ports(
        store=MemoryEventStore(),
        personal_data=MemoryPersonalData(),
        credentials=MemoryCredentials(),
        sessions=MemorySessions(),
        order_numbers=MemoryOrderNumbers(),
        clock=FixedClock(),
        ids=CountedIds(),
        meter=MemoryMeter(),
        digest_key=b"memory",
    )
