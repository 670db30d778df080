"""`kontor down`: stop everything that runs for this home."""

from __future__ import annotations

import sys

from cli.exits import one_sentence
from cli.stack.home import default_home
from cli.stack.shutdown import stop_stack


@one_sentence
def down() -> None:
    """Stop everything `kontor up` started here, also what a killed run left behind; data stays.

    Exit codes: 0 nothing runs any more, 1 something could not be stopped.
    """
    home = default_home()
    stopped = stop_stack(home, lambda text: print(text, file=sys.stderr))
    print("Everything is stopped." if stopped else f"Nothing runs in {home.path}.", file=sys.stderr)
