"""The one who writes the books: what waits at the same time is done in one transaction, each part for itself.

Guarantees: `do` returns when what was done is on disk; work that raises has written nothing, and hinders nobody else's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from cli.gateway.books import Books
from cli.gateway.refusals import Refusal

BATCH_MAX: Final = 64  # how many wait is bounded by the requests that are let in

Work = Callable[[Books], Any]


class Clerk:
    """Opened and used on one event loop; the books are touched by a thread of its own alone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, "books")
        self._waiting: deque[tuple[Work, asyncio.Future[Any]]] = deque()
        self._writing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Raises sqlite3.OperationalError when the file cannot be used, or another has it."""
        self._books: Books = await asyncio.get_running_loop().run_in_executor(self._thread, Books, self._path)

    async def close(self) -> None:
        """After what waits is done."""
        if self._writing is not None:
            await self._writing
        await asyncio.get_running_loop().run_in_executor(self._thread, self._books.close)
        self._thread.shutdown()

    async def do(self, work: Work) -> Any:
        """The result of the work, durable; raises what it raises."""
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, done))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        return await done

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH_MAX, len(self._waiting)))]
            try:
                results = await loop.run_in_executor(self._thread, self._done, [work for work, _ in batch])
            except Exception as error:  # a full disk, a mistake of ours: nothing is stored, and all have to be told
                results = [error] * len(batch)
            for (_, done), result in zip(batch, results, strict=True):
                if done.cancelled():
                    continue
                if isinstance(result, Exception):
                    done.set_exception(result)
                else:
                    done.set_result(result)

    def _done(self, works: list[Work]) -> list[Any]:
        results: list[Any] = []
        with self._books.transaction():
            for work in works:
                try:
                    with self._books.transaction():
                        results.append(work(self._books))
                except Refusal as refusal:
                    results.append(refusal)
        return results
