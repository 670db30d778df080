"""An answer to a request that nothing behind has seen."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Final

from starlette.types import Receive, Send

LINGER_S_MAX: Final = 5.0
LINGER_BYTES_MAX: Final = 16 * 1_048_576


async def refuse(send: Send, *, status: int, code: str, message: str, unread: Receive | None = None) -> None:
    """Readable for both kinds of clients: GraphQL's look for `errors`, the others for `detail`.

    `unread` gives what the client is still sending; it is thrown away, within bounds, after the answer."""
    errors = [{"message": message, "extensions": {"code": code}}]
    body = json.dumps({"status": status, "code": code, "detail": message, "errors": errors}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    # The rest of the body is not looked at, so the connection cannot be used again.
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body, "more_body": unread is not None})
    if unread is not None:
        await _throw_away(unread)
        await send({"type": "http.response.body", "body": b""})


async def _throw_away(unread: Receive) -> None:
    """A connection that is closed before everything was read is reset, and the answer may be lost with it."""
    left = LINGER_BYTES_MAX
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S_MAX):
            while left > 0:
                message = await unread()
                left -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
