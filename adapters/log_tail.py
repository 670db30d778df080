"""Following the log from a position on: one reader a process, and everybody who follows has a share of it.

The reader is woken by NOTIFY, polls in case one is lost, and after every failure goes on from the position it stood at.
It begins with the first follower, and reads nothing while there is none. Position order is commit order
(`adapters.group_commit`), so who has seen a position has seen everything before it. A follower holds no connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import psycopg
import structlog

from adapters.away import AWAY, NOTICES_LOSS, pause
from adapters.fan_out import QUEUED_RECORDS_MAX, FanOut, Subscriber
from adapters.log import EventLog, Interest, LogRecord

log = structlog.get_logger()

BATCH_EVENTS: Final = 500
POLL_S: Final = 0.5
LINGER_S: Final = 0.005  # what is stored meanwhile is read together
RETRY_PAUSE_S: Final = 0.5
START_S_MAX: Final = 10.0
CATCH_UPS_AT_ONCE: Final = 4  # when thousands come back at once, the pool's connections are not all theirs
NEAR_EVENTS: Final = 500  # who is no further behind is queued for, and catches up meanwhile
# How far one look goes for what is rare: it never costs more than so many entries of an index.
WINDOW_POSITIONS: Final = 20_000


class LogTail:
    """Used by everything in the process that follows the log; `close` it in the end."""

    def __init__(self, event_log: EventLog, conninfo: str, *, records_max: int = QUEUED_RECORDS_MAX) -> None:
        self._log = event_log
        self._conninfo = conninfo
        self._fan_out = FanOut(records_max=records_max)
        self._reader: asyncio.Task[None] | None = None
        self._joining = asyncio.Lock()
        self._catching_up = asyncio.Semaphore(CATCH_UPS_AT_ONCE)
        self._news = asyncio.Event()

    async def close(self) -> None:
        """Stop reading."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
            self._reader = None

    @property
    def followers(self) -> int:
        """How many follow now."""
        return len(self._fan_out)

    @asynccontextmanager
    async def following(self, interest: Interest) -> AsyncIterator[Subscriber]:
        """Everything wanted from now on. What is in the log already is at or before its `since`, or is handed out.

        Raises one of AWAY, or TimeoutError after START_S_MAX, when the log cannot be reached."""
        subscriber = await self._joined(interest)
        try:
            yield subscriber
        finally:
            self._fan_out.remove(subscriber)

    async def after(self, position: int, interest: Interest) -> AsyncGenerator[LogRecord, None]:
        """Everything wanted past the position, whether it is in the log or still to come, once and in order.

        What is in the log is read as fast as it is taken. Raises TooSlow as soon as what is new is not, and one of
        AWAY as `following` does."""
        while (end := await self._log.end()) - position > NEAR_EVENTS:
            async for record in self._between(position, end, interest):
                yield record
            position = end
        async with self.following(interest) as subscriber:
            async for record in self._between(position, subscriber.since, interest):
                yield record
            position = max(position, subscriber.since)
            while True:
                record = await subscriber.next()
                if record.position > position:
                    yield record

    async def _between(self, position: int, until: int, interest: Interest) -> AsyncIterator[LogRecord]:
        while position < until:
            window_end = until
            if interest.aggregate_ids is None:
                window_end = min(until, position + WINDOW_POSITIONS)
            async with self._catching_up:
                records = await self._log.wanted(position, window_end, interest, limit=BATCH_EVENTS)
            for record in records:
                yield record
            position = records[-1].position if len(records) == BATCH_EVENTS else window_end

    async def _joined(self, interest: Interest) -> Subscriber:
        async with self._joining:
            if not self._fan_out:
                # Nobody followed: what was stored meanwhile is nobody's.
                async with asyncio.timeout(START_S_MAX):
                    self._fan_out.position = max(self._fan_out.position, await self._log.end())
                if self._reader is None:
                    self._reader = asyncio.create_task(self._read(), name="log-tail")
            return self._fan_out.add(interest)

    async def _read(self) -> None:
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self._conninfo,
                    autocommit=True,
                    application_name="kontor.log-tail",
                    connect_timeout=5,
                    **NOTICES_LOSS,
                ) as connection:
                    await connection.execute("LISTEN kontor_events")
                    listener = asyncio.create_task(self._listen(connection))
                    try:
                        await self._follow(listener)
                    finally:
                        listener.cancel()
                        await asyncio.gather(listener, return_exceptions=True)
            except (*AWAY, psycopg.Error) as error:
                log.warning("log_tail_starts_again", position=self._fan_out.position, error=repr(error))
            await pause(RETRY_PAUSE_S)

    async def _listen(self, connection: psycopg.AsyncConnection[object]) -> None:
        async for _ in connection.notifies():
            self._news.set()

    async def _follow(self, listener: asyncio.Task[None]) -> None:
        """Until the listener's connection is gone. Raises one of AWAY."""
        while True:
            await pause(0)
            if listener.done():
                listener.result()
                return
            self._news.clear()
            records = await self._log.after(self._fan_out.position, limit=BATCH_EVENTS) if self._fan_out else []
            if records:
                await self._fan_out.publish(records)
                await pause(LINGER_S)
            else:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), POLL_S)
