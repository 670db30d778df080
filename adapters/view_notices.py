"""What readers are told when views change: by NOTIFY, in the transaction that changes them, so after its commit.

A payload is `generations` (everything is to be looked up anew), or lines: `view context shard position` for a shard
that a view has applied up to there, `~ table,table mark mark` for rows that have changed. A mark is the end of a row's
id: of two rows with one mark both are taken for changed. Where there are too many, `*` stands for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

CHANNEL: Final = "kontor_views"
GENERATIONS: Final = "generations"
ALL: Final = "*"
PAYLOAD_BYTES_MAX: Final = 7_900  # PostgreSQL refuses 8,000
MARKS_MAX: Final = 500
_MARK_DIGITS: Final = 8
_CHANGE: Final = "~ "

Place = tuple[str, str, int]  # view, context, shard


@dataclass(frozen=True, slots=True)
class Change:
    """Rows with these marks, in each of these tables."""

    tables: Sequence[str]
    marks: Sequence[str]


@dataclass(slots=True)
class Notice:
    """One payload, read."""

    positions: list[tuple[Place, int]] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    generations: bool = False


def mark_of(row_id: UUID) -> str:
    """The end of an id is the part that is made by chance, or of a digest."""
    return row_id.hex[-_MARK_DIGITS:]


def moved(moves: Iterable[tuple[str, str, int, int]], tables: Iterable[str] = (), ids: Iterable[UUID] = ()) -> str:
    """The payload for shards that moved, (view, context, shard, position) each, and rows that changed meanwhile."""
    positions = "\n".join(f"{view} {context} {shard} {position}" for view, context, shard, position in moves)
    if not (tables := list(tables)):
        return positions if len(positions) <= PAYLOAD_BYTES_MAX else GENERATIONS
    for change in (changed(tables, ids), changed(tables, None)):
        if len(positions) + 1 + len(change) <= PAYLOAD_BYTES_MAX:
            return f"{positions}\n{change}"
    return GENERATIONS


def changed(tables: Iterable[str], ids: Iterable[UUID] | None) -> str:
    """The payload for changed rows alone; None for more than anybody counts."""
    marks = None if ids is None else list(dict.fromkeys(map(mark_of, ids)))
    told = ALL if marks is None or len(marks) > MARKS_MAX else " ".join(marks)
    return f"{_CHANGE}{','.join(tables)} {told}"


def read(payload: str) -> Notice:
    """What a payload says."""
    notice = Notice()
    if payload == GENERATIONS:
        notice.generations = True
        return notice
    for line in payload.splitlines():
        if line.startswith(_CHANGE):
            tables, *marks = line.removeprefix(_CHANGE).split(" ")
            notice.changes.append(Change(tables.split(","), marks))
        else:
            view, context, shard, position = line.split(" ")
            notice.positions.append(((view, context, int(shard)), int(position)))
    return notice
