"""Clients that repeat one HTTP request over connections of their own, at the least cost to the machine they share."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final

from cli.bench.timing import percentile_ms
from cli.stack.problem import Problem

WARM_UP_S: Final = 0.5
LENGTH: Final = b"content-length: "
END_OF_HEAD: Final = b"\r\n\r\n"
NOT_MODIFIED: Final = 304


@dataclass(frozen=True, slots=True)
class Question:
    """A POST: where, with which headers, and what; `status` is how it is answered."""

    port: int
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    status: int = 200

    @property
    def request(self) -> bytes:
        """As it goes over the wire."""
        lines = [f"POST {self.path} HTTP/1.1", f"host: 127.0.0.1:{self.port}", "content-type: application/json"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        return "\r\n".join([*lines, f"content-length: {len(self.body)}", "", ""]).encode() + self.body


class Refused(Problem):
    """Any other status than the expected one, or an answer without its length; `status` as the server says it."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(f"The server answered {answer!r}")
        self.status = answer[9:12].decode(errors="replace")


class Client(asyncio.Protocol):
    """One connection; `answer` is the next answer, head and body."""

    def __init__(self, status: int) -> None:
        self._begins = f"HTTP/1.1 {status}".encode()
        self._has_body = status != NOT_MODIFIED
        self._seen = bytearray()
        self._waiting: asyncio.Future[tuple[bytes, bytes]] | None = None
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(Problem(f"The server closed the connection: {exc!r}"))

    def data_received(self, data: bytes) -> None:
        self._seen += data
        head = self._seen.find(END_OF_HEAD)
        if head < 0 or self._waiting is None or self._waiting.done():
            return
        begins = self._seen.lower().find(LENGTH, 0, head + 2)
        if (begins < 0 and self._has_body) or not self._seen.startswith(self._begins):
            self._waiting.set_exception(Refused(bytes(self._seen[:300])))
            return
        length = int(self._seen[begins + len(LENGTH) : self._seen.index(b"\r", begins)]) if self._has_body else 0
        whole = head + len(END_OF_HEAD) + length
        if len(self._seen) >= whole:
            answer = bytes(self._seen[:head]), bytes(self._seen[whole - length : whole])
            del self._seen[:whole]
            self._waiting.set_result(answer)

    async def answer(self, request: bytes) -> tuple[bytes, bytes]:
        """Raises Refused for anything but the expected status, Problem when the connection is closed before."""
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiting

    def close(self) -> None:
        """Nothing more comes, whatever was under way."""
        self._transport.abort()


async def asked_once(question: Question) -> tuple[bytes, bytes]:
    """Head and body of one answer. Raises Problem, OSError."""
    client = await connected(question.port, status=question.status)
    try:
        return await client.answer(question.request)
    finally:
        client.close()


async def loaded(question: Question, *, clients: int, seconds: float) -> dict[str, Any]:
    """Answers a second and their latencies, with this many clients that never pause; after WARM_UP_S uncounted."""
    connections = [await connected(question.port, status=question.status) for _ in range(clients)]
    begin = perf_counter() + WARM_UP_S
    stop = begin + seconds
    took: list[float] = []
    request = question.request

    async def repeat(client: Client) -> None:
        while (started := perf_counter()) < stop or not took:  # also where one answer takes longer than that
            await client.answer(request)
            if started >= begin:
                took.append(perf_counter() - started)

    try:
        await asyncio.gather(*map(repeat, connections))
    finally:
        for client in connections:
            client.close()
    return figures(took, perf_counter() - begin)


def figures(took: Sequence[float], seconds: float) -> dict[str, Any]:
    """What a run is shown as."""
    return {
        "answers_per_s": round(len(took) / seconds, 1),
        "p50_ms": percentile_ms(took, 0.50),
        "p99_ms": percentile_ms(took, 0.99),
    }


async def connected(port: int, *, status: int = 200) -> Client:
    """A connection of its own, whose answers have this status. Raises OSError."""
    _, client = await asyncio.get_running_loop().create_connection(lambda: Client(status), "127.0.0.1", port)
    return client
