"""The checkout: the agent that turns order events into the commands that follow from them.

It keeps its place like a view. A command's idempotency key is the event's id, so an event that comes twice,
or again after a crash between command and position, gives one command.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from uuid import UUID

import structlog
from faust.streams import Stream
from psycopg import AsyncConnection

from adapters.away import AWAY, pause
from adapters.group_commit import StoreUnavailable
from commands.checkout import follow_up
from commands.handling import Actor
from commands.ports import Overloaded
from domain.errors import Conflict
from domain.identity import event_id
from projections.view import Recorded
from streams.app import agent, app
from streams.following import Follower

log = structlog.get_logger()

ACTOR: Final = Actor.system("checkout")
RETRY_PAUSE_S: Final = 0.2
AT_ONCE: Final = 8


async def react(recorded: Recorded) -> None:
    """Execute what follows from one event; returns when it is stored. Infrastructure that is away is waited for."""
    command = follow_up(recorded.event)
    if command is None:
        return
    key = str(event_id(recorded.aggregate_id, recorded.version))
    while True:
        try:
            await app.kontor.pipeline.execute(command, actor=ACTOR, idempotency_key=key, causation_id=UUID(key))
            return
        except (Conflict, Overloaded, StoreUnavailable, *AWAY) as error:
            log.warning("checkout_waits", command=type(command).__name__, error=str(error))
            await pause(RETRY_PAUSE_S)


async def apply(_connection: AsyncConnection[Any], events: Sequence[Recorded]) -> Callable[[], Awaitable[None]] | None:
    """React to a batch, AT_ONCE at a time, but in turn where events share an order or a SKU: commands on the
    same stock would only make each other decide again."""
    gate = asyncio.Semaphore(AT_ONCE)
    last: dict[object, asyncio.Task[None]] = {}

    async def in_turn(recorded: Recorded, before: set[asyncio.Task[None]]) -> None:
        if before:
            await asyncio.wait(before)
        async with gate:
            await react(recorded)

    async with asyncio.TaskGroup() as group:
        for recorded in events:
            keys = subjects(recorded)
            before = {last[key] for key in keys if key in last}
            task = group.create_task(in_turn(recorded, before))
            last.update(dict.fromkeys(keys, task))
    return None


def subjects(recorded: Recorded) -> set[object]:
    """What the command that follows from an event is about: the order, and its SKUs where the event names them."""
    lines = getattr(recorded.event, "lines", ())
    return {recorded.aggregate_id, *(line.sku for line in lines)}


FOLLOWER: Final = Follower(name="checkout", follows=None, apply=apply)


@agent("orders", name="checkout")
async def checkout(stream: Stream[Any]) -> None:
    await app.follow(stream, "orders", lambda: [FOLLOWER])
