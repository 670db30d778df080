"""A limit on what a request may send, enforced before anything parses it."""

from __future__ import annotations

import json
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_BYTES_MAX: Final = 1_048_576


class BodyLimit:
    """Answers 413 to a body above BODY_BYTES_MAX, whether its length was announced or not."""

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
            await _refuse(send)
            return
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":  # the client has gone
                return
            body += message.get("body", b"")
            if len(body) > BODY_BYTES_MAX:
                await _refuse(send)
                return
            more = message.get("more_body", False)
        whole: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        await self._app(scope, replay, send)


async def _refuse(send: Send) -> None:
    message = f"The request is larger than {BODY_BYTES_MAX} bytes; split it."
    # Readable for both kinds of clients: GraphQL's look for `errors`, the others for `detail`.
    errors = [{"message": message, "extensions": {"code": "TOO_LARGE"}}]
    body = json.dumps({"status": 413, "code": "TOO_LARGE", "detail": message, "errors": errors}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    # The rest of the body is not read, so the connection cannot be used again.
    await send({"type": "http.response.start", "status": 413, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})
