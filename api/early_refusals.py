"""An answer to a request that nothing behind has seen."""

from __future__ import annotations

import json

from starlette.types import Send


async def refuse(send: Send, *, status: int, code: str, message: str) -> None:
    """Readable for both kinds of clients: GraphQL's look for `errors`, the others for `detail`."""
    errors = [{"message": message, "extensions": {"code": code}}]
    body = json.dumps({"status": status, "code": code, "detail": message, "errors": errors}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    # The rest of the body is not read, so the connection cannot be used again.
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})
