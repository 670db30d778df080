"""Routes whose JSON bodies are read by `adapters.strict_json`, as at every other door."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from adapters.strict_json import decoded
from api.body_limit import BODY_BYTES_MAX


class StrictRequest(Request):
    """A request whose body is an object, or nothing we take."""

    async def json(self) -> dict[str, Any]:
        """Raises NotStrictJson, which is answered with 400 and the reason."""
        return decoded(await self.body(), bytes_max=BODY_BYTES_MAX)


class StrictRoute(APIRoute):
    """FastAPI's, with such requests."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """As the framework makes it."""
        handle = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            return await handle(StrictRequest(request.scope, request.receive))

        return strictly
