"""Snapshots: the state of long aggregates, so that a load reads a bounded number of events.

They are taken after the fact, by a task beside the requests, and are never trusted further than the code that made
them: `shape` is a digest of the domain's source, and a snapshot of another shape is not read. Deleting all of them
changes nothing but the time of the next load.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any, Final, get_type_hints
from uuid import UUID

import msgspec
import structlog
from eventsourcing.domain import Aggregate
from psycopg_pool import AsyncConnectionPool

from adapters.aggregate_cache import Seen, copy_of
from commands.ports import StreamHead
from domain import CONTEXT_OF, CONTEXTS

log = structlog.get_logger()

SNAPSHOT_EVENTS: Final = 500  # at most about so many events are read by any load
PENDING_MAX: Final = 1_000  # more wait for their next load
# What the library keeps of every aggregate, beside the attributes of ours.
_KEPT: Final = {"_created_on": "created_on", "_modified_on": "modified_on"}
_CLASSES: Final[dict[str, type[Aggregate]]] = {
    topic: aggregate for aggregates in CONTEXTS.values() for topic, aggregate in aggregates.items()
}
_WRITE: Final = """
INSERT INTO snapshots AS s (originator_id, originator_version, topic, state, position, shape)
VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (originator_id) DO UPDATE SET originator_version = excluded.originator_version, topic = excluded.topic,
    state = excluded.state, position = excluded.position, shape = excluded.shape, taken_at = clock_timestamp()
WHERE s.originator_version < excluded.originator_version OR s.shape <> excluded.shape
"""


@cache
def shape() -> str:
    """The digest of the domain's source: what an event means may change wherever it is written."""
    digest = hashlib.sha256()
    for file in sorted(files("domain").iterdir(), key=lambda each: each.name):
        if file.name.endswith(".py"):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:32]


def encoded(aggregate: Aggregate) -> bytes:
    """The aggregate's state as JSON."""
    state = {_KEPT.get(name, name): value for name, value in vars(aggregate).items()}
    return msgspec.json.encode({name: value for name, value in state.items() if not name.startswith("_")})


def decoded(topic: str, state: bytes, aggregate_id: UUID, version: int) -> Aggregate:
    """The aggregate as it was. Raises msgspec.ValidationError, msgspec.DecodeError or KeyError for a broken one."""
    kind = _CLASSES[topic]
    fields: dict[str, Any] = msgspec.json.decode(state)
    aggregate = object.__new__(kind)
    hints = _hints(kind)
    attributes = {name: msgspec.convert(fields[name], hint) for name, hint in hints.items()}
    kept = {name: msgspec.convert(fields[short], datetime) for name, short in _KEPT.items()}
    aggregate.__dict__ = {"_id": aggregate_id, "_version": version, **kept, "_pending_events": [], **attributes}
    return aggregate


@cache
def _hints(kind: type[Aggregate]) -> Mapping[str, Any]:
    """The attributes that the class declares, with their types."""
    declared = {name for base in kind.__mro__ if base.__module__.startswith("domain.") for name in _own(base)}
    return {name: hint for name, hint in get_type_hints(kind).items() if name in declared}


def _own(base: type) -> set[str]:
    return set(vars(base).get("__annotations__", {}))


class SnapshotWriter:
    """Takes snapshots beside the requests: `async with SnapshotWriter(pool)`."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool
        self._pending: dict[UUID, tuple[Seen, Aggregate, StreamHead]] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> SnapshotWriter:
        self._task = asyncio.create_task(self._run(), name="snapshots")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave the rest to the next load."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def note(self, aggregate_id: UUID, seen: Seen) -> None:
        """Have a snapshot taken if the last one is SNAPSHOT_EVENTS behind."""
        if seen.version - seen.snapshot_version < SNAPSHOT_EVENTS or len(self._pending) >= PENDING_MAX:
            return
        assert seen.aggregate is not None
        assert seen.head is not None
        self._pending[aggregate_id] = (seen, copy_of(seen.aggregate), seen.head)
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            while self._pending:
                aggregate_id, (seen, aggregate, head) = next(iter(self._pending.items()))
                try:
                    await self._write(aggregate, head)
                    seen.snapshot_version = max(seen.snapshot_version, head.version)
                except Exception as error:  # the outermost loop of the task: a snapshot is worth no failure
                    log.warning("snapshot_not_taken", aggregate_id=str(aggregate_id), error=repr(error))
                self._pending.pop(aggregate_id, None)
            self._wake.clear()

    async def _write(self, aggregate: Aggregate, head: StreamHead) -> None:
        topic = str(type(aggregate).TOPIC)  # type: ignore[attr-defined]  # every aggregate class has one
        row = [head.aggregate_id, head.version, topic, encoded(aggregate), head.position, shape()]
        async with self._pool.connection() as connection:
            await connection.execute(_WRITE, row)


def restored(topic: str, state: bytes, aggregate_id: UUID, version: int, position: int) -> Seen | None:
    """What the snapshot remembers; None, and a warning, for one that cannot be read."""
    try:
        aggregate = decoded(topic, state, aggregate_id, version)
    except (msgspec.ValidationError, msgspec.DecodeError, KeyError, TypeError) as error:
        log.warning("snapshot_not_read", aggregate_id=str(aggregate_id), error=repr(error))
        return None
    head = StreamHead(aggregate_id, CONTEXT_OF[topic], version, position)
    return Seen(aggregate, head, snapshot_version=version)
