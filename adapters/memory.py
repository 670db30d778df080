"""In-memory twins of the ports: the same promises within one process, and nothing outlives it.

Events are kept as the stored bytes, so what does not survive the log does not survive here either.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from adapters.memory_accounts import MemoryAccounts, MemoryCredentials, MemoryMfa, MemorySessions
from adapters.memory_tokens import MemoryAccountTokens
from adapters.void_tokens import VoidTokens
from commands.ports import Append, CommandRepeated, Ports, StoredCommand, StreamHead, VersionConflict
from domain import CONTEXT_OF, aggregate_type_of
from domain.disclosure import PersonalField
from domain.errors import IllegalTransition

START: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)
_ID_BASE: Final = UUID("01900000-0000-7000-8000-000000000000").int  # the shape of a UUIDv7


class MemoryEventStore:
    """See `commands.ports.EventStore`. `stored` is the log; an event's position is its place in it, from 1."""

    def __init__(self) -> None:
        self.stored: list[StoredEvent] = []
        self.appends: list[Append] = []
        self._mapper = EventMapper()
        self._heads: dict[UUID, StreamHead] = {}
        self._streams: dict[UUID, list[StoredEvent]] = {}
        self._commands: dict[UUID, StoredCommand] = {}
        self.on_stored: Callable[[Append], None] | None = None  # what is done in the append's transaction

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
        loaded: dict[UUID, tuple[Aggregate, StreamHead]] = {}
        for aggregate_id in dict.fromkeys(aggregate_ids):
            aggregate: Aggregate | None = None
            for stored in self._streams.get(aggregate_id, ()):
                event = cast("CanMutateAggregate[UUID]", self._mapper.to_domain_event(stored))
                aggregate = event.mutate(aggregate)
            if aggregate is not None:
                loaded[aggregate_id] = (aggregate, self._heads[aggregate_id])
        return loaded

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
        for row in rows:
            self._streams.setdefault(cast("UUID", row.originator_id), []).append(row)
        self.appends.append(append)
        self._heads |= moved
        if self.on_stored is not None:
            self.on_stored(append)
        return heads

    async def find_command(self, command_id: UUID) -> StoredCommand | None:
        """See `commands.ports.EventStore.find_command`."""
        return self._commands.get(command_id)


class MemoryPersonalData:
    """See `commands.ports.PersonalData`. A token hides its text by reference: what it seals is looked up."""

    def __init__(self) -> None:
        self._sealed: dict[tuple[UUID, str], str] = {}
        self._places: dict[str, PersonalField] = {}
        self._destroyed: set[UUID] = set()

    async def seal(self, person_id: UUID, *texts: tuple[PersonalField, str]) -> tuple[str, ...]:
        """See `commands.ports.PersonalData.seal`."""
        if person_id in self._destroyed:
            raise IllegalTransition(f"The account {person_id} is ERASED; nothing personal can be stored for it.")
        tokens = tuple(f"memory.{len(self._sealed) + place}" for place in range(len(texts)))
        for token, (place, text) in zip(tokens, texts, strict=True):
            self._sealed[person_id, token], self._places[token] = text, place
        return tokens

    async def open(self, tokens: Iterable[tuple[UUID, PersonalField, str]]) -> list[str | None]:
        """See `commands.ports.PersonalData.open`."""
        return [
            self.opened(person_id, token) if self._places.get(token) is place else None
            for person_id, place, token in tokens
        ]

    async def destroy(self, person_id: UUID) -> None:
        """See `commands.ports.PersonalData.destroy`."""
        self._destroyed.add(person_id)
        self._sealed = {key: text for key, text in self._sealed.items() if key[0] != person_id}

    def is_destroyed(self, person_id: UUID) -> bool:
        """Was the person erased?"""
        return person_id in self._destroyed

    def opened(self, person_id: UUID, token: str) -> str | None:
        """The text, or None when it was not sealed for this person."""
        return self._sealed.get((person_id, token))

    def digest(self, text: str) -> str:
        """See `commands.ports.PersonalData.digest`."""
        return hashlib.blake2b(text.encode(), key=b"memory", digest_size=32).hexdigest()


class MemoryWebhookSecrets:
    """See `commands.ports.WebhookSecrets`: whsec_1, whsec_2 and so on."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._kept: dict[UUID, list[tuple[str, datetime]]] = {}

    def make(self) -> str:
        """See `commands.ports.WebhookSecrets.make`."""
        return f"whsec_{next(self._numbers)}"

    async def keep(self, endpoint_id: UUID, secret: str, *, now: datetime) -> None:
        """See `commands.ports.WebhookSecrets.keep`."""
        self._kept.setdefault(endpoint_id, []).insert(0, (secret, now))

    async def current(self, endpoint_id: UUID, *, now: datetime) -> list[str]:
        """See `commands.ports.WebhookSecrets.current`."""
        kept = self._kept.get(endpoint_id, [])
        good = 2 if kept and kept[0][1] + timedelta(hours=24) > now else 1
        return [secret for secret, _ in kept[:good]]

    async def destroy(self, endpoint_id: UUID) -> None:
        """See `commands.ports.WebhookSecrets.destroy`."""
        self._kept.pop(endpoint_id, None)


@dataclass(slots=True)
class MemoryWebhookTests:
    """See `commands.ports.WebhookTests`. `posted` has the addresses, `problem` is what is said of the next."""

    posted: list[str] = field(default_factory=list)
    problem: str = ""

    async def post(self, endpoint_id: UUID, url: str, *, test_id: UUID, now: datetime) -> str:
        """See `commands.ports.WebhookTests.post`."""
        del endpoint_id, test_id, now
        self.posted.append(url)
        return self.problem


@dataclass(slots=True)
class MemoryEffects:
    """See `commands.ports.Effects`. `planned` has the subject of each event's effect."""

    planned: dict[tuple[UUID, str], UUID] = field(default_factory=dict)

    async def plan(self, *, effect: str, event_id: UUID, subject_id: UUID, now: datetime) -> None:
        """See `commands.ports.Effects.plan`."""
        del now
        self.planned.setdefault((event_id, effect), subject_id)


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
    store, personal_data = MemoryEventStore(), MemoryPersonalData()
    credentials = MemoryCredentials(personal_data)
    sessions, mfa = MemorySessions(credentials), MemoryMfa(personal_data)
    tokens = MemoryAccountTokens(personal_data.is_destroyed)
    store.on_stored = MemoryAccounts(credentials, sessions, mfa, tokens).apply
    return Ports(
        store=store,
        personal_data=personal_data,
        credentials=credentials,
        sessions=sessions,
        void_tokens=VoidTokens(),
        mfa=mfa,
        webhook_secrets=MemoryWebhookSecrets(),
        webhook_tests=MemoryWebhookTests(),
        account_tokens=tokens,
        effects=MemoryEffects(),
        order_numbers=MemoryOrderNumbers(),
        clock=FixedClock(),
        ids=CountedIds(),
        meter=MemoryMeter(),
        factor_required=frozenset(),
        payment_provider="stripe",
        digest_key=b"memory",
    )
