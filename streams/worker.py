"""The worker process: every agent, the copier, the watch of the tail, and what is done in the world."""

from __future__ import annotations

import asyncio
import sys
from typing import Final

import uvloop

import streams.catalogue
import streams.inventory
import streams.orders
import streams.payments
import streams.users
import streams.webhooks  # noqa: F401  # importing declares the agents
from adapters.parked_events import ParkedEvents
from domain import CONTEXTS
from streams import checkout, effects, erasure, parking, tail
from streams.app import SETTINGS, announce_ready, app
from streams.deliveries import Deliveries
from streams.faust_worker import QuietWorker
from streams.following import Follower

SWITCH_INTERVAL_S: Final = 0.0005


async def copy() -> None:
    await app.copier.run()


def followers() -> dict[str, Follower]:
    views = {follower.name: follower for context in CONTEXTS for follower in app.view_followers(context)}
    return views | {follower.name: follower for follower in (checkout.FOLLOWER, erasure.FOLLOWER, app.planner)}


def assigned() -> set[tuple[str, int]]:
    """The partitions that are this worker's: context and shard."""
    prefix = SETTINGS.topic_prefix
    return {(tp.topic.removeprefix(prefix), tp.partition) for tp in app.consumer.assignment()}


async def watch_tail() -> None:
    await tail.watch(app.kontor.followers, app.chain, followers, assigned)


async def grant_wishes() -> None:
    await parking.grant(ParkedEvents(app.kontor.pool), followers, app.chain.resume)


async def do_effects() -> None:
    async with asyncio.TaskGroup() as group:
        for kind in app.effects.values():
            group.create_task(kind.run())


async def deliver_webhooks() -> None:
    await Deliveries(app.kontor).run()


async def delete_done_effects() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(effects.delete_done(app.kontor.effects))
        group.create_task(effects.delete_done(app.kontor.deliveries))


async def note_refusals() -> None:
    await app.refusals.run()


async def ready() -> None:
    while not app.consumer.assignment():  # noqa: ASYNC110
        await asyncio.sleep(0.1)  # Faust has no event for it
    announce_ready()


for background in (
    copy,
    watch_tail,
    grant_wishes,
    do_effects,
    deliver_webhooks,
    delete_done_effects,
    note_refusals,
    ready,
):
    app.task(background)


def run() -> None:
    """Work until SIGTERM or SIGINT; exits with 1 when an agent failed."""
    # The consumer's thread waits this long for the one that applies, and the other way round.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    worker = QuietWorker(app, loglevel="WARNING", quiet=True, redirect_stdouts=False)
    sys.exit(worker.execute_from_commandline())
