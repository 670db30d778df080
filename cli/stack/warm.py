"""Program: import what a command needs, wait until its turn has come, then be that command.

    python -m cli.stack.warm MODULE:FUNCTION [MODULE ...]

A start spends most of its time importing; done while the servers start, it costs no time of its own. The turn has come
when the file named by KONTOR_WAIT_FOR exists, or at once when none is named. Ends when its launcher is gone.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from importlib import import_module
from pathlib import Path

from cli.bytecode import share_bytecode

VARIABLE = "KONTOR_WAIT_FOR"
POLL_S = 0.02


def wait_for_turn() -> None:
    """Return when the awaited file exists; exit when the parent has died meanwhile, for nobody will make it then."""
    awaited, parent = os.environ.pop(VARIABLE, ""), os.getppid()
    while awaited and not Path(awaited).exists():
        if os.getppid() != parent:
            sys.exit(1)
        time.sleep(POLL_S)


def main() -> None:
    """Run the program; see the module text."""
    share_bytecode()
    module, _, function = sys.argv[1].partition(":")
    # Importing makes many objects and no garbage: looking for it would take a tenth of the time.
    gc.disable()
    for name in (module, *sys.argv[2:]):
        import_module(name)
    gc.freeze()
    gc.enable()
    wait_for_turn()
    getattr(import_module(module), function)()


if __name__ == "__main__":
    main()
