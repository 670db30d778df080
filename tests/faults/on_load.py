"""More than there should be: clients that never finish what they say, and more commands than can be done."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from tests.faults.scene import Scene

SLOW_CLIENTS: Final = 500
SLOW_S: Final = 3.0
SATURATED_S: Final = 4.0
LONG_S: Final = 60.0
BYTE_S: Final = 0.5


async def slow_clients_hold_connections(scene: Scene) -> None:
    """Each sends a byte of its headers now and then; the others are served meanwhile."""
    place = urlsplit(scene.system.http_url)
    opened: list[asyncio.StreamWriter] = []
    try:
        for _ in range(SLOW_CLIENTS):
            _, writer = await asyncio.open_connection(place.hostname, place.port)
            writer.write(b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
            opened.append(writer)
        ends = scene.now() + (LONG_S if scene.long else SLOW_S)
        while scene.now() < ends:
            for writer in opened:
                with suppress(ConnectionError):
                    writer.write(b"s")
            await asyncio.sleep(BYTE_S)
    finally:
        for writer in opened:
            writer.close()


async def more_is_asked_than_can_be_done(scene: Scene) -> None:
    """Many clients that do not wait: what is acknowledged is kept, what is refused is told so."""
    await asyncio.sleep(LONG_S if scene.long else SATURATED_S)
