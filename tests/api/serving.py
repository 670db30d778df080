"""An API that serves over HTTP, on an installation of the test's own, without relay and worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from adapters.wiring import Kontor, open_kontor
from tests.api.listening import QUIET, app_of, listening
from tests.conftest import Stack, installation_on


class Api:
    """A client of it; `address` is where its requests say they come from."""

    def __init__(self, kontor: Kontor, http: aiohttp.ClientSession, url: str) -> None:
        self.kontor, self.http, self.url = kontor, http, url

    async def graphql(self, document: str, *, token: str = "", address: str = "", **variables: Any) -> Any:
        """What the one field of the document answers."""
        body = {"query": document, "variables": variables}
        async with self.http.post(f"{self.url}/graphql", json=body, headers=_headers(token, address)) as answer:
            answered = await answer.json()
        assert "errors" not in answered, answered
        (payload,) = answered["data"].values()
        return payload

    async def command(self, name: str, given: Any, *, token: str = "", address: str = "") -> tuple[int, Any, Any]:
        """Status, body and headers of a command over REST."""
        url = f"{self.url}/v1/commands/{name}"
        async with self.http.post(url, json=given, headers=_headers(token, address)) as answer:
            return answer.status, await answer.json(content_type=None), answer.headers


def _headers(token: str, address: str) -> dict[str, str]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return headers | ({"X-Forwarded-For": address} if address else {})


@asynccontextmanager
async def serving_quickly(stack: Stack) -> AsyncIterator[Api]:
    """Behind a proxy that is trusted, so that each test has addresses of its own; passwords are checked quickly."""
    async with installation_on(stack) as settings:
        changed = {"trusted_proxies": "127.0.0.1", "password_hashing": "argon2id:m=64,t=1,p=1"}
        async with open_kontor(settings.model_copy(update=changed), name="test") as kontor, serving(kontor) as running:
            yield running


@asynccontextmanager
async def serving(kontor: Kontor) -> AsyncIterator[Api]:
    # A connection that is kept may be closed by the server in the moment it is used again.
    connector = aiohttp.TCPConnector(force_close=True)
    async with (
        listening(app_of(kontor), proxy_headers=False, **QUIET) as (_, port),
        aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as http,
    ):
        yield Api(kontor, http, f"http://127.0.0.1:{port}")
