"""The PostgreSQL that is measured: a server of its own, or, where one is given, databases of its own on that.

Guarantees: the own server keeps every promise of the launcher's (fsync on, every commit flushed), lies beside the
installation's data, so on the same disk, and is stopped and deleted whatever happens; what a killed run left behind
is stopped and deleted by the next. On a given server nothing is touched but databases this module made.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, Final

import psutil
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from cli.stack import postgres
from cli.stack.home import Home
from cli.stack.ports import CHOSEN_FROM, is_free
from cli.stack.problem import Problem
from cli.stack.process import Child, Spec, how_it_ended, spawn, stop, stop_stranger, wait_ended, wait_ready
from cli.stack.state import State, living, own_record, read_state, write_state

CONNECTIONS_MAX: Final = 300  # the launcher's 100 are fewer than the threads of a contestant
FOLDER_PREFIX: Final = ".kontor-bench-"
INIT_S_MAX: Final = 120.0
TRIES_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class Server:
    """A running server, as PG* variables; `folder` is None when it was given."""

    environment: dict[str, str]
    folder: Path | None

    def connect(self, database: str | None = None) -> psycopg.Connection[Any]:
        """As its owner, to its first database unless another is named."""
        parts = {name: self.environment.get(variable) for name, (variable, _) in GIVEN.items()}
        if database is not None:
            parts["dbname"] = database
        return psycopg.connect(make_conninfo("", **parts), autocommit=True)

    @contextmanager
    def database(self) -> Iterator[dict[str, str]]:
        """An empty database while the block runs, with no work of an earlier one left to write; its PG* variables."""
        name = f"kontor_bench_{secrets.token_hex(6)}"
        with self.connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            with suppress(psycopg.errors.InsufficientPrivilege):
                connection.execute("CHECKPOINT")
        try:
            yield self.environment | {"PGDATABASE": name}
        finally:
            with self.connect() as connection:
                connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def settings(self, *names: str) -> dict[str, str]:
        """What `SHOW` says of each."""
        with self.connect() as connection:
            shown = {name: connection.execute(sql.SQL("SHOW {}").format(sql.Identifier(name))) for name in names}
            return {name: str((cursor.fetchone() or ("",))[0]) for name, cursor in shown.items()}


GIVEN: Final = {  # part of a URL -> its variable, and what it is when not given
    "host": ("PGHOST", "127.0.0.1"),
    "port": ("PGPORT", "5432"),
    "user": ("PGUSER", "postgres"),
    "password": ("PGPASSWORD", ""),
    "dbname": ("PGDATABASE", "postgres"),
    "sslmode": ("PGSSLMODE", ""),  # some drivers know fewer modes than libpq: unset when not given
}
_MAY_MAKE_DATABASES: Final = "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"


@contextmanager
def given_server(url: str) -> Iterator[Server]:
    """A server that somebody runs; raises Problem when it cannot be used."""
    try:
        parts = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
    except psycopg.ProgrammingError as error:
        raise Problem(
            "--postgres-url is no URL of PostgreSQL: give postgresql://user:password@host:port/db."
        ) from error
    known = {variable: parts.get(name, default) for name, (variable, default) in GIVEN.items()}
    server = Server({variable: value for variable, value in known.items() if value}, None)
    place = f"{server.environment['PGHOST']}:{server.environment['PGPORT']}"
    try:
        with server.connect() as connection:
            may = connection.execute(_MAY_MAKE_DATABASES).fetchone()
    except psycopg.Error as error:
        raise Problem(f"The PostgreSQL of --postgres-url ({place}) cannot be used: start it, or correct it.") from error
    if not may or not may[0]:
        raise Problem(f"The user of --postgres-url ({place}) may not make databases: give one with CREATEDB.")
    yield server


@contextmanager
def own_server(beside: Path) -> Iterator[Server]:
    """A new server in a folder beside that path while the block runs; raises Problem when it cannot be had."""
    clear_leftovers(beside.parent)
    beside.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=beside.parent))
    child: Child | None = None
    with ended_by_signal():
        try:
            (folder / ".gitignore").write_text("*\n")
            home = Home(folder)
            home.prepare()
            write_state(home, State(launcher=own_record()))
            child, environment = _started(home)
            yield Server(environment, folder)
        finally:
            if child is not None:
                asyncio.run(stop(child))
            shutil.rmtree(folder, ignore_errors=True)


def _started(home: Home) -> tuple[Child, dict[str, str]]:
    who, password = postgres.identity(home), secrets.token_urlsafe(24)
    making = postgres.init_spec(home, who, password)
    assert making is not None, "the folder is new"
    child = spawn(making)
    if not asyncio.run(_ended(child, INIT_S_MAX)) or child.popen.returncode != 0:
        raise Problem(f"PostgreSQL's initdb failed ({how_it_ended(child)}): {child.gist()}")
    postgres.finish_init(home)
    for _ in range(TRIES_MAX):
        port = next((port for port in random.sample(CHOSEN_FROM, 200) if is_free(port)), None)
        if port is None:
            break
        child = spawn(_spec(home, who, port, password))
        why_not = asyncio.run(_ready(child))
        if not why_not:
            return child, {
                "PGHOST": "127.0.0.1",
                "PGPORT": str(port),
                "PGUSER": postgres.USER,
                "PGPASSWORD": password,
                "PGDATABASE": postgres.DATABASE,
            }
        asyncio.run(stop(child))
    raise Problem(f"PostgreSQL did not start ({how_it_ended(child)}): {child.gist()}")


def _spec(home: Home, who: postgres.Identity, port: int, password: str) -> Spec:
    launched = postgres.spec(home, who, port=port, password=password)
    return replace(launched, argv=(*launched.argv, "-c", f"max_connections={CONNECTIONS_MAX}"))


async def _ended(child: Child, timeout_s: float) -> bool:
    try:
        return await wait_ended(child, timeout_s)
    finally:
        await stop(child)


async def _ready(child: Child) -> str:
    try:
        return await wait_ready(child)
    except BaseException:
        await stop(child)
        raise


def clear_leftovers(folder: Path) -> None:
    """Stop and delete the servers of runs that were killed."""
    for left in folder.glob(f"{FOLDER_PREFIX}*"):
        with suppress(Problem):
            state = read_state(Home(left))
            if state is None or living(state.launcher):
                continue
            pid = postgres.running_pid(Home(left).postgres / "data")
            with suppress(psutil.NoSuchProcess):
                if pid is not None:
                    process = psutil.Process(pid)
                    asyncio.run(stop_stranger(process, stop_signal=signal.SIGINT, grace_s=20))
            shutil.rmtree(left, ignore_errors=True)


@contextmanager
def ended_by_signal() -> Iterator[None]:
    """A SIGTERM or SIGHUP ends this process by way of its `finally` blocks."""

    def end(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def clean_environment() -> dict[str, str]:
    """This process's environment without what would steer a contestant, PG* and KONTOR_*; compiled files are shared."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "KONTOR_"))}
    if sys.pycache_prefix is not None and not sys.dont_write_bytecode:
        kept.pop("PYTHONDONTWRITEBYTECODE", None)
        kept["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
    return kept
