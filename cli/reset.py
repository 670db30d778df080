"""`kontor reset`: stop everything and delete this installation's data."""

from __future__ import annotations

import shutil
import sys
from contextlib import suppress
from typing import Annotated

import typer

from cli.exits import one_sentence
from cli.stack.home import OWNED_FILES, OWNED_FOLDERS, Home, default_home
from cli.stack.problem import Problem
from cli.stack.shutdown import stop_stack


@one_sentence
def reset(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Stop everything and delete all data, keys and logs of this installation. There is no way back.

    Only what Kontor itself made in its home is deleted. Exit codes: 0 deleted, 1 not (declined, or it cannot be).
    """
    home = default_home()
    if not any((home.path / name).exists() for name in (*OWNED_FOLDERS, *OWNED_FILES)):
        print(f"There is nothing to delete in {home.path}.", file=sys.stderr)
        return
    if not yes and not _confirmed(home):
        raise Problem("Nothing was deleted.")
    stop_stack(home, lambda text: print(text, file=sys.stderr))
    delete(home)
    print(f"The installation in {home.path} is deleted.", file=sys.stderr)


def delete(home: Home) -> None:
    """Delete what the launcher made, and the home itself when nothing else is in it; raises Problem."""
    try:
        for folder in OWNED_FOLDERS:
            with suppress(FileNotFoundError):
                shutil.rmtree(home.path / folder)
        for file in (*OWNED_FILES, home.lock_file.name):
            (home.path / file).unlink(missing_ok=True)
    except OSError as error:
        raise Problem(f"{error.filename} cannot be deleted ({error.strerror}): delete {home.path} yourself.") from error
    with suppress(OSError):
        home.path.rmdir()


def _confirmed(home: Home) -> bool:
    if not sys.stdin.isatty():
        raise Problem(f"This deletes all data in {home.path} and nobody is here to ask: say `kontor reset --yes`.")
    return typer.confirm(f"Stop everything and delete all data in {home.path}?", err=True)
