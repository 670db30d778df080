"""`kontor up`: start everything on this machine and keep it running."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli.exits import one_sentence
from cli.stack.detach import launch_detached
from cli.stack.home import default_home, launcher_runs
from cli.stack.state import State, already_running, read_state
from cli.status import overview


@one_sentence
def up(
    detach: Annotated[bool, typer.Option("--detach", help="Return when everything is ready; it runs on.")] = False,
    demo: Annotated[bool, typer.Option("--demo/--no-demo", help="Load the demo's data and logins.")] = True,
) -> None:
    """Start PostgreSQL, Kafka, Valkey, relay, worker, API, a payment provider and an inbox, and print where they are.

    Ctrl-C stops everything; data stays for the next start. A process that dies is started again. With --detach, a stack
    that runs already is success. Exit codes: 0 stopped as asked (with --detach: ready), 1 could not start, with the
    reason in one sentence.
    """
    if detach:
        _detached(demo)
        return
    # Not needed, and slow to import, for the process that only waits.
    from cli.stack.launch import Wanted, launch  # noqa: PLC0415
    from cli.stack.progress import Terminal, for_stderr  # noqa: PLC0415

    progress = for_stderr()

    def on_ready(state: State) -> None:
        if isinstance(progress, Terminal):
            progress.close()
        print(overview(state, default_home()))
        print("\nCtrl-C stops everything.", flush=True)

    try:
        launch(default_home(), Wanted(demo=demo), progress, on_ready)
    finally:
        if isinstance(progress, Terminal):
            progress.close()


def _detached(demo: bool) -> None:
    home = default_home()
    state = read_state(home) if launcher_runs(home) else None
    if state is not None and state.ready:
        print(already_running(home), file=sys.stderr)
    else:
        options = () if demo else ("--no-demo",)
        state = launch_detached(home, (sys.executable, "-m", "cli.main", "up", *options))
        if state is None:
            raise typer.Exit(1)
    print(overview(state, home))
    print("\n`kontor down` stops everything.")
