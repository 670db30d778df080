"""Reading what one has written: the token of a mutation, and waiting until a view has applied it.

A token names streams' ends as (context, shard, position). A view that stands at that position in that shard
has applied everything up to it, because a partition is a chain. Readers are woken by NOTIFY, sent in the
transaction that moves a view; a slow poll is there for a lost connection only.

That transaction is not awaited on the disk: a server that dies may lose it, and views stand where they stood before.
It closes all connections first, so what was known is forgotten with the one that listens.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgspec
import psycopg
import structlog
from psycopg.sql import SQL, Identifier

from adapters.away import pause
from adapters.read_store import ReadStore
from adapters.response_cache import ResponseCache
from adapters.view_notices import CHANNEL, read
from commands.ports import StreamHead
from domain.errors import Invalid
from domain.identity import shard_of
from projections.view import View

log = structlog.get_logger()

POLL_S: Final = 0.5
HEARTBEAT_S: Final = 1.0
LOST_S: Final = 5.0  # a connection may end without a word
TOKEN_HEADS_MAX: Final = 4_000


@dataclass(frozen=True, slots=True)
class Token:
    """What a reader must be shown: for each stream its version and position."""

    heads: tuple[StreamHead, ...]

    def encoded(self) -> str:
        rows = [(head.aggregate_id, head.context, head.version, head.position) for head in self.heads]
        return base64.urlsafe_b64encode(msgspec.msgpack.encode(rows)).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> Token:
        """Raises Invalid for anything a mutation did not hand out."""
        try:
            raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            rows = msgspec.msgpack.decode(raw, type=list[tuple[UUID, str, int, int]])
        except (ValueError, msgspec.MsgspecError) as error:
            raise Invalid(
                "This is not a consistency token; pass on `receipt.token` of a mutation as it is.",
                field=("consistentWith",),
            ) from error
        return cls(tuple(StreamHead(*row) for row in rows[:TOKEN_HEADS_MAX]))

    def version_of(self, aggregate_id: UUID) -> int:
        """The least version of this aggregate that a reader must be shown; 0 when any will do."""
        return max((head.version for head in self.heads if head.aggregate_id == aggregate_id), default=0)

    def required_of(self, view: View[Any]) -> dict[tuple[str, str, int], int]:
        """Per (view, context, shard) the position the view must have reached."""
        required: dict[tuple[str, str, int], int] = {}
        for head in self.heads:
            if head.context in view.contexts:
                key = (view.table, head.context, shard_of(head.aggregate_id))
                required[key] = max(required.get(key, 0), head.position)
        return required


class ViewPositions:
    """The views' positions as this process knows them, kept fresh by NOTIFY. `async with` runs the listener, which
    also tells `responses` what has changed."""

    def __init__(self, store: ReadStore, conninfo: str, responses: ResponseCache | None = None) -> None:
        self._store = store
        self._conninfo = conninfo
        self._responses = ResponseCache(0) if responses is None else responses  # an empty one is false
        self._known: dict[tuple[str, str, int], int] = {}
        self._moved = asyncio.Condition()
        self.losses = 0  # of the connection that listens; what was known before the last one may not be so
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> ViewPositions:
        await self._refresh()
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._poll())]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def reached(self, view: View[Any], token: Token) -> bool:
        required = token.required_of(self._store.generations.live(view))
        return all(self._known.get(key, 0) >= position for key, position in required.items())

    async def wait(self, view: View[Any], token: Token, *, timeout_s: float) -> bool:
        """True as soon as the view has applied what the token names; False when the time is up."""
        try:
            async with asyncio.timeout(timeout_s), self._moved:
                await self._moved.wait_for(lambda: self.reached(view, token))
        except TimeoutError:
            return self.reached(view, token)
        return True

    async def _advance(self, positions: Iterable[tuple[tuple[str, str, int], int]]) -> None:
        async with self._moved:
            for key, position in positions:
                # A rebuilt view starts again from 0: what Postgres says now is true, whatever was known.
                self._known[key] = position
            self._moved.notify_all()

    async def _refresh(self) -> None:
        losses = self.losses
        await self._store.generations.refresh()
        positions = await self._store.positions()
        if losses == self.losses:
            await self._advance(positions.items())

    async def _listen(self) -> None:
        while True:
            try:
                with contextlib.suppress(psycopg.Error, OSError, TimeoutError):
                    async with await psycopg.AsyncConnection.connect(
                        self._conninfo, autocommit=True, application_name="kontor.view-positions", connect_timeout=5
                    ) as connection:
                        await connection.execute(SQL("LISTEN {}").format(Identifier(CHANNEL)))
                        await self._refresh()
                        await self._follow(connection)
            finally:
                self._responses.distrust()
                self.losses += 1
                self._known.clear()
            log.warning("view_positions_connection_lost")
            await pause(POLL_S)

    async def _follow(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Until the connection is gone, which raises psycopg.Error or TimeoutError."""
        while True:
            # What was told before the answer to the heartbeat has come before it.
            async with asyncio.timeout(LOST_S):
                await connection.execute("SELECT 1")
            self._responses.trust()
            async for notify in connection.notifies(timeout=HEARTBEAT_S):
                await self._take(notify.payload)

    async def _take(self, payload: str) -> None:
        notice = read(payload)
        for change in notice.changes:
            self._responses.changed(change)
        if notice.generations:
            # What is read meanwhile may be of a generation that is no longer the one.
            self._responses.distrust()
            await self._refresh()
            self._responses.trust()
        elif notice.positions:
            await self._advance(notice.positions)

    async def _poll(self) -> None:
        while True:
            await pause(POLL_S)
            with contextlib.suppress(psycopg.Error, OSError):
                await self._refresh()
