"""Givens about an API of the test's own, served by the protocol and with the settings that the test wants."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import aiohttp
from uuid_utils.compat import uuid7

from adapters.settings import Settings, listed
from adapters.wiring import Kontor, open_kontor
from api.graphql.sockets import SERVING, SocketLimits
from api.http_protocol import uvicorn_options
from domain.users import Role
from tests.api.listening import app_of, listening


@dataclass(frozen=True)
class Served:
    """An API, and what is behind it."""

    kontor: Kontor
    port: int
    http: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def token(self, user_id: UUID, *roles: Role) -> str:
        """An access token as signing in gives it."""
        return self.kontor.access_tokens.issue(user_id, roles, uuid7(), now=self.kontor.ports.clock.now())

    async def post(self, path: str, body: bytes | str, headers: dict[str, str] | None = None) -> tuple[int, Any, Any]:
        """Status, headers, and the body as an object where it is JSON."""
        sent = {"Content-Type": "application/json"} | (headers or {})
        async with self.http.post(self.url + path, data=body, headers=sent) as answer:
            told = await answer.text()
            return answer.status, answer.headers, json.loads(told) if "json" in answer.content_type else told

    async def ask(self, document: str | None, token: str | None = None, **more: Any) -> dict[str, Any]:
        """What GraphQL answers; `more` is put into the request, `headers` beside it."""
        headers = more.pop("headers", {}) | ({"Authorization": f"Bearer {token}"} if token else {})
        status, _, told = await self.post("/graphql", json.dumps({"query": document} | more), headers)
        assert status == 200, (status, told)
        return told


def codes(answer: dict[str, Any]) -> list[str]:
    return [error["extensions"]["code"] for error in answer.get("errors", [])]


@asynccontextmanager
async def served(settings: Settings, **changed: Any) -> AsyncIterator[Served]:
    """An API with these settings and these others, on a free port of this machine."""
    wanted = Settings.model_validate(settings.model_dump() | changed)

    limits = SocketLimits(
        allowed_origins=listed(wanted.allowed_origins), per_address_max=wanted.sockets_per_address_max
    )
    options = uvicorn_options(trusted_proxies=listed(wanted.trusted_proxies)) | SERVING
    # A connection for each request: one that is kept may be closed in the moment in which it is used again.
    connector = aiohttp.TCPConnector(force_close=True)
    async with (
        open_kontor(wanted, name="test") as kontor,
        listening(app_of(kontor, environment=wanted.environment, limits=limits), **options) as (_, port),
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=150), connector=connector) as http,
    ):
        yield Served(kontor, port, http)
