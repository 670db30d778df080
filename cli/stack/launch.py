"""The launcher: servers, then Kontor's processes, then demo data; everything kept running until a signal asks to stop.

Guarantees: one launcher per home; whatever happens after the lock is taken, all that was started is stopped before this
returns. The state file always names every running child. Raises Problem, one sentence, when the stack cannot be had.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from cli.stack import given
from cli.stack.home import Home, launcher_lock, load_or_make_secrets
from cli.stack.jars import missing_jars
from cli.stack.orphans import STOP_ORDER, stop_orphans
from cli.stack.ports import choose_ports
from cli.stack.problem import Problem
from cli.stack.programs import (
    DEMO_TIMEOUT_S,
    GATEWAY,
    INBOX,
    MIGRATE_TIMEOUT_S,
    SECRET_VARIABLES,
    Programs,
    environment_name,
    gate,
    http_url,
    of_part,
    one_shot,
    require_fit_for_production,
    require_own_address,
    service,
    settings,
    take_secret_files,
)
from cli.stack.progress import Progress, timed
from cli.stack.servers import bring_up, together, urls_of
from cli.stack.state import State, already_running, forget_state, own_record, write_state
from cli.stack.supervisor import Supervisor
from cli.stack.warm import VARIABLE as WAIT_FOR

GATES = ("servers", "tables")
LOCK_TRIES = 20
LOCK_PAUSE_S = 0.1
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a start should include."""

    demo: bool = True
    programs: Programs = field(default_factory=Programs)


def launch(home: Home, wanted: Wanted, progress: Progress, on_ready: Callable[[State], None]) -> None:
    """Run the stack until SIGINT, SIGTERM or SIGHUP; `on_ready` is called once, when everything serves."""
    require_own_address()
    take_secret_files()
    home.prepare()
    with ExitStack() as stack:
        for attempt in range(LOCK_TRIES):
            # Other commands hold the lock for an instant to see whether somebody does.
            if stack.enter_context(launcher_lock(home)):
                break
            if attempt == LOCK_TRIES - 1:
                raise Problem(already_running(home))
            time.sleep(LOCK_PAUSE_S)
        asyncio.run(_Launcher(home, wanted, progress, on_ready).run())


class _Launcher:
    def __init__(self, home: Home, wanted: Wanted, progress: Progress, on_ready: Callable[[State], None]) -> None:
        self._home = home
        self._wanted = wanted
        self._services = wanted.programs.kept_running()
        self._progress = progress
        self._on_ready = on_ready
        self._supervisor = Supervisor(say=progress.note)
        self._me = own_record()
        self._ready = False
        self._settings: dict[str, str] = {}
        self._http_url = ""

    async def run(self) -> None:
        asked = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._asked_to_stop, asked)
        await stop_orphans(self._home, self._progress.note)
        self._supervisor.on_change(self._write_state)
        self._write_state()
        work = asyncio.create_task(self._start())
        until = asyncio.create_task(asked.wait())
        try:
            await asyncio.wait({work, until}, return_when=asyncio.FIRST_COMPLETED)
            if not asked.is_set():
                work.result()
                await until
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            await self._stop()

    def _asked_to_stop(self, asked: asyncio.Event) -> None:
        if asked.is_set():
            self._progress.note("still stopping; each process gets up to 15 s to finish what it does")
        asked.set()

    async def _start(self) -> None:
        secrets = load_or_make_secrets(self._home)
        needed = given.own_listeners() | {"http"}
        for service_name, listeners in ((GATEWAY, {GATEWAY}), (INBOX, {"smtp", INBOX})):
            needed |= listeners if service_name in self._services else set()
        ports = choose_ports(self._home, preferred=True, needed=needed)
        urls = urls_of(secrets, ports)
        self._settings = settings(self._home, secrets, urls, ports)
        self._http_url = http_url(ports)
        if environment_name() == "production":
            require_fit_for_production(self._settings)
        for opened in GATES:
            gate(self._home, opened).unlink(missing_ok=True)
        servers = bring_up(self._home, secrets, ports, self._supervisor, self._progress)
        # A first start may fetch and format for minutes; only a later one is worth preparing for beside the servers.
        if (self._home.kafka / "data").exists() and not missing_jars():
            await together(self._open_after("servers", servers), self._start_programs())
        else:
            await self._open_after("servers", servers)
            await self._start_programs()
        # Data that a demo of an earlier start loaded is there, so what is new in it may come after the rest is ready.
        later = self._home.demo_marker.exists() and given.postgres_url() is None
        if not later:
            await self._load_demo()
        self._ready = True
        self._write_state()
        self._on_ready(self._state())
        if later:
            try:
                await self._load_demo()
            except Problem as problem:
                self._progress.note(f"the demo's data could not be brought up to date: {problem}")

    async def _open_after(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        await work
        gate(self._home, name).touch()

    async def _start_programs(self) -> None:
        programs = self._wanted.programs
        migrated = self._run_once("migrate", programs.migrate, MIGRATE_TIMEOUT_S, turn="servers")
        await together(
            self._open_after("tables", migrated),
            *(self._start_service(name, argv) for name, argv in self._services.items()),
        )

    async def _load_demo(self) -> None:
        if not self._wanted.demo or environment_name() == "production":
            return
        await self._run_once("demo", self._wanted.programs.demo, DEMO_TIMEOUT_S, turn="tables")
        self._home.demo_marker.touch()

    async def _run_once(self, name: str, argv: tuple[str, ...], timeout_s: float, *, turn: str) -> None:
        variables = {**self._settings, WAIT_FOR: str(gate(self._home, turn))}
        with timed(self._progress, name):
            await self._supervisor.run_once(one_shot(self._home, name, argv, variables, timeout_s=timeout_s))

    async def _start_service(self, name: str, argv: tuple[str, ...]) -> None:
        with timed(self._progress, name):
            variables = {**of_part(name, self._settings), WAIT_FOR: str(gate(self._home, "tables"))}
            await self._supervisor.start(service(self._home, name, argv, variables))

    async def _stop(self) -> None:
        self._ready = False
        if self._supervisor.records:
            with timed(self._progress, "stopping"):
                await self._supervisor.stop_all(STOP_ORDER)
        forget_state(self._home)

    def _state(self) -> State:
        own_servers = given.own_listeners() & {"postgres", "kafka", "redis"}
        return State(
            launcher=self._me,
            ready=self._ready,
            expected=(*self._services, *sorted(own_servers)),
            http_url=self._http_url,
            settings={name: value for name, value in self._settings.items() if name not in SECRET_VARIABLES},
            processes=dict(self._supervisor.records),
        )

    def _write_state(self) -> None:
        write_state(self._home, self._state())
