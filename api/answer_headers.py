"""What every answer carries: the request's id, and what tells browsers to be careful with it."""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils.compat import uuid7

REQUEST_ID: Final = "x-request-id"
_SANE: Final = re.compile(r"[A-Za-z0-9._-]{8,64}")
_ALWAYS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-site",
}
_NOTHING_LOADS: Final = "default-src 'none'; frame-ancestors 'none'"
# GraphiQL and the documentation of development are pages with scripts of their own.
_NOT_FRAMED: Final = "frame-ancestors 'none'"
_HTTPS_ONLY: Final = "max-age=31536000; includeSubDomains"


def correlation_of(connection: HTTPConnection) -> UUID | None:
    """The request's id, for what follows from it to be found by; None where a client's is no UUID."""
    try:
        return UUID(connection.scope.get("state", {}).get("request_id", ""))
    except ValueError:
        return None


class AnswerHeaders:
    """Puts them on; log lines that are written meanwhile have the id as `request_id`.

    A client's `X-Request-Id` of 8 to 64 letters, digits, dots, hyphens and underscores is kept, any other replaced."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wrap what is sent."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        named = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = named if _SANE.fullmatch(named) else str(uuid7())
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_ALWAYS)
                headers[REQUEST_ID] = request_id
                is_page = headers.get("content-type", "").startswith("text/html")
                headers["Content-Security-Policy"] = _NOT_FRAMED if is_page else _NOTHING_LOADS
                if scope["scheme"] == "https":
                    headers["Strict-Transport-Security"] = _HTTPS_ONLY
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await self._app(scope, receive, send_with_headers)
