"""Starting the launcher in the background and watching it until everything serves.

Guarantees: returns only when the stack is ready; a launcher that fails has said why on this process's stderr; a Ctrl-C
while waiting stops what was started.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time

from cli.stack.home import PROJECT_ROOT, Home
from cli.stack.problem import Problem
from cli.stack.process import bound_log
from cli.stack.state import State, read_state

POLL_S = 0.1
STOP_TIMEOUT_S = 90.0


def launch_detached(home: Home, argv: tuple[str, ...]) -> State | None:
    """Start a launcher with this command line and wait; None when it ended instead, its reasons shown on stderr."""
    home.prepare()
    log = home.log("launcher")
    bound_log(log)
    with log.open("ab") as output, log.open("r", errors="replace") as said:
        said.seek(0, 2)
        # Its stdout would say again what this process prints once everything is ready.
        quiet = subprocess.DEVNULL
        launcher = subprocess.Popen(  # noqa: S603  # this program itself
            argv, stdin=quiet, stdout=quiet, stderr=output, cwd=PROJECT_ROOT, start_new_session=True
        )
        try:
            while True:
                ended = launcher.poll() is not None
                sys.stderr.write(said.read())
                state = None if ended else _ready_state(home, launcher.pid)
                if ended or state is not None:
                    return state
                time.sleep(POLL_S)
        except KeyboardInterrupt:
            launcher.send_signal(signal.SIGTERM)
            launcher.wait(STOP_TIMEOUT_S)
            raise Problem("Stopped before everything was ready.") from None


def _ready_state(home: Home, pid: int) -> State | None:
    state = read_state(home)
    return state if state is not None and state.launcher.pid == pid and state.ready else None
