"""Loaders of one request: what is asked for in one turn of the event loop is one read, and nothing is read twice.

The promise of Strawberry's DataLoader at the price of a dictionary: a page's rows cost one task, not a future each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

BATCH_MAX: Final = 1_000


@dataclass(slots=True, eq=False)
class _Batch(Generic[K, V]):
    """Keys that are read together; `open` until the reading begins."""

    keys: list[K] = field(default_factory=list)
    reading: asyncio.Future[Mapping[K, V]] | None = None
    open: bool = True


class Loader(Generic[K, V]):
    """`read` gives what there is of at most BATCH_MAX keys. What it raises is raised again for each of them."""

    def __init__(self, read: Callable[[list[K]], Awaitable[Mapping[K, V]]]) -> None:
        self._read = read
        self._known: dict[K, _Batch[K, V]] = {}
        self._latest: _Batch[K, V] | None = None

    async def load(self, key: K) -> V | None:
        """None for what there is not."""
        return (await self.many((key,))).get(key)

    async def load_many(self, keys: Iterable[K]) -> list[V | None]:
        """In the order of the keys."""
        keys = list(keys)
        found = await self.many(keys)
        return [found.get(key) for key in keys]

    async def many(self, keys: Iterable[K]) -> dict[K, V]:
        """What there is of these, and maybe more."""
        batches = {self._known.get(key) or self._joined(key): None for key in keys}
        found: dict[K, V] = {}
        for batch in batches:
            assert batch.reading is not None
            # One who is cancelled takes nothing from the others.
            found.update(await asyncio.shield(batch.reading))
        return found

    def prime(self, key: K, value: V) -> None:
        """Nothing has to be read for this key, unless it was asked for before."""
        if key not in self._known:
            reading: asyncio.Future[Mapping[K, V]] = asyncio.get_running_loop().create_future()
            reading.set_result({key: value})
            self._known[key] = _Batch([key], reading, open=False)

    def _joined(self, key: K) -> _Batch[K, V]:
        batch = self._latest
        if batch is None or not batch.open or len(batch.keys) >= BATCH_MAX:
            batch = self._latest = _Batch()
            # Begins in the next turn, when all who are at it now have named their keys.
            batch.reading = asyncio.ensure_future(self._begun(batch))
            batch.reading.add_done_callback(_seen)
        batch.keys.append(key)
        self._known[key] = batch
        return batch

    async def _begun(self, batch: _Batch[K, V]) -> Mapping[K, V]:
        batch.open = False
        return await self._read(batch.keys)


def _seen(reading: asyncio.Future[Any]) -> None:
    """A failure that nobody waits for any more is no news."""
    if not reading.cancelled():
        reading.exception()
