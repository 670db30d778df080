"""Selections as columns: each field is read for all rows at once, then the columns become objects.

An object is a msgspec struct of its selection's own class, which is made and encoded several times as fast as a
dictionary; its fields are the keys of the answer, in the document's order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice, repeat
from typing import Any, Final

import msgspec

from api.graphql.context import RequestContext

INT_MAX: Final = 2**31 - 1


class NotServed(Exception):
    """Only the ordinary path can answer this, or tell why it cannot."""


class Column:
    """One field over many sources. `waits` says whether anything in it is loaded: then `later` is asked, else `now`."""

    waits: bool = False

    def now(self, sources: Sequence[Any]) -> Iterable[Any]:
        """A value for each."""
        raise NotImplementedError

    async def later(self, context: RequestContext, sources: Sequence[Any]) -> Iterable[Any]:
        """A value for each."""
        raise NotImplementedError


class Shape:
    """What is selected of one type."""

    def __init__(self, keys: Sequence[str], columns: Sequence[Column]) -> None:
        names = [f"f{place}" for place in range(len(keys))]
        self._made: Callable[..., Any] = msgspec.defstruct(
            "Selected", names, rename=dict(zip(names, keys, strict=True)), frozen=True, gc=False
        )
        self._columns = columns
        self.waits = any(column.waits for column in columns)

    def now(self, sources: Sequence[Any]) -> list[Any]:
        """The objects, in order; for a shape that waits for nothing."""
        return self._objects(sources, [column.now(sources) for column in self._columns])

    async def later(self, context: RequestContext, sources: Sequence[Any]) -> list[Any]:
        """The objects, in order; what has to be loaded is loaded side by side."""
        if not self.waits or not sources:
            return self.now(sources) if not self.waits else []
        waiting = [column for column in self._columns if column.waits]
        if len(waiting) == 1:
            loaded = iter([await waiting[0].later(context, sources)])
        else:
            loaded = iter(await asyncio.gather(*(column.later(context, sources) for column in waiting)))
        values = [next(loaded) if column.waits else column.now(sources) for column in self._columns]
        return self._objects(sources, values)

    def _objects(self, sources: Sequence[Any], values: list[Iterable[Any]]) -> list[Any]:
        return list(map(self._made, *values)) if values else [self._made() for _ in sources]


@dataclass(slots=True)
class Constant(Column):
    """`__typename`."""

    value: Any

    def now(self, sources: Sequence[Any]) -> Iterable[Any]:
        """The same for each."""
        return repeat(self.value, len(sources))


@dataclass(slots=True)
class Leaves(Column):
    """A value of the source itself. `checked` are Ints, which the ordinary path refuses outside 32 bits."""

    read: Callable[[Any], Any]
    checked: bool = False

    def now(self, sources: Sequence[Any]) -> Iterable[Any]:
        """Raises NotServed for an Int that is none."""
        if not self.checked:
            return map(self.read, sources)
        values = list(map(self.read, sources))
        if values and not -INT_MAX - 1 <= min(values) <= max(values) <= INT_MAX:
            raise NotServed
        return values


@dataclass(slots=True)
class Parts(Column):
    """An object that the source holds."""

    read: Callable[[Any], Any]
    shape: Shape
    waits: bool

    def now(self, sources: Sequence[Any]) -> Iterable[Any]:
        """One for each."""
        return self.shape.now(list(map(self.read, sources)))

    async def later(self, context: RequestContext, sources: Sequence[Any]) -> Iterable[Any]:
        """One for each."""
        return await self.shape.later(context, list(map(self.read, sources)))


@dataclass(slots=True)
class Lists(Column):
    """The objects that the source holds: read as one list for all sources, and divided again."""

    read: Callable[[Any], Sequence[Any]]
    shape: Shape
    waits: bool

    def now(self, sources: Sequence[Any]) -> Iterable[Any]:
        """A list for each."""
        lists = list(map(self.read, sources))
        return divided(lists, self.shape.now(list(chain.from_iterable(lists))))

    async def later(self, context: RequestContext, sources: Sequence[Any]) -> Iterable[Any]:
        """A list for each."""
        lists = list(map(self.read, sources))
        return divided(lists, await self.shape.later(context, list(chain.from_iterable(lists))))


def divided(lists: Sequence[Sequence[Any]], flat: Iterable[Any]) -> list[list[Any]]:
    """The flat objects in lists as long as these."""
    rest = iter(flat)
    return [list(islice(rest, len(each))) for each in lists]


Fetch = Callable[[RequestContext, list[Any]], Any]


@dataclass(slots=True)
class Linked(Column):
    """Another row, by its key; null without a key, without a row, and where the reader may not see it."""

    key: Callable[[RequestContext, Any], Any]
    fetch: Fetch
    shape: Shape
    waits: bool = True

    async def later(self, context: RequestContext, sources: Sequence[Any]) -> Iterable[Any]:
        """Each row is read and made once, however many sources have it."""
        keys = [self.key(context, source) for source in sources]
        made = await made_of(context, self, keys)
        return [made.get(key) for key in keys]


@dataclass(slots=True)
class LinkedLists(Column):
    """Other rows, by their keys; those that are missing or not to be seen are left out."""

    key: Callable[[RequestContext, Any], Sequence[Any]]
    fetch: Fetch
    shape: Shape
    waits: bool = True

    async def later(self, context: RequestContext, sources: Sequence[Any]) -> Iterable[Any]:
        """Each row is read and made once, however many sources have it."""
        lists = [self.key(context, source) for source in sources]
        made = await made_of(context, self, list(chain.from_iterable(lists)))
        return [[made[key] for key in keys if key in made] for keys in lists]


async def made_of(context: RequestContext, link: Linked | LinkedLists, keys: list[Any]) -> dict[Any, Any]:
    """The objects by key."""
    wanted = list(dict.fromkeys(key for key in keys if key is not None))
    if not wanted:
        return {}
    rows = await link.fetch(context, wanted)
    return dict(zip(rows, await link.shape.later(context, list(rows.values())), strict=True))


@dataclass(slots=True)
class Fetched(Column):
    """A value that has to be asked for, for all sources at once."""

    fetch: Callable[[RequestContext, Sequence[Any]], Any]
    waits: bool = True

    async def later(self, context: RequestContext, sources: Sequence[Any]) -> Iterable[Any]:
        """One for each."""
        values: Sequence[Any] = await self.fetch(context, sources)
        return values
