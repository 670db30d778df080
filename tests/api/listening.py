"""An application that is really served, by this process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from adapters.wiring import Kontor
from api.app import create_app

QUIET = {"log_config": None, "access_log": False}


@asynccontextmanager
async def listening(app: Any, *, send_buffer: int = 0, **options: Any) -> AsyncIterator[tuple[uvicorn.Server, int]]:
    """The server, with these options of uvicorn's, and its port, which nobody else can take; it ends with the block.

    `send_buffer` bytes wait in a socket; 0 is what is usual."""
    place = socket.create_server(("127.0.0.1", 0), backlog=1_024)
    if send_buffer:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    server = uvicorn.Server(uvicorn.Config(app, **options))
    port = place.getsockname()[1]
    running = asyncio.create_task(server._serve([place]))
    while not server.started:
        assert not running.done(), running
        await asyncio.sleep(0.01)
    try:
        yield server, port
    finally:
        server.should_exit = True
        await running


def app_of(kontor: Kontor, **options: Any) -> Any:
    """The API on a Kontor that is open, and stays open when the API ends."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Kontor]:
        yield kontor

    return create_app(opened, **{"environment": "production"} | options)
