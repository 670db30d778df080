"""`kontor keys rotate`: wrap every stored key by the present master key.

The way to another master key: set KONTOR_MASTER_KEY to the new one and KONTOR_PREVIOUS_MASTER_KEYS to the old one,
start every process anew, run this, then take KONTOR_PREVIOUS_MASTER_KEYS away.
"""

from __future__ import annotations

import typer
import uvloop

from cli.exits import one_sentence
from cli.installation import load_settings
from cli.log_output import log_to_stderr
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
    from adapters.wiring import open_kontor  # noqa: PLC0415

    settings = load_settings()
    log_to_stderr("keys")

    async def run() -> int:
        async with open_kontor(settings, name="keys") as kontor:
            return await kontor.personal_data.rotate()

    try:
        print(f"keys wrapped anew: {uvloop.run(run())}")
    except WrongMasterKey as error:
        raise Problem(str(error)) from error
