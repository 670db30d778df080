"""Stopping from another terminal: the launcher by its recorded pid, or, when it was killed, what it left."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import psutil

from cli.stack.home import Home, launcher_lock, launcher_runs
from cli.stack.orphans import stop_orphans
from cli.stack.problem import Problem
from cli.stack.state import forget_state, living, read_state

# The launcher gives each of its processes its grace in turn; past this it hangs.
LAUNCHER_STOP_TIMEOUT_S = 90.0
POLL_S = 0.1


def stop_stack(home: Home, say: Callable[[str], None]) -> bool:
    """Stop everything that runs for this home; returns False when nothing did. Raises Problem when it cannot."""
    if not home.path.exists():
        return False
    ran = _stop_launcher(home)
    with launcher_lock(home) as mine:
        if not mine:
            raise Problem(
                f"A launcher holds {home.lock_file} and does not stop: end it with `kill -9` and its pid, "
                "which `kontor status` shows, then run `kontor down` again."
            )
        left = asyncio.run(stop_orphans(home, say))
        forget_state(home)
    return ran or left > 0


def _stop_launcher(home: Home) -> bool:
    if not launcher_runs(home):
        return False
    state = read_state(home)
    process = living(state.launcher) if state else None
    if process is not None:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + LAUNCHER_STOP_TIMEOUT_S
    while launcher_runs(home) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    return True
