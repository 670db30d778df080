"""Posting to webhook endpoints: one signed HTTP request (Standard Webhooks 1.0), bounded in time and size.

Addresses are given by strangers. So redirects are not followed, proxies and cookies not used, and in the moment of
connecting the address that a name has led to must be a public one (`private_addresses` allows others: in development
endpoints are on this machine).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Final, Self

import aiohttp

from adapters.public_addresses import NotPublic, public_socket
from adapters.webhook_secrets import PREFIX

ANSWER_S_MAX: Final = 15.0
CONNECT_S_MAX: Final = 5.0
CONNECTIONS_MAX: Final = 1_024
ANSWER_BYTES_MAX: Final = 65_536
TOLD_CHARS_MAX: Final = 200
RETRY_AFTER_S_MAX: Final = 86_400.0
CONTENT_TYPE: Final = "application/cloudevents+json"
_HEADERS: Final = {"Content-Type": CONTENT_TYPE, "User-Agent": "Kontor-Webhooks/1"}


class NotAnswered(Exception):
    """The endpoint was not reached, or did not answer in time: nobody knows whether it has taken what was posted."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint answered. `text` is its beginning, fit to be shown."""

    status: int
    text: str
    retry_after_s: float | None

    @property
    def taken(self) -> bool:
        return 200 <= self.status < 300

    def __str__(self) -> str:
        return f"answered {self.status}{': ' if self.text else ''}{self.text}"


@dataclass(frozen=True, slots=True)
class Consent:
    """An endpoint's answer to the consent request: its status, and the origins that it lets post; None where it names
    none."""

    status: int
    allowed_origin: str | None


class WebhookPoster:
    """An async context manager; use it on one event loop."""

    def __init__(self, *, private_addresses: bool) -> None:
        self._private_addresses = private_addresses
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=CONNECTIONS_MAX, socket_factory=None if self._private_addresses else public_socket
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_HEADERS,
            auto_decompress=False,  # what a few bytes unfold to would not be bounded
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(
        self,
        url: str,
        body: bytes,
        *,
        webhook_id: str,
        secrets: Sequence[str],
        now: datetime,
        timeout_s: float = ANSWER_S_MAX,
    ) -> Answer:
        """Post once; every status is an answer. Raises NotAnswered."""
        timestamp = int(now.timestamp())
        headers = {
            "webhook-id": webhook_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(webhook_id, timestamp, body, secrets),
        }
        async with self._answered("POST", url, headers, body, timeout_s) as response:
            told = await _beginning(response)
            return Answer(response.status, told, _retry_after_s(response.headers.get("Retry-After"), now))

    async def ask_consent(self, url: str, *, origin: str, timeout_s: float = ANSWER_S_MAX) -> Consent:
        """Ask whether `origin` may post to it (CloudEvents Web Hooks 1.0.2, section 4). Raises NotAnswered."""
        headers = {"WebHook-Request-Origin": origin}
        async with self._answered("OPTIONS", url, headers, None, timeout_s) as response:
            await _beginning(response)
            return Consent(response.status, response.headers.get("WebHook-Allowed-Origin"))

    @asynccontextmanager
    async def _answered(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None, timeout_s: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request without redirects. Raises NotAnswered, also for what fails while the answer is read."""
        assert self._session is not None, "use it as a context manager"
        timeout = aiohttp.ClientTimeout(total=timeout_s, connect=min(CONNECT_S_MAX, timeout_s))
        try:
            async with self._session.request(
                method, url, data=body, headers=headers, allow_redirects=False, timeout=timeout
            ) as response:
                yield response
        except TimeoutError:
            raise NotAnswered(f"no answer in {timeout_s:g} s") from None
        except aiohttp.ClientConnectorError as error:
            refused = isinstance(error.os_error, NotPublic)
            raise NotAnswered(str(error.os_error) if refused else f"not reached ({error.os_error})") from None
        except (aiohttp.ClientError, asyncio.IncompleteReadError, OSError, ValueError) as error:
            raise NotAnswered(f"no answer ({type(error).__name__})") from None


def signature(webhook_id: str, timestamp: int, body: bytes, secrets: Sequence[str]) -> str:
    """The header `webhook-signature`: `v1,` and the HMAC-SHA256 of id, time and body for each secret, as one who knows
    only one of them expects it."""
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    macs = (hmac.digest(base64.b64decode(each.removeprefix(PREFIX)), signed, hashlib.sha256) for each in secrets)
    return " ".join(f"v1,{base64.b64encode(mac).decode()}" for mac in macs)


async def _beginning(response: aiohttp.ClientResponse) -> str:
    """What is read of the answer, so that the connection may be used again if that was all."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(8_192):
        body += chunk
        if len(body) >= ANSWER_BYTES_MAX:
            response.close()
            break
    text = body[: 4 * TOLD_CHARS_MAX].decode(errors="replace")[:TOLD_CHARS_MAX]
    return "".join(each if each.isprintable() else " " for each in text).strip()


def _retry_after_s(text: str | None, now: datetime) -> float | None:
    """Of the header Retry-After, seconds or a date; None for what is neither."""
    if not text or len(text) > 50:
        return None
    if text.isascii() and text.isdigit():
        asked_s = float(text)
    else:
        try:
            at = parsedate_to_datetime(text)
        except ValueError:
            return None
        asked_s = ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds()
    return min(max(asked_s, 0.0), RETRY_AFTER_S_MAX)
