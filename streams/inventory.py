"""Stock: the agent that folds the topic `inventory` into its views."""

from __future__ import annotations

from typing import Any

from faust.streams import Stream

from streams.app import agent, app


@agent("inventory", name="inventory")
async def inventory(stream: Stream[Any]) -> None:
    await app.follow(stream, "inventory", lambda: app.view_followers("inventory"))
