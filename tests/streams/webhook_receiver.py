"""An HTTP server that takes webhooks as it is told to, and keeps what came."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(frozen=True)
class Post:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed

    @property
    def told(self) -> tuple[str, int]:
        """The type and position of the event."""
        return self.event["type"], int(self.event["position"])

    def signed_with(self, secret: str) -> bool:
        """Does one of the signatures fit? As the text of Standard Webhooks has it."""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signed = b".".join((self.id.encode(), self.headers["webhook-timestamp"].encode(), self.body))
        expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        return expected in self.headers["webhook-signature"].split(" ")


Answering = Callable[[Post], Awaitable[web.StreamResponse]]


@dataclass
class Receiver:
    """`answers` has what the next requests to a path are answered; then, and for other paths, it is 204."""

    url: str = ""
    posts: list[Post] = field(default_factory=list)
    taken: list[Post] = field(default_factory=list)
    answers: dict[str, list[Answering]] = field(default_factory=dict)
    always: dict[str, Answering] = field(default_factory=dict)
    consent: str | None = "*"  # what OPTIONS is answered with as WebHook-Allowed-Origin
    asked: list[tuple[str, str]] = field(default_factory=list)  # path and WebHook-Request-Origin of each OPTIONS

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        if request.method == "OPTIONS":
            self.asked.append((request.path, headers["webhook-request-origin"]))
            return web.Response(headers={} if self.consent is None else {"WebHook-Allowed-Origin": self.consent})
        post = Post(request.path, headers, await request.read())
        self.posts.append(post)
        queued = self.answers.get(post.path)
        if queued:
            response = await queued.pop(0)(post)
        elif post.path in self.always:
            response = await self.always[post.path](post)
        else:
            response = web.Response(status=204)
        if 200 <= response.status < 300:
            self.taken.append(post)
        return response


def status(code: int, **headers: str) -> Answering:
    """Answers this and nothing else."""

    async def answer(_: Post) -> web.StreamResponse:
        return web.Response(status=code, text=f"told {code}", headers=headers)

    return answer


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    """On a free port of this machine."""
    receiving = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiving._answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]  # it is asyncio's
    receiving.url = f"http://127.0.0.1:{port}"
    try:
        yield receiving
    finally:
        await runner.cleanup()
