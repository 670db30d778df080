"""`kontor keys rotate`: wrap every stored key by the present master key.

The way to another master key: set KONTOR_MASTER_KEY to the new one and KONTOR_PREVIOUS_MASTER_KEYS to the old one,
start every process anew, run this, then take KONTOR_PREVIOUS_MASTER_KEYS away.
"""

from __future__ import annotations

import typer

from cli.exits import one_sentence
from cli.opened import with_kontor
from cli.stack.problem import Problem

app = typer.Typer(no_args_is_help=True, help="The keys that seal personal data.")


@app.callback()
def keys() -> None:
    """The keys that seal personal data."""


@app.command()
@one_sentence
def rotate() -> None:
    """Wrap every stored key by the present master key; may be interrupted and repeated, beside a running system."""
    from adapters.master_keys import WrongMasterKey  # noqa: PLC0415  # imported when asked for: start-up time

    try:
        wrapped = with_kontor("keys", lambda kontor: kontor.personal_data.rotate())
    except WrongMasterKey as error:
        raise Problem(str(error)) from error
    print(f"keys wrapped anew: {wrapped}")
