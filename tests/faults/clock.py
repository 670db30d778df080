"""Program: one of Kontor's processes, whose clock is wrong by as many seconds as a file says (eight bytes, a double).

    python -m tests.faults.clock FILE MODULE:FUNCTION [MODULE ...]

Time as it passes (the monotonic clock) is right, as on a machine whose wall clock is set.
"""

from __future__ import annotations

import mmap
import struct
import sys
import time
from datetime import datetime, tzinfo
from importlib import import_module
from pathlib import Path
from typing import Final

from cli.bytecode import share_bytecode

OURS: Final = ("adapters", "api", "jwt")  # where the time of day is asked for


def main() -> None:
    """Run the program; see the module text."""
    share_bytecode()
    path, program, *modules = sys.argv[1:]
    with Path(path).open("rb") as file:
        offset = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
    right, right_ns = time.time, time.time_ns

    def offset_s() -> float:
        return float(struct.unpack("d", offset[:8])[0])

    class Shifted(datetime):
        """Makes ordinary datetimes of the wrong time."""

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # no subclass comes out
            return datetime.fromtimestamp(time.time(), tz)

    time.time = lambda: right() + offset_s()
    time.time_ns = lambda: right_ns() + int(offset_s() * 1e9)
    name, _, function = program.partition(":")
    for each in (name, *modules):
        import_module(each)
    for each, module in list(sys.modules.items()):
        if each.partition(".")[0] in OURS and vars(module).get("datetime") is datetime:
            module.datetime = Shifted  # type: ignore[attr-defined]  # it has one, as was just seen
    getattr(import_module(name), function)()


if __name__ == "__main__":
    main()
