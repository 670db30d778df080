"""Orders and their sales: the agent that folds the topic `orders` into its views, and plans effects."""

from __future__ import annotations

from typing import Any

from faust.streams import Stream

from streams.app import agent, app


@agent("orders", name="orders")
async def orders(stream: Stream[Any]) -> None:
    await app.follow(stream, "orders", lambda: [*app.view_followers("orders"), app.planner])
