"""Webhook endpoints: the agent that folds the topic `webhooks` into its views."""

from __future__ import annotations

from typing import Any

from faust.streams import Stream

from streams.app import agent, app


@agent("webhooks", name="webhooks")
async def webhooks(stream: Stream[Any]) -> None:
    await app.follow(stream, "webhooks", lambda: app.view_followers("webhooks"))
