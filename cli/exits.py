"""How a command ends when it cannot do its work: one sentence on stderr, exit code 1, no traceback."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec

import typer

from cli.stack.problem import Problem

P = ParamSpec("P")


def one_sentence(command: Callable[P, None]) -> Callable[P, None]:
    """Turn a Problem raised by the command into its sentence and exit code 1."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except Problem as problem:
            print(problem, file=sys.stderr)
            raise typer.Exit(1) from None

    return wrapped
