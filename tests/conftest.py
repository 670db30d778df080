"""Real servers for the tests: one whole stack a run, started by the launcher that people use, on free ports.

Tests that need it are marked `servers` or `acceptance`. Each test of an adapter or stream gets a database and
topics of its own on the same servers.
"""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg
import pytest

from adapters import redis_views
from adapters.kafka import ensure_topics
from adapters.schema import migrate
from adapters.settings import Settings
from adapters.wiring import Kontor, open_kontor
from cli.stack.home import Home, read_secrets
from cli.stack.ports import PREFERRED, choose_ports
from cli.stack.state import read_state
from cli.status import as_object

ROOT = Path(__file__).parent.parent
MIGRATED = "migrated"  # a database of which every test that wants one gets a copy
FIRST = "tests/faults"  # the longest file, which mostly waits: whatever else there is runs beside it
DROP_S = 1.0
SHARED = ROOT.parent / "shared"
SALES = SHARED / "data" / "online-retail-2010-12-01-to-13.csv.gz"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of two processes of pytest that share the files between them, none is left with the longest in the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(FIRST))


@dataclass(frozen=True)
class Stack:
    """A running Kontor with all its processes."""

    home: Path

    def run(self, *arguments: str, timeout_s: float = 300, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`kontor ...` against this stack."""
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", *arguments],
            check=False,
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        assert not check or done.returncode == 0, f"{arguments}: {done.stdout[-2000:]} {done.stderr[-2000:]}"
        return done

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "cli.main", *arguments],
            env=self.environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("KONTOR_")}
        return kept | {"KONTOR_HOME": str(self.home)}

    @property
    def status(self) -> dict[str, Any]:
        """What `kontor status --json` says now; pids change when a process is started again."""
        state = read_state(Home(self.home))
        return {} if state is None else as_object(state)

    @cached_property
    def settings(self) -> Settings:
        """The settings its processes run with, whichever of them is started again."""
        secrets = read_secrets(Home(self.home))
        assert secrets is not None
        status = self.status
        return Settings(
            postgres_url=status["postgres_url"],
            kafka_url=status["kafka_url"],
            redis_url=status["redis_url"],
            environment="development",
            master_key=secrets.master_key,
            jwt_key=secrets.jwt_key,
            record_key=secrets.record_key,
            stripe_url=status["gateway_url"],
            stripe_key=secrets.gateway_key,
            stripe_webhook_secret=secrets.gateway_webhook_secret,
        )


def place_of_its_own(home: Path) -> Path:
    """A home that knows its ports: `kontor up` would try the well-known ones first, and two runs side by side would
    meet where one has stopped a server for a moment."""
    home.mkdir(parents=True)
    choose_ports(Home(home), preferred=False, needed=frozenset(PREFERRED))
    return home


@pytest.fixture(scope="session", autouse=True)
def patient() -> Iterator[None]:
    """Redis that is slow because the machine is busy is not to be taken for one that is away."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(redis_views, "TIMEOUT_S", 20.0)
        yield


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole of Kontor on free ports, with the demo logins; stopped at the end of the run."""
    running = Stack(place_of_its_own(tmp_path_factory.mktemp("kontor") / "home"))
    running.run("up", "--detach", timeout_s=600)
    flushing(running, "off")
    yield running
    running.run("down", timeout_s=300)


def flushing(stack: Stack, fsync: str) -> None:
    """Whether its PostgreSQL waits for the disk: hundreds of databases are made and dropped, and no plug is pulled."""
    with psycopg.connect(stack.settings.postgres_url, autocommit=True) as admin:
        admin.execute(f"ALTER SYSTEM SET fsync = {fsync}".encode())
        admin.execute("SELECT pg_reload_conf()")


@asynccontextmanager
async def installation_on(stack: Stack) -> AsyncIterator[Settings]:
    """An installation of its own on the stack's servers: a migrated database and an unused topic prefix."""
    whole = stack.settings
    name = f"t{uuid.uuid4().hex[:12]}"
    async with await psycopg.AsyncConnection.connect(whole.postgres_url, autocommit=True) as admin:
        server = whole.postgres_url.rpartition("/")[0]
        found = await admin.execute("SELECT FROM pg_database WHERE datname = %s", [MIGRATED])
        if found.rowcount == 0:
            await admin.execute(f"CREATE DATABASE {MIGRATED}".encode())
            await migrate(f"{server}/{MIGRATED}")
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {MIGRATED}".encode())
        url = f"{server}/{name}"
        yield whole.model_copy(update={"postgres_url": url, "topic_prefix": f"{name}."})
        dropping = asyncio.create_task(admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode()))
        await asyncio.wait({dropping}, timeout=DROP_S)
        if not dropping.done():
            # A connection that was given up before the server knew it is open until its object is, and the server waits
            # a minute for it.
            gc.collect()
        await dropping


@pytest.fixture
async def settings(stack: Stack) -> AsyncIterator[Settings]:
    """An installation of the test's own."""
    async with installation_on(stack) as made:
        yield made


@pytest.fixture
async def kontor(settings: Settings) -> AsyncIterator[Kontor]:
    """Everything wired, on an installation of its own; no relay or worker runs on it."""
    async with open_kontor(settings, name="test") as opened:
        await opened.copies.begin()  # as a worker has
        yield opened


@pytest.fixture
async def topics(settings: Settings) -> None:
    """The installation's topics."""
    await ensure_topics(settings.brokers, prefix=settings.topic_prefix, replication_factor=1, min_insync_replicas=1)
