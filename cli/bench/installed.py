"""A whole installation of its own for a measurement: its servers and processes on free ports, in a folder of its own.

Guarantees: it is started as a user starts it, lies beside the installation's data, so on the same disk, and is stopped
and deleted whatever happens; what a killed run left behind is stopped and deleted by the next.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from adapters.settings import Settings
from cli.bench.server import GIVEN, Server, clean_environment, ended_by_signal
from cli.bench.timing import url_of
from cli.stack.home import PROJECT_ROOT, Home, read_secrets
from cli.stack.problem import Problem

FOLDER_PREFIX: Final = ".kontor-bench-views-"
OWNER_FILE: Final = "bench.pid"
UP_S_MAX: Final = 600.0
DOWN_S_MAX: Final = 120.0
END_S_MAX: Final = 60.0


@dataclass(frozen=True, slots=True)
class Installation:
    """What runs, and the variables its processes have."""

    home: Path
    status: dict[str, Any]
    variables: dict[str, str]

    @property
    def settings(self) -> Settings:
        """As a process of it has them."""
        return Settings(**{name.removeprefix("KONTOR_").lower(): value for name, value in self.variables.items()})  # type: ignore[arg-type]  # read as from the environment

    @property
    def environment(self) -> dict[str, str]:
        """For a process of it."""
        return clean_environment() | self.variables

    @property
    def server(self) -> Server:
        """Its PostgreSQL, for what is to be said of it."""
        parts = {name: str(value) for name, value in conninfo_to_dict(self.variables["KONTOR_POSTGRES_URL"]).items()}
        return Server({variable: parts[name] for name, (variable, _) in GIVEN.items() if name in parts}, self.home)

    def slow_flushes(self, flush_ms: float) -> None:
        """Have every flush of its PostgreSQL take so much longer, as on a slower disk or with a standby to wait for.

        Whoever flushes waits before it, and commits that come meanwhile share it, as with a slow disk."""
        with psycopg.connect(self.variables["KONTOR_POSTGRES_URL"], autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET commit_siblings = 0")
            connection.execute(sql.SQL("ALTER SYSTEM SET commit_delay = {}").format(round(flush_ms * 1_000)))
            connection.execute("SELECT pg_reload_conf()")

    @contextmanager
    def another(self) -> Iterator[Installation]:
        """The same servers with an empty, migrated database and topics of their own; dropped afterwards."""
        name = f"bench_{secrets.token_hex(4)}"
        url = url_of(self.server.environment | {"PGDATABASE": name})
        variables = {"KONTOR_POSTGRES_URL": url, "KONTOR_TOPIC_PREFIX": f"{name}.", "KONTOR_WORKER_GROUP": name}
        with psycopg.connect(self.variables["KONTOR_POSTGRES_URL"], autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            made = Installation(self.home, self.status, self.variables | variables)
            try:
                made.run("migrate")
                yield made
            finally:
                connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def run(self, *arguments: str, timeout_s: float = END_S_MAX) -> str:
        """`kontor ...` to its end; what it printed. Raises Problem."""
        done = _kontor(arguments, self.environment, timeout_s)
        if done.returncode != 0:
            raise Problem(f"`kontor {' '.join(arguments)}` failed: {done.stderr.strip()[-300:]}")
        return done.stdout

    @contextmanager
    def process(self, *arguments: str, log: str, module: str = "cli.main") -> Iterator[subprocess.Popen[bytes]]:
        """`kontor ...`, or another module, while the block runs."""
        with (self.home / "logs" / f"{log}.log").open("ab") as output:
            process = subprocess.Popen(  # noqa: S603  # this program itself
                [sys.executable, "-m", module, *arguments],
                env=self.environment, cwd=PROJECT_ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(END_S_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def own_installation(beside: Path) -> Iterator[Installation]:
    """A new installation in a folder beside that path while the block runs; raises Problem when it does not start."""
    clear_leftovers(beside.parent)
    beside.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=beside.parent))
    (folder / ".gitignore").write_text("*\n")
    (folder / OWNER_FILE).write_text(str(os.getpid()))
    home = folder / "home"
    environment = clean_environment() | {"KONTOR_HOME": str(home)}
    with ended_by_signal():
        try:
            up = _kontor(("up", "--detach"), environment, UP_S_MAX)
            if up.returncode != 0:
                raise Problem(f"The installation to measure did not start: {up.stderr.strip()[-300:]}")
            status = json.loads(_kontor(("status", "--json"), environment, END_S_MAX).stdout)
            made = read_secrets(Home(home))
            assert made is not None, "it is running"
            yield Installation(
                home,
                status,
                {
                    "KONTOR_HOME": str(home),
                    "KONTOR_ENVIRONMENT": "development",
                    "KONTOR_POSTGRES_URL": status["postgres_url"],
                    "KONTOR_KAFKA_URL": status["kafka_url"],
                    "KONTOR_REDIS_URL": status["redis_url"],
                    "KONTOR_MASTER_KEY": made.master_key,
                    "KONTOR_JWT_KEY": made.jwt_key,
                    "KONTOR_RECORD_KEY": made.record_key,
                    "KONTOR_STRIPE_URL": status["gateway_url"] or "",
                    "KONTOR_STRIPE_KEY": made.gateway_key,
                },
            )
        finally:
            _clear(folder)


def clear_leftovers(folder: Path) -> None:
    """Stop and delete the installations of runs that were killed."""
    for left in folder.glob(f"{FOLDER_PREFIX}*"):
        with suppress(OSError, ValueError):
            if not psutil.pid_exists(int((left / OWNER_FILE).read_text())):
                _clear(left)


def _clear(folder: Path) -> None:
    _kontor(("down",), clean_environment() | {"KONTOR_HOME": str(folder / "home")}, DOWN_S_MAX)
    shutil.rmtree(folder, ignore_errors=True)


def _kontor(
    arguments: Sequence[str], environment: dict[str, str], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  # this program itself
        [sys.executable, "-m", "cli.main", *arguments],
        check=False, env=environment, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=timeout_s,
    )  # fmt: skip
