"""One child process: how to start it, when it serves, how to stop it, what it said last.

Guarantees: a child is its own session, so a Ctrl-C in the terminal reaches only the launcher; its output goes to a log
of bounded size; stopping ends in SIGKILL after the grace. Does not restart anything (see `supervisor`).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

LOG_BYTES_MAX = 16 * 1024 * 1024
POLL_S = 0.05
GIST_CHARS_MAX = 300
TELLING_WORDS = ("FATAL", "PANIC", "Error", "ERROR", "Exception")


async def serves_at_once(_pid: int) -> bool:
    """For processes that have no notion of being ready."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What to start. `ready` is asked with the pid, again and again, until it says yes.

    `marker` is an argument or path that only this process carries on its command line. `prepare` runs before every
    start, also before a restart; `stopped` after it was asked to end and did so by itself.
    """

    name: str
    argv: tuple[str, ...]
    log: Path
    marker: str
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path = Path("/")
    ready: Callable[[int], Awaitable[bool]] = serves_at_once
    ready_timeout_s: float = 120.0
    stop_signal: int = signal.SIGTERM
    grace_s: float = 15.0
    prepare: Callable[[], None] | None = None
    stopped: Callable[[], None] | None = None


@dataclass(slots=True)
class Child:
    """A started process and where its output in the log begins."""

    spec: Spec
    popen: subprocess.Popen[bytes]
    log_offset: int
    began: float

    @property
    def pid(self) -> int:
        return self.popen.pid

    def ended(self) -> bool:
        """Whether it has ended; reaps it when so."""
        return self.popen.poll() is not None

    def gist(self) -> str:
        """The telling line of what this child wrote, for the sentence shown to a person."""
        return gist_of(self.spec.log, self.log_offset)


def spawn(spec: Spec) -> Child:
    """Start the process; raises OSError when its program cannot be run."""
    if spec.prepare is not None:
        spec.prepare()
    bound_log(spec.log)
    with spec.log.open("ab") as log:
        offset = log.tell()
        popen = subprocess.Popen(  # noqa: S603  # specs are made by this package
            spec.argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=dict(spec.env),
            cwd=spec.cwd,
            start_new_session=True,
        )
    return Child(spec, popen, offset, time.monotonic())


async def wait_ended(child: Child, timeout_s: float | None = None) -> bool:
    """Wait until the child has ended; False when the time is over before."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while not child.ended():
        if deadline is not None and time.monotonic() >= deadline:
            return False
        await asyncio.sleep(POLL_S)
    return True


async def wait_ready(child: Child) -> str:
    """Wait until the child serves; returns "" then, else why not: "ended" or "timeout"."""
    deadline = time.monotonic() + child.spec.ready_timeout_s
    while time.monotonic() < deadline:
        if child.ended():
            return "ended"
        if await child.spec.ready(child.pid):
            return ""
        await asyncio.sleep(POLL_S)
    return "timeout"


async def stop(child: Child, *, grace_s: float | None = None) -> None:
    """Ask the child to stop, and kill it with what it started when the grace is over."""
    if child.ended():
        return
    child.popen.send_signal(child.spec.stop_signal)
    if await wait_ended(child, child.spec.grace_s if grace_s is None else grace_s):
        if child.spec.stopped is not None:
            child.spec.stopped()
        return
    # The child leads its own session, so its group holds its offspring and nothing else.
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    await wait_ended(child)


async def stop_stranger(process: psutil.Process, *, stop_signal: int, grace_s: float) -> None:
    """Stop a process that is not a child of this one (an orphan of a killed launcher), the same way."""
    with suppress(psutil.NoSuchProcess):
        process.send_signal(stop_signal)
        if not await _gone(process, grace_s):
            process.kill()
            await _gone(process, grace_s)


async def _gone(process: psutil.Process, timeout_s: float) -> bool:
    for _ in range(int(timeout_s / POLL_S) + 1):
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        await asyncio.sleep(POLL_S)
    return False


def how_it_ended(child: Child) -> str:
    """ "exit code 3" or "signal SIGKILL"."""
    code = child.popen.returncode
    if code is None:
        return "still running"
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def bound_log(path: Path) -> None:
    """Keep a log and one older piece of it within LOG_BYTES_MAX each; safe while its process writes."""
    with suppress(FileNotFoundError):
        if path.stat().st_size > LOG_BYTES_MAX:
            # Writers append, so after the cut they go on at the new end; a rename would leave them on the old file.
            shutil.copyfile(path, path.with_suffix(".log.1"))
            os.truncate(path, 0)


def gist_of(path: Path, offset: int = 0) -> str:
    """The last line that names an error, else the last line, from `offset` on; "" when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(offset, path.stat().st_size - 16_384))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
    except OSError:
        return ""
    spoken = [line for line in lines if line]
    telling = [line for line in spoken if any(word in line for word in TELLING_WORDS)]
    return (telling or spoken or [""])[-1][:GIST_CHARS_MAX]
