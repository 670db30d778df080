"""The worker process: every agent, the copier and the watch of the tail."""

from __future__ import annotations

import asyncio
import sys

import faust
import uvloop

import streams.catalogue
import streams.inventory
import streams.orders
import streams.users
import streams.webhooks  # noqa: F401  # importing declares the agents
from adapters.parked_events import ParkedEvents
from domain import CONTEXTS
from streams import checkout, erasure, parking, tail
from streams.app import announce_ready, app
from streams.following import Follower


async def copy() -> None:
    await app.copier.run()


def followers() -> dict[str, Follower]:
    views = {follower.name: follower for context in CONTEXTS for follower in app.view_followers(context)}
    return views | {follower.name: follower for follower in (checkout.FOLLOWER, erasure.FOLLOWER)}


async def watch_tail() -> None:
    await tail.watch(followers)


async def grant_wishes() -> None:
    await parking.grant(ParkedEvents(app.kontor.pool), followers, app.chain.resume)


async def ready() -> None:
    while not app.consumer.assignment():  # noqa: ASYNC110
        await asyncio.sleep(0.1)  # Faust has no event for it
    announce_ready()


for background in (copy, watch_tail, grant_wishes, ready):
    app.task(background)


def run() -> None:
    """Work until SIGTERM or SIGINT; exits with 1 when an agent failed."""
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    worker = faust.Worker(app, loglevel="WARNING", quiet=True, redirect_stdouts=False)
    sys.exit(worker.execute_from_commandline())
