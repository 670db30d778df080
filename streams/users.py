"""Users: the agent that folds the topic `users` into its views, destroys what was erased, and plans mails."""

from __future__ import annotations

from typing import Any

from faust.streams import Stream

from streams import erasure
from streams.app import agent, app


@agent("users", name="users")
async def users(stream: Stream[Any]) -> None:
    await app.follow(stream, "users", lambda: [*app.view_followers("users"), erasure.FOLLOWER, app.planner])
