"""What every answer carries: the request's id, and what tells browsers and caches to be careful with it."""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

import structlog
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils.compat import uuid7

from api.client_address import is_trusted_peer, networks

REQUEST_ID: Final = "x-request-id"
_SANE: Final = re.compile(rb"[A-Za-z0-9._-]{8,64}")
_ALWAYS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-site"),
)
_ID: Final = REQUEST_ID.encode()
_CONTENT_POLICY: Final = b"content-security-policy"
_HTTPS: Final = b"strict-transport-security"
_OURS: Final = frozenset({_ID, _CONTENT_POLICY, _HTTPS, *(name for name, _ in _ALWAYS)})
_CACHING: Final = b"cache-control"
_NO_STORE: Final = b"no-store"
_WRAPPED: Final = frozenset({"http", "websocket"})
_STARTS: Final = frozenset({"http.response.start", "websocket.http.response.start"})
_NOTHING_LOADS: Final = b"default-src 'none'; frame-ancestors 'none'"
# GraphiQL and the documentation of development are pages with scripts of their own.
_NOT_FRAMED: Final = b"frame-ancestors 'none'"
_HTTPS_ONLY: Final = b"max-age=31536000; includeSubDomains"


def correlation_of(connection: HTTPConnection) -> UUID | None:
    """What all that follows from the request is found by: its id, where we or a proxy that we trust have named it, else
    a new one: whoever could name it would be found among what happens to others. None for a proxy's that is no UUID."""
    state = connection.scope.get("state", {})
    if state.get("request_is_named"):
        trusted = networks(connection.app.state.kontor.settings.trusted_proxies)
        if not is_trusted_peer(connection.scope, trusted):
            return uuid7()
    try:
        return UUID(state.get("request_id", ""))
    except ValueError:
        return None


def request_id_of(named: bytes) -> str:
    """What a client named its request, if that is fit to be repeated, else a new id."""
    return named.decode() if _SANE.fullmatch(named) else str(uuid7())


def always(request_id: str, scheme: str, *, is_page: bool = False) -> list[tuple[bytes, bytes]]:
    """What every answer carries."""
    headers = [
        *_ALWAYS,
        (_ID, request_id.encode()),
        (_CONTENT_POLICY, _NOT_FRAMED if is_page else _NOTHING_LOADS),
    ]
    if scheme == "https":
        headers.append((_HTTPS, _HTTPS_ONLY))
    return headers


class AnswerHeaders:
    """Puts them on, and `Cache-Control: no-store` where nothing else is said; log lines that are written meanwhile have
    the id as `request_id`.

    A client's `X-Request-Id` of 8 to 64 letters, digits, dots, hyphens and underscores is kept, any other replaced."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wrap what is sent."""
        if scope["type"] not in _WRAPPED:
            await self._app(scope, receive, send)
            return
        named = next((value for name, value in scope["headers"] if name == _ID), b"")
        request_id = request_id_of(named)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        state["request_is_named"] = request_id.encode() == named

        async def send_with_headers(message: Message) -> None:
            if message["type"] in _STARTS:
                headers = [pair for pair in message.get("headers", ()) if pair[0] not in _OURS]
                if not any(name == _CACHING for name, _ in headers):
                    headers.append((_CACHING, _NO_STORE))
                is_page = any(name == b"content-type" and value.startswith(b"text/html") for name, value in headers)
                message["headers"] = headers + always(request_id, scope["scheme"], is_page=is_page)
            await send(message)

        told = structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            structlog.contextvars.reset_contextvars(**told)
