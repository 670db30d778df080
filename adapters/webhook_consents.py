"""The consent of webhook endpoints: an address agrees to receive posts before the first one is sent to it.

The handshake is that of CloudEvents Web Hooks 1.0.2: `OPTIONS` with `WebHook-Request-Origin`, answered with
`WebHook-Allowed-Origin`. Without it, anyone with the role INTEGRATOR could have a stranger's server posted to.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any, Final
from uuid import UUID
from weakref import WeakValueDictionary

from psycopg_pool import AsyncConnectionPool

from adapters.webhook_posting import ANSWER_S_MAX, Consent, WebhookPoster

KNOWN_MAX: Final = 10_000
ANY_ORIGIN: Final = "*"
# An endpoint that is removed at the same time has no secret any more, and nothing is stored.
_STORE: Final = """
INSERT INTO webhook_consents (endpoint_id, url_digest)
SELECT endpoint_id, %s FROM webhook_secrets WHERE endpoint_id = %s FOR SHARE
ON CONFLICT (endpoint_id) DO UPDATE SET url_digest = excluded.url_digest, given_at = clock_timestamp()
"""
_STORED: Final = "SELECT 1 FROM webhook_consents WHERE endpoint_id = %s AND url_digest = %s"


class NoConsent(Exception):
    """The endpoint answered the consent request and did not allow posts. The message says what it has to answer."""


class EndpointConsents:
    """Asks each endpoint's address once and stores its consent. Where consent is not `required`, an endpoint that does
    not know the handshake is posted to all the same; one that names another origin never is."""

    def __init__(self, pool: AsyncConnectionPool[Any], poster: WebhookPoster, *, origin: str, required: bool) -> None:
        self._pool = pool
        self._poster = poster
        self._origin = origin
        self._required = required
        self._known: set[tuple[UUID, bytes]] = set()
        self._asking: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    async def obtain(self, endpoint_id: UUID, url: str, *, timeout_s: float = ANSWER_S_MAX) -> None:
        """Return when this address of the endpoint has agreed to receive posts; ask it where that is not stored.

        Raises NoConsent, NotAnswered. Safe to repeat."""
        digest = hashlib.sha256(url.encode()).digest()
        async with self._asking.setdefault(endpoint_id, asyncio.Lock()):
            if (endpoint_id, digest) in self._known or await self._is_stored(endpoint_id, digest):
                self._remember(endpoint_id, digest)
                return
            consent = await self._poster.ask_consent(url, origin=self._origin, timeout_s=timeout_s)
            self._require(consent)
            if consent.allowed_origin is not None:
                async with self._pool.connection() as connection:
                    await connection.execute(_STORE, [digest, endpoint_id])
            self._remember(endpoint_id, digest)

    def _require(self, consent: Consent) -> None:
        if consent.allowed_origin is None and not self._required:
            return
        allowed = (consent.allowed_origin or "").strip().lower()
        if not 200 <= consent.status < 300 or allowed not in (ANY_ORIGIN, self._origin):
            raise NoConsent(
                f"it has not agreed to receive posts: it answered OPTIONS with {consent.status} and "
                + ("no WebHook-Allowed-Origin" if consent.allowed_origin is None else "another WebHook-Allowed-Origin")
                + f"; let it answer with 200 and WebHook-Allowed-Origin: {self._origin}"
            )

    async def _is_stored(self, endpoint_id: UUID, digest: bytes) -> bool:
        async with self._pool.connection() as connection:
            return await (await connection.execute(_STORED, [endpoint_id, digest])).fetchone() is not None

    def _remember(self, endpoint_id: UUID, digest: bytes) -> None:
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        self._known.add((endpoint_id, digest))
