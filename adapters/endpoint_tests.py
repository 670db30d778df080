"""The test post that an endpoint's owner asks for. In production its answer tells nothing of our own network: an
integrator could otherwise learn which internal names exist and which ports answer."""

from __future__ import annotations

import asyncio
from datetime import datetime
from math import ceil
from typing import Final
from uuid import UUID

import structlog

from adapters.webhook_consents import EndpointConsents, NoConsent
from adapters.webhook_posting import NotAnswered, WebhookPoster
from adapters.webhook_secrets import WebhookSecretTable
from adapters.wire import structured_test

log = structlog.get_logger()

ANSWER_S_MAX: Final = 8.0  # the owner waits for it
NOT_REACHED: Final = (
    f"it was not reached, or did not answer within {ANSWER_S_MAX:g} s: its name must lead to a public address, and it "
    "must serve https with a valid certificate"
)


class EndpointTests:
    """See `commands.ports.WebhookTests`. With `says_why` the answer names why an endpoint was not reached."""

    def __init__(
        self, poster: WebhookPoster, secrets: WebhookSecretTable, consents: EndpointConsents, *, says_why: bool
    ) -> None:
        self._poster = poster
        self._consents = consents
        self._says_why = says_why
        self.secrets = secrets

    async def post(self, endpoint_id: UUID, url: str, *, test_id: UUID, now: datetime) -> str:
        """See `commands.ports.WebhookTests.post`."""
        began = asyncio.get_running_loop().time()
        try:
            return await self._post(endpoint_id, url, test_id=test_id, now=now)
        except NoConsent as error:
            return str(error)
        except NotAnswered as error:
            log.info("webhook_test_not_answered", endpoint_id=str(endpoint_id), error=str(error))
            if self._says_why:
                return str(error)
            await _until_a_whole_second_since(began)
            return NOT_REACHED

    async def _post(self, endpoint_id: UUID, url: str, *, test_id: UUID, now: datetime) -> str:
        await self._consents.obtain(endpoint_id, url, timeout_s=ANSWER_S_MAX)
        secrets = await self.secrets.current(endpoint_id, now=now)
        body = structured_test(test_id, endpoint_id, now)
        answer = await self._poster.post(
            url, body, webhook_id=str(test_id), secrets=secrets, now=now, timeout_s=ANSWER_S_MAX
        )
        return "" if answer.taken else f"it {answer}"


async def _until_a_whole_second_since(began: float) -> None:
    """A name that does not exist, a private address and a closed port are refused after different milliseconds."""
    passed_s = asyncio.get_running_loop().time() - began
    await asyncio.sleep(ceil(passed_s) - passed_s)
