"""One transaction for several followers of a topic, in two round trips: everything that has to be known comes with the
first, everything that is changed goes with the second.

Live batches are small and many, so what a statement costs beside its work is most of what the worker does: these are
prepared once and sent as bytes, over connections of their own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec

from adapters import read_store
from adapters.effects_ledger import planning
from adapters.follower_statements import LOCK, MOVE, Move, lock_parameters, move_parameters
from adapters.log import LOG_END
from adapters.packed_arrays import PackedArray, number, text, texts, uuids
from adapters.parked_events import PARKED_AGGREGATES
from adapters.prepared_connection import Call, PreparedConnections, Row, Statement
from adapters.view_notices import moved
from commands.effects import Dropped, Planned
from projections.view import Recorded, View, folded
from projections.view import Row as ViewRow

R = TypeVar("R", bound=ViewRow)

_JSONB_VERSION: Final = b"\x01"
_BEGIN: Final = Statement(b"begin", b"BEGIN")
_COMMIT: Final = Statement(b"commit", b"COMMIT")
_ROLLBACK: Final = Statement(b"rollback", b"ROLLBACK")


class Apart(Exception):
    """These followers cannot go together now."""


@dataclass(slots=True)
class _Batch:
    """What is changed in one transaction."""

    calls: list[Call] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    tables: dict[str, None] = field(default_factory=dict)
    ids: dict[UUID, None] = field(default_factory=dict)


@dataclass(slots=True)
class JointTransaction:
    """What is one follower's of it: see `streams.ports.Changes`."""

    follower: str
    context: str
    batch: _Batch
    log_end: int
    positions: dict[int, int] = field(default_factory=dict)
    parked: set[UUID] = field(default_factory=set)
    rows: Mapping[UUID, Any] = field(default_factory=dict)

    async def write(self, view: View[R], events: Sequence[Recorded]) -> list[R]:
        changed = folded(view, self.rows, events)
        if changed:
            self.batch.calls.append((_upsert(view), [_JSONB_VERSION + msgspec.json.encode(changed)]))
            self.batch.tables[view.table] = None
            self.batch.ids |= dict.fromkeys(row.id for row in changed)
        return changed

    async def erase(self, person_id: UUID) -> None:
        """Rare, and of many tables: raises Apart."""
        raise Apart(f"{person_id} is erased")

    async def plan(self, changes: Sequence[Planned | Dropped]) -> None:
        self.batch.calls += [_call(query, columns) for query, columns in planning(changes)]

    async def move(self, positions: Mapping[int, int]) -> None:
        self.batch.moves += [(self.follower, self.context, shard, position) for shard, position in positions.items()]


class JointTransactions:
    """Opens them, each over a connection of its own."""

    def __init__(self, connections: PreparedConnections) -> None:
        self._connections = connections

    @asynccontextmanager
    async def open(
        self, context: str, shards: Iterable[int], reads: Mapping[str, tuple[View[Any], Sequence[UUID]] | None]
    ) -> AsyncIterator[Mapping[str, JointTransaction]]:
        """See `streams.ports.FollowerStore.together`."""
        async with self._connections.one() as connection:
            ((log_end,),), *answers = await connection.execute_all(
                _asked(context, shards, reads), first=_call(LOG_END, [])
            )
            batch = _Batch()
            transactions = {name: JointTransaction(name, context, batch, number(log_end)) for name in reads}
            _answered(answers, transactions, reads)
            try:
                yield transactions
            except Exception:
                await connection.execute(_ROLLBACK, [])
                raise
            if batch.moves:
                notice = moved(batch.moves, batch.tables, batch.ids)
                batch.calls.append(_call(MOVE, move_parameters(context, batch.moves, notice)))
            await connection.execute_all([*batch.calls, (_COMMIT, [])])


def _asked(
    context: str, shards: Iterable[int], reads: Mapping[str, tuple[View[Any], Sequence[UUID]] | None]
) -> list[Call]:
    names = list(reads)
    return [
        (_BEGIN, []),
        _call(LOCK, lock_parameters(names, context, shards)),
        # Not in the same statement: that would not see what whoever had the lock has parked.
        _call(PARKED_AGGREGATES, [texts(names)]),
        *((_select(view), [uuids(ids).data]) for view, ids in filter(None, reads.values())),
    ]


def _answered(
    answers: Sequence[list[Row]],
    transactions: Mapping[str, JointTransaction],
    reads: Mapping[str, tuple[View[Any], Sequence[UUID]] | None],
) -> None:
    _, locked, parked, *found = answers
    for follower, shard, position, _ in locked:
        transactions[text(follower)].positions[number(shard)] = number(position)
    for follower, aggregate_id in parked:
        transactions[text(follower)].parked.add(UUID(bytes=aggregate_id))
    reading = [(name, read[0]) for name, read in reads.items() if read is not None]
    for (name, view), ((document,),) in zip(reading, found, strict=True):
        transactions[name].rows = {row.id: row for row in read_store.decoded(view, document or b"[]")}


def _call(query: str, parameters: Sequence[PackedArray | str]) -> Call:
    return _statement(query), [each.encode() if isinstance(each, str) else each.data for each in parameters]


@cache
def _statement(query: str) -> Statement:
    return Statement.of(query)


@cache
def _select(view: View[Any]) -> Statement:
    return Statement.of(read_store.select_by_id(view).as_string())


@cache
def _upsert(view: View[Any]) -> Statement:
    return Statement.of(read_store.upsert(view).as_string())
