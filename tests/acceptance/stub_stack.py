"""Program: the launcher with stand-ins for Kontor's own processes, so that launcher tests start no application.

The stand-ins write their ready file and wait; FAIL_DEMO in the environment makes the demo fail with its text.
"""

from __future__ import annotations

import sys

from cli.stack.home import default_home
from cli.stack.launch import Wanted, launch
from cli.stack.problem import Problem
from cli.stack.programs import Programs
from cli.stack.progress import PlainLines

SERVE = """
import os, pathlib, time
pathlib.Path(os.environ["KONTOR_READY_FILE"]).write_text(str(os.getpid()))
time.sleep(3600)
"""
ONCE = """
import os, sys
if os.environ.get("FAIL_DEMO"):
    sys.exit(os.environ["FAIL_DEMO"])
"""


def python(code: str, name: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code, name)


if __name__ == "__main__":
    stubs = Programs(
        migrate=python("pass", "migrate"),
        services={name: python(SERVE, name) for name in ("relay", "worker", "api")},
        demo=python(ONCE, "demo"),
    )
    try:
        launch(default_home(), Wanted(programs=stubs), PlainLines(), lambda state: PlainLines().note("READY"))
    except Problem as problem:
        sys.exit(str(problem))
