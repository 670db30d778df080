"""What is for operators, and so in production for a port of its own: figures, schemas, and how each server fares.

One process serves both ports. On which a request came in is said by its connection, which no header can change.
"""

from __future__ import annotations

from fastapi import HTTPException, Request

from adapters.settings import Settings


def is_internal(request: Request) -> bool:
    """Did the request come where operators ask? In development they ask anywhere."""
    settings: Settings = request.app.state.kontor.settings
    if settings.environment != "production":
        return True
    server = request.scope.get("server")  # the address and port of the socket
    return settings.internal_port is not None and server is not None and server[1] == settings.internal_port


async def internal_only(request: Request) -> None:
    """A dependency of a route: elsewhere the route does not exist."""
    if not is_internal(request):
        raise HTTPException(404)
