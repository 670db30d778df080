"""A TCP proxy on loopback between a process and a server, which can be slow, deaf, cruel, or watched.

Kafka tells its clients where its brokers are; what it tells is rewritten to the proxy's own port, so nobody goes round.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

CHUNK_BYTES: Final = 65_536
HEAD_BYTES_MAX: Final = 1_024
LOOK_S: Final = 0.02
HOST: Final = b"127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """What every connection suffers, in both directions."""

    delay_s: float = 0.0
    bytes_a_s: int | None = None
    slice_bytes: int | None = None
    stands: bool = False  # nothing passes and nothing is lost
    refuses: bool = False  # connections are reset, and new ones


CLEAR: Final = Weather()


@dataclass(eq=False, slots=True)
class Link:
    """One connection. `head` is what the client said first: for PostgreSQL it names the application."""

    client_port: int
    writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    head: bytes = b""
    notes: dict[str, Any] = field(default_factory=dict)  # of whoever watches

    def cut(self) -> None:
        """Reset both ends."""
        for writer in self.writers:
            writer.transport.abort()


# Sees what comes from the client (True) or the server, before it is passed on; False: it is not, and the link is cut.
Watch = Callable[[Link, bool, bytes], bool]


class Proxy:
    """`await start()` in the loop it lives in; the attributes may be set from any thread."""

    def __init__(self, target_port: int, *, kafka: bool = False) -> None:
        self._target_port = target_port
        self._kafka = kafka
        self._links: set[Link] = set()
        self.weather = CLEAR
        self.watch: Watch | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen on a port of its own."""
        self._loop = asyncio.get_running_loop()
        self._server = await asyncio.start_server(self._serve, HOST.decode(), 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        self._cut_all()
        await asyncio.sleep(0)

    def cut(self) -> None:
        """Reset every connection, from any thread."""
        self._loop.call_soon_threadsafe(self._cut_all)

    def _cut_all(self) -> None:
        for link in list(self._links):
            link.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.weather.refuses:
            writer.transport.abort()
            return
        try:
            from_server, to_server = await asyncio.open_connection(HOST.decode(), self._target_port)
        except OSError:
            writer.transport.abort()
            return
        link = Link(writer.get_extra_info("peername")[1], (writer, to_server))
        self._links.add(link)
        # The first direction that ends, ends both: all protocols here are over then.
        pumps = [
            asyncio.create_task(self._pump(link, reader, to_server, from_client=True)),
            asyncio.create_task(self._pump(link, from_server, writer, from_client=False)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._links.discard(link)
            for each in link.writers:
                each.close()

    async def _pump(
        self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, from_client: bool
    ) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while data := await self._read(reader, from_client=from_client):
                if from_client and len(link.head) < HEAD_BYTES_MAX:
                    link.head += data[:HEAD_BYTES_MAX]
                if self.watch is not None and not self.watch(link, from_client, data):
                    link.cut()
                    return
                await self._pass(writer, data)

    async def _read(self, reader: asyncio.StreamReader, *, from_client: bool) -> bytes:
        if from_client or not self._kafka:
            return await reader.read(CHUNK_BYTES)
        length = await reader.readexactly(4)
        answer = await reader.readexactly(int.from_bytes(length, "big"))
        # In every version of every answer that names a broker the port follows its host, as four bytes.
        return length + answer.replace(HOST + self._target_port.to_bytes(4, "big"), HOST + self.port.to_bytes(4, "big"))

    async def _pass(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        if self.weather.delay_s:
            await asyncio.sleep(self.weather.delay_s)
        rest = memoryview(data)
        while rest:
            while self.weather.stands:
                await asyncio.sleep(LOOK_S)
            weather = self.weather
            size = weather.slice_bytes or (weather.bytes_a_s or len(rest) * 10) // 10 or 1
            writer.write(rest[:size])
            await writer.drain()
            if weather.bytes_a_s:
                await asyncio.sleep(min(size, len(rest)) / weather.bytes_a_s)
            elif weather.slice_bytes:
                await asyncio.sleep(0)  # so that each slice is a packet of its own
            rest = rest[size:]
