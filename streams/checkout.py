"""The checkout's agent: it follows the topic of orders beside their views (see `streams.reacting`)."""

from __future__ import annotations

from typing import Any, Final

from faust.streams import Stream

from streams.app import agent, app
from streams.reacting import checkout_follower

FOLLOWER: Final = checkout_follower(lambda: app.kontor.pipeline)


@agent("orders", name="checkout")
async def checkout(stream: Stream[Any]) -> None:
    await app.follow(stream, "orders", lambda: [FOLLOWER])
