"""The checkout as a follower: turns order events into the commands that follow from them.

It keeps its place like a view. A command that gives units back has the event's id as its idempotency key, so an event
that comes twice, or again after a crash between command and position, gives one command; one that wants units finds
the order decided.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from uuid import UUID

import structlog

from adapters.away import AWAY, pause
from adapters.group_commit import StoreUnavailable
from commands.checkout import follow_up, reservations
from commands.handling import Actor, Pipeline
from commands.ports import Overloaded
from domain.errors import Conflict, IllegalTransition
from domain.identity import event_id
from projections.view import Recorded
from streams.following import Follower
from streams.ports import Changes

log = structlog.get_logger()

ACTOR: Final = Actor.system("checkout")
RETRY_PAUSE_S: Final = 0.2
AT_ONCE: Final = 8


def checkout_follower(pipeline: Callable[[], Pipeline]) -> Follower:
    """The checkout; its commands go through this pipeline."""

    async def apply(_transaction: Changes, events: Sequence[Recorded]) -> Callable[[], Awaitable[None]] | None:
        await react_in_turn(pipeline(), events)
        return None

    return Follower(name="checkout", follows=None, apply=apply)


async def react(pipeline: Pipeline, recorded: Recorded) -> None:
    """Execute what follows from one event; returns when it is stored."""
    command = follow_up(recorded.event)
    if command is not None:
        cause = event_id(recorded.aggregate_id, recorded.version)
        about = {"causation_id": cause, "correlation_id": recorded.correlation_id}
        await _execute(pipeline, command, idempotency_key=str(cause), **about)


async def _execute(pipeline: Pipeline, command: object, **how: Any) -> None:
    """However long infrastructure is away; `how` as `Pipeline.execute` takes it."""
    while True:
        try:
            await pipeline.execute(command, actor=ACTOR, **how)
            return
        except IllegalTransition as error:
            # The aggregate does not know of the event. A refused command leaves its key unused, so the event of the log
            # that has the same id is still followed.
            log.error("not_called_for", command=type(command).__name__, error=str(error))
            return
        except (Conflict, Overloaded, StoreUnavailable, *AWAY) as error:
            log.warning("checkout_waits", command=type(command).__name__, error=str(error))
            await pause(RETRY_PAUSE_S)


async def react_in_turn(pipeline: Pipeline, events: Sequence[Recorded]) -> None:
    """React to a batch. What gives units back comes first, AT_ONCE at a time, but in turn for one order. Then
    what wants units, in order and many orders in one save, for on the same stock they would only make each other decide
    again: that needs no keys, for an order that was decided is not decided again."""
    gate = asyncio.Semaphore(AT_ONCE)
    last: dict[UUID, asyncio.Task[None]] = {}

    async def in_turn(recorded: Recorded, before: set[asyncio.Task[None]]) -> None:
        if before:
            await asyncio.wait(before)
        async with gate:
            await react(pipeline, recorded)

    async with asyncio.TaskGroup() as group:
        for recorded in events:
            if follow_up(recorded.event) is not None:
                before = {task for task in [last.get(recorded.aggregate_id)] if task is not None}
                last[recorded.aggregate_id] = group.create_task(in_turn(recorded, before))
    correlations = {
        event_id(recorded.aggregate_id, recorded.version): recorded.correlation_id
        for recorded in events
        if recorded.correlation_id is not None
    }
    for command in reservations(recorded.event for recorded in events):
        await _execute(pipeline, command, correlations=correlations)
