"""A limit on what a request may send, enforced before anything parses it."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.early_refusals import refuse

BODY_BYTES_MAX: Final = 1_048_576
BODY_S_MAX: Final = 20.0


class BodyLimit:
    """Answers 413 to a body above BODY_BYTES_MAX, whether its length was announced or not; 408 to one that takes longer
    than BODY_S_MAX."""

    def __init__(self, app: ASGIApp, *, paths: tuple[str, ...]) -> None:
        self._app = app
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, at most the limit, then hand it on in one piece."""
        if scope["type"] != "http" or not scope["path"].startswith(self._paths):
            await self._app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced[:20]) > BODY_BYTES_MAX:
            await _too_large(send, receive)
            return
        try:
            async with asyncio.timeout(BODY_S_MAX):
                body = await _body(receive)
        except TimeoutError:
            message = f"The body did not arrive within {BODY_S_MAX:.0f} s."
            await refuse(send, status=408, code="TIMEOUT", message=message)
            return
        if body is None:  # the client has gone
            return
        if len(body) > BODY_BYTES_MAX:
            await _too_large(send, receive)
            return
        whole: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        await self._app(scope, replay, send)


async def _body(receive: Receive) -> bytearray | None:
    """The body, or the part of it that is already too large; None when the client has gone."""
    body = bytearray()
    more = True
    while more and len(body) <= BODY_BYTES_MAX:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def _too_large(send: Send, receive: Receive) -> None:
    message = f"The request is larger than {BODY_BYTES_MAX} bytes; split it."
    await refuse(send, status=413, code="TOO_LARGE", message=message, unread=receive)
