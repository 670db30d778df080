"""Reads from the log which access tokens are void. The API does not say that it is ready before the first reading.

Woken by NOTIFY, and by a poll in case one is lost; it reads only the types that take something away, by their index,
on a connection of its own, so that a busy pool delays nothing. After a failure it goes on from where it stood.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from time import monotonic
from typing import Any, Final

import psycopg
import structlog
from eventsourcing.persistence import MapperDeserialisationError

from adapters.away import AWAY, NOTICES_LOSS, pause
from adapters.log import EventLog, LogRecord
from adapters.void_tokens import KEPT_S, VoidTokens
from commands.void_tokens import VOIDING_TYPES, Voided, voided_by

log = structlog.get_logger()

POLL_S: Final = 0.5
LINGER_S: Final = 0.05  # between two readings while much is stored: one reading costs about a millisecond
READ_S_MAX: Final = 3.0  # a connection may end without an error
RETRY_PAUSE_S: Final = 0.2
START_S_MAX: Final = 30.0
PAGE_EVENTS: Final = 1_000


class VoidTokenReader:
    """Fills the list of this process; `close` it in the end."""

    def __init__(self, tokens: VoidTokens, event_log: EventLog, conninfo: str) -> None:
        self._tokens = tokens
        self._log = event_log
        self._conninfo = conninfo
        self._position: int | None = None
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return when the list holds what was taken away in the last KEPT_S; the second time at once.

        Raises TimeoutError after START_S_MAX."""
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="void-tokens")
        async with asyncio.timeout(START_S_MAX):
            while not self._tokens.trusted:
                await pause(RETRY_PAUSE_S / 10)

    async def close(self) -> None:
        """Stop reading: a while later no token is accepted any more."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
            self._running = None

    async def _run(self) -> None:
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self._conninfo,
                    autocommit=True,
                    application_name="kontor.void-tokens",
                    connect_timeout=5,
                    **NOTICES_LOSS,
                ) as connection:
                    await connection.execute("LISTEN kontor_events")
                    await self._follow(connection)
            except (*AWAY, TimeoutError, psycopg.Error) as error:
                log.warning("void_tokens_start_again", position=self._position, error=repr(error))
            await pause(RETRY_PAUSE_S)

    async def _follow(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Until the connection is gone, which raises one of AWAY or TimeoutError."""
        while True:
            started = monotonic()
            async with asyncio.timeout(READ_S_MAX):
                more = await self._read(connection)
            self._tokens.prune()
            if more:
                continue
            # A reading sees everything that was committed before it began.
            self._tokens.trust(started)
            await pause(LINGER_S)
            async for _ in connection.notifies(timeout=POLL_S, stop_after=1):
                pass

    async def _read(self, connection: psycopg.AsyncConnection[Any]) -> bool:
        """One page; True when there may be more."""
        if self._position is None:
            rows = await connection.execute("SELECT clock_timestamp()")
            row = await rows.fetchone()
            assert row is not None
            self._position = await self._log.position_at(row[0] - timedelta(seconds=KEPT_S))
        records = await self._log.of_types(self._position, VOIDING_TYPES, limit=PAGE_EVENTS, connection=connection)
        for record in records:
            self._tokens.add(_voided(record))
            self._position = record.position
        return len(records) == PAGE_EVENTS


def _voided(record: LogRecord) -> Voided:
    """What the record makes void. Of an event that this release cannot read: every older token of its user."""
    whole = Voided(record.aggregate_id, record.version)
    try:
        return voided_by(record.decoded().event) or whole
    except MapperDeserialisationError as error:
        log.warning("voiding_event_unreadable", position=record.position, error=str(error))
        return whole
