"""HTTP/1.1 as uvicorn speaks it, with bounds on the head of a request: uvicorn itself has none with httptools.

The whole head is in memory before any application sees it, so this cannot be done later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api.client_address import PEER

HEAD_BYTES_MAX: Final = 32_768
HEADERS_MAX: Final = 100
HEAD_S_MAX: Final = 10.0


def uvicorn_options(*, trusted_proxies: Sequence[str]) -> dict[str, Any]:
    """How uvicorn is to serve the application: with these bounds, and saying little of itself. `X-Forwarded-For` and
    `-Proto` are taken from these proxies alone: without any, nobody may say for whom he asks."""
    return {
        "http": BoundedHttp,
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": bool(trusted_proxies),
        "forwarded_allow_ips": list(trusted_proxies),
    }


class BoundedHttp(HttpToolsProtocol):
    """Answers 431 to a head of more than HEADERS_MAX headers or about HEAD_BYTES_MAX bytes, 408 to one that is not
    complete after HEAD_S_MAX, and closes the connection."""

    _head_bytes = 0  # of the headers that are complete
    _received = 0  # since the head began, while it is not complete
    _in_head = True
    _refused = False
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As uvicorn; the time for the first head begins."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """As uvicorn."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """As uvicorn; a head that is not complete yet is somewhere in memory, whole."""
        if self._refused:
            return
        super().data_received(data)
        if self._in_head:
            self._received += len(data)
            self._judge(self._received)

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self.scope["state"][PEER] = self.client  # before any header may say for whom it asks
        self._in_head, self._received, self._head_bytes = True, 0, 0
        if self._head_timer is None:
            self._await_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        """As uvicorn, up to the bounds."""
        self._head_bytes += len(name) + len(value)
        self._judge(self._head_bytes)
        if len(self.headers) >= HEADERS_MAX:
            self._refuse(431)
        if self._refused:
            return
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head has ended, and what it asks for begins."""
        self._judge(self._head_bytes + len(self.url))
        self._in_head = False
        self._stop_timer()
        if not self._refused:
            super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """As uvicorn; what comes after a refusal makes no sense to it."""
        self._stop_timer()
        if not self._refused:
            super().send_400_response(msg)

    def _judge(self, head_bytes: int) -> None:
        if head_bytes > HEAD_BYTES_MAX:
            self._refuse(431)

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_S_MAX, self._refuse, 408)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, status: int) -> None:
        self._stop_timer()
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        head = b"content-length: 0\r\ncache-control: no-store\r\nconnection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[status] + head)
        self.transport.close()
