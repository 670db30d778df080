"""The system that is broken: real servers, proxies before them, and Kontor's processes, which know only the proxies.

One supervisor, the launcher's own, keeps everything running, in a thread with a loop of its own; what it runs can be
stopped, started otherwise and started again.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import uvloop

from adapters.settings import Settings
from cli.installation import settings_from
from cli.stack import given, programs
from cli.stack.home import Home, Secrets, load_or_make_secrets
from cli.stack.orphans import STOP_ORDER
from cli.stack.ports import Ports, choose_ports
from cli.stack.process import Spec
from cli.stack.progress import Silent
from cli.stack.servers import ServerUrls, bring_up, urls_of
from cli.stack.state import living
from cli.stack.supervisor import Supervisor
from tests.conftest import ROOT
from tests.faults.proxy import Proxy

T = TypeVar("T")

SERVERS: Final = ("postgres", "kafka", "redis")
PROGRAMS: Final = ("relay", "worker", "api", "gateway", "inbox")
BACKOFF_S_MAX: Final = 1.0  # a system that is broken all day would otherwise mostly wait
START_S_MAX: Final = 400.0
CALL_S_MAX: Final = 300.0


class Remembering(Supervisor):
    """Knows how what it keeps running was started."""

    def __init__(self) -> None:
        super().__init__(backoff_max_s=BACKOFF_S_MAX)
        self.specs: dict[str, Spec] = {}

    async def start(self, spec: Spec) -> None:
        """As the supervisor does."""
        self.specs[spec.name] = spec
        await super().start(spec)


@dataclass(slots=True)
class System:
    """A running one. Its methods are called from any thread but its own."""

    home: Home
    secrets: Secrets
    ports: Ports
    loop: asyncio.AbstractEventLoop
    supervisor: Remembering = field(default_factory=Remembering)
    proxies: dict[str, Proxy] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        """Those of whoever looks at the system from outside: past the proxies."""
        return settings_from(self._variables(urls_of(self.secrets, self.ports)))

    @property
    def http_url(self) -> str:
        """The API, through its proxy."""
        return f"http://127.0.0.1:{self.proxies['api'].port}"

    @property
    def variables(self) -> dict[str, str]:
        """The KONTOR_* variables of its processes."""
        direct = urls_of(self.secrets, self.ports)
        return self._variables(
            ServerUrls(
                postgres=self._through("postgres", direct.postgres),
                kafka=f"127.0.0.1:{self.proxies['kafka'].port}",
                redis=self._through("redis", direct.redis),
            )
        )

    def pid(self, name: str) -> int | None:
        """The process that now has this part, None while there is none."""
        record = self.supervisor.records.get(name)
        return record.pid if record is not None and living(record) is not None else None

    def serves(self) -> bool:
        """Does every part serve?"""
        found = [self.supervisor.records.get(name) for name in (*SERVERS, *PROGRAMS)]
        return all(record is not None and record.serving and living(record) is not None for record in found)

    async def stopped(self, name: str) -> None:
        """Told to end, and not started again until `started`."""
        await self._call(self.supervisor.stop(name))

    async def started(self, name: str, spec: Spec | None = None) -> None:
        """Started as it was, or as it is now said to be; returns when it serves."""
        await self._call(self.supervisor.start(spec or self.supervisor.specs[name]))

    @asynccontextmanager
    async def otherwise(self, name: str, **changes: Any) -> AsyncIterator[None]:
        """Run one part with another Spec for a while; `env` is added to its own."""
        usual = self.supervisor.specs[name]
        changes["env"] = {**usual.env, **changes.get("env", {})}
        await self.stopped(name)
        await self.started(name, replace(usual, **changes))
        try:
            yield
        finally:
            await self.stopped(name)
            await self.started(name, usual)

    def kontor(
        self, *arguments: str, variables: Mapping[str, str] | None = None, cwd: Path = ROOT, timeout_s: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """`kontor ...` beside the system, to its end, whatever that is."""
        return subprocess.run(
            [sys.executable, "-m", "cli.main", *arguments],
            check=False,
            env=self.environment | dict(variables or {}),
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    @contextmanager
    def beside(self, program: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
        """One more process of Kontor, told to end in the end."""
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", program],
            env=self.environment | variables,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(120)

    @property
    def environment(self) -> dict[str, str]:
        """That of a process beside the system."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("KONTOR_")}
        return kept | self.variables

    def program(self, name: str, variables: Mapping[str, str], *, called: str = "") -> Spec:
        """How one of Kontor's programs is run."""
        argv = programs.Programs().services[name]
        return programs.service(self.home, called or name, argv, {**self.variables, **variables})

    async def _call(self, work: Coroutine[Any, Any, T]) -> T:
        async with asyncio.timeout(CALL_S_MAX):
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))

    def _variables(self, urls: ServerUrls) -> dict[str, str]:
        return programs.settings(self.home, self.secrets, urls, self.ports)

    def _through(self, server: str, url: str) -> str:
        return url.replace(f":{urlsplit(url).port}/", f":{self.proxies[server].port}/")

    async def start(self) -> None:
        """In its own loop: servers, proxies, tables, processes."""
        await bring_up(self.home, self.secrets, self.ports, self.supervisor, Silent())
        ports = {"postgres": self.ports.postgres, "kafka": self.ports.kafka, "redis": self.ports.redis}
        for name, port in (ports | {"api": self.ports.http}).items():
            self.proxies[name] = Proxy(port, kafka=name == "kafka")
            await self.proxies[name].start()
        wanted = programs.Programs()
        for name, argv in (("migrate", wanted.migrate), ("demo", wanted.demo)):
            spec = programs.one_shot(self.home, name, argv, self.variables, timeout_s=programs.DEMO_TIMEOUT_S)
            await self.supervisor.run_once(spec)
        await asyncio.gather(*(self.supervisor.start(self.program(name, {})) for name in PROGRAMS))

    async def stop(self) -> None:
        """In its own loop."""
        await self.supervisor.stop_all(STOP_ORDER)
        for proxy in self.proxies.values():
            await proxy.stop()


@contextmanager
def running_system(folder: Path) -> Iterator[System]:
    """A new one in this folder, gone in the end."""
    home = Home(folder.resolve())
    home.prepare()
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="system", daemon=True)
    thread.start()
    ports = choose_ports(home, preferred=False, needed=given.own_listeners() | {"http", "gateway", "smtp", "inbox"})
    system = System(home, load_or_make_secrets(home), ports, loop)
    try:
        asyncio.run_coroutine_threadsafe(system.start(), loop).result(START_S_MAX)
        yield system
    finally:
        asyncio.run_coroutine_threadsafe(system.stop(), loop).result(CALL_S_MAX)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        for name in ("postgres", "kafka", "valkey"):
            shutil.rmtree(home.path / name, ignore_errors=True)
