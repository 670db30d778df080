"""What a killed launcher left running: found by recorded pid and identity, stopped before anything new starts.

Guarantees: signals only processes that this home's state file or PostgreSQL's own pid file names and whose identity
fits. The caller holds the launcher lock, so what is found belongs to no living launcher.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

import psutil

from cli.stack import postgres
from cli.stack.home import Home
from cli.stack.process import stop_stranger
from cli.stack.state import State, living, read_state

STOP_ORDER = ("demo", "migrate", "api", "worker", "relay", "gateway", "inbox", "kafka", "redis", "postgres")
GRACE_S = 15.0


async def stop_orphans(home: Home, say: Callable[[str], None]) -> int:
    """Stop everything an earlier launcher of this home started and left; returns how many there were."""
    state = read_state(home)
    stopped = 0
    for name, process in _found(state):
        say(f"stopping {name} (pid {process.pid}), left over from a run that was killed")
        await stop_stranger(process, stop_signal=_signal_for(name), grace_s=GRACE_S)
        stopped += 1
    # A launcher killed between starting PostgreSQL and writing that down leaves only PostgreSQL's own pid file.
    pid = postgres.running_pid(home.postgres / "data")
    if pid is not None:
        say(f"stopping postgres (pid {pid}), left over from a run that was killed")
        await stop_stranger(psutil.Process(pid), stop_signal=signal.SIGINT, grace_s=GRACE_S)
        stopped += 1
    return stopped


def _found(state: State | None) -> list[tuple[str, psutil.Process]]:
    if state is None:
        return []
    names = sorted(state.processes, key=lambda name: STOP_ORDER.index(name) if name in STOP_ORDER else -1)
    found = [(name, living(state.processes[name])) for name in names]
    return [(name, process) for name, process in found if process is not None]


def _signal_for(name: str) -> int:
    return signal.SIGINT if name == postgres.NAME else signal.SIGTERM
