"""Keeps processes running: starts them, starts them again when they die, stops them in order.

Guarantees: every change is reported through `changed` before anything else happens, so that the written state never
misses a running child; restarts wait 0.5 s doubling to 30 s, and begin at 0.5 s again after a minute of life. Does not
decide what runs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

import psutil

from cli.stack.problem import Problem
from cli.stack.process import Child, Spec, bound_log, how_it_ended, spawn, stop, wait_ended, wait_ready
from cli.stack.state import ProcessRecord, record_of

BACKOFF_FIRST_S = 0.5
BACKOFF_MAX_S = 30.0
BACKOFF_RESET_S = 60.0
LOG_CHECK_S = 10.0


class Backoff:
    """How long to wait before the next start of a process that has died."""

    def __init__(self, max_s: float = BACKOFF_MAX_S) -> None:
        self._next_s = BACKOFF_FIRST_S
        self._max_s = max_s

    def delay_s(self, lived_s: float) -> float:
        """The wait after a life of `lived_s` seconds; doubles each time, forgets after a long life."""
        if lived_s >= BACKOFF_RESET_S:
            self._next_s = BACKOFF_FIRST_S
        delay = self._next_s
        self._next_s = min(self._next_s * 2, self._max_s)
        return delay


class Supervisor:
    """Runs on one event loop; `records` says what runs now, and `changed` is called whenever that differs.

    `backoff_max_s` bounds the pause before a process that died is started again."""

    def __init__(
        self, *, say: Callable[[str], None] = lambda _text: None, backoff_max_s: float = BACKOFF_MAX_S
    ) -> None:
        self._backoff_max_s = backoff_max_s
        self.records: dict[str, ProcessRecord] = {}
        self._changed: Callable[[], None] = lambda: None
        self._say = say
        self._children: dict[str, Child] = {}
        self._watchers: dict[str, asyncio.Task[None]] = {}

    def on_change(self, changed: Callable[[], None]) -> None:
        """Call this after every change of `records`."""
        self._changed = changed

    async def start(self, spec: Spec) -> None:
        """Start a process, wait until it serves, and keep it running from then on; raises Problem when it does not."""
        child = self._spawn(spec)
        why = await wait_ready(child)
        if why:
            await self._drop(child)
            raise Problem(_why_not_started(child, why))
        self._serves(child)
        self._watchers[spec.name] = asyncio.create_task(self._keep_running(child))

    async def run_once(self, spec: Spec) -> None:
        """Run a process to its end within `ready_timeout_s`; raises Problem when it fails or takes longer."""
        child = self._spawn(spec)
        try:
            if not await wait_ended(child, spec.ready_timeout_s):
                raise Problem(
                    f"{spec.name} has not finished in {spec.ready_timeout_s:.0f} s and was stopped: see {spec.log}"
                )
            if child.popen.returncode != 0:
                raise Problem(_why_not_started(child, "ended"))
        finally:
            await self._drop(child)

    async def stop(self, name: str) -> None:
        """Stop one process for good; does nothing when it does not run."""
        watcher = self._watchers.pop(name, None)
        if watcher is not None:
            watcher.cancel()
            with suppress(asyncio.CancelledError):
                await watcher
        child = self._children.get(name)
        if child is not None:
            await self._drop(child)

    async def stop_all(self, order: Iterable[str]) -> None:
        """Stop everything: first the named ones in that order, one after the other, then what is left."""
        for name in [*order, *self._children, *self._watchers]:
            await self.stop(name)

    def _spawn(self, spec: Spec) -> Child:
        try:
            child = spawn(spec)
        except OSError as error:
            raise Problem(
                f"{spec.name} cannot be started ({error.strerror}: {spec.argv[0]}): see `kontor doctor`."
            ) from error
        self._children[spec.name] = child
        with suppress(psutil.NoSuchProcess):
            self.records[spec.name] = record_of(child.pid, spec.marker)
        self._changed()
        return child

    def _serves(self, child: Child) -> None:
        record = self.records.get(child.spec.name)
        if record is not None:
            self.records[child.spec.name] = ProcessRecord(
                pid=record.pid, create_time=record.create_time, marker=record.marker, serving=True
            )
        self._changed()

    async def _drop(self, child: Child) -> None:
        await stop(child)
        self._forget(child)

    def _forget(self, child: Child) -> None:
        if self._children.get(child.spec.name) is child:
            del self._children[child.spec.name]
            self.records.pop(child.spec.name, None)
            self._changed()

    async def _keep_running(self, child: Child) -> None:
        backoff = Backoff(self._backoff_max_s)
        while True:
            while not await wait_ended(child, LOG_CHECK_S):
                bound_log(child.spec.log)
            delay_s = backoff.delay_s(time.monotonic() - child.began)
            self._forget(child)
            # A signal from outside says nothing that the process itself could have written down.
            gist = child.gist() if (child.popen.returncode or 0) > 0 else ""
            said = f"; its last words: {gist}" if gist else ""
            self._say(
                f"{child.spec.name} (pid {child.pid}) has ended by {how_it_ended(child)}; "
                f"starting it again in {delay_s:g} s{said}"
            )
            await asyncio.sleep(delay_s)
            child = await self._start_again(child)

    async def _start_again(self, ended: Child) -> Child:
        """A new child in place of the ended one; when it does not come to serve, it is returned ended."""
        name = ended.spec.name
        try:
            child = self._spawn(ended.spec)
        except Problem as problem:
            self._say(str(problem))
            ended.began = time.monotonic()
            return ended
        why = await wait_ready(child)
        if why == "timeout":
            self._say(_why_not_started(child, why))
            await stop(child)
        if not why:
            self._serves(child)
            self._say(f"{name} serves again (pid {child.pid})")
        return child


def _why_not_started(child: Child, why: str) -> str:
    spec = child.spec
    gist = child.gist()
    said = f"; its last words: {gist}" if gist else ""
    if why == "timeout":
        return (
            f"{spec.name} has not become ready in {spec.ready_timeout_s:.0f} s and was stopped{said} (log: {spec.log})"
        )
    return f"{spec.name} has ended by {how_it_ended(child)} instead of serving{said} (log: {spec.log})"
