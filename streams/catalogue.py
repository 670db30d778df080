"""The catalogue: the agent that folds the topic `catalogue` into its views."""

from __future__ import annotations

from typing import Any

from faust.streams import Stream

from streams.app import agent, app


@agent("catalogue", name="catalogue")
async def catalogue(stream: Stream[Any]) -> None:
    await app.follow(stream, "catalogue", lambda: app.view_followers("catalogue"))
