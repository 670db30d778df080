"""Effects: what events do in the world, each once. Planned by a follower, with its position; done by workers.

An effect that is done twice, because a worker died or was slow, does nothing the second time: payments are brought to
what their order says (`streams.settling`), a mail that was sent is on record. What a provider cannot be asked to do
once is said there.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from typing import Final, Generic, Protocol, TypeVar
from uuid import UUID

import structlog

from adapters.away import AWAY, pause
from adapters.circuit_breaker import CircuitBreaker
from adapters.effects_ledger import BreakerState, State
from adapters.group_commit import StoreUnavailable
from commands import checkout, notifications
from commands.effects import Cause, Dropped, Planned
from commands.ports import GatewayRefused, Overloaded
from domain.errors import Conflict
from domain.identity import event_id
from projections.view import Recorded
from streams.following import AfterCommit, Follower
from streams.ports import Changes
from streams.settling import NotYet

log = structlog.get_logger()

GATHER_S: Final = 0.02  # while some are being done: those that end meanwhile are noted together
LOOK_S: Final = 0.5  # for what other workers planned, and what is tried again
LEASE_S: Final = 15.0  # as the session of a worker in its group: what one that was killed had begun is anybody's then
RENEW_EVERY_S: Final = 4.0
LET_GO_S_MAX: Final = 1.0
DO_S_MAX: Final = 45.0
PAUSE_S_MIN: Final = 0.5
PAUSE_S_MAX: Final = 300.0
DELETED_AT_ONCE: Final = 1_000  # some 25 ms
DELETE_EVERY_S: Final = 60.0
DELETE_PAUSE_S: Final = 1.0  # where there may be more: thousands a minute are done, and as many grow old

# Ourselves: nothing is known to be wrong with the effect or its provider.
_BUSY: Final = (Conflict, Overloaded, StoreUnavailable, *AWAY)


class Claimed(Protocol):
    """What whoever does an effect knows of it."""

    @property
    def effect(self) -> str: ...
    @property
    def subject_id(self) -> UUID: ...
    @property
    def attempts(self) -> int: ...


E = TypeVar("E", bound=Claimed)
Do = Callable[[E], Awaitable[None]]


class Ledger(Protocol[E]):
    """See `adapters.effects_ledger.EffectsLedger`."""

    async def claim(self, kind: str, *, limit: int, lease_s: float, done: Sequence[E] = ()) -> list[E]: ...
    async def extend(self, effects: Sequence[E], *, lease_s: float) -> None: ...
    async def release(self, effects: Sequence[E], *, done: Sequence[E] = ()) -> None: ...
    async def failed(self, effect: E, error: str, *, pause_s: float, final: bool = False) -> State | None: ...
    async def note_breaker(self, kind: str, state: BreakerState, reason: str) -> None: ...


class LedgerOfWhatWasDone(Protocol):
    """Keeps what was done for a while."""

    async def delete_done(self, *, limit: int) -> int: ...


class GivenUp(Exception):
    """It is of no use to try again."""


def effects_follower(wake: Callable[[Collection[str]], None], *, mails: bool) -> Follower:
    """Plans what events call for, in the transaction that moves the position; then wakes whoever does what is due at
    once of these kinds. Without `mails`, because there is no mail server, none are planned: nobody wants them days
    later."""

    async def apply(transaction: Changes, events: Sequence[Recorded]) -> AfterCommit | None:
        changes: list[Planned | Dropped] = []
        for recorded in events:
            about = (recorded.event, event_id(recorded.aggregate_id, recorded.version), recorded.recorded_at)
            called_for = [*checkout.effects_of(*about), *(notifications.effects_of(*about) if mails else ())]
            changes += (_correlated(change, recorded) for change in called_for)
        if not changes:
            return None
        await transaction.plan(changes)
        due = {each.kind for each in changes if isinstance(each, Planned) and each.due_at is None}

        async def planned() -> None:
            wake(due)

        return planned

    return Follower(name="effects", follows=None, apply=apply)


def _correlated(change: Planned | Dropped, recorded: Recorded) -> Planned | Dropped:
    """What follows from the effect has followed from the request, too; and the event that calls for it is named."""
    cause = Cause(recorded.aggregate_id, recorded.version, recorded.event_type)
    if isinstance(change, Planned):
        return replace(change, correlation_id=recorded.correlation_id, cause=cause)
    return replace(change, cause=cause)


class Effects(Generic[E]):
    """Does what is in the ledger of one kind, so that slow mails do not keep payments waiting; any number of workers
    may."""

    def __init__(
        self,
        ledger: Ledger[E],
        kind: str,
        do: Do[E],
        *,
        at_once: int,
        look_s: float | None = None,
        backoff: Callable[[int], float] | None = None,
    ) -> None:
        """`do` returns when the effect is done, and may be repeated; `at_once` are done at a time. Unless it is
        woken it looks every `look_s`; `backoff` says how many seconds after so many attempts another is made."""
        self._ledger = ledger
        self._kind = kind
        self._do = do
        self._at_once = at_once
        self._look_s = LOOK_S if look_s is None else look_s
        self._backoff = backoff or backoff_s
        self._breaker = CircuitBreaker(_monotonic)
        self._told: BreakerState | None = None  # what the one before this process has told may be another
        self._news = asyncio.Event()
        self._running: dict[asyncio.Task[None], E] = {}
        self._ended: list[E] = []

    def wake(self) -> None:
        """Something was planned."""
        self._news.set()

    async def run(self) -> None:
        """Runs until cancelled; what is being done is then anybody's, and done again. Raises what the ledger raises,
        but when the database is away."""
        renewing = asyncio.create_task(self._renew(), name=f"{self._kind}-leases")
        try:
            while True:
                # Before the look: what is planned or ends while it looks is news.
                self._news.clear()
                if renewing.done():  # nobody would hold what is being done
                    renewing.result()
                try:
                    await self._tell()
                    claimed = await self._claim(self._at_once - len(self._running))
                except AWAY:
                    await pause(LOOK_S)
                    continue
                self._running |= {asyncio.create_task(self._one(effect)): effect for effect in claimed}
                await self._wait(more=bool(claimed))
        finally:
            for task in (renewing, *self._running):
                task.cancel()
            await asyncio.gather(renewing, *self._running, return_exceptions=True)
            await self._let_go([effect for task, effect in self._running.items() if task.cancelled()])

    async def _renew(self) -> None:
        """Keep what is being done for longer than a lease; and what is done and could not be noted yet."""
        while True:
            await pause(RENEW_EVERY_S)
            if held := [*self._running.values(), *self._ended]:
                with contextlib.suppress(*AWAY):
                    await self._ledger.extend(held, lease_s=LEASE_S)

    async def _let_go(self, effects: list[E]) -> None:
        """Otherwise others would wait for the leases. Whoever repeats a call that is still being made is told to wait
        by the provider."""
        if effects or self._ended:
            with contextlib.suppress(*AWAY, TimeoutError):
                async with asyncio.timeout(LET_GO_S_MAX):
                    await self._ledger.release(effects, done=self._ended)

    async def _wait(self, *, more: bool) -> None:
        """Until something was planned or has ended, or it is time to look again."""
        if not (more and len(self._running) < self._at_once):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), self._look_s)
        await pause(GATHER_S if self._running else 0)
        self._running = {task: effect for task, effect in self._running.items() if not task.done()}

    async def _claim(self, free: int) -> list[E]:
        """What is done is noted with it."""
        if not self._breaker.admits:
            free = 0
        elif self._breaker.state != "closed":
            free = min(1, free)
        ended = self._ended[:]
        if not free and not ended:
            return []
        claimed = await self._ledger.claim(self._kind, limit=free, lease_s=LEASE_S, done=ended)
        del self._ended[: len(ended)]
        for _ in claimed:
            self._breaker.begin()
        return claimed

    async def _one(self, effect: E) -> None:
        breaker = self._breaker
        try:
            async with asyncio.timeout(DO_S_MAX):
                await self._do(effect)
        except _BUSY as error:
            breaker.interrupted()
            await self._failed(effect, error, pause_s=PAUSE_S_MIN)
        except NotYet as error:
            breaker.succeeded()
            await self._failed(effect, error, pause_s=self._pause_s(effect, error))
        except (GatewayRefused, GivenUp) as error:
            breaker.succeeded()
            await self._failed(effect, error, pause_s=0, final=True)
        except Exception as error:  # whatever it is, it is seen in the ledger, and others go on
            breaker.failed(str(error))
            await self._failed(effect, error, pause_s=self._pause_s(effect, error))
        else:
            breaker.succeeded()
            self._ended.append(effect)
        self._news.set()

    def _pause_s(self, effect: E, error: Exception) -> float:
        asked_s: float | None = getattr(error, "retry_after_s", None)  # by the provider
        return self._backoff(effect.attempts) if asked_s is None else asked_s

    async def _failed(self, effect: E, error: BaseException, *, pause_s: float, final: bool = False) -> None:
        told = {"effect": effect.effect, "subject": str(effect.subject_id), "attempts": effect.attempts}
        reason = f"{type(error).__name__}: {error}"
        try:
            became = await self._ledger.failed(effect, reason, pause_s=pause_s, final=final)
        except AWAY:  # its lease ends
            became = None
        (log.error if became == "given_up" else log.warning)("effect_failed", **told, became=became, error=reason)

    async def _tell(self) -> None:
        """Whether the provider answers."""
        state = self._breaker.state
        if state != self._told:
            await self._ledger.note_breaker(self._kind, state, self._breaker.reason)
            if self._told is not None:
                log.warning("breaker", kind=self._kind, state=state)
            self._told = state


async def delete_done(ledger: LedgerOfWhatWasDone) -> None:
    """Delete what was done long ago, in batches, until cancelled; any number of workers may."""
    while True:
        try:
            deleted = await ledger.delete_done(limit=DELETED_AT_ONCE)
        except AWAY:
            deleted = 0
        await pause(DELETE_PAUSE_S if deleted == DELETED_AT_ONCE else DELETE_EVERY_S)


def backoff_s(attempts: int) -> float:
    """Exponential with full jitter: anything up to twice as long as the time before, so that a crowd spreads out."""
    return random.uniform(0, min(PAUSE_S_MAX, PAUSE_S_MIN * 2 ** min(attempts, 20)))  # noqa: S311  # no secret


def _monotonic() -> float:
    return asyncio.get_running_loop().time()
