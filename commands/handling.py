"""The one pipeline around every command: authorise, repeat safely, load, decide, save, retry on conflict.

A command with an idempotency key has an id derived from it (`commands.idempotency`). It is stored with its events in
one transaction, so of two executions at once only one is stored and the other answers with its result.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

from eventsourcing.domain import Aggregate

from commands.actors import (
    ANONYMOUS,
    Actor,
    Permission,
    admin,
    analyst,
    anyone,
    integrator,
    log_reader,
    signed_in,
    staff,
    system,
)
from commands.doors import UNDECLARED, Door, require_declared
from commands.idempotency import KEY_LENGTH_MAX, anonymous_command_id, command_id_of
from commands.ports import Append, CommandRepeated, Ports, StoredCommand, StreamHead, VersionConflict
from commands.requests import ids_of, request_digest, require_storable
from commands.rights import acts_as_admin, rely, require_admin
from commands.security_events import EVENT_OF
from domain.errors import (
    Conflict,
    DomainError,
    IdempotencyInProgress,
    IdempotencyKeyMismatch,
    IdempotencyPreviousFailed,
)

# Whoever handles commands finds those who ask beside them.
__all__ = [
    "ANONYMOUS",
    "Actor",
    "Permission",
    "admin",
    "analyst",
    "anyone",
    "integrator",
    "log_reader",
    "signed_in",
    "staff",
    "system",
]

A = TypeVar("A", bound=Aggregate)
T = TypeVar("T")
ATTEMPTS_MAX: Final = 8
IDEMPOTENCY_KEY_LENGTH_MAX: Final = KEY_LENGTH_MAX
IN_PROGRESS_S_MAX: Final = 5.0


@dataclass(slots=True)
class Work:
    """What one execution of a handler has loaded and made; its pending events are saved together."""

    ports: Ports
    actor: Actor
    now: datetime
    command_id: UUID  # the same in every attempt
    heads: dict[UUID, StreamHead] = field(default_factory=dict)
    causes: dict[tuple[UUID, int], UUID] = field(default_factory=dict)
    relies_on: UUID | None = None  # the account whose rights were asked, see `commands.rights`
    done: dict[str, Any] = field(default_factory=dict)  # see `once`; the same in every attempt
    _aggregates: dict[UUID, Aggregate] = field(default_factory=dict)

    async def load(self, kind: type[A], aggregate_id: UUID) -> A | None:
        """The aggregate, or None where there is none."""
        return (await self.load_many(kind, [aggregate_id])).get(aggregate_id)

    async def load_many(self, kind: type[A], aggregate_ids: Sequence[UUID]) -> dict[UUID, A]:
        """Those of them that exist, in one query."""
        found: dict[UUID, A] = {}
        for aggregate_id, (aggregate, head) in (await self.ports.store.load(aggregate_ids)).items():
            if isinstance(aggregate, kind):
                self._aggregates[aggregate_id] = found[aggregate_id] = aggregate
                self.heads[aggregate_id] = head
        return found

    def add(self, aggregate: A) -> A:
        """Take a new aggregate into the save."""
        self._aggregates[aggregate.id] = aggregate
        return aggregate

    async def once(self, name: str, make: Callable[[], Awaitable[T]]) -> T:
        """What is slow or may be done only once is done in the first attempt; the others have its answer."""
        if name not in self.done:
            self.done[name] = await make()
        answer: T = self.done[name]
        return answer

    def caused(self, cause: UUID, *aggregates: Aggregate) -> None:
        """Note the event that has led to what these have decided since it was noted last."""
        for aggregate in aggregates:
            for event in aggregate.pending_events:
                self.causes.setdefault((event.originator_id, event.originator_version), cause)

    @property
    def touched(self) -> set[UUID]:
        """The streams that were loaded or made."""
        return set(self._aggregates)

    @property
    def decided(self) -> bool:
        """Is there anything to save?"""
        return any(aggregate.pending_events for aggregate in self._aggregates.values())

    def found(self, kind: type[A], aggregate_id: UUID) -> A | None:
        """The aggregate as it was loaded last; None for one that was not."""
        aggregate = self._aggregates.get(aggregate_id)
        return aggregate if isinstance(aggregate, kind) else None

    def collect_events(self) -> list[Any]:
        return [event for aggregate in self._aggregates.values() for event in aggregate.collect_events()]


def require_version(aggregate: Aggregate, expected: int | None) -> None:
    """Raises Conflict when the caller decided on another version than the present one; None asks for nothing."""
    if expected is not None and aggregate.version != expected:
        raise Conflict(
            f"It is at version {aggregate.version}, not {expected}: it was changed meanwhile; look again and decide.",
            field=("expectedVersion",),
        )


@dataclass(frozen=True, slots=True)
class Result:
    """What a handler decided: the aggregate it was about (None where the caller may not learn whether there is one: the
    answer names the command instead, and no stream), a secret for the caller that is never stored, a refusal that is
    raised only after the events are saved (a failed sign-in is a fact), and what is done once they are (lost if the
    process dies in between, so it must be safe to miss or done by others as well)."""

    aggregate: Aggregate | None
    secret: Mapping[str, str] = field(default_factory=dict, repr=False)
    refusal: DomainError | None = None
    after: Callable[[], Awaitable[None]] | None = None
    subject_id: UUID | None = None  # for the security log, where the caller does not learn it
    withheld: DomainError | None = None  # a refusal that only the security log learns


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a caller learns. `aggregate` is None for a replay; `heads` name what a consistent reader must have seen."""

    command_id: UUID
    aggregate_id: UUID
    version: int
    replayed: bool
    heads: tuple[StreamHead, ...]
    aggregate: Aggregate | None = None
    secret: Mapping[str, str] = field(default_factory=dict, repr=False)
    subject_id: UUID | None = None  # as in Result
    withheld: DomainError | None = None


Handler = Callable[[Any, Work], Awaitable[Result]]


@dataclass(frozen=True, slots=True)
class Command:
    """One line of the table of contents: what may be asked, who decides it, who may ask, and what that costs and
    tells. Raises UndeclaredDoor without the latter."""

    request: type[Any]
    handler: Handler
    permission: Permission
    door: Door = UNDECLARED
    takes_key: bool = True  # else one is ignored: a repeated answer would not depend on the secrets that came with it

    def __post_init__(self) -> None:
        require_declared(f"The command {self.name}", self.door, [each.name for each in fields(self.request)])

    @property
    def name(self) -> str:
        return self.request.__name__


@dataclass(frozen=True, slots=True)
class _Execution:
    """One command on its way through the pipeline. Without a key nobody asks for its digest again."""

    request: Any
    command: Command
    actor: Actor
    command_id: UUID
    digest: bytes
    correlation_id: UUID
    causation_id: UUID | None
    correlations: Mapping[UUID, UUID]
    keyed: bool
    done: dict[str, Any] = field(default_factory=dict)


class Pipeline:
    """Executes commands; any number may run in any number of processes.

    The first attempt is optimistic. Whoever has lost a race decides again in turn with the others of this
    process that lost one over the same streams, so that a hot stream starves nobody."""

    def __init__(self, table: Mapping[type[Any], Command], ports: Ports) -> None:
        self._table = table
        self._ports = ports
        self._turns: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    async def execute(
        self,
        request: Any,
        *,
        actor: Actor,
        idempotency_key: str | None = None,
        causation_id: UUID | None = None,
        correlation_id: UUID | None = None,
        correlations: Mapping[UUID, UUID] | None = None,
    ) -> Outcome:
        """Decide and store; return when it is durable. `correlations` are of the events that `Work.caused` names.

        With an idempotency key a second call changes nothing and answers with the first's result
        (`replayed`). Raises DomainError for what a person can correct (nothing is stored, except the
        record of a failed sign-in), Forbidden, Unauthenticated, or Overloaded."""
        command = self._table[type(request)]
        with self._ports.security.watched(command.name, actor) as about:
            command.permission(actor)
            require_storable(request)
            if command.name in EVENT_OF:
                about.extend(ids_of(request))
            keyed = command.takes_key and idempotency_key is not None
            digest = request_digest(request, key=self._ports.digest_key) if keyed else b""
            command_id = self._command_id(command, actor, idempotency_key if keyed else None, digest)
            execution = _Execution(
                request,
                command,
                actor,
                command_id,
                digest,
                correlation_id or command_id,
                causation_id,
                correlations or {},
                keyed,
            )
            outcome = await self._run(execution)
            about.append(str(outcome.subject_id or outcome.aggregate_id))
            about.withheld = outcome.withheld
            return outcome

    async def _run(self, execution: _Execution) -> Outcome:
        command, actor, command_id = execution.command, execution.actor, execution.command_id
        with self._ports.meter.measured(command.name):
            if acts_as_admin(command.permission, actor):
                # Before a repeated command is answered as well.
                await require_admin(Work(self._ports, actor, self._ports.clock.now(), command_id))
            if not execution.keyed:
                return await self._decide(execution)
            async with self._one_of(command_id):
                if stored := await self._ports.store.find_command(command_id):
                    return replay(stored, execution.digest)
                return await self._decide(execution)

    async def _decide(self, execution: _Execution) -> Outcome:
        command, contended = execution.command, list[UUID]()
        for _ in range(ATTEMPTS_MAX):
            now = self._ports.clock.now()
            work = Work(self._ports, execution.actor, now, execution.command_id, done=execution.done)
            async with self._in_turn(contended):
                try:
                    return await self._save(execution, work, await self._handled(execution, work))
                except VersionConflict:
                    self._ports.meter.conflicted(command.name)
                    contended = sorted(work.touched)
                except CommandRepeated:
                    stored = await self._ports.store.find_command(execution.command_id)
                    assert stored is not None, execution.command_id
                    return replay(stored, execution.digest)
        raise Conflict(
            f"{command.name} lost the race for its aggregate {ATTEMPTS_MAX} times; send it again with the same key."
        )

    async def _handled(self, execution: _Execution, work: Work) -> Result:
        """Raises CommandRepeated when what the handler refuses is the work of this very command, which another
        process has executed meanwhile."""
        if acts_as_admin(execution.command.permission, work.actor):
            await require_admin(work)
        try:
            return await execution.command.handler(execution.request, work)
        except DomainError as refusal:
            if execution.keyed and await self._ports.store.find_command(execution.command_id):
                raise CommandRepeated(execution.command_id) from refusal
            raise

    @asynccontextmanager
    async def _one_of(self, command_id: UUID) -> AsyncIterator[None]:
        """One execution of a command id at a time in this process; between processes the store lets one win.

        Raises IdempotencyInProgress when the other one takes longer than IN_PROGRESS_S_MAX."""
        lock = self._turns.setdefault(command_id, asyncio.Lock())
        try:
            await asyncio.wait_for(lock.acquire(), IN_PROGRESS_S_MAX)
        except TimeoutError:
            raise IdempotencyInProgress(
                "The first request with this idempotency key is still being executed; send it again in a moment.",
                field=("idempotencyKey",),
            ) from None
        try:
            yield
        finally:
            lock.release()

    @asynccontextmanager
    async def _in_turn(self, streams: Sequence[UUID]) -> AsyncIterator[None]:
        """Holds the streams' locks, taken in order so that nobody waits in a circle."""
        async with AsyncExitStack() as held:
            for stream in streams:
                await held.enter_async_context(self._turns.setdefault(stream, asyncio.Lock()))
            yield

    async def _save(self, execution: _Execution, work: Work, result: Result) -> Outcome:
        aggregate, (subject_id, version) = result.aggregate, _subject(result, execution.command_id)
        heads: tuple[StreamHead, ...] = tuple(work.heads.values())
        rely(work, execution.command.name, subject_id)
        events = work.collect_events()
        # Without events there is nothing to keep, unless the caller may ask again for the same answer.
        if events or execution.keyed:
            append = Append(
                command_id=execution.command_id,
                command_name=execution.command.name,
                request_digest=execution.digest,
                result=_result_on_record(result, subject_id, version),
                actor=work.actor.name,
                correlation_id=execution.correlation_id,
                causation_id=execution.causation_id,
                events=events,
                causes=work.causes,
                correlations=execution.correlations,
            )
            heads = await self._ports.store.append(append) or heads
            self._ports.void_tokens.note(events)
        if aggregate is None:
            heads = ()
        if result.after is not None:
            await result.after()
        if result.refusal is not None:
            raise result.refusal
        return Outcome(
            execution.command_id, subject_id, version, False, heads, aggregate, result.secret, result.subject_id,
            result.withheld,
        )  # fmt: skip

    def _command_id(self, command: Command, actor: Actor, key: str | None, digest: bytes) -> UUID:
        if key is None:
            return self._ports.ids.new()
        if actor != ANONYMOUS:
            return command_id_of(actor.name, command.name, key)
        digest_key = self._ports.digest_key
        return anonymous_command_id(command.name, key, address=actor.address, digest=digest, digest_key=digest_key)


def replay(stored: StoredCommand, digest: bytes) -> Outcome:
    """The result of the first execution. Raises IdempotencyKeyMismatch when its content was another."""
    if not hmac.compare_digest(stored.request_digest, digest):
        raise IdempotencyKeyMismatch(
            "This idempotency key was used before with other content; use a new key for a new request.",
            field=("idempotencyKey",),
        )
    if refusal := stored.result.get("refusal"):
        raise IdempotencyPreviousFailed(
            f"The first request with this key was refused ({refusal['code']}: {refusal['message']}), and that is on"
            " record; correct it and send it with a new key.",
            field=("idempotencyKey",),
        )
    subject_id = UUID(stored.result["aggregate_id"])
    heads = () if subject_id == stored.command_id else stored.heads
    return Outcome(stored.command_id, subject_id, stored.result["version"], True, heads)


def _subject(result: Result, command_id: UUID) -> tuple[UUID, int]:
    return (command_id, 0) if result.aggregate is None else (result.aggregate.id, result.aggregate.version)


def _result_on_record(result: Result, subject_id: UUID, version: int) -> dict[str, Any]:
    recorded: dict[str, Any] = {"aggregate_id": subject_id, "version": version}
    if result.refusal is not None:
        recorded["refusal"] = {"code": result.refusal.code, "message": result.refusal.message}
    return recorded
