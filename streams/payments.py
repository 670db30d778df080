"""Payments: the agent that folds the topic `payments` into its view, and plans what is to be asked of providers."""

from __future__ import annotations

from typing import Any

from faust.streams import Stream

from streams.app import agent, app


@agent("payments", name="payments")
async def payments(stream: Stream[Any]) -> None:
    await app.follow(stream, "payments", lambda: [*app.view_followers("payments"), app.planner])
